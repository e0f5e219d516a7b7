"""The History as files, and back: three tables and the labels as Parquet, events as JSON lines.

Takes a `History`, gives bytes that are the same for the same history (under one pyarrow version); takes bytes, gives a
`History`, or `BrokenFile` for anything that is none. Files are read by their schema: a column more or less is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from harness.model.history import Columns, EdgeRequests, Event, Exchanges, History, Labels, WitnessSamples
from harness.report import canonical
from harness.report.canonical import BrokenFile
from harness.report.layout import EDGE_REQUESTS, EVENTS, EXCHANGES, LABELS, WITNESS, first_error

ROWS_LIMIT = 50_000_000
UNPACKED_LIMIT_BYTES = 8 << 30
"""A file that claims to unpack to more is refused unread: a kilobyte of Parquet can promise a terabyte."""

_EVENT = TypeAdapter(Event)
Table = TypeVar("Table", bound=Columns)


def history_files(history: History) -> dict[str, bytes]:
    """Path in the bundle -> content."""
    return {
        EXCHANGES: _parquet(history.exchanges),
        EDGE_REQUESTS: _parquet(history.edge_requests),
        WITNESS: _parquet(history.witness),
        LABELS: _parquet(history.labels),
        EVENTS: _event_lines(history.events),
    }


def read_history(read: Callable[[str], bytes]) -> History:
    """The history from the files that `read(path)` gives. Raises BrokenFile."""
    return History(
        exchanges=_table(Exchanges, EXCHANGES, read(EXCHANGES)),
        edge_requests=_table(EdgeRequests, EDGE_REQUESTS, read(EDGE_REQUESTS)),
        witness=_table(WitnessSamples, WITNESS, read(WITNESS)),
        events=_events(read(EVENTS)),
        labels=_table(Labels, LABELS, read(LABELS)),
    )


def as_written(history: History) -> History:
    """The history exactly as it will be read back (tuples in details become lists and so on): judge this one."""
    return replace(history, events=_events(_event_lines(history.events)))


def _parquet(columns: Columns) -> bytes:
    sink = pa.BufferOutputStream()
    table = columns.table.combine_chunks().replace_schema_metadata(None)
    pq.write_table(table, sink, compression="zstd", version="2.6", store_schema=False)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _table(kind: type[Table], file: str, data: bytes) -> Table:
    try:
        source = pq.ParquetFile(pa.BufferReader(data))
        meta = source.metadata
        unpacked_bytes = sum(meta.row_group(index).total_byte_size for index in range(meta.num_row_groups))
        if meta.num_rows > ROWS_LIMIT or unpacked_bytes > UNPACKED_LIMIT_BYTES:
            raise BrokenFile(file, f"claims {meta.num_rows:,} rows and {unpacked_bytes:,} bytes: refused")
        if source.schema_arrow.names != kind.schema.names:
            raise BrokenFile(
                file, f"has the columns {', '.join(source.schema_arrow.names)[:300]}, not its own"
            )
        return kind(source.read(use_threads=False))
    except (pa.ArrowException, OSError, ValueError, KeyError, MemoryError, OverflowError) as error:
        raise BrokenFile(file, f"is no Parquet table that can be read: {str(error)[:300]}") from None


def _event_lines(events: tuple[Event, ...]) -> bytes:
    return b"".join(canonical.dump_line(_event_fields(event)) for event in events)


def _event_fields(event: Event) -> Mapping[str, object]:
    return {
        "at_ns": event.at_ns,
        "kind": event.kind.value,
        "arm": event.arm,
        "unit": event.unit,
        "turn": event.turn,
        "subject": event.subject,
        "detail": dict(event.detail),
    }


def _events(data: bytes) -> tuple[Event, ...]:
    events = []
    for number, line in enumerate(data.splitlines(keepends=True), start=1):
        try:
            events.append(_EVENT.validate_python(canonical.parse(EVENTS, line)))
        except ValidationError as error:
            raise BrokenFile(EVENTS, f"line {number} is no event: {first_error(error)}") from None
    found = tuple(events)
    if _event_lines(found) != data:
        raise BrokenFile(EVENTS, "is not in the canonical form that reports are written in")
    return found
