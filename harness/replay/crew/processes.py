"""A process of a crew as its starter sees it: lines in, lines out, and an end that is always noticed.

Takes the name of a module and where its libraries may print; gives typed lines (`orders`) to a listener.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

from harness.replay.crew.orders import Line, decode_line, encode_line
from harness.replay.spawning import end, how_it_ended, last_words, release, spawn


class LineProcess:
    """`heard` is called with each line, `ended` once with how it ended; both from a thread of this process's own."""

    def __init__(
        self, module: str, log: Path, heard: Callable[[Line], None], ended: Callable[[str], None]
    ) -> None:
        self.log = log
        self._heard = heard
        self._ended = ended
        self._speaking = threading.Lock()
        self.process = spawn(module, log)
        threading.Thread(target=self._listen, name=log.stem, daemon=True).start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def say(self, line: Line) -> None:
        """Raises OSError or ValueError when nobody listens any more."""
        assert self.process.stdin is not None
        with self._speaking:
            self.process.stdin.write(encode_line(line))
            self.process.stdin.flush()

    def kill(self) -> None:
        """At once, and whatever it is doing."""
        if self.process.poll() is None:
            self.process.kill()

    def release(self) -> None:
        """Ask it to end, by the end of its input."""
        release(self.process)

    def close(self) -> None:
        """End it and see it gone. May be called again."""
        end(self.process)

    def last_words(self) -> str:
        """The end of what it printed."""
        return last_words(self.log)

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            for text in self.process.stdout:
                self._heard(decode_line(text))
        how = how_it_ended(self.process)
        self.kill()
        self._ended(how)
