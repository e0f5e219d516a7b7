"""mitmproxy as a program of its own: found, started, listened to, ended.

Takes what it shall do (read a flow file; record a service), gives the frames that `mitm_addon.py` sends from inside it.
mitmproxy is never imported by the harness: what it pins (on Python 3.11 a `cryptography` of years ago) need not be what
the harness runs with, so that it may as well live in an environment of its own. Everything goes through a pipe. The
program ends with its standard input, and so with the harness, whatever ended that; Ctrl-C reaches the harness alone.
"""

from __future__ import annotations

import collections
import json
import os
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

ADDON = Path(__file__).parent / "mitm_addon.py"
PROGRAM = "READINESS_MITMDUMP"
"""Environment variable: the `mitmdump` to use, where it is neither beside this Python nor on PATH."""
INSTALL = (
    "pip install 'pytest-readiness[mitm]', or install mitmproxy by itself, so that its mitmdump is on PATH"
)

STOP_S = 15.0
"""How long the program may take to end when it is asked to; then it is killed."""
_LENGTHS = struct.Struct(">III")
_NO_BODY = 0xFFFFFFFF
_READ_BYTES = 2**20
_TAIL_LINES = 20


@dataclass(frozen=True)
class Frame:
    """One message of the addon: what it is about, and the two bodies as they were on the wire."""

    head: Mapping[str, Any]
    request: bytes | None
    answer: bytes | None

    @property
    def kind(self) -> str:
        return str(self.head["kind"])


class NoMitmdumpError(Exception):
    """There is no mitmproxy here."""


def find_mitmdump() -> Path:
    """Named by the environment, beside this Python, or on PATH. Raises NoMitmdumpError."""
    named = os.environ.get(PROGRAM)
    if named:
        if os.access(named, os.X_OK):
            return Path(named)
        raise NoMitmdumpError
    beside = Path(sys.executable).parent / "mitmdump"
    if os.access(beside, os.X_OK):
        return beside
    found = shutil.which("mitmdump")
    if found is None:
        raise NoMitmdumpError
    return Path(found)


class Mitmdump:
    """A context: the program runs within it, and is gone afterwards. Raises NoMitmdumpError and OSError on entering."""

    def __init__(self, options: Mapping[str, str], arguments: Sequence[str] = ()) -> None:
        self._options = options
        self._arguments = arguments
        self._said: collections.deque[str] = collections.deque(maxlen=_TAIL_LINES)
        self._held = bytearray()
        self._ended = False

    def __enter__(self) -> Self:
        program = find_mitmdump()
        # Certificates that mitmproxy makes for itself, and nothing of what it sees; no settings of the user's.
        self._home = tempfile.mkdtemp(prefix="readiness-mitm-")
        read_fd, write_fd = os.pipe()
        try:
            self._process = self._start(program, write_fd)
        except OSError:
            os.close(read_fd)
            shutil.rmtree(self._home, ignore_errors=True)
            raise
        finally:
            os.close(write_fd)
        self._pipe = read_fd
        assert self._process.stdout is not None
        self._listener = threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True)
        self._listener.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not self._ended:
                self._process.kill()
            self.ask_to_end()
            self.exit_code()
        finally:
            os.close(self._pipe)
            shutil.rmtree(self._home, ignore_errors=True)

    @property
    def pid(self) -> int:
        return self._process.pid

    def poll(self, timeout_s: float) -> list[Frame] | None:
        """The frames that came within this time, at least waiting for the first; None: there will be no more."""
        ready, _, _ = select.select([self._pipe], [], [], timeout_s)
        if not ready:
            return []
        chunk = os.read(self._pipe, _READ_BYTES)
        if not chunk:
            self._ended = True
            return None
        self._held += chunk
        return self._frames()

    def ask_to_end(self) -> None:
        """It finishes what is under way, sends what it has, and ends. May be called again."""
        stdin = self._process.stdin
        if stdin is not None and not stdin.closed:
            stdin.close()

    def kill(self) -> None:
        self._process.kill()

    def exit_code(self) -> int:
        """Waits for its end, and brings it about if need be."""
        try:
            code = self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._listener.join(STOP_S)
        return code

    def last_words(self) -> str:
        """The last lines that it printed."""
        return "\n".join(self._said)

    def _start(self, program: Path, write_fd: int) -> subprocess.Popen[bytes]:
        options = {
            "confdir": self._home,
            "flow_detail": "0",
            "termlog_verbosity": "error",
            "onboarding": "false",
            "readiness_fd": str(write_fd),
            **self._options,
        }
        sets = [word for name, value in options.items() for word in ("--set", f"{name}={value}")]
        return subprocess.Popen(
            [str(program), *self._arguments, "-s", str(ADDON), *sets],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(write_fd,),
            start_new_session=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"},
        )

    def _listen(self, printed: IO[bytes]) -> None:
        for line in printed:
            self._said.append(line.decode("utf-8", "replace").rstrip())

    def _frames(self) -> list[Frame]:
        found: list[Frame] = []
        held, at = memoryview(self._held), 0
        while len(held) - at >= _LENGTHS.size:
            head, request, answer = _LENGTHS.unpack_from(held, at)
            sizes = [0 if size == _NO_BODY else size for size in (request, answer)]
            begin = at + _LENGTHS.size
            if len(held) - begin < head + sum(sizes):
                break
            middle, last = begin + head, begin + head + sizes[0]
            found.append(
                Frame(
                    json.loads(bytes(held[begin:middle])),
                    None if request == _NO_BODY else bytes(held[middle:last]),
                    None if answer == _NO_BODY else bytes(held[last : last + sizes[1]]),
                )
            )
            at = last + sizes[1]
        held.release()
        del self._held[:at]
        return found
