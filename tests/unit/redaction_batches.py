"""Batches of captured exchanges for tests of redaction. Holds no test."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from harness.recording.captured import CAPTURED
from harness.recording.redaction import RedactionReport, RedactionRules, Redactor

KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))

_EMPTY: dict[str, Any] = {field.name: "" if pa.types.is_string(field.type) else -1 for field in CAPTURED} | {
    "at_ns": 0,
    "method": "GET",
    "path": "/",
    "body": b"",
    "answer_body": None,
    "status": 200,
}


def batch(*rows: dict[str, Any], encoded: bool = False) -> pa.RecordBatch:
    """One row each, of which only what matters is given; `encoded`: text columns by dictionary."""
    made = pa.RecordBatch.from_pylist([{**_EMPTY, **row} for row in rows], schema=CAPTURED)
    if not encoded:
        return made
    arrays = [
        made.column(field.name).dictionary_encode()
        if pa.types.is_string(field.type)
        else made.column(field.name)
        for field in CAPTURED
    ]
    return pa.RecordBatch.from_arrays(arrays, names=CAPTURED.names)


def redacted(
    *rows: dict[str, Any], rules: RedactionRules | None = None, with_key: bytes = KEY
) -> tuple[list[dict[str, Any]], RedactionReport]:
    """The rows as they come out, and the report."""
    redactor = Redactor(rules or RedactionRules(), with_key)
    done = redactor.redact(batch(*rows))
    assert done.schema == CAPTURED
    return done.to_pylist(), redactor.report()


def one(rules: RedactionRules | None = None, with_key: bytes = KEY, **row: Any) -> dict[str, Any]:
    """One row as it comes out."""
    (found,), _ = redacted(row, rules=rules, with_key=with_key)
    return found
