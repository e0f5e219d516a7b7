"""Captured exchanges one by one, gathered into record batches: what the readers of captures with bodies build on.

Takes `Row`s, gives batches of `CAPTURED` of a few megabytes each. Whatever is wrong with one record is an
`UnusableError`, and what no replay could send a `LeftOutError`; neither names a value of the record.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from harness.recording.captured import CAPTURED, UNKNOWN_NS

MOST_ROWS = 4_096
MOST_BYTES = 8 * 2**20
"""A batch is given when it has this many rows, or bodies and headers of this size."""

LEAVE_OUT = "leave it out with --skip-bad"


@dataclass(frozen=True, slots=True)
class Row:
    """One exchange as `CAPTURED` has it; what is not given is not known."""

    at_ns: int
    method: str
    path: str
    client: str = ""
    key: str = ""
    scheme: str = ""
    host: str = ""
    route: str = ""
    http: str = ""
    connection: str = ""
    headers: str = ""
    body: bytes | None = None
    request_bytes: int = -1
    first_byte_ns: int = UNKNOWN_NS
    answered_ns: int = UNKNOWN_NS
    status: int = -1
    error: str = ""
    answer_headers: str = ""
    answer_body: bytes | None = None
    answer_bytes: int = -1

    def size_bytes(self) -> int:
        """About what it takes in memory."""
        bodies = len(self.body or b"") + len(self.answer_body or b"")
        return bodies + len(self.headers) + len(self.answer_headers) + len(self.path)


class UnusableError(ValueError):
    """Why a record cannot be used, and what to do; neither names a value of the record."""

    def __init__(self, what: str, fix: str = LEAVE_OUT) -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix


class LeftOutError(ValueError):
    """Why a record is right, and yet nothing that a replay could send."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Rows:
    """Gathers rows; `full` says when it is time for `batch`."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._bytes = 0

    def add(self, row: Row) -> None:
        self._rows.append(row)
        self._bytes += row.size_bytes()

    @property
    def full(self) -> bool:
        return len(self._rows) >= MOST_ROWS or self._bytes >= MOST_BYTES

    def batch(self) -> Iterator[pa.RecordBatch]:
        """What was gathered, as one batch or none; begins anew."""
        if not self._rows:
            return
        rows, self._rows, self._bytes = self._rows, [], 0
        arrays = [_column(field, [getattr(row, field.name) for row in rows]) for field in CAPTURED]
        yield pa.RecordBatch.from_arrays(arrays, names=CAPTURED.names)


def _column(field: Any, values: list[Any]) -> Any:
    column = pa.array(values, field.type)
    return column.dictionary_encode() if field.type == pa.string() else column
