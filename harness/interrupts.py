"""Ctrl-C and SIGTERM while something has to be undone: the first ends the work, none can stop the undo.

Takes nothing, gives a context manager. Only the main thread of a process receives signals; elsewhere it does nothing.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from harness.errors import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class Interrupts:
    """Whether a signal still ends the work (`raises`) or only gets an answer."""

    raises: bool = True
    received: bool = False

    def undo_only(self) -> None:
        """From here on things are taken down: a signal must not stop that."""
        self.raises = False

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        self.received = True
        if self.raises:
            self.raises = False
            raise Interrupted("interrupted; everything that was started has been taken down")
        print("taking everything down; please wait", file=sys.stderr, flush=True)


@contextmanager
def interruptible() -> Iterator[Interrupts]:
    """Within: the first signal raises Interrupted in the main thread, further ones only say that the undo goes on.

    A signal that came during the undo raises Interrupted when the undo is over.
    """
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    before = {number: signal.signal(number, interrupts.handle) for number in _SIGNALS}
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if interrupts.received:
        raise Interrupted("interrupted; everything that was started has been taken down")
