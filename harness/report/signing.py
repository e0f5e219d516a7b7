"""The signed statement: in-toto Statement v1 with a test-result predicate, in a DSSE envelope and a Sigstore bundle.

Takes the manifest's bytes, case, findings and verdict, gives the three signature files; and reads an envelope strictly,
so that what was verified is exactly what is parsed. Sources: in-toto attestation framework v1 and test-result v0.1,
DSSE 1.0, Sigstore bundle v0.3. Signing goes through securesystemslib, so that other signers (cloud KMS, HSM) fit here.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.model.case import Case
from harness.model.findings import Finding, Outcome, Verdict, VerdictWord
from harness.model.plan import Arm
from harness.report import canonical
from harness.report.canonical import BrokenFile
from harness.report.keys import PublicKey, SigningKey, strict_base64
from harness.report.layout import (
    CASE,
    DEFINITIONS,
    DSSE,
    MANIFEST,
    PLAN,
    POLICY,
    PUBLIC_KEY,
    SIGSTORE,
    FileDigest,
    Manifest,
)

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"
SIGSTORE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
EXTENSION = "pytestReadiness"
"""Key of the predicate's extension: the verdict in the project's own words, which PASSED and FAILED cannot say."""

_IMAGE_ID = re.compile(r"sha256:([0-9a-f]{64})")


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: the bytes that are signed."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def statement(
    manifest: Manifest, manifest_bytes: bytes, case: Case, findings: tuple[Finding, ...], verdict: Verdict
) -> bytes:
    """The statement's bytes, a function of what the bundle holds.

    UNKNOWN is FAILED to a reader who knows only the predicate, and so is every finding that is unknown: no evidence is
    never a pass. The extension tells them apart.
    """
    named = {outcome: [f.id for f in findings if f.outcome is outcome] for outcome in Outcome}
    configuration = [
        {"name": path, "digest": {"sha256": digest.sha256}}
        for path, digest in sorted(manifest.files.items())
        if path in (CASE, PLAN, POLICY) or path.startswith(f"{DEFINITIONS}/")
    ]
    return canonical.dump(
        {
            "_type": STATEMENT_TYPE,
            "subject": [
                {"name": MANIFEST, "digest": {"sha256": FileDigest.of(manifest_bytes).sha256}},
                *_image_subjects(case),
            ],
            "predicateType": PREDICATE_TYPE,
            "predicate": {
                "result": "PASSED" if verdict.verdict is VerdictWord.READY else "FAILED",
                "configuration": configuration,
                "passedTests": named[Outcome.PASS],
                "warnedTests": [],
                "failedTests": [*named[Outcome.FAIL], *named[Outcome.UNKNOWN]],
                EXTENSION: {
                    "verdict": verdict.verdict.value,
                    "sentence": verdict.sentence,
                    "reasons": list(verdict.reasons),
                    "unknownTests": named[Outcome.UNKNOWN],
                    "change": case.change.change,
                    "scenario": case.plan.scenario,
                    "runId": manifest.run.run_id,
                    "seed": manifest.run.seed,
                    "engineVersion": manifest.run.engine_version,
                    "evaluatedAt": manifest.run.evaluated_at,
                    "selfSigned": manifest.signer.self_signed,
                },
            },
        }
    )


def _image_subjects(case: Case) -> list[dict[str, Any]]:
    """The candidate's images of the services that the change touches, by image id, where the run knew it."""
    images = case.images.get(Arm.CANDIDATE.value, {})
    found = []
    for service in sorted(case.change.services):
        match = _IMAGE_ID.search(images.get(service, ""))
        if match is not None:
            found.append({"name": f"image of {service} (candidate)", "digest": {"sha256": match[1]}})
    return found


def signature_files(payload: bytes, key: SigningKey) -> dict[str, bytes]:
    """The three signature files for one statement; ed25519 signs the same bytes the same way every time."""
    from securesystemslib.dsse import (
        Envelope as LibraryEnvelope,  # whoever only verifies does not wait for it
    )
    from securesystemslib.signer import CryptoSigner, SSlibKey  # type: ignore[attr-defined]

    library_key = SSlibKey.from_crypto(key.private.public_key(), keyid=key.public.keyid)
    envelope = LibraryEnvelope(payload, PAYLOAD_TYPE, {})
    signature = envelope.sign(CryptoSigner(key.private, library_key))
    return render_signature_files(payload, bytes.fromhex(signature.signature), key.public)


def render_signature_files(payload: bytes, signature: bytes, public: PublicKey) -> dict[str, bytes]:
    """The canonical bytes of the signature files; any other spelling of them is reported as altered."""
    envelope = {
        "payload": base64.b64encode(payload).decode("ascii"),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": public.keyid, "sig": base64.b64encode(signature).decode("ascii")}],
    }
    bundle = {
        "mediaType": SIGSTORE_TYPE,
        "verificationMaterial": {"publicKey": {"hint": public.keyid}},
        "dsseEnvelope": envelope,
    }
    return {DSSE: canonical.dump(envelope), SIGSTORE: canonical.dump(bundle), PUBLIC_KEY: public.pem}


@dataclass(frozen=True)
class SignedEnvelope:
    """An envelope as read: nothing in it is believed yet. `keyid` is a hint that no signature covers."""

    payload: bytes
    signature: bytes
    keyid: str

    @property
    def signed_bytes(self) -> bytes:
        return pae(PAYLOAD_TYPE, self.payload)

    @classmethod
    def read(cls, data: bytes) -> SignedEnvelope:
        """From the bytes of the DSSE file. Raises BrokenFile."""
        value = canonical.parse(DSSE, data)
        if not isinstance(value, Mapping) or value.get("payloadType") != PAYLOAD_TYPE:
            raise BrokenFile(DSSE, f"is no DSSE envelope of type {PAYLOAD_TYPE}")
        signatures = value.get("signatures")
        if not isinstance(signatures, list) or len(signatures) != 1 or not isinstance(signatures[0], Mapping):
            raise BrokenFile(DSSE, "has not exactly one signature")
        try:
            payload, signature = strict_base64(value.get("payload")), strict_base64(signatures[0].get("sig"))
        except ValueError as error:
            raise BrokenFile(DSSE, f"is no DSSE envelope: {error}") from None
        return cls(payload, signature, str(signatures[0].get("keyid")))


def subject_digest(payload: bytes) -> str:
    """SHA-256 of the manifest as the statement names it. Raises BrokenFile."""
    value = canonical.parse(DSSE, payload)
    subjects = value.get("subject") if isinstance(value, Mapping) else None
    if (
        not isinstance(value, Mapping)
        or value.get("_type") != STATEMENT_TYPE
        or not isinstance(subjects, list)
    ):
        raise BrokenFile(DSSE, "holds no in-toto Statement v1")
    for subject in subjects:
        if isinstance(subject, Mapping) and subject.get("name") == MANIFEST:
            digest = subject.get("digest")
            if isinstance(digest, Mapping) and isinstance(digest.get("sha256"), str):
                return str(digest["sha256"])
    raise BrokenFile(DSSE, f"its statement does not name {MANIFEST}")
