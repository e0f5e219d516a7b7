"""What lies where in a report bundle, and the manifest that holds it together.

Gives the names of the files, `RunMeta` (what a run says about itself), `Manifest` (digest and size of every other file)
and `Bundle` (a report as read). No I/O; the README beside this file explains the layout to strangers.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from harness.model.base import Definition
from harness.model.case import Case
from harness.model.findings import Finding, Verdict
from harness.model.history import History
from harness.report import canonical
from harness.report.canonical import BrokenFile

MANIFEST = "manifest.json"
CASE = "case.json"
PLAN = "plan.json"
POLICY = "policy.json"
FINDINGS = "findings.json"
VERDICT = "verdict.json"
PAGE = "report.html"
JUNIT = "junit.xml"
EXCHANGES = "history/exchanges.parquet"
EDGE_REQUESTS = "history/edge_requests.parquet"
WITNESS = "history/witness.parquet"
LABELS = "history/labels.parquet"
EVENTS = "history/events.jsonl"
DSSE = "statement.dsse.json"
SIGSTORE = "statement.sigstore.json"
PUBLIC_KEY = "public-key.pem"
DEFINITIONS = "definitions"
LOGS = "logs"

HISTORY_FILES = (EXCHANGES, EDGE_REQUESTS, WITNESS, LABELS, EVENTS)
SIGNATURE_FILES = (DSSE, SIGSTORE, PUBLIC_KEY)
"""Not in the manifest, because they are made from it."""
PARSED_FILES = (CASE, PLAN, POLICY, FINDINGS, VERDICT, PAGE, JUNIT, *HISTORY_FILES)
"""Files that every bundle has besides the manifest and the signature files."""

FORMAT: Literal[1] = 1
PARSED_LIMIT_BYTES = 1 << 30
"""No file that is read as a whole may be larger."""
SMALL_LIMIT_BYTES = 16 << 20
"""Nor may the manifest or a signature file be larger than this."""
FILES_LIMIT = 10_000

Model = TypeVar("Model", bound=Definition)


def path_problem(path: str) -> str | None:
    """Why `path` is no path of a file inside a bundle, or None when it is one: relative, `/`, no `..`, printable."""
    parts = path.split("/")
    if not path or path.startswith("/") or "" in parts or "." in parts or ".." in parts:
        return f"{path[:200]!r} is no path inside the report"
    if len(path) > 500 or not path.isprintable() or "\\" in path:
        return f"{path[:200]!r} has characters that file names in a report have not"
    return None


def safe_path(folder: str, name: str) -> str:
    """A path inside `folder` for a file that was called `name` elsewhere; what cannot stand in a path is replaced."""
    parts = [
        "up" if part == ".." else part for part in name.replace("\\", "/").split("/") if part not in ("", ".")
    ]
    clean = (
        "/".join("".join(char if char.isprintable() else "_" for char in part) for part in parts) or "unnamed"
    )
    return f"{folder}/{clean[-400:].lstrip('/')}"


def _inside(path: str) -> str:
    problem = path_problem(path)
    if problem is not None:
        raise ValueError(problem)
    return path


class FileDigest(Definition):
    """What a file must be."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=0, strict=True)

    @classmethod
    def of(cls, data: bytes) -> FileDigest:
        return cls(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))


def _utc(moment: dt.datetime) -> dt.datetime:
    if moment.tzinfo is None:
        raise ValueError("a moment needs a time zone")
    return moment.astimezone(dt.UTC).replace(microsecond=0)


class RunMeta(Definition):
    """What a run says about itself. `evaluated_at` is when the verdict was reached; kept in UTC, whole seconds."""

    run_id: str
    seed: int
    engine_version: str
    evaluated_at: Annotated[dt.datetime, AfterValidator(_utc)]
    repeat_command: str


class Signer(Definition):
    """Who signed: `keyid` is the SHA-256 of the public key in DER; self-signed means a key that the run made itself."""

    keyid: str = Field(pattern=r"^[0-9a-f]{64}$")
    self_signed: bool


class Manifest(Definition):
    """The one file that the signature names: digest and size of every other file, and how the run came about."""

    format: Literal[1] = FORMAT
    run: RunMeta
    signer: Signer
    made_with: dict[str, str] = Field(description="Versions that could make a recomputation differ.")
    files: dict[Annotated[str, AfterValidator(_inside)], FileDigest]

    @classmethod
    def read(cls, data: bytes) -> Manifest:
        """Raises BrokenFile."""
        return read_model(cls, MANIFEST, data)


@dataclass(frozen=True)
class Bundle:
    """A report as read. `directory/file` is where a file lies; nothing in it has been verified."""

    manifest: Manifest
    case: Case
    history: History
    findings: tuple[Finding, ...]
    verdict: Verdict


def made_with() -> dict[str, str]:
    """Versions of whatever takes part in computing findings and writing files."""
    return {"python": platform.python_version()} | {
        name: version(name) for name in ("jinja2", "jsonschema", "numpy", "pyarrow", "pydantic")
    }


def read_model(model: type[Model], file: str, data: bytes) -> Model:
    """A model from canonical JSON. Raises BrokenFile."""
    value = canonical.parse_canonical(file, data)
    try:
        return model.model_validate(value)
    except (ValidationError, RecursionError) as error:
        raise BrokenFile(file, f"does not hold what it should: {first_error(error)}") from None


_FINDINGS = TypeAdapter(tuple[Finding, ...])


def read_findings(data: bytes) -> tuple[Finding, ...]:
    """Raises BrokenFile."""
    value = canonical.parse_canonical(FINDINGS, data)
    try:
        return _FINDINGS.validate_python(value)
    except (ValidationError, RecursionError) as error:
        raise BrokenFile(FINDINGS, f"does not hold findings: {first_error(error)}") from None


def first_error(error: Exception) -> str:
    """The first of pydantic's errors in one line."""
    if isinstance(error, ValidationError):
        found = error.errors()[0]
        where = ".".join(str(part) for part in found["loc"])
        return f"{where or 'the whole'}: {found['msg']}"
    return str(error)


def case_files(case: Case) -> Mapping[str, bytes]:
    """`case.json`, and its plan and policy once more on their own."""
    return {CASE: canonical.dump(case), PLAN: canonical.dump(case.plan), POLICY: canonical.dump(case.policy)}
