"""Hands an order's requests to whoever sends them, and keeps a ledger of what was to be sent.

A thread of the parent takes exchanges one by one from the job, renders them and writes them into a FIFO (for several
processes: each its share into one of its own), whose other end the child reads as far ahead as it needs; so neither side
ever holds a whole recording. The ledger keeps what the history's rows need of each exchange (some tens of bytes), also of
those that were never handed over.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pyarrow as pa

from harness.model.recording import Exchange
from harness.replay.frames import Request, pack, pack_end

WRITE_BYTES = 32 * 1024
FIFO_BYTES = 2**20
"""What the kernel holds between the two, as far as it allows."""

LOOK_MS = 200
LEDGER_ROWS = 65_536
_F_SETPIPE_SZ = 1031

LEDGER = pa.schema(
    [
        ("seq", pa.int64()),
        ("at_ns", pa.int64()),
        ("client", pa.dictionary(pa.int32(), pa.string())),
        ("key", pa.string()),
        ("route", pa.dictionary(pa.int32(), pa.string())),
        ("recorded_status", pa.int32()),
    ]
)


class Ledger:
    """What was to be sent: appended to by one thread."""

    def __init__(self) -> None:
        self._batches: list[pa.RecordBatch] = []
        self._rows: list[tuple[int, int, str, str, str, int]] = []

    def add(self, exchange: Exchange) -> None:
        self._rows.append(
            (
                exchange.seq,
                exchange.at_ns,
                exchange.client,
                exchange.key,
                exchange.route,
                exchange.answer.status,
            )
        )
        if len(self._rows) >= LEDGER_ROWS:
            self._pack()

    def table(self) -> pa.Table:
        """All rows, in the order in which they were added."""
        self._pack()
        return pa.Table.from_batches(self._batches, LEDGER).unify_dictionaries()

    def _pack(self) -> None:
        if self._rows:
            columns = [
                pa.array(values, field.type)
                for values, field in zip(zip(*self._rows, strict=True), LEDGER, strict=True)
            ]
            self._batches.append(pa.RecordBatch.from_arrays(columns, schema=LEDGER))
            self._rows = []


def ledger_of(exchanges: Iterable[Exchange]) -> pa.Table:
    """The ledger of exchanges none of which was handed over."""
    ledger = Ledger()
    for exchange in exchanges:
        ledger.add(exchange)
    return ledger.table()


class Feeder:
    """One job's requests into FIFOs at `paths`, which it makes. `start` once; `stop` ends the handing over.

    `owner` says into which FIFO an exchange goes (a number beyond them: into none, it is fed elsewhere); it is asked once
    about each exchange, in order. One thread deals out in order of time, and nothing further while one FIFO has no room;
    by then whoever reads that one holds all that is due before what comes next.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        exchanges: Iterable[Exchange],
        render: Callable[[Exchange], Request],
        owner: Callable[[Exchange], int] = lambda _: 0,
    ) -> None:
        """Raises OSError."""
        self._fds = [_fifo(path) for path in paths]
        self._exchanges = iter(exchanges)
        self._render = render
        self._owner = owner
        self._ledger = Ledger()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._feed, name="feeder", daemon=True)
        self.error: Exception | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when nothing is written any more. May be called again, and before `start`."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()
        for fd in self._fds:
            os.close(fd)
        self._fds = []

    def ledger(self) -> pa.Table:
        """Of all exchanges of the job, also those that were not handed over; after `stop`."""
        with contextlib.suppress(Exception):  # the first failure is what counts, and it is known
            for exchange in self._exchanges:
                self._note(exchange)
        return self._ledger.table()

    def _note(self, exchange: Exchange) -> int:
        """Gives whose it is."""
        self._ledger.add(exchange)
        return self._owner(exchange)

    def _feed(self) -> None:
        pending = [bytearray() for _ in self._fds]
        try:
            for exchange in self._exchanges:
                owner = self._note(exchange)
                if owner < len(pending):
                    pending[owner] += pack(self._render(exchange))
                    if len(pending[owner]) >= WRITE_BYTES and not self._write(pending):
                        return
            end = pack_end()
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody must wait for more
            self.error = error
            end = pack_end(f"{type(error).__name__}: {error}")
        for data in pending:
            data.extend(end)
        self._write(pending)

    def _write(self, pending: Sequence[bytearray]) -> bool:
        """Everything, as each reader makes room; False when that was stopped."""
        room = select.poll()
        waiting = {fd: data for fd, data in zip(self._fds, pending, strict=True) if data}
        for fd in waiting:
            room.register(fd, select.POLLOUT)
        while waiting and not self._stopped.is_set():
            for fd, _ in room.poll(LOOK_MS):
                data = waiting[fd]
                with contextlib.suppress(BlockingIOError):
                    del data[: os.write(fd, memoryview(data)[:WRITE_BYTES])]
                if not data:
                    room.unregister(fd)
                    del waiting[fd]
        return not self._stopped.is_set()


def _fifo(path: Path) -> int:
    """Opened at both ends: that does not wait for a reader, and a reader never meets a FIFO without a writer."""
    os.mkfifo(path, 0o600)
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    with contextlib.suppress(OSError):
        fcntl.fcntl(fd, _F_SETPIPE_SZ, FIFO_BYTES)
    return fd
