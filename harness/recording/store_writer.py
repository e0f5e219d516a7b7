"""Writes a stored recording: all of it or nothing, in bounded memory, whatever the order in which exchanges come.

Takes batches of `CAPTURED` (or of another stored recording), gives a folder NAME.recording. Everything is written into a
temporary folder beside it, which gets its name at the very end and is removed on every other way out.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter, ValidationError

from harness.errors import DefinitionError
from harness.model.base import Name
from harness.model.recording_columns import STORED
from harness.recording.bodies import BodyWriter
from harness.recording.sorting import TimeSorter
from harness.recording.store import StoredRecording, file_digest, whole_digest
from harness.recording.store_header import (
    BODIES,
    EXCHANGES,
    HEADER,
    SUFFIX,
    VERSION,
    Clock,
    Counts,
    Parent,
    SourceFile,
    StoredHeader,
)

LEAST_EPOCH_NS = 10**17
"""A clock that says more than this (March 1973) counts from the Unix epoch, one that says less from its own start."""

_EMPTY = pa.RecordBatch.from_pylist([], schema=STORED)

MOST_BEHIND = 3
"""So many batches wait to be written before `add` waits."""
THERE, THERE_FIX = "is there already", "give another --out, or remove it first"


@dataclass(frozen=True)
class Said:
    """What `recording.json` says besides what the exchanges show. `clock` and `start_ns`: in place of what they show."""

    attribution: str
    clock: Clock | None = None
    start_ns: int | None = None
    sources: tuple[SourceFile, ...] = ()
    parents: tuple[Parent, ...] = ()
    done: tuple[str, ...] = ()
    redaction: dict[str, Any] | None = field(default=None)


def stored_name(folder: Path, name: str | None = None) -> str:
    """The recording's name: `name`, or the folder's. Raises DefinitionError where `folder` cannot become a new one."""
    own = folder.name.removesuffix(SUFFIX)
    if not folder.name.endswith(SUFFIX) or not own:
        what = f"{folder.name!r} is no name of a stored recording"
        raise DefinitionError.at(folder, what, f"call it NAME{SUFFIX}")
    if folder.exists() or folder.is_symlink():
        raise DefinitionError.at(folder, THERE, THERE_FIX)
    if not folder.parent.is_dir():
        raise DefinitionError.at(folder.parent, "is no folder", "make it first, or give another --out")
    try:
        return TypeAdapter(Name).validate_python(name if name is not None else own)
    except ValidationError:
        what = f"{name or own!r} is no name of a recording"
        fix = f"{'' if name else 'give one with --name: '}lower-case letters, digits, dots, dashes and underscores"
        raise DefinitionError.at("--name" if name else folder, what, fix) from None


class RecordingWriter:
    """A context manager. `add` as often as wanted, then `finish_traffic`, then `finish`; without the last, nothing stays.

    `clock` says where the exchanges' times count from; None: the first of them shows it. `start_ns` is where the recording
    starts on that clock; None: at its first exchange where the clock is the epoch's, else at 0.
    """

    def __init__(self, folder: Path, clock: Clock | None = None, start_ns: int | None = None) -> None:
        stored_name(folder, "unnamed")
        self._target = folder
        self._clock = clock
        self._start_ns = start_ns
        self._temporary = folder.with_name(f".{folder.name}.partial-{secrets.token_hex(6)}")
        self._sorter: TimeSorter | None = None
        # Sorting, hashing and compressing go on in a thread of their own while the next batches are read.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="recording-writer")
        self._behind: deque[Future[None]] = deque()
        self._traffic: StoredHeader | None = None
        self._finished = False

    @property
    def folder(self) -> Path:
        """Where the recording is being written."""
        return self._temporary

    def add(self, batch: pa.RecordBatch) -> None:
        """More exchanges, in batches of `CAPTURED`, in any order. Raises ValueError for text that is not UTF-8, perhaps
        not before a later call."""
        self._soon(self._add, self._sorted(batch), batch)

    def add_stored(self, batch: pa.RecordBatch, parent: StoredRecording) -> None:
        """More exchanges out of another stored recording, their times on this one's clock."""
        self._soon(self._add_stored, self._sorted(batch), batch, parent)

    def _soon(self, work: Callable[..., None], *given: Any) -> None:
        self._behind.append(self._thread.submit(work, *given))
        while len(self._behind) > MOST_BEHIND or (self._behind and self._behind[0].done()):
            self._behind.popleft().result()

    def _add(self, sorter: TimeSorter, batch: pa.RecordBatch) -> None:
        columns = {name: batch.column(name) for name in STORED.names}
        for name in ("body", "answer_body"):
            columns[name] = self._bodies.keep(columns[name])
        sorter.add(_table(columns))

    def _add_stored(self, sorter: TimeSorter, batch: pa.RecordBatch, parent: StoredRecording) -> None:
        self._bodies.copy((batch.column("body"), batch.column("answer_body")), parent.bodies_path)
        sorter.add(pa.Table.from_batches([batch.cast(STORED)]))

    @property
    def clock(self) -> Clock | None:
        """None: not known yet."""
        return self._clock

    def _sorted(self, batch: pa.RecordBatch) -> TimeSorter:
        """Where rows go. Made for the first of them, which shows the clock."""
        if self._sorter is None:
            if self._clock is None:
                self._clock = clock_of(batch)
            if self._start_ns is None and self._clock == "own":
                self._start_ns = 0
            self._sorter = TimeSorter(self._temporary / EXCHANGES, self._start_ns)
        return self._sorter

    def finish_traffic(self, length_ns: int = 0) -> StoredRecording:
        """All exchanges are in: the recording can be read now. A shorter `length_ns` is stretched to hold all."""
        while self._behind:
            self._behind.popleft().result()
        found = self._sorted(_EMPTY).finish()
        bodies, bodies_bytes = self._bodies.finish()
        length_ns = max(length_ns, found.last_ns + 1 if found.count else 0)
        digest = found.digest.finish(length_ns)
        self._traffic = StoredHeader(
            version=VERSION,
            recording="unnamed",
            attribution="",
            digest=digest,
            length_ns=length_ns,
            clock=self._clock or "own",
            start_ns=found.start_ns,
            counts=Counts(exchanges=found.count, bodies=bodies, bodies_bytes=bodies_bytes),
            files={name: file_digest(self._temporary / name) for name in (EXCHANGES, BODIES)},
        )
        traffic = StoredRecording(self._temporary, self._traffic, digest)
        _check_keys(traffic, self._target)
        return traffic

    def finish(self, name: str, said: Said) -> StoredRecording:
        """Write `recording.json` and give the folder its name."""
        if self._traffic is None:
            raise RuntimeError("finish_traffic comes first")
        header = self._traffic.model_copy(
            update={
                "recording": name,
                "attribution": said.attribution,
                "clock": said.clock or self._traffic.clock,
                "start_ns": self._traffic.start_ns if said.start_ns is None else said.start_ns,
                "sources": said.sources,
                "parents": said.parents,
                "done": said.done,
                "redaction": said.redaction,
            }
        )
        header = StoredHeader.model_validate_json(header.model_dump_json())  # a copy is not checked
        header = header.model_copy(update={"seal": header.sealed()})
        text = header.model_dump_json(indent=2)
        (self._temporary / HEADER).write_text(text + "\n", encoding="utf-8")
        self._temporary.chmod(0o777 & ~_umask())
        if self._target.exists():  # made meanwhile; a rename would replace an empty folder
            raise DefinitionError.at(
                self._target, "is there already", "give another --out, or remove it first"
            )
        self._temporary.rename(self._target)
        self._finished = True
        return StoredRecording(self._target, header, whole_digest(header.digest, self._target))

    def __enter__(self) -> Self:
        try:
            self._make()
            self._bodies = BodyWriter(self._temporary / BODIES)
        except BaseException:  # nothing that is raised in here, Ctrl-C included, would get to __exit__
            self._remove()
            raise
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)
        if not self._finished:
            with contextlib.suppress(OSError, pa.ArrowException):
                if self._sorter is not None:
                    self._sorter.close()
            self._bodies.close()
            self._remove()

    def _make(self) -> None:
        try:
            self._temporary.mkdir(mode=0o700)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            fix = "make its folder writable, or give another --out"
            raise DefinitionError.at(self._target, f"cannot be made there: {error.strerror}", fix) from error

    def _remove(self) -> None:
        shutil.rmtree(self._temporary, ignore_errors=True)


