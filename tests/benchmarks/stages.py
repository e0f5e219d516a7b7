"""Where the time of a run goes: a short change run as a user runs it, its progress lines read stage by stage.

Takes a setting, gives one table. The change is the demo's first one under a shortened copy of its scenario in a
temporary folder: one calm stretch and two faults. The verdict does not matter here, only that there is one.
"""

from __future__ import annotations

import itertools
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from harness.errors import EngineError, ExitCode
from harness.interrupts import interruptible
from tests.benchmarks.setting import CHANGE, ROOT, SCENARIO, Setting
from tests.benchmarks.table import Table

READINESS = Path(sys.executable).parent / "readiness"
RUN_LIMIT_S = 420
UNDO_LIMIT_S = 90
STAMPED = re.compile(r"^\[ *(\d+\.\d) s\] (\S.*)$")
"""A stage's line; notes within a stage are indented and so do not match."""
ARMS = 3
ENDED_WELL = {ExitCode.READY, ExitCode.NOT_READY, ExitCode.UNKNOWN}

CALM_S, FAULT_MS, RECOVERY_MS = 4, 1500, 2500
FAULTS = (
    {"fault": "black_hole", "edge": "feature-service->redis"},
    {"fault": "kill", "service": "model-server"},
)


@dataclass(frozen=True)
class Stage:
    """One stage of the run and how long it took."""

    text: str
    seconds: float


def measure(setting: Setting) -> tuple[Table, ...]:
    """One run: about a minute and a half where the arms take turns."""
    with tempfile.TemporaryDirectory(prefix="readiness-bench-") as folder:
        change = _shortened(Path(folder))
        stages, exit_code = _run(change, Path(folder) / "out", setting)
    return (_table(stages, exit_code),)


def _shortened(folder: Path) -> Path:
    """The demo's scenarios beside its environments, with a short timeline; gives the change's path."""
    (folder / "environments").symlink_to(ROOT / "environments")
    scenarios = folder / "scenarios"
    scenarios.mkdir()
    for item in SCENARIO.parent.iterdir():
        if item != SCENARIO:
            (scenarios / item.name).symlink_to(item)
    scenario = yaml.safe_load(SCENARIO.read_text())
    times = {"for": f"{FAULT_MS}ms", "recovery": f"{RECOVERY_MS}ms"}
    scenario["timeline"] = [
        {"steady": "calm", "for": f"{CALM_S}s"},
        *({**fault, **times} for fault in FAULTS),
    ]
    (scenarios / SCENARIO.name).write_text(yaml.safe_dump(scenario, sort_keys=False))
    return scenarios / CHANGE.relative_to(SCENARIO.parent)


def _run(change: Path, out: Path, setting: Setting) -> tuple[list[Stage], int]:
    """Run it, passing its stages on as notes. Raises EngineError when it ends without a verdict."""
    words = [str(READINESS), "run", str(change), "--seed", "1", "--out", str(out)]
    started_s = time.monotonic()
    marks: list[tuple[float, str]] = []
    said: list[str] = []
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    with _ending(process):
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line.rstrip())
            found = STAMPED.match(line)
            if found:
                marks.append((time.monotonic() - started_s, found[2]))
                setting.progress.note(found[2])
        exit_code = process.wait(timeout=UNDO_LIMIT_S)
    ended_s = time.monotonic() - started_s
    if exit_code not in ENDED_WELL:
        raise EngineError(
            f"the run ended with exit code {exit_code}:\n" + "\n".join(said[-15:]), "run it by hand"
        )
    marks = [(0.0, "Python and imports"), *marks, (ended_s, "")]
    stages = [Stage(text, until_s - from_s) for (from_s, text), (until_s, _) in itertools.pairwise(marks)]
    return stages, exit_code


@contextmanager
def _ending(process: subprocess.Popen[str]) -> Iterator[None]:
    """However the context ends, the run is over then: interrupted as by Ctrl-C, and given time to undo.

    A run that takes too long is interrupted, too.
    """
    limit = threading.Timer(RUN_LIMIT_S, process.send_signal, [signal.SIGINT])
    limit.start()
    try:
        with interruptible():
            yield
    finally:
        limit.cancel()
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=UNDO_LIMIT_S)


def _table(stages: Sequence[Stage], exit_code: int) -> Table:
    total_s = sum(stage.seconds for stage in stages)
    rows = [
        (stage.text.split(": ")[0], f"{stage.seconds:.1f}", f"{stage.seconds / total_s:.0%}")
        for stage in stages
    ]
    rows.append(("the whole run", f"{total_s:.1f}", "100%"))
    units_s = CALM_S + len(FAULTS) * (FAULT_MS + RECOVERY_MS) / 1000
    warmups = 1 + len(FAULTS)
    return Table(
        title="Time per stage of a run (s)",
        caption=(
            f"`readiness run {CHANGE.relative_to(ROOT)}` under a shortened scenario: {warmups} units, {units_s:g} s of load "
            f"and a warm-up of 1 s each, {ARMS} arms (taking turns, each unit runs {ARMS} times). Seconds from one progress "
            f"line to the next; it ended with exit code {exit_code}."
        ),
        columns=("stage", "seconds", "share"),
        rows=tuple(rows),
    )
