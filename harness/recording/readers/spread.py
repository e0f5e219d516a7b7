"""Spreads requests over the second in which a log says that they were: evenly, in the order of the file.

For logs that know no more than the second. What comes out is a guess, made only when asked for. Takes a way to read the
file anew, because the requests of one second are counted before the first of them is given; gives the same batches with
all their times moved by less than a second. Memory: 24 bytes for each distinct second of the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from harness.recording.readers.base import Rejects
from harness.recording.readers.clock import NS_PER_S

TIMES = ("at_ns", "first_byte_ns", "answered_ns")
MERGE_EVERY = 1_000_000
"""Seconds that are gathered before they are counted together."""

Integers = npt.NDArray[np.int64]


def spread_evenly(
    batches: Callable[[Rejects], Iterator[pa.RecordBatch]], rejects: Rejects, written: str
) -> Iterator[pa.RecordBatch]:
    """The batches with their times spread. `written` is the column that the log's own times are in.

    A request whose time has a fraction of a second keeps it.
    """
    counts = _Counts()
    for batch in batches(Rejects(rejects.path, skip=True)):
        counts.add(_written(batch, written))
    seconds, count = counts.all()
    given = np.zeros(len(seconds), np.int64)
    for batch in batches(rejects):
        times = _written(batch, written)
        whole = times % NS_PER_S == 0
        places = np.searchsorted(seconds, times[whole])
        shift = np.zeros(len(times), np.int64)
        shift[whole] = (given[places] + _rank(places)) * NS_PER_S // count[places]
        np.add.at(given, places, 1)
        yield _moved(batch, shift)


@dataclass
class _Counts:
    """How many requests each second has."""

    def __post_init__(self) -> None:
        self._seconds: Integers = np.zeros(0, np.int64)
        self._count: Integers = np.zeros(0, np.int64)
        self._new: list[Integers] = []
        self._waiting = 0

    def add(self, times: Integers) -> None:
        self._new.append(times[times % NS_PER_S == 0])
        self._waiting += len(self._new[-1])
        if self._waiting >= MERGE_EVERY:
            self._merge()

    def all(self) -> tuple[Integers, Integers]:
        """`(seconds, count)`, the seconds ascending."""
        self._merge()
        return self._seconds, self._count

    def _merge(self) -> None:
        times = np.concatenate([self._seconds, *self._new])
        weights = np.concatenate([self._count, np.ones(self._waiting, np.int64)])
        self._seconds, places = np.unique(times, return_inverse=True)
        self._count = np.zeros(len(self._seconds), np.int64)
        np.add.at(self._count, places, weights)
        self._new, self._waiting = [], 0


def _rank(places: Integers) -> Integers:
    """How many earlier elements are equal to each."""
    order = np.argsort(places, kind="stable")
    ordered = places[order]
    begins = np.flatnonzero(np.diff(ordered, prepend=-1))
    lengths = np.diff(begins, append=len(ordered))
    rank = np.empty(len(places), np.int64)
    rank[order] = np.arange(len(places)) - np.repeat(begins, lengths)
    return rank


def _times(batch: pa.RecordBatch, name: str) -> Integers:
    times: Integers = batch.column(name).to_numpy()
    return times


def _written(batch: pa.RecordBatch, name: str) -> Integers:
    """The log's own times; a record without a duration has its time in `at_ns` alone."""
    times = _times(batch, name)
    return np.where(times < 0, _times(batch, "at_ns"), times)


def _moved(batch: pa.RecordBatch, shift: Integers) -> pa.RecordBatch:
    for name in TIMES:
        times = _times(batch, name)
        moved = pa.array(np.where(times < 0, times, times + shift))
        place = batch.schema.get_field_index(name)
        batch = batch.set_column(place, batch.schema.field(place), moved)
    return batch
