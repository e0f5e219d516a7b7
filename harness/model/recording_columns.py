"""A recording column by column: the schema in which it is kept, and the digest that names its content.

Takes exchanges or record batches, gives record batches and `sha256:` digests. The digest is over columns and not over
rows or files, so that it costs little for millions of exchanges and is the same however they were cut into batches, and
for a recording in memory as for a stored one (harness/recording/README.md says how to compute it by hand). Nothing here
does I/O.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from harness.model.recording import Exchange

DIGEST_FORMAT = 2
"""Version of what the digest is over; its first line names it."""

BODY_DIGEST = pa.binary(32)
"""A body stands in a recording as its SHA-256; the body itself lies elsewhere."""

STORED = pa.schema(
    [
        ("at_ns", pa.int64()),  # since the recording's start, ascending
        ("client", pa.string()),
        ("key", pa.string()),
        ("method", pa.string()),
        ("scheme", pa.string()),
        ("host", pa.string()),
        ("path", pa.string()),
        ("route", pa.string()),
        ("http", pa.string()),
        ("connection", pa.string()),
        ("headers", pa.string()),
        ("body", BODY_DIGEST),  # null: not known
        ("request_bytes", pa.int64()),
        ("first_byte_ns", pa.int64()),  # since the recording's start
        ("answered_ns", pa.int64()),  # since the recording's start
        ("status", pa.int32()),
        ("error", pa.string()),
        ("answer_headers", pa.string()),
        ("answer_body", BODY_DIGEST),  # null: not known
        ("answer_bytes", pa.int64()),
    ]
)
"""The columns of `harness.recording.captured.CAPTURED`, which says what each means; bodies by digest."""

ROWS_AT_ONCE = 65_536

_EMPTY_BODY = hashlib.sha256(b"").digest()
_NO_BODY = bytes(32)


class ContentDigest:
    """Fed with batches of `STORED` in order; `finish` gives the digest. A column of text may be dictionary-encoded."""

    def __init__(self) -> None:
        self.count = 0
        self._hashers = {field.name: (hashlib.sha256(), hashlib.sha256()) for field in STORED}

    def update(self, batch: pa.RecordBatch) -> None:
        """The next rows. Raises KeyError for a missing column."""
        self.count += batch.num_rows
        for field in STORED:
            lengths, content = self._hashers[field.name]
            column = batch.column(field.name)
            if field.type == pa.string():
                offsets, data = _text(column)
                lengths.update(np.diff(offsets).astype("<u4"))
                content.update(data)
            elif field.type == BODY_DIGEST:
                # A request whose body is not known is sent without one, so the two are the same traffic.
                content.update(_fixed(column, _EMPTY_BODY if field.name == "body" else _NO_BODY))
            else:
                content.update(_numbers(column))

    def finish(self, length_ns: int) -> str:
        """`sha256:` over the columns' digests. May be called again."""
        lines = [f"recording {DIGEST_FORMAT}", f"length_ns {length_ns}", f"exchanges {self.count}"]
        for field in STORED:
            lengths, content = self._hashers[field.name]
            parts = [lengths.hexdigest()] if field.type == pa.string() else []
            lines.append(" ".join([field.name, *parts, content.hexdigest()]))
        return "sha256:" + hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def _text(column: Any) -> tuple[Any, Any]:
    """Where each text starts and ends, and the bytes of all of them."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if column.null_count:
        column = pc.fill_null(column, "")
    _, offsets, data = column.buffers()
    if offsets is None or not len(column):
        return np.zeros(len(column) + 1, np.int32), b""
    bounds = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    content = memoryview(data)[int(bounds[0]) : int(bounds[-1])] if data is not None else b""
    return bounds, content


def _fixed(column: Any, null: bytes) -> Any:
    """The digests one after another."""
    if column.null_count == len(column):
        return null * len(column)
    if column.null_count:
        column = pc.fill_null(column, pa.scalar(null, BODY_DIGEST))
    return memoryview(column.buffers()[1])[32 * column.offset : 32 * (column.offset + len(column))]


def _numbers(column: Any) -> Any:
    values = column.to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(values, values.dtype.newbyteorder("<"))


def content_digest(exchanges: Iterable[Exchange], length_ns: int) -> str:
    """`sha256:` over the exchanges and the length: equal for equal traffic, whatever its name, file or attribution."""
    digest, left = ContentDigest(), iter(exchanges)
    while some := list(islice(left, ROWS_AT_ONCE)):
        digest.update(stored_columns(some))
    return digest.finish(length_ns)


def stored_columns(exchanges: Sequence[Exchange]) -> pa.RecordBatch:
    """The exchanges as a batch of `STORED`; the body of a request is always known here."""

    def lines(headers: Iterable[tuple[str, str]]) -> str:
        return "\n".join(f"{name}: {value}" for name, value in headers)

    def texts(name: str) -> list[str]:
        return [getattr(exchange, name) for exchange in exchanges]

    answers = [exchange.answer for exchange in exchanges]
    columns: dict[str, list[Any]] = {
        "at_ns": [exchange.at_ns for exchange in exchanges],
        **{name: texts(name) for name in ("client", "key", "method", "scheme", "host", "path", "route")},
        **{name: texts(name) for name in ("http", "connection")},
        "headers": [lines(exchange.headers) for exchange in exchanges],
        "body": [hashlib.sha256(exchange.body).digest() for exchange in exchanges],
        "request_bytes": [exchange.size_bytes for exchange in exchanges],
        "first_byte_ns": [answer.first_byte_ns for answer in answers],
        "answered_ns": [answer.answered_ns for answer in answers],
        "status": [answer.status for answer in answers],
        "error": [answer.error for answer in answers],
        "answer_headers": [lines(answer.headers) for answer in answers],
        "answer_body": [
            None if answer.body is None else hashlib.sha256(answer.body).digest() for answer in answers
        ],
        "answer_bytes": [answer.size_bytes for answer in answers],
    }
    return pa.RecordBatch.from_arrays(
        [pa.array(columns[field.name], field.type) for field in STORED], schema=STORED
    )
