"""Verify a report with no engine and no network: who signed it, that nothing changed, and that its verdict follows.

Takes the folder of a report and a public key, gives a `Verification`: every problem with the file it is in. In order:
the folder itself, the signature over exactly the bytes that are parsed, the manifest that it names, every digest, and
then everything right of the history is computed again and compared byte for byte. A report from anywhere may be given:
whatever is wrong with it becomes a problem, never a traceback.
"""

from __future__ import annotations

import datetime as dt
import enum
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness import __version__
from harness.model.findings import Verdict
from harness.report.bundle import check_folder, parse_bundle, read_file
from harness.report.canonical import BrokenFile
from harness.report.keys import PublicKey, load_public_key, own_public_key
from harness.report.layout import (
    DSSE,
    FILES_LIMIT,
    MANIFEST,
    PARSED_FILES,
    PUBLIC_KEY,
    SIGNATURE_FILES,
    SIGSTORE,
    SMALL_LIMIT_BYTES,
    Bundle,
    FileDigest,
    Manifest,
    path_problem,
)
from harness.report.recomputation import VerifyProblem, recompute
from harness.report.signing import SignedEnvelope, render_signature_files, subject_digest
from harness.report.summary import policy_words

PROBLEMS_LIMIT = 200


class Trust(enum.StrEnum):
    """Why the signing key is believed."""

    GIVEN = "given"
    OWN = "own"
    INSIDE = "inside"
    NONE = "none"


@dataclass(frozen=True)
class Verification:
    """What came out. `verdict` is the recomputed one, and None unless everything up to it held.

    `signed_by` is the id of the key whose signature held (empty: none did), `trust` why that key is believed.
    """

    ok: bool
    problems: tuple[VerifyProblem, ...]
    verdict: Verdict | None = None
    signed_by: str = ""
    trust: Trust = Trust.NONE
    self_signed: bool = False
    change: str = ""
    scenario: str = ""
    run_id: str = ""
    evaluated_at: dt.datetime | None = None
    policy: str = ""
    files: int = 0
    findings: int = 0


@dataclass
class _Work:
    """What is known so far."""

    directory: Path
    problems: list[VerifyProblem] = field(default_factory=list)
    signed_by: str = ""
    trust: Trust = Trust.NONE
    manifest: Manifest | None = None
    bundle: Bundle | None = None
    payload: bytes = b""
    read: dict[str, bytes] = field(default_factory=dict)

    def problem(self, file: str, what: str) -> None:
        if len(self.problems) < PROBLEMS_LIMIT:
            self.problems.append(VerifyProblem(file, what))


def verify(
    directory: Path, public_key: Path | None = None, *, trust_key_inside: bool = False
) -> Verification:
    """Verify the report in `directory` against the key in `public_key`.

    Without a key the signature must be by the user's own key (the state directory's); a report signed by any other is
    not accepted, because whoever altered it could have signed it again, unless `trust_key_inside` says that unaltered
    is all that is asked. Raises DefinitionError when `directory` is no folder or `public_key` cannot be used.
    """
    check_folder(directory)
    given = load_public_key(public_key) if public_key is not None else None
    work = _Work(directory)
    present = _walk(work)
    manifest_bytes = _signature(work, given, trust_key_inside)
    if manifest_bytes is not None:
        _digests(work, present, manifest_bytes)
    elif present:
        _presence(work, present)
    if work.manifest is not None and _engine(work.manifest, work) and not work.problems:
        _recompute(work, manifest_bytes or b"")
    return _result(work)


def _result(work: _Work) -> Verification:
    bundle, ok = work.bundle, not work.problems and work.bundle is not None
    return Verification(
        ok=ok,
        problems=tuple(work.problems),
        verdict=bundle.verdict if bundle is not None and ok else None,
        signed_by=work.signed_by,
        trust=work.trust,
        self_signed=work.manifest is not None and work.manifest.signer.self_signed,
        change=bundle.case.change.change if bundle is not None else "",
        scenario=bundle.case.plan.scenario if bundle is not None else "",
        run_id=bundle.manifest.run.run_id if bundle is not None else "",
        evaluated_at=bundle.manifest.run.evaluated_at if bundle is not None else None,
        policy=policy_words(bundle.case.policy) if bundle is not None else "",
        files=len(work.manifest.files) + 1 + len(SIGNATURE_FILES) if work.manifest is not None else 0,
        findings=len(bundle.findings) if bundle is not None else 0,
    )


