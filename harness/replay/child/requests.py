"""The requests of an order as they come through its file or FIFO, read ahead as far as is needed and no further.

Reading and decoding go in small steps, so that no step holds up a request that is due.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable

from gevent.hub import get_hub

from harness.replay.frames import FrameReader, Request

READ_AHEAD_BYTES = 4 * 2**20
"""Bytes held that are not decoded yet; a longer frame is read whole all the same."""

READ_BYTES = 64 * 1024
DECODED = 32
"""Requests decoded at once, and held ready."""


class Requests:
    """`head` is the next request. `on_more` is called in the event loop when there is one after there was none, when
    the stream ends, and when it breaks (`error`)."""

    def __init__(self, path: str, on_more: Callable[[], None]) -> None:
        """Raises OSError."""
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._frames = FrameReader()
        self._ready: deque[Request] = deque()
        self._on_more = on_more
        self.error: Exception | None = None
        self._watcher = get_hub().loop.io(self._fd, 1)
        self._watcher.start(self._readable)

    @property
    def ended(self) -> bool:
        """No request is left, and none will come."""
        return self.error is not None or (self._frames.ended and not self._ready)

    @property
    def head(self) -> Request | None:
        """The next request in order of time; None while none is there (see `ended`)."""
        if not self._ready and not self._frames.ended and self.error is None:
            self._decode()
        return self._ready[0] if self._ready else None

    def advance(self) -> None:
        """Drop the head, which must be there."""
        self._ready.popleft()

    def close(self) -> None:
        self._watcher.stop()
        self._watcher.close()
        os.close(self._fd)

    def _decode(self) -> None:
        try:
            self._ready.extend(self._frames.take(DECODED))
        except ValueError as error:
            self._fail(ValueError(f"the requests cannot be read: {error}"))
            return
        if self._frames.ended:
            self._watcher.stop()
            if self._frames.failure:
                self._fail(ValueError(self._frames.failure))
        elif not self._watcher.active and self._frames.pending < READ_AHEAD_BYTES // 2:
            self._watcher.start(self._readable)

    def _readable(self) -> None:
        was_empty = not self._ready
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(error)
        else:
            if not data:
                self._fail(ValueError("the requests were cut off"))
            self._frames.feed(data)
        if self.error is not None or (
            self._frames.pending >= READ_AHEAD_BYTES and (self._ready or self._frames.has_frame())
        ):
            self._watcher.stop()
        if was_empty and (self.head is not None or self.ended):
            self._on_more()

    def _fail(self, error: Exception) -> None:
        self.error = self.error or error
        self._watcher.stop()
