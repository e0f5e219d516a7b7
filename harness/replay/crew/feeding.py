"""Hands a unit's requests to the local workers of a crew, each its share, from one pass over the exchanges.

Like `harness.replay.feeding.Feeder`, with one FIFO for each local worker. One thread deals out in order of time, and
nothing further while one FIFO has no room; by then that worker holds all that is due before what comes next. Shares of
workers on other machines are not written, but their digests are known too, to be compared with what those workers sent.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import select
import struct
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pyarrow as pa

from harness.model.recording import Exchange
from harness.replay.crew.sharding import worker_of
from harness.replay.feeding import FIFO_BYTES, LOOK_MS, WRITE_BYTES, Ledger
from harness.replay.frames import Request, pack, pack_end

_F_SETPIPE_SZ = 1031
_PLACE = struct.Struct("<qq")


class ShareDigest:
    """Of a share: which exchanges, and when. The recording's own digest says what they are."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, exchange: Exchange) -> None:
        self._digest.update(_PLACE.pack(exchange.seq, exchange.at_ns))

    def __str__(self) -> str:
        return f"sha256:{self._digest.hexdigest()}"


class ShareFeeder:
    """Exchanges into FIFOs at `paths`, which it makes; worker k of `workers` reads `paths[k]`, those without a path are
    fed elsewhere. `start` once; `stop` ends the handing over."""

    def __init__(
        self,
        paths: Sequence[Path],
        workers: int,
        exchanges: Iterable[Exchange],
        render: Callable[[Exchange], Request],
    ) -> None:
        """Raises OSError."""
        self._fds: list[int] = []
        for path in paths:
            os.mkfifo(path, 0o600)
            # Both ends: opening does not wait for the worker, which never meets a FIFO without a writer.
            self._fds.append(os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
            with contextlib.suppress(OSError):
                fcntl.fcntl(self._fds[-1], _F_SETPIPE_SZ, FIFO_BYTES)
        self._workers = workers
        self._exchanges = iter(exchanges)
        self._render = render
        self._ledger = Ledger()
        self._digests = [ShareDigest() for _ in range(workers)]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._feed, name="share-feeder", daemon=True)
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

    def digest(self, worker: int) -> str:
        """Of the share of this worker; after `ledger`."""
        return str(self._digests[worker])

    def _note(self, exchange: Exchange) -> int:
        """Gives whose it is."""
        worker = worker_of(exchange.client, exchange.seq, self._workers)
        self._ledger.add(exchange)
        self._digests[worker].add(exchange)
        return worker

    def _feed(self) -> None:
        pending = [bytearray() for _ in self._fds]
        try:
            for exchange in self._exchanges:
                worker = self._note(exchange)
                if worker < len(pending):
                    pending[worker] += pack(self._render(exchange))
                    if len(pending[worker]) >= WRITE_BYTES and not self._write(pending):
                        return
            end = pack_end()
        except Exception as error:  # noqa: BLE001 - whatever it is, the workers must not wait for more
            self.error = error
            end = pack_end(f"{type(error).__name__}: {error}")
        for data in pending:
            data.extend(end)
        self._write(pending)

    def _write(self, pending: Sequence[bytearray]) -> bool:
        """Everything, as each worker makes room; False when that was stopped."""
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