def _check_keys(traffic: StoredRecording, folder: Path) -> None:
    """A key joins one exchange to its label. Raises DefinitionError for one that stands there twice."""
    found = [batch.column("key") for batch in traffic.batches(("key",))]
    keys = pa.chunked_array([column.filter(pc.not_equal(column, "")) for column in found], pa.string())
    if len(keys) == pc.count_distinct(keys).as_py():
        return
    counted = keys.value_counts()
    twice = counted.filter(pc.greater(counted.field("counts"), 1)).field("values").to_pylist()
    more = f" (and {len(twice) - 1} more)" if len(twice) > 1 else ""
    what = f"key {twice[0]!r} would stand in it more than once{more}: its label would count twice"
    raise DefinitionError.at(folder, what, "leave the key out of all but one of its exchanges")


def clock_of(batch: pa.RecordBatch) -> Clock:
    """Where the times of a batch count from."""
    times = batch.column("at_ns")
    return "epoch" if len(times) and times[0].as_py() >= LEAST_EPOCH_NS else "own"


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _table(columns: dict[str, Any]) -> pa.Table:
    """The columns of a batch as `STORED` has them: plain text without nulls, no answer before its request."""
    at_ns = columns["at_ns"].to_numpy(zero_copy_only=False)
    for name in ("first_byte_ns", "answered_ns"):
        values = columns[name].to_numpy(zero_copy_only=False)
        # A clock that was set back in between says nothing about how long it took.
        columns[name] = pa.array(np.where(values < at_ns, -1, values), pa.int64())
    arrays = []
    for item in STORED:
        column = columns[item.name]
        if item.type == pa.string():
            column = pc.fill_null(column.cast(pa.string()), "")
            column.validate(full=True)
        arrays.append(column)
    return pa.Table.from_arrays(arrays, schema=STORED)
