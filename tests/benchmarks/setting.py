"""What every benchmark is told: how much to measure, where to say what it does, which compose to compare with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.progress import Progress

ROOT = Path(__file__).resolve().parents[2]
LENDING = ROOT / "environments" / "lending" / "environment.yaml"
SCENARIO = ROOT / "scenarios" / "lending.scenario.yaml"
DATASET = ROOT / "scenarios" / "lending.dataset.yaml"
CHANGE = ROOT / "scenarios" / "changes" / "rate-model-v2.change.yaml"


@dataclass(frozen=True)
class Setting:
    """`quick` measures just enough to see that everything works. `compose` None: all that are found."""

    progress: Progress
    quick: bool = False
    compose: str | None = None

    def count(self, full: int, quick: int) -> int:
        """How often, or how long, as far as this setting goes."""
        return quick if self.quick else full
