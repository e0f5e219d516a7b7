"""The terminal that a command speaks to: progress and errors on stderr, the answer on stdout, and the exit code.

Takes what a command found or what went wrong; gives plain lines, or one JSON document on stdout. Knows nothing of runs
and reports (`harness.printing` does). A reader who has gone (`readiness … | head`) stops nothing but the printing.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from harness.errors import DefinitionError, ExitCode, ReadinessError
from harness.visible import visible, visible_json

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")

DEBUG = "READINESS_DEBUG"
"""Environment variable: 1 shows the traceback of every error."""
WIDTH = 110
"""Columns where stdout is no terminal and COLUMNS does not say otherwise."""
STAMP = "[{:7.1f} s] "


def write(stream: TextIO, text: str) -> None:
    """One write, flushed. Once nobody reads any more the stream leads nowhere, and that is no error."""
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def coloured(stream: TextIO) -> bool:
    """A terminal that understands colour, whose user did not set NO_COLOR."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class LineProgress:
    """A `Progress` of plain lines, each with the seconds since the start, the same on a terminal and in CI."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._bold = coloured(self._stream)
        self._started_s = time.monotonic()
        self._lock = threading.Lock()

    def stage(self, text: str) -> None:
        self._line(text, self._bold)

    def note(self, text: str) -> None:
        self._line("\n".join(f"  {line}" for line in text.splitlines()), bold=False)

    def _line(self, text: str, bold: bool) -> None:
        stamp = STAMP.format(time.monotonic() - self._started_s)
        body = visible(text, keep="\n\t").replace("\n", "\n" + " " * len(stamp))
        with self._lock:
            write(self._stream, f"{stamp}\x1b[1m{body}\x1b[0m\n" if bold else f"{stamp}{body}\n")


class Terminal:
    """What a command speaks to. It answers once; `exit_code` is the process's when the command ends."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.progress = LineProgress()
        self.exit_code = ExitCode.READY
        self._answered = False

    def answer(self, value: T, print_it: Callable[[T, Console], None], as_values: Callable[[T], Any]) -> None:
        """The command's answer: printed with rich, or `as_values` of it as JSON."""
        self._answered = True
        if self.as_json:
            write(sys.stdout, _json(as_values(value)))
            return
        page = console(sys.stdout)
        print_it(value, page)
        text: str = page.file.getvalue()  # type: ignore[attr-defined]
        write(sys.stdout, "".join(f"{line.rstrip(' ')}\n" for line in text.splitlines()))

    def failed(self, error: BaseException) -> ExitCode:
        """Say what went wrong, on stderr and, where no answer has gone out yet, in the JSON document."""
        text, code = explained(error)
        if os.environ.get(DEBUG) == "1":
            write(sys.stderr, visible("".join(traceback.format_exception(error)), keep="\n\t"))
        write(sys.stderr, visible(text, keep="\n\t") + "\n")
        if self.as_json and not self._answered:
            write(sys.stdout, _json({"error": text, "problems": _problems(error), "exit_code": int(code)}))
        return code


def console(stream: TextIO) -> Console:
    """A rich console that prints into memory, as wide and as colourful as `stream`. Text is never read as markup."""
    from rich.console import Console

    return Console(
        file=io.StringIO(),
        width=shutil.get_terminal_size((WIDTH, 24)).columns if stream.isatty() else _width(),
        force_terminal=stream.isatty(),
        color_system="auto" if coloured(stream) else None,
        markup=False,
        highlight=False,
        emoji=False,
    )


def _width() -> int:
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdecimal() and int(columns) else WIDTH


@contextlib.contextmanager
def terminal(as_json: bool = False) -> Iterator[Terminal]:
    """Around a whole command: whatever happens inside ends the process with a message and the right exit code."""
    speaker = Terminal(as_json)
    try:
        yield speaker
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last place where anything can be said
        code = speaker.failed(error)
        raise SystemExit(int(code)) from None
    raise SystemExit(int(speaker.exit_code))


def explained(error: BaseException) -> tuple[str, ExitCode]:
    """What to tell the user, and the exit code. An error that nobody foresaw never passes for a verdict."""
    if isinstance(error, ReadinessError):
        return str(error), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", ExitCode.INTERRUPTED
    if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith(("harness", "synthetic")):
        what = f"error: the Python package of module {error.name!r} is not installed"
        return f"{what}\n  install pytest-readiness with all its dependencies", ExitCode.ENGINE_FAILED
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        what = "error: no space is left to write to" + (f": {error.filename}" if error.filename else "")
        return (
            f"{what}\n  make room, there or where TMPDIR is, or write to another disk",
            ExitCode.ENGINE_FAILED,
        )
    if isinstance(error, OSError) and error.errno is not None:
        what = f"error: {error.strerror}" + (f": {error.filename}" if error.filename else "")
        return f"{what}\n  {DEBUG}=1 shows where it happened", ExitCode.ENGINE_FAILED
    said = (str(error).splitlines() or [""])[0]
    what = f"error: {type(error).__name__}: {said}" if said else f"error: {type(error).__name__}"
    return (
        f"{what}\n  this is a bug in pytest-readiness; {DEBUG}=1 shows its traceback",
        ExitCode.ENGINE_FAILED,
    )


def tolerant_streams() -> None:
    """A terminal that cannot show a character gets a question mark, not a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _problems(error: BaseException) -> list[dict[str, Any]]:
    found = error.problems if isinstance(error, DefinitionError) else ()
    return [
        {
            "file": problem.where.file,
            "line": problem.where.line,
            "column": problem.where.column,
            "what": problem.what,
            "fix": problem.fix,
        }
        for problem in found
    ]


def _json(value: Any) -> str:
    return visible_json(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)) + "\n"
