"""How far a long piece of work is: one line on a terminal that is written over, or a line now and then in a log.

Takes a stream and texts, prints no more often than anyone can read. The line is gone when the work ends.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from harness.console import write
from harness.visible import visible

TERMINAL_EVERY_S = 0.2
LOG_EVERY_S = 10.0
_CLEAR = "\r\x1b[K"


def read_so_far(path: Path) -> int | None:
    """How far this process has read a file that it has open, as Linux tells it; None: not known."""
    furthest = None
    with contextlib.suppress(OSError):
        for opened in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError, ValueError):
                if opened.readlink() == path.absolute():
                    said = Path(f"/proc/self/fdinfo/{opened.name}").read_text("ascii")
                    position = int(said.split()[1])
                    furthest = max(position, furthest or 0)
    return furthest


class Meter:
    """A context manager. `note` is used where stderr is no terminal."""

    def __init__(self, note: Callable[[str], None], stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._note = note
        self._live = self._stream.isatty()
        self._started_s = self._last_s = time.monotonic()
        self._shown = False

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._started_s

    def tell(self, text: Callable[[], str]) -> None:
        """Say so, unless something was said a moment ago; the text is made only when it is shown."""
        now_s = time.monotonic()
        if now_s - self._last_s < (TERMINAL_EVERY_S if self._live else LOG_EVERY_S):
            return
        self._last_s = now_s
        if self._live:
            self._shown = True
            write(self._stream, f"{_CLEAR}{visible(text())}")
        else:
            self._note(text())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._shown:
            write(self._stream, _CLEAR)
