"""Rows in any order in, one Parquet file in order of time out, in bounded memory.

Takes tables of `STORED` whose times are on the source's clock; gives one file whose times are offsets from the start, and
the content's digest. Rows of equal time keep the order in which they came.

What comes in order, or steps back by less than the `PIECE_ROWS` that are held back, is written once. Only where a piece
begins before the end of all that was written is another *run* begun, a sorted file of its own, and all runs are merged at
the end. Merging holds one small block of each run; more than `MOST_RUNS` are merged in between.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from harness.model.recording_columns import STORED, ContentDigest

PIECE_ROWS = 65_536
PIECE_BYTES = 48 * 2**20
MOST_RUNS = 24
BLOCK_ROWS = 4_096
PAGE_BYTES = 128 * 2**10
TIMES = ("at_ns", "first_byte_ns", "answered_ns")

Times = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sorted:
    """The finished file. `start_ns` is where its offsets begin on the source's clock, `last_ns` the last offset."""

    count: int
    start_ns: int
    last_ns: int
    digest: ContentDigest


class TimeSorter:
    """See the module's head. `start_ns` None: the first exchange is the start."""

    def __init__(self, path: Path, start_ns: int | None = None) -> None:
        self._path = path
        self._start_ns = start_ns
        self._held: list[pa.Table] = []
        self._held_rows = self._held_bytes = 0
        self._runs: list[_Run] = []
        self._names = itertools.count(1)
        self._pieces = itertools.count()
        self._digest: ContentDigest | None = ContentDigest()
        """Of the only run as it is written; None while there are several."""

    def add(self, table: pa.Table) -> None:
        """More rows."""
        if table.num_rows:
            self._held.append(table)
            self._held_rows += table.num_rows
            self._held_bytes += table.nbytes
        if self._held_rows >= 2 * PIECE_ROWS or self._held_bytes >= 2 * PIECE_BYTES:
            held = in_order(pa.concat_tables(self._held))
            half = held.num_rows // 2
            self._write(held.slice(0, half))
            self._hold(held.slice(half))

    def _hold(self, table: pa.Table) -> None:
        # Copied where it is a small part of something larger, which would stay in memory with it.
        table = table.combine_chunks()
        self._held, self._held_rows, self._held_bytes = [table], table.num_rows, table.nbytes

    def finish(self) -> Sorted:
        """Write what is held back, merge where there are several runs."""
        if self._held_rows or not self._runs:
            self._write(in_order(pa.concat_tables(self._held)) if self._held else STORED.empty_table())
        self._held = []
        if len(self._runs) > 1:
            self._merge_all()
        (run,) = self._runs
        run.close()
        run.path.replace(self._path)
        assert self._digest is not None
        start_ns = run.base_ns
        return Sorted(run.rows, start_ns, max(run.last_ns - start_ns, 0), self._digest)

    def close(self) -> None:
        """Give up: close files. Whoever owns the folder removes them."""
        for run in self._runs:
            run.close()

    def _write(self, piece: pa.Table) -> None:
        number = next(self._pieces)
        at_ns = times(piece)
        first_ns = int(at_ns[0]) if len(at_ns) else (self._start_ns or 0)
        fitting = [run for run in self._runs if run.last_ns <= first_ns]
        if fitting:
            run = max(fitting, key=lambda run: run.last_ns)
        else:
            run = self._new_run(first_ns if self._start_ns is None else self._start_ns)
        shifted = shift(piece, -run.base_ns)
        run.append(shifted, number, int(at_ns[-1]) if len(at_ns) else first_ns)
        if len(self._runs) > 1:
            self._digest = None
        self._feed(shifted)
        if len(self._runs) >= MOST_RUNS:
            self._merge_all()

    def _feed(self, rows: pa.Table) -> None:
        if self._digest is not None:
            for batch in rows.to_batches():
                self._digest.update(batch)

    def _new_run(self, base_ns: int) -> _Run:
        run = _Run(self._path.with_name(f"run-{next(self._names)}.parquet"), base_ns)
        self._runs.append(run)
        return run

    def _merge_all(self) -> None:
        """One run in place of all. Rows that came later than all of these will come after them among equals."""
        runs, self._runs = self._runs, []
        base_ns = min(run.base_ns for run in runs) if self._start_ns is None else self._start_ns
        into = self._new_run(base_ns)
        number = next(self._pieces)
        self._digest = ContentDigest()
        for run in runs:
            run.close()
        for table in _pieces_of(_merged(runs, base_ns)):
            into.append(table, number, int(times(table)[-1]) + base_ns)
            self._feed(table)
        for run in runs:
            run.path.unlink()


