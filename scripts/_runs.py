"""What demo, seeds and kills share: start `readiness` as a user would, read the verdict that it left.

Takes a change file and options; gives an `Outcome`. Nothing is imported from the harness: these scripts see what a
user sees.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
READINESS = Path(sys.executable).parent / "readiness"
CHANGES = ROOT / "scenarios" / "changes"
READY_CHANGE = CHANGES / "rate-model-v2.change.yaml"
NOT_READY_CHANGE = CHANGES / "rate-model-v2-rescaled.change.yaml"
EXPECTED = {READY_CHANGE: ("READY", 0), NOT_READY_CHANGE: ("NOT_READY", 1)}
RUN_LIMIT_S = 1800


@dataclass(frozen=True)
class Outcome:
    """What one run ended with. `verdict` is empty when no verdict was written."""

    change: Path
    exit_code: int
    seconds: float
    verdict: str
    sentence: str
    reasons: tuple[str, ...]
    bundle: Path | None

    @property
    def as_announced(self) -> bool:
        return (self.verdict, self.exit_code) == EXPECTED[self.change]


def shown(path: Path) -> str:
    """The path as a reader in the project's root would type it."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def fresh_folder(kind: str) -> Path:
    """A new folder under reports/ for this batch of runs."""
    folder = ROOT / "reports" / kind / datetime.now(tz=UTC).strftime("%Y%m%d-%H%M%S")
    folder.mkdir(parents=True)
    return folder


def build_datasets() -> None:
    """Have every dataset bundle that the scenarios need; the command itself skips what is already built."""
    for definition in sorted(
        {*ROOT.glob("scenarios/**/*.dataset.yaml"), *ROOT.glob("environments/**/*.dataset.yaml")}
    ):
        started = time.monotonic()
        print(f"[demo] data build {shown(definition)} ...", flush=True)
        subprocess.run([READINESS, "data", "build", shown(definition)], cwd=ROOT, check=True, timeout=600)
        print(f"[demo] data build: {time.monotonic() - started:.1f} s", flush=True)


def run(change: Path, out: Path, *options: str, quiet: bool = False) -> Outcome:
    """One `readiness run` to its end."""
    started = time.monotonic()
    done = subprocess.run(
        [READINESS, "run", shown(change), "--out", shown(out), *options],
        cwd=ROOT,
        check=False,
        timeout=RUN_LIMIT_S,
        stdout=subprocess.DEVNULL if quiet else None,
    )
    return read_outcome(change, out, done.returncode, time.monotonic() - started)


def read_outcome(change: Path, out: Path, exit_code: int, seconds: float) -> Outcome:
    """The verdict that the run left in `out`, or in the one bundle below it."""
    found = sorted([*out.glob("verdict.json"), *out.glob("*/verdict.json")])
    if not found:
        return Outcome(change, exit_code, seconds, "", "no verdict was written", (), None)
    verdict = json.loads(found[-1].read_text())
    return Outcome(
        change,
        exit_code,
        seconds,
        str(verdict["verdict"]),
        str(verdict.get("sentence", "")),
        tuple(map(str, verdict.get("reasons", ()))),
        found[-1].parent,
    )
