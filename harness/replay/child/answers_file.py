"""Appends what became of requests to the answers file, a block every `FLUSH_S`.

What has gone out and is not over when a block is written is noted in it, once, so that a child that is killed leaves
what it had sent.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from harness.replay.answers import BlockWriter
from harness.replay.child.sending import Sending
from harness.replay.protocol import BODY_LIMIT_BYTES

MOST_TEXT_BYTES = 4 * 2**20
"""A block is written when it holds this much text, however young it is."""


class AnswersFile:
    """The first failure to write is kept in `error`."""

    def __init__(self, path: str) -> None:
        """Raises OSError."""
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._writer = BlockWriter()
        self.error: OSError | None = None

    def add(self, sending: Sending, body: bytes) -> None:
        """This request is over; `body` is what is kept of its answer."""
        self._writer.add(
            sending.request.seq,
            sending.due_ns,
            sending.sent_ns,
            sending.connected_ns,
            sending.first_byte_ns,
            sending.answered_ns,
            sending.sent_bytes if sending.sent_ns >= 0 else -1,
            sending.received_bytes if sending.first_byte_ns >= 0 else -1,
            sending.status_code,
            sending.error,
            body if len(body) <= BODY_LIMIT_BYTES else body[:BODY_LIMIT_BYTES],
            sending.body_bytes,
            sending.digest,
        )
        if self._writer.text_bytes > MOST_TEXT_BYTES:
            self._write()

    def flush(self, under_way: Iterable[Sending]) -> None:
        """Write what was collected. `under_way`: what has no outcome yet, the latest first."""
        for sending in under_way:
            if sending.noted:
                break
            sending.noted = True
            self._writer.add(sending.request.seq, sending.due_ns, sending.sent_ns, over=False)
        self._write()

    def close(self) -> None:
        """Raises OSError when anything could not be written."""
        self._write()
        os.close(self._fd)
        if self.error is not None:
            raise self.error

    def _write(self) -> None:
        block = memoryview(self._writer.block())
        try:
            while block:
                block = block[os.write(self._fd, block) :]
        except OSError as error:
            self.error = self.error or error
