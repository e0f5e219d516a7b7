"""Captured batches and stored recordings for tests. Holds no test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from harness.recording.captured import CAPTURED
from harness.recording.readers.base import Rejects, Source
from harness.recording.store import StoredRecording
from harness.recording.store_writer import RecordingWriter, Said

EPOCH_NS = 1_700_000_000 * 10**9
UNKNOWN: dict[str, Any] = {
    field.name: "" if field.type == pa.string() else None if field.type == pa.binary() else -1
    for field in CAPTURED
}

Row = dict[str, Any]
_numbers = itertools.count()


def row(at_ns: int, path: str = "/", **more: Any) -> Row:
    """What a reader says of one exchange."""
    return {**UNKNOWN, "at_ns": at_ns, "method": "GET", "path": path, **more}


def batch(rows: Sequence[Row], encoded: bool = False) -> pa.RecordBatch:
    """As a reader gives it; its texts dictionary-encoded where wanted."""
    arrays = [pa.array([item[field.name] for item in rows], field.type) for field in CAPTURED]
    if encoded:
        arrays = [array.dictionary_encode() if array.type == pa.string() else array for array in arrays]
    return pa.RecordBatch.from_arrays(arrays, names=CAPTURED.names)


def cut_up(rows: Sequence[Row], sizes: Sequence[int]) -> Iterator[list[Row]]:
    """The rows in pieces of these sizes, over and over."""
    left = list(rows)
    for size in itertools.cycle(sizes or [len(left) or 1]):
        if not left:
            return
        yield left[:size]
        left = left[size:]


def stored(
    folder: Path, rows: Sequence[Row], name: str = "", sizes: Sequence[int] = (), **said: Any
) -> StoredRecording:
    """A stored recording of these rows."""
    name = name or f"made-{next(_numbers)}"
    with RecordingWriter(folder / f"{name}.recording") as writer:
        for piece in cut_up(rows, sizes):
            writer.add(batch(piece))
        writer.finish_traffic(said.pop("length_ns", 0))
        return writer.finish(name, Said("made for a test", **said))


def rows_of(recording: StoredRecording) -> list[Row]:
    """Everything it says, by column; bodies as digests."""
    return [item for part in recording.batches() for item in part.to_pylist()]


class RowsReader:
    """A format in which a file holds nothing but its place in `files`, which has its rows."""

    name, summary, unknown, is_log = "rows", "rows of a test", "nothing", False

    def __init__(self) -> None:
        self.files: dict[str, list[pa.RecordBatch]] = {}

    def file(self, path: Path, *batches: pa.RecordBatch) -> Path:
        path.write_text(f"rows {path.name}")
        self.files[path.name] = list(batches)
        return path

    def recognises(self, path: Path, head: bytes) -> bool:
        return head.startswith(b"rows ")

    def read(self, source: Source, rejects: Rejects) -> Iterator[pa.RecordBatch]:
        for number, item in enumerate(self.files[source.path.name]):
            if item.num_rows:
                yield item
            else:
                rejects.bad(number + 1, "a bad record", "leave it out")


NAMES = st.sampled_from(["accept", "x-a", "cookie"])
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=6)
VALUES = st.text(st.sampled_from(' \tab:=;,"é\xa0ÿ'), max_size=5)
LINES = st.lists(st.tuples(NAMES, VALUES), max_size=3).map(
    lambda pairs: "\n".join(f"{name}: {value}" for name, value in pairs)
)
BODIES = st.one_of(
    st.none(), st.binary(max_size=8), st.sampled_from([b"", b"the same body", b'{"a":1}' * 30])
)
SIZES = st.integers(-1, 10**6)


@st.composite
def rows(draw: st.DrawFn, start_ns: int = EPOCH_NS, span_ns: int = 40, most: int = 40) -> list[Row]:
    """Rows in any order, with many of equal time; their number is in `error`, so that each can be told."""
    count = draw(st.integers(1, most))
    return [draw(one_row(start_ns, span_ns)) | {"error": f"{number}"} for number in range(count)]


@st.composite
def one_row(draw: st.DrawFn, start_ns: int, span_ns: int) -> Row:
    at_ns = start_ns + draw(st.integers(0, span_ns))
    return {
        "at_ns": at_ns,
        "client": draw(st.sampled_from(["", "client-1", "10.0.0.1", "é"])),
        "key": "",
        "method": draw(st.sampled_from(["GET", "POST"])),
        "scheme": draw(st.sampled_from(["", "http", "https"])),
        "host": draw(st.sampled_from(["", "example.org", "[::1]:8080"])),
        "path": "/" + draw(st.text("ab/%?=1", max_size=6)),
        "route": draw(st.one_of(st.just("/given"), TEXTS.map(lambda text: "/" + text))),
        "http": draw(st.sampled_from(["", "1.0", "1.1", "2"])),
        "connection": draw(st.sampled_from(["", "client-1"])),
        "headers": draw(LINES),
        "body": draw(BODIES),
        "request_bytes": draw(SIZES),
        "first_byte_ns": draw(st.sampled_from([-1, at_ns, at_ns + 7])),
        "answered_ns": draw(st.sampled_from([-1, at_ns + 7, at_ns + 9])),
        "status": draw(st.sampled_from([-1, 0, 200, 404])),
        "error": "",
        "answer_headers": draw(LINES),
        "answer_body": draw(BODIES),
        "answer_bytes": draw(SIZES),
    }
