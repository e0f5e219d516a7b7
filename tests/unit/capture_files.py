"""Files of captured traffic for tests, and what a reader makes of them. Holds no test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import DefinitionError
from harness.recording.captured import CAPTURED
from harness.recording.readers.base import HEAD_BYTES, Reader, Rejects, Source

SHARED = Path(__file__).parents[3] / "shared/data/traffic"

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not here")


def read(reader: Reader, path: Path, skip: bool = False) -> tuple[list[dict[str, Any]], Rejects]:
    """The rows of a file that the reader recognises, and what it rejected."""
    rejects = Rejects(path, skip)
    rows: list[dict[str, Any]] = []
    for batch in reader.read(Source(path), rejects):
        assert batch.schema.names == CAPTURED.names
        rows += batch.to_pylist()
    return rows, rejects


def recognised(reader: Reader, path: Path) -> bool:
    return reader.recognises(path, path.read_bytes()[:HEAD_BYTES])


def rows_of(reader: Reader, path: Path) -> list[dict[str, Any]]:
    """The rows of a file in which everything is right."""
    rows, rejects = read(reader, path)
    assert said(rejects) == ""
    return rows


def said(rejects: Rejects) -> str:
    """The message that refuses the import; "" when there is none."""
    try:
        rejects.problems.raise_if_any()
    except DefinitionError as error:
        return str(error).replace(str(rejects.path), rejects.path.name) + "\n"
    return ""


def entry(url: str = "http://shop.example/a", method: str = "GET", **parts: Any) -> dict[str, Any]:
    """A HAR entry; `request`, `response` and `timings` are merged, everything else stands for itself."""
    made: dict[str, Any] = {
        "startedDateTime": "2026-03-01T10:00:00.000Z",
        "time": 30,
        "request": {
            "method": method,
            "url": url,
            "httpVersion": "HTTP/1.1",
            "headers": [],
            "headersSize": 50,
            "bodySize": 0,
        },
        "response": {
            "status": 200,
            "statusText": "OK",
            "httpVersion": "HTTP/1.1",
            "headers": [],
            "content": {"size": 2, "text": "ok"},
            "headersSize": 20,
            "bodySize": 2,
        },
        "timings": {"send": 1, "wait": 19, "receive": 10},
    }
    for name in ("request", "response"):
        made[name] = {**made[name], **parts.pop(name, {})}
    return {**made, **parts}


def har(path: Path, *entries: Any, creator: str = "Firefox", indent: int | None = None, **log: Any) -> Path:
    """A HAR file with these entries."""
    document = {"log": {"version": "1.2", "creator": {"name": creator}, **log, "entries": list(entries)}}
    path.write_text(json.dumps(document, indent=indent), encoding="utf-8")
    return path


def key_in(folder: Path) -> Path:
    """A redaction key of this test's own."""
    path = folder / "key"
    path.write_text("17" * 32)
    path.chmod(0o600)
    return path
