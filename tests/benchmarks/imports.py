"""What the plugin costs every pytest run of a project that has it installed, and how fast the command answers.

Takes a setting, gives one table. Each figure comes from fresh processes; which modules were loaded is asked of a
process of its own, so that asking costs the timed ones nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass

from tests.benchmarks.setting import ROOT, Setting
from tests.benchmarks.table import Table, median, spread

LIMIT_S = 60
FORBIDDEN = ("docker", "testcontainers", "toxiproxy", "locust", "gevent", "pandas", "sdv", "torch")
PLUGIN_BUDGET_MS = 50

_TIMED = """
import sys, time
{before}
started_ns = time.perf_counter_ns()
{timed}
print((time.perf_counter_ns() - started_ns) / 1e6)
"""
_LOADED = """
import contextlib, io, json, sys
{before}
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    {timed}
print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""
_HELP = "sys.argv = ['readiness', '--help']; from harness.cli import main; main()"


@dataclass(frozen=True)
class Subject:
    """What is timed inside a fresh process, after `before`; or the whole process `command` when that is given."""

    name: str
    timed: str
    before: str = ""
    command: tuple[str, ...] = ()
    budget_ms: int | None = None


SUBJECTS = (
    Subject(
        "import harness.plugin, as pytest does it",
        "import harness.plugin",
        "import pytest",
        (),
        PLUGIN_BUDGET_MS,
    ),
    Subject("import harness.plugin and pytest, from nothing", "import pytest, harness.plugin"),
    Subject("readiness --help, the whole process", _HELP, command=("-m", "harness.cli", "--help")),
    Subject("an empty Python process", "pass", command=("-c", "pass")),
)


def measure(setting: Setting) -> tuple[Table, ...]:
    """The subjects take turns, so that a busy moment does not fall on one of them alone."""
    times_ms: dict[str, list[float]] = {subject.name: [] for subject in SUBJECTS}
    for subject in SUBJECTS:
        _once_ms(subject)  # files into the page cache, bytecode where it is kept
    for _ in range(setting.count(10, 3)):
        for subject in SUBJECTS:
            times_ms[subject.name].append(_once_ms(subject))
    rows = tuple(_row(subject, times_ms[subject.name]) for subject in SUBJECTS)
    return (
        Table(
            title="Import and start times (ms)",
            caption=(
                "Fresh processes, taking turns. `never to be loaded` looks for "
                + ", ".join(FORBIDDEN)
                + ". The budget is for what the plugin adds to a pytest that runs anyway."
            ),
            columns=("what", "never to be loaded", "times", "median", "range", "budget"),
            rows=rows,
            left=2,
        ),
    )


def _row(subject: Subject, values_ms: list[float]) -> tuple[str, ...]:
    budget = ""
    if subject.budget_ms is not None:
        kept = "kept" if median(values_ms) <= subject.budget_ms else "MISSED"
        budget = f"{subject.budget_ms} {kept}"
    loaded = sorted(set(FORBIDDEN) & _loaded(subject))
    return (
        subject.name,
        f"LOADED: {', '.join(loaded)}" if loaded else "none loaded",
        str(len(values_ms)),
        f"{median(values_ms):.1f}",
        spread(values_ms, 1),
        budget,
    )


def _python(*arguments: str) -> str:
    """One process in the project's folder. Raises CalledProcessError with what it said on stderr."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=True
    )
    return done.stdout


def _once_ms(subject: Subject) -> float:
    if subject.command:
        started_ns = time.perf_counter_ns()
        _python(*subject.command)
        return (time.perf_counter_ns() - started_ns) / 1e6
    return float(_python("-c", _TIMED.format(before=subject.before, timed=subject.timed)))


def _loaded(subject: Subject) -> set[str]:
    """Top-level modules in the process at the end."""
    names: list[str] = json.loads(_python("-c", _LOADED.format(before=subject.before, timed=subject.timed)))
    return set(names)
