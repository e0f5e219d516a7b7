"""Hands an order's requests to the child while it sends, and keeps a ledger of what was to be sent.

A thread of the parent takes exchanges one by one from the job, renders them and writes them into a FIFO, whose other
end the child reads as far ahead as it needs; so neither side ever holds a whole recording. The ledger keeps what the
history's rows need of each exchange (some tens of bytes), also of those that were never handed over.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import threading
from collections.abc import Callable, Iterable, Iterator
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
    ]
)


class Ledger:
    """What was to be sent: appended to by one thread."""

    def __init__(self) -> None:
        self._batches: list[pa.RecordBatch] = []
        self._rows: list[tuple[int, int, str, str, str]] = []

    def add(self, exchange: Exchange) -> None:
        self._rows.append((exchange.seq, exchange.at_ns, exchange.client, exchange.key, exchange.route))
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
    """One job's requests into a FIFO at `path`, which it makes. `start` once; `stop` ends the handing over."""

    def __init__(
        self, path: Path, exchanges: Iterable[Exchange], render: Callable[[Exchange], Request]
    ) -> None:
        """Raises OSError."""
        os.mkfifo(path, 0o600)
        # Both ends: opening does not wait for the child, and the child never meets a FIFO without a writer.
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._fd, _F_SETPIPE_SZ, FIFO_BYTES)
        self._exchanges = iter(exchanges)
        self._render = render
        self._ledger = Ledger()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._feed, name=f"feeder-{path.stem}", daemon=True)
        self.error: Exception | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when nothing is written any more. May be called again, and before `start`."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def ledger(self) -> pa.Table:
        """Of all exchanges of the job, also those that were not handed over; after `stop`."""
        with contextlib.suppress(Exception):  # the first failure is what counts, and it is known
            for exchange in self._exchanges:
                self._ledger.add(exchange)
        return self._ledger.table()

    def _feed(self) -> None:
        try:
            for chunk in self._chunks():
                if not self._write(chunk):
                    return
        except Exception as error:  # noqa: BLE001 - whatever it is, the child must not wait for more
            self.error = error
            self._write(pack_end(f"{type(error).__name__}: {error}"))

    def _chunks(self) -> Iterator[bytes]:
        frames: list[bytes] = []
        size = 0
        for exchange in self._exchanges:
            self._ledger.add(exchange)
            frames.append(pack(self._render(exchange)))
            size += len(frames[-1])
            if size >= WRITE_BYTES:
                yield b"".join(frames)
                frames, size = [], 0
        frames.append(pack_end())
        yield b"".join(frames)

    def _write(self, data: bytes) -> bool:
        """All of it, as the child makes room; False when that was stopped."""
        rest = memoryview(data)
        room = select.poll()
        room.register(self._fd, select.POLLOUT)
        while rest and not self._stopped.is_set():
            if room.poll(LOOK_MS):
                with contextlib.suppress(BlockingIOError):
                    rest = rest[os.write(self._fd, rest) :]
        return not self._stopped.is_set()