def _walk(work: _Work) -> dict[str, os.stat_result]:
    """Every plain file of the folder; a link, a device or an empty folder is a problem, and nothing is followed."""
    found: dict[str, os.stat_result] = {}
    for path, info in _entries(work, work.directory, ""):
        if len(found) >= FILES_LIMIT:
            work.problem(path, f"is one of more than {FILES_LIMIT:,} files: this is no report")
            break
        if path in found:
            work.problem(path, "is there twice: one of the two has bytes in its name that are no text")
        elif stat.S_ISREG(info.st_mode):
            found[path] = info
        elif stat.S_ISLNK(info.st_mode):
            work.problem(path, "is a link; a report consists of plain files")
        else:
            work.problem(path, "is no plain file")
    return found


def _entries(work: _Work, folder: Path, prefix: str) -> Iterator[tuple[str, os.stat_result]]:
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        work.problem(prefix or ".", f"cannot be read: {error.strerror or error}")
        return
    if prefix and not entries:
        work.problem(prefix, "is an empty folder that the manifest does not know")
    if prefix.count("/") > 30:
        work.problem(prefix, "is nested deeper than any report")
        return
    for entry in entries:
        name = entry.name.encode("utf-8", "replace").decode("utf-8")
        path = f"{prefix}/{name}" if prefix else name
        try:
            info = entry.stat(follow_symlinks=False)
        except OSError as error:
            work.problem(path, f"cannot be read: {error.strerror or error}")
            continue
        if stat.S_ISDIR(info.st_mode):
            yield from _entries(work, folder / entry.name, path)
        else:
            yield path, info


def _small(work: _Work, file: str) -> bytes | None:
    try:
        return read_file(work.directory, file, SMALL_LIMIT_BYTES)
    except BrokenFile as error:
        work.problem(error.file, error.what)
        return None


def _signature(work: _Work, given: PublicKey | None, trust_key_inside: bool) -> bytes | None:
    """Check the signature files and give the manifest's bytes, or None when the manifest is not what was signed."""
    envelope_bytes, bundle_bytes = _small(work, DSSE), _small(work, SIGSTORE)
    pem, manifest_bytes = _small(work, PUBLIC_KEY), _small(work, MANIFEST)
    inside = None
    if pem is not None:
        try:
            inside = PublicKey.from_pem(pem)
        except ValueError as error:
            work.problem(PUBLIC_KEY, f"is no ed25519 public key in PEM: {str(error)[:100]}")
    if envelope_bytes is None:
        return None
    try:
        envelope = SignedEnvelope.read(envelope_bytes)
    except BrokenFile as error:
        work.problem(error.file, error.what)
        return None
    key = _signing_key(work, envelope, given, inside, trust_key_inside)
    if key is None:
        return None
    expected = render_signature_files(envelope.payload, envelope.signature, key)
    for file, data in ((DSSE, envelope_bytes), (SIGSTORE, bundle_bytes), (PUBLIC_KEY, pem)):
        if data is not None and data != expected[file]:
            work.problem(file, "is not what the signature and its key make of it: altered after signing")
    work.payload = envelope.payload
    return _signed_manifest(work, envelope, manifest_bytes)


def _signed_manifest(work: _Work, envelope: SignedEnvelope, manifest_bytes: bytes | None) -> bytes | None:
    try:
        digest = subject_digest(envelope.payload)
    except BrokenFile as error:
        work.problem(error.file, error.what)
        return None
    if manifest_bytes is not None and FileDigest.of(manifest_bytes).sha256 != digest:
        work.problem(MANIFEST, "is not the one that was signed: its SHA-256 differs from the statement's")
        return None
    return manifest_bytes


