"""Write a report bundle all at once or not at all, and read one back.

Takes case, history, findings, verdict, the definitions as used and the containers' logs; gives a directory laid out as
`README.md` beside this file says. The files are written to a folder beside it, forced to disk and renamed in one step:
a full disk or a kill leaves no half-done report under the report's name.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from harness.errors import DefinitionError, EngineError
from harness.model.case import Case
from harness.model.findings import Finding, Verdict
from harness.model.history import History
from harness.report import canonical
from harness.report.canonical import BrokenFile
from harness.report.history_files import as_written, history_files, read_history
from harness.report.html import render_page
from harness.report.junit import render_junit
from harness.report.keys import SigningKey
from harness.report.layout import (
    CASE,
    DEFINITIONS,
    FINDINGS,
    JUNIT,
    LOGS,
    MANIFEST,
    PAGE,
    PARSED_LIMIT_BYTES,
    VERDICT,
    Bundle,
    FileDigest,
    Manifest,
    RunMeta,
    Signer,
    case_files,
    made_with,
    read_findings,
    read_model,
    safe_path,
)
from harness.report.signing import signature_files, statement

Reader = Callable[[str], bytes]
"""Gives the bytes of a file by its path in the bundle; raises BrokenFile."""


def write_bundle(
    directory: Path,
    case: Case,
    history: History,
    findings: Iterable[Finding],
    verdict: Verdict,
    definitions: Mapping[str, bytes],
    logs: Mapping[str, str],
    meta: RunMeta,
    signer: SigningKey,
) -> Path:
    """The signed report as `directory`, which must not be there yet; its parents are made. Gives `directory`.

    `definitions` are the source files as used, `logs` name -> text. Raises EngineError, with nothing left behind, when
    the disk is full or the place cannot be written.
    """
    content = bundle_files(case, history, tuple(findings), verdict, definitions, logs, meta, signer)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise EngineError(
            f"the report cannot be written to {directory}: something is there already",
            "name another place with --out, or move what is there",
        )
    partial: Path | None = None
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=directory.parent, prefix=f".{directory.name[:60]}.partial-"))
        partial.chmod(0o755)
        _write_files(partial, content)
        partial.replace(directory)
        _sync_folder(directory.parent)
    except OSError as error:
        raise EngineError(
            f"the report could not be written to {directory}: {error.strerror or error}",
            f"{sum(map(len, content.values())) / 1e6:.1f} MB are needed there; make room, or name another --out",
        ) from None
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
    return directory


def bundle_files(
    case: Case,
    history: History,
    findings: tuple[Finding, ...],
    verdict: Verdict,
    definitions: Mapping[str, bytes],
    logs: Mapping[str, str],
    meta: RunMeta,
    signer: SigningKey,
) -> dict[str, bytes]:
    """Every file of the bundle, path -> content; the same bytes for the same arguments."""
    history = as_written(history)
    content = {
        **case_files(case),
        **history_files(history),
        **result_files(findings, verdict),
        **_renamed(DEFINITIONS, definitions, ""),
        **_renamed(LOGS, {name: text.encode("utf-8", "replace") for name, text in logs.items()}, ".log"),
    }
    digests = {path: FileDigest.of(data) for path, data in content.items()}
    manifest = Manifest(
        run=meta,
        signer=Signer(keyid=signer.public.keyid, self_signed=signer.self_signed),
        made_with=made_with(),
        files=digests,
    )
    bundle = Bundle(manifest, _reread(case), history, read_findings(content[FINDINGS]), verdict)
    content |= rendered_files(bundle)
    complete = {path: FileDigest.of(data) for path, data in content.items()}
    manifest = manifest.model_copy(update={"files": complete})
    content[MANIFEST] = canonical.dump(manifest)
    payload = statement(manifest, content[MANIFEST], bundle.case, bundle.findings, verdict)
    return content | signature_files(payload, signer)


def result_files(findings: Iterable[Finding], verdict: Verdict) -> dict[str, bytes]:
    """`findings.json` and `verdict.json`."""
    return {FINDINGS: canonical.dump(list(findings)), VERDICT: canonical.dump(verdict)}


def rendered_files(bundle: Bundle) -> dict[str, bytes]:
    """What is drawn from the rest: `report.html` and `junit.xml`, the same bytes for the same bundle."""
    return {PAGE: render_page(bundle), JUNIT: render_junit(bundle)}


def read_bundle(directory: Path) -> Bundle:
    """A report as it lies there, unverified. Raises DefinitionError when it cannot be read."""
    check_folder(directory)
    try:
        return parse_bundle(lambda path: read_file(directory, path))
    except BrokenFile as error:
        raise DefinitionError.at(
            directory / error.file, error.what, "name the folder of a report that `readiness run` wrote"
        ) from None


def check_folder(directory: Path) -> None:
    """Raises DefinitionError when no folder is there."""
    if not directory.is_dir():
        raise DefinitionError.at(directory, "there is no such folder", "name the folder of a report")


def parse_bundle(read: Reader) -> Bundle:
    """A report from the bytes that `read(path)` gives. Raises BrokenFile."""
    return Bundle(
        manifest=Manifest.read(read(MANIFEST)),
        case=read_model(Case, CASE, read(CASE)),
        history=read_history(read),
        findings=read_findings(read(FINDINGS)),
        verdict=read_model(Verdict, VERDICT, read(VERDICT)),
    )


def read_file(directory: Path, path: str, limit_bytes: int = PARSED_LIMIT_BYTES) -> bytes:
    """The bytes of one plain file, no link and no more than the limit. Raises BrokenFile."""
    full = directory / path
    try:
        found = full.lstat()
        if not stat.S_ISREG(found.st_mode):
            raise BrokenFile(path, "is no plain file")
        if found.st_size > limit_bytes:
            raise BrokenFile(
                path, f"has {found.st_size:,} bytes, more than the {limit_bytes:,} that are read"
            )
        with full.open("rb") as file:
            data = file.read(limit_bytes + 1)
    except FileNotFoundError:
        raise BrokenFile(path, "is missing") from None
    except OSError as error:
        raise BrokenFile(path, f"cannot be read: {error.strerror or error}") from None
    if len(data) > limit_bytes:
        raise BrokenFile(path, "grew while it was read")
    return data


def _reread(case: Case) -> Case:
    """The case as a verifier will read it, so that both render the same page from it."""
    return read_model(Case, CASE, canonical.dump(case))


def _renamed(folder: str, files: Mapping[str, bytes], suffix: str) -> dict[str, bytes]:
    """`folder/NAME` for each file; names that fall together when made safe are numbered."""
    result: dict[str, bytes] = {}
    for name, data in sorted(files.items()):
        path = safe_path(folder, name if name.endswith(suffix) else name + suffix)
        unique, number = path, 2
        while unique in result:
            unique, number = f"{path}~{number}", number + 1
        result[unique] = data
    return result


def _write_files(folder: Path, content: Mapping[str, bytes]) -> None:
    folders = {folder}
    for path, data in content.items():
        full = folder / path
        full.parent.mkdir(parents=True, exist_ok=True)
        folders.update(parent for parent in full.parents if folder in parent.parents)
        with full.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    for made in sorted(folders):
        _sync_folder(made)


def _sync_folder(folder: Path) -> None:
    """Names are on disk too; where folders cannot be synced (some network file systems) the files still were."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
