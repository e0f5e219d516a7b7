"""What the report's tests share: a signed report on disk, and a way to sign an altered one again.

Holds no test of its own; `test_report_sample.py` makes the run that is reported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harness import __version__
from harness.report import RunMeta, SigningKey, write_bundle
from harness.report.bundle import bundle_files
from harness.report.canonical import BrokenFile
from harness.report.layout import MANIFEST, SIGNATURE_FILES, FileDigest, Manifest, read_findings, read_model
from harness.report.signing import signature_files, statement
from tests.unit import test_report_sample as samples

DEFINITIONS = {
    "environments/lending/environment.yaml": b"environment: lending\n",
    "../policy.yaml": b"policy: default\n",
}
LOGS = {"candidate/gateway": "GET /applications 200\n", "baseline/gateway": "GET /applications 200\n"}


def private_key(name: str = "signer") -> Ed25519PrivateKey:
    """The same key for the same name, so that golden files hold."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


def signer(name: str = "signer", *, self_signed: bool = False) -> SigningKey:
    return SigningKey(private_key(name), Path(f"{name}.pem"), self_signed=self_signed)


def write_key(path: Path, name: str = "signer", *, public: bool = False) -> Path:
    key = private_key(name)
    if public:
        path.write_bytes(
            key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
    else:
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        path.chmod(0o600)
    return path


def meta(engine_version: str = __version__) -> RunMeta:
    return RunMeta(
        run_id="r-4f2a91",
        seed=samples.SEED,
        engine_version=engine_version,
        evaluated_at="2026-03-01T10:20:30Z",
        repeat_command="readiness run scenarios/changes/rate-model-v2.change.yaml --seed 20260301",
    )


def files_of(sample: samples.Sample, key: SigningKey, engine_version: str = __version__) -> dict[str, bytes]:
    return bundle_files(
        sample.case,
        sample.history,
        sample.findings,
        sample.verdict,
        DEFINITIONS,
        LOGS,
        meta(engine_version),
        key,
    )


def write_report(directory: Path, sample: samples.Sample, key: SigningKey) -> Path:
    return write_bundle(
        directory,
        sample.case,
        sample.history,
        sample.findings,
        sample.verdict,
        DEFINITIONS,
        LOGS,
        meta(),
        key,
    )


def sign_again(
    content: Mapping[str, bytes],
    key: SigningKey,
    edit_manifest: Callable[[bytes], bytes] = lambda data: data,
) -> dict[str, bytes]:
    """What somebody with the key could do: put the altered files into a new manifest and sign that."""
    files = {path: data for path, data in content.items() if path not in (MANIFEST, *SIGNATURE_FILES)}
    manifest = Manifest.read(content[MANIFEST]).model_copy(
        update={"files": {path: FileDigest.of(data) for path, data in files.items()}}
    )
    from harness.model.case import Case
    from harness.model.findings import Verdict
    from harness.report import canonical

    files[MANIFEST] = edit_manifest(canonical.dump(manifest))
    case = read_model(Case, "case.json", content["case.json"])
    try:
        findings = read_findings(files["findings.json"])
        verdict = read_model(Verdict, "verdict.json", files["verdict.json"])
    except BrokenFile:
        findings, verdict = read_findings(content["findings.json"]), samples.sample().verdict
    payload = statement(manifest, files[MANIFEST], case, findings, verdict)
    return files | signature_files(payload, key)


def put(directory: Path, content: Mapping[str, bytes]) -> Path:
    for path, data in content.items():
        full = directory / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_bytes(data)
    return directory


def judged_by_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample's own small checks stand where the project's are, so that these tests do not rest on their numbers."""
    import harness.checks

    monkeypatch.setattr(harness.checks, "judge", samples.judge, raising=False)
    monkeypatch.setattr(harness.checks, "decide", samples.decide, raising=False)