def _signing_key(
    work: _Work,
    envelope: SignedEnvelope,
    given: PublicKey | None,
    inside: PublicKey | None,
    trust_key_inside: bool,
) -> PublicKey | None:
    """The key that signed, if it is one to believe; problems otherwise. A key that is not believed is still used to
    tell an altered report from one by somebody else."""
    own = own_public_key() if given is None else None
    for key, trust in ((given, Trust.GIVEN), (own, Trust.OWN), (inside, Trust.INSIDE)):
        if key is not None and key.verifies(envelope.signature, envelope.signed_bytes):
            work.signed_by = key.keyid
            believed = trust is not Trust.INSIDE or (given is None and trust_key_inside)
            work.trust = trust if believed else Trust.NONE
            if not believed:
                work.problem(PUBLIC_KEY, _not_believed(key, given))
            return key
    if inside is not None and envelope.keyid != inside.keyid and _is_keyid(envelope.keyid):
        work.problem(PUBLIC_KEY, f"is not the key that signed: the envelope names key {envelope.keyid[:16]}…")
        work.problem(DSSE, "its signature could be checked with no key that is at hand")
        return None
    work.problem(DSSE, "its signature does not fit what it holds: altered after signing")
    return None


def _is_keyid(text: str) -> bool:
    return len(text) == 64 and all(char in "0123456789abcdef" for char in text)


def _not_believed(key: PublicKey, given: PublicKey | None) -> str:
    if given is not None:
        return f"the report is signed by key {key.keyid[:16]}…, not by the given key {given.keyid[:16]}…"
    return (
        f"the report is signed by key {key.keyid[:16]}…, which is not your own: with only the key inside it, "
        "a report is no better than whoever handed it over. Give the signer's key with --key"
    )


def _presence(work: _Work, present: Mapping[str, os.stat_result]) -> None:
    """Without a manifest to go by, at least what every report has."""
    known = {problem.file for problem in work.problems}
    for file in (MANIFEST, *SIGNATURE_FILES, *PARSED_FILES):
        if file not in present and file not in known:
            work.problem(file, "is missing")


def _digests(work: _Work, present: Mapping[str, os.stat_result], manifest_bytes: bytes) -> None:
    """Every file against the manifest. Sets `work.manifest` when the manifest can be read."""
    try:
        manifest = Manifest.read(manifest_bytes)
    except BrokenFile as error:
        work.problem(error.file, error.what)
        return
    work.manifest = manifest
    for file in PARSED_FILES:
        if file not in manifest.files:
            work.problem(MANIFEST, f"does not list {file}, which every report has")
    for file in (MANIFEST, *SIGNATURE_FILES):
        if file in manifest.files:
            work.problem(MANIFEST, f"lists {file}, which no manifest can")
    for file in sorted(set(present) - set(manifest.files) - {MANIFEST, *SIGNATURE_FILES}):
        work.problem(file, path_problem(file) or "is not in the manifest: added after signing")
    linked = {problem.file for problem in work.problems}
    for file, digest in sorted(manifest.files.items()):
        if file in present:
            _digest(work, file, digest, present[file].st_size)
        elif file not in linked:
            work.problem(file, "is missing")


def _digest(work: _Work, file: str, expected: FileDigest, size_bytes: int) -> None:
    if size_bytes != expected.size_bytes:
        work.problem(
            file, f"was altered: it has {size_bytes:,} bytes and the manifest says {expected.size_bytes:,}"
        )
        return
    try:
        if file in PARSED_FILES:  # these bytes, and no others, are parsed later
            data = read_file(work.directory, file)
            work.read[file] = data
            found = hashlib.sha256(data).hexdigest()
        else:
            with (work.directory / file).open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
    except BrokenFile as error:
        work.problem(error.file, error.what)
        return
    except OSError as error:
        work.problem(file, f"cannot be read: {error.strerror or error}")
        return
    if found != expected.sha256:
        work.problem(file, "was altered: its SHA-256 is not the manifest's")


def _engine(manifest: Manifest, work: _Work) -> bool:
    made_by = manifest.run.engine_version
    if made_by == __version__:
        return True
    work.problem(
        MANIFEST,
        f"the report was made by pytest-readiness {made_by} and this is {__version__}: signature and digests were "
        f"checked, findings cannot be computed again. Install pytest-readiness=={made_by}",
    )
    return False


def _recompute(work: _Work, manifest_bytes: bytes) -> None:
    """Everything right of the history once more."""
    work.read[MANIFEST] = manifest_bytes
    try:
        work.bundle = parse_bundle(work.read.__getitem__)
    except BrokenFile as error:
        work.problem(error.file, error.what)
        return
    for problem in recompute(work.bundle, work.read.__getitem__, work.payload, work.signed_by):
        work.problem(problem.file, problem.what)
