"""What the tests of the command line share: run a command, show an answer."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from harness.cli import app
from harness.console import console

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Done:
    """What a command ended with."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """stdout as exactly one JSON document."""
        return json.loads(self.out)


def readiness(*words: str | Path) -> Done:
    """The command, within this process."""
    done = CliRunner().invoke(
        app,
        [str(word) for word in words],
        prog_name="readiness",
        env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"},
    )
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return Done(done.exit_code, done.stdout, done.stderr)


def in_a_process(script: str, *words: str | Path, **environment: str) -> Done:
    """A script, and what it left, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env={**os.environ, **environment},
    )
    return Done(done.returncode, done.stdout, done.stderr)


def shown(print_it: Callable[[Any, Any], None], value: object, width: int = 110) -> str:
    """What a terminal of that width without colour would show."""
    page = console(io.StringIO())
    page.width = width
    print_it(value, page)
    return "".join(f"{line.rstrip(' ')}\n" for line in page.file.getvalue().splitlines())  # type: ignore[attr-defined]
