"""What came back, as columns: reads the blocks that the child appended to its answers file.

Takes bytes of whole blocks, gives an Arrow table with one row a record; times are the child's monotonic clock. A block
that is not whole yet, or was cut off by a kill, is left for later or for good.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from harness.replay.answers import BLOCK, FIELDS, MAGIC, RECORD
from harness.replay.protocol import BODY_LIMIT_BYTES

Array = npt.NDArray[Any]
_DTYPE = np.dtype([(name, form) for name, form, _ in FIELDS])
assert _DTYPE.itemsize == RECORD.size

_NUMBERS = (
    "seq",
    "due_ns",
    "sent_ns",
    "connected_ns",
    "first_byte_ns",
    "answered_ns",
    "status",
    "sent_bytes",
    "received_bytes",
)
ANSWERS = pa.schema(
    [
        *((name, pa.int32() if name == "status" else pa.int64()) for name in _NUMBERS),
        ("error", pa.string()),
        ("body", pa.string()),
        ("body_digest", pa.string()),
        ("over", pa.bool_()),
    ]
)


@dataclass(frozen=True)
class Answer:
    """What became of one request; times on the child's monotonic clock, -1: did not happen. See `Exchanges`."""

    seq: int
    due_ns: int
    sent_ns: int
    connected_ns: int
    first_byte_ns: int
    answered_ns: int
    status: int
    sent_bytes: int
    received_bytes: int
    error: str
    body: str
    body_digest: str


class Answers(Sequence[Answer]):
    """Rows of `ANSWERS` that are over, in the order in which they became so; `column` gives one as a numpy array."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def column(self, name: str) -> Array:
        """One column; strings as an object array."""
        values: Array = self.table.column(name).to_numpy()
        return values

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @overload
    def __getitem__(self, index: int) -> Answer: ...

    @overload
    def __getitem__(self, index: slice) -> Answers: ...

    def __getitem__(self, index: int | slice) -> Answer | Answers:
        if isinstance(index, slice):
            return Answers(self.table.take(range(*index.indices(len(self)))))
        row = self.table.slice(range(len(self))[index], 1).to_pylist()[0]
        return Answer(**{name: row[name] for name in Answer.__dataclass_fields__})


class AnswersReader:
    """Follows an answers file: `more` gives the records of the blocks that were added since the last call."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0

    def more(self) -> pa.Table:
        """Rows of `ANSWERS`; none while no whole block was added. Raises OSError, ValueError for bytes that are none."""
        batches = []
        with self._path.open("rb") as file:
            file.seek(self._at)
            for head, block in iter(lambda: _next_block(file), None):
                batches.append(block)
                self._at += head
        return pa.Table.from_batches(batches, ANSWERS)


def _next_block(file: Any) -> tuple[int, pa.RecordBatch] | None:
    head = file.read(BLOCK.size)
    if len(head) < BLOCK.size:
        return None
    magic, records, text_bytes = BLOCK.unpack(head)
    if magic != MAGIC:
        raise ValueError(f"{magic!r} begins no block of answers")
    wanted = records * RECORD.size + text_bytes
    data = file.read(wanted)
    if len(data) < wanted:
        return None
    return BLOCK.size + wanted, _batch(np.frombuffer(data, _DTYPE, records), data, records * RECORD.size)


def _batch(records: Array, data: bytes, texts_at: int) -> pa.RecordBatch:
    columns = [pa.array(records[name]) for name in _NUMBERS]
    columns += [
        pa.array(column, pa.string()) for column in zip(*_texts(records, data, texts_at), strict=True)
    ]
    columns.append(pa.array(records["over"] == 1))
    return pa.RecordBatch.from_arrays(columns, schema=ANSWERS)


def _texts(records: Array, data: bytes, texts_at: int) -> Iterator[tuple[str, str, str]]:
    """Error, body and digest of each record; a body that was cut says so, which no schema takes for a whole answer."""
    starts, errors, kept = (records[name].tolist() for name in ("text_at", "error_bytes", "text_bytes"))
    wholes, digests = records["body_bytes"].tolist(), records["digest"].tolist()
    for start, error_bytes, length, whole, digested, digest in zip(
        starts, errors, kept, wholes, records["has_digest"].tolist(), digests, strict=True
    ):
        at = texts_at + start
        error = data[at : at + error_bytes].decode("utf-8", errors="replace") if error_bytes else ""
        at += error_bytes
        body = data[at : at + length].decode("utf-8", errors="replace")
        if length < whole and length >= BODY_LIMIT_BYTES:
            body = f"{body}…[cut: {whole} bytes]"
        yield error, body, bytes(digest).hex() if digested else ""
