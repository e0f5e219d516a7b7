"""Processes that load is sent from: started apart from the terminal, ended in steps, and what is left of them said.

Takes the name of a module and where it and its libraries may print. The process is in a session of its own, so that a
terminal's Ctrl-C reaches its starter alone; it gets its starter's process id, and ends with it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import harness

ENDING_S = 3.0
"""How long each step of `end` may take: asked, then SIGTERM, then SIGKILL."""

LAST_WORDS_CHARS = 4_000


def spawn(module: str, log: Path) -> subprocess.Popen[str]:
    """Lines in, lines out. Raises OSError.

    `-P` keeps the user's folder, and whatever files in it are called, out of the process's imports.
    """
    root = str(Path(harness.__file__).parent.parent)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    with log.open("ab") as stderr:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", module, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,
        )


def release(process: subprocess.Popen[str]) -> None:
    """Ask it to end, by the end of its input."""
    with contextlib.suppress(OSError):
        if process.stdin is not None:
            process.stdin.close()


def end(process: subprocess.Popen[str]) -> None:
    """See it gone: asked, then SIGTERM, then SIGKILL. May be called again."""
    release(process)
    for force in (process.terminate, process.kill, None):
        try:
            process.wait(timeout=ENDING_S)
            return
        except subprocess.TimeoutExpired:
            if force is not None:
                force()


def how_it_ended(process: subprocess.Popen[str]) -> str:
    """Of one that says nothing any more: `ended with exit code 1`."""
    try:
        code = process.wait(timeout=ENDING_S)
    except subprocess.TimeoutExpired:
        return "closed its output"
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"


def last_words(log: Path) -> str:
    """The end of what it printed."""
    try:
        return log.read_text("utf-8", errors="replace")[-LAST_WORDS_CHARS:].strip()
    except OSError:
        return ""
