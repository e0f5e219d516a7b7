"""When requests are due in the replay's benchmark: evenly spaced, as a Poisson process, and as recorded.

Takes rates and lengths, gives offsets in ns. The recorded one is the Azure trace from the shared data folder, ten times
as fast, of which the busiest stretch of the wanted length is taken; it is left out where the data is not there.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from tests.benchmarks.setting import ROOT

Offsets = npt.NDArray[np.int64]
Kind = Literal["constant", "Poisson", "recorded"]

AZURE = ROOT.parent / "shared" / "data" / "traffic" / "azure_llm_code.csv"
AZURE_SPEED = 10
WARMUP_NS = 1_000_000_000
"""Requests of the first second are sent and not counted, of every tool alike."""

SEED = 20_231_116


@dataclass(frozen=True)
class Load:
    """`offsets_ns` ascending, from the start; `rate` a second on average."""

    kind: Kind
    rate: float
    offsets_ns: Offsets

    @property
    def name(self) -> str:
        return "Azure ×10" if self.kind == "recorded" else f"{self.kind} {self.rate:.0f}/s"

    @property
    def length_ns(self) -> int:
        return int(self.offsets_ns[-1]) + 1


def constant(rate: int, seconds: float) -> Load:
    return Load("constant", rate, (np.arange(int(rate * seconds)) * (1_000_000_000 / rate)).astype(np.int64))


def poisson(rate: int, seconds: float) -> Load:
    gaps = np.random.default_rng(SEED + rate).exponential(1e9 / rate, int(rate * seconds))
    return Load("Poisson", rate, np.cumsum(gaps).astype(np.int64))


def azure(seconds: float, path: Path = AZURE) -> Load | None:
    """None where the trace is not there."""
    if not path.is_file():
        return None
    with path.open(encoding="ascii") as file:
        stamps = [line.partition(",")[0][:26] for line in file][1:]
    at = np.array([dt.datetime.fromisoformat(stamp).replace(tzinfo=dt.UTC).timestamp() for stamp in stamps])
    at = np.sort(at - at.min()) / AZURE_SPEED
    stops = np.searchsorted(at, at + seconds)
    first = int(np.argmax(stops - np.arange(len(at))))
    stretch = at[first : stops[first]] - at[first]
    return Load("recorded", len(stretch) / seconds, (stretch * 1e9).astype(np.int64))
