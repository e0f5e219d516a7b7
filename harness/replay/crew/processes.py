"""A process of a crew as its starter sees it: lines in, lines out, and an end that is always noticed.

Takes the name of a module and where its libraries may print; gives typed lines (`orders`) to a listener. The process is
in a session of its own, so that a terminal's Ctrl-C reaches its starter alone, and ends with its starter.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import harness
from harness.replay.crew.orders import Line, decode_line, encode_line

ENDING_S = 3.0
"""How long each step of `close` may take: asked, then SIGTERM, then SIGKILL."""

LAST_WORDS_CHARS = 4_000


class LineProcess:
    """`heard` is called with each line, `ended` once with how it ended; both from a thread of this process's own."""

    def __init__(
        self, module: str, log: Path, heard: Callable[[Line], None], ended: Callable[[str], None]
    ) -> None:
        self.log = log
        self._heard = heard
        self._ended = ended
        self._speaking = threading.Lock()
        root = str(Path(harness.__file__).parent.parent)
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        with log.open("ab") as stderr:
            # -P keeps the user's folder, and whatever files in it are called, out of the process's imports.
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                encoding="utf-8",
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                start_new_session=True,
            )
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
        with contextlib.suppress(OSError):
            if self.process.stdin is not None:
                self.process.stdin.close()

    def close(self) -> None:
        """End it and see it gone. May be called again."""
        self.release()
        for force in (self.process.terminate, self.process.kill, None):
            try:
                self.process.wait(timeout=ENDING_S)
                return
            except subprocess.TimeoutExpired:
                if force is not None:
                    force()

    def last_words(self) -> str:
        """The end of what it printed."""
        try:
            return self.log.read_text("utf-8", errors="replace")[-LAST_WORDS_CHARS:].strip()
        except OSError:
            return ""

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            for text in self.process.stdout:
                self._heard(decode_line(text))
        self._ended(self._how())

    def _how(self) -> str:
        try:
            code = self.process.wait(timeout=ENDING_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return "closed its output"
        return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