@dataclass
class _Run:
    """A sorted file: its pieces' numbers and sizes in order, and the time of its last row on the source's clock."""

    path: Path
    base_ns: int
    last_ns: int = -(2**63)
    rows: int = 0
    pieces: list[tuple[int, int]] = field(default_factory=list)
    _writer: Any = None

    def append(self, table: pa.Table, number: int, last_ns: int) -> None:
        if self._writer is None:
            self._writer = parquet_writer(self.path)
        self._writer.write_table(table, row_group_size=2 * PIECE_ROWS)
        self.pieces.append((number, table.num_rows))
        self.last_ns = last_ns
        self.rows += table.num_rows

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def parquet_writer(path: Path) -> Any:
    """A writer of `exchanges.parquet`."""
    return pq.ParquetWriter(
        path,
        STORED,
        compression="zstd",
        compression_level=1,
        version="2.6",
        data_page_size=PAGE_BYTES,
        use_dictionary=[field.name for field in STORED if field.type == pa.string()] + ["status"],
        column_encoding={field.name: "DELTA_BINARY_PACKED" for field in STORED if field.type == pa.int64()},
        write_statistics=["at_ns"],
        store_schema=False,
    )


class _Cursor:
    """The next block of one run, with each row's place in the order of arrival."""

    def __init__(self, run: _Run, base_ns: int) -> None:
        self._shift_ns = run.base_ns - base_ns
        self._file = pq.ParquetFile(run.path)
        self._blocks = self._file.iter_batches(batch_size=BLOCK_ROWS)
        self._numbers = np.repeat(*(np.array(item, np.int32) for item in zip(*run.pieces, strict=True)))
        self._read = 0
        self.table = STORED.empty_table()
        self.at_ns: Times = np.empty(0, np.int64)
        self.number = np.empty(0, np.int32)

    def refill(self) -> bool:
        """Whether there is a row left."""
        while not self.table.num_rows:
            block = next(self._blocks, None)
            if block is None:
                self._file.close()
                return False
            self.table = shift(pa.Table.from_batches([block]).cast(STORED), self._shift_ns)
            self.at_ns = times(self.table)
            self.number = self._numbers[self._read : self._read + block.num_rows]
            self._read += block.num_rows
        return True

    def take(self, at_ns: int, number: int) -> tuple[pa.Table, Times, Any]:
        """All rows up to this place."""
        within = (self.at_ns < at_ns) | ((self.at_ns == at_ns) & (self.number <= number))
        count = int(np.count_nonzero(within))
        taken = self.table.slice(0, count), self.at_ns[:count], self.number[:count]
        self.table, self.at_ns, self.number = (
            self.table.slice(count),
            self.at_ns[count:],
            self.number[count:],
        )
        return taken


def _merged(runs: list[_Run], base_ns: int) -> Iterator[pa.Table]:
    """The rows of all runs in order of time, those of equal time in the order in which they came."""
    cursors = [cursor for cursor in (_Cursor(run, base_ns) for run in runs) if cursor.refill()]
    while cursors:
        # Up to the least of the blocks' ends, no row can come that is not in a block already.
        place = min((int(cursor.at_ns[-1]), int(cursor.number[-1])) for cursor in cursors)
        taken = [cursor.take(*place) for cursor in cursors]
        table = pa.concat_tables([rows for rows, _, _ in taken])
        order = np.lexsort(
            (np.concatenate([number for _, _, number in taken]), np.concatenate([at for _, at, _ in taken]))
        )
        yield table.take(pa.array(order))
        cursors = [cursor for cursor in cursors if cursor.refill()]


def _pieces_of(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Small tables put together to pieces."""
    some: list[pa.Table] = []
    rows = size = 0
    for table in tables:
        some.append(table)
        rows, size = rows + table.num_rows, size + table.nbytes
        if rows >= PIECE_ROWS or size >= PIECE_BYTES:
            yield pa.concat_tables(some).combine_chunks()
            some, rows, size = [], 0, 0
    if some:
        yield pa.concat_tables(some).combine_chunks()


def times(table: pa.Table) -> Times:
    """The column `at_ns`."""
    found: Times = table.column("at_ns").to_numpy()
    return found


def in_order(table: pa.Table) -> pa.Table:
    """The rows in order of time; those of equal time stay as they are."""
    at_ns = times(table)
    if np.all(at_ns[1:] >= at_ns[:-1]):
        return table
    return table.take(pa.array(np.argsort(at_ns, kind="stable")))


def shift(table: pa.Table, by_ns: int) -> pa.Table:
    """All times later by so much. Times that are not known stay so."""
    if by_ns == 0:
        return table
    for name in TIMES:
        values: Times = table.column(name).to_numpy()
        moved = values + by_ns if name == "at_ns" else np.where(values < 0, values, values + by_ns)
        table = table.set_column(STORED.get_field_index(name), STORED.field(name), pa.array(moved))
    return table
