"""What a check is, and what it may know.

A check is a pure function of (Case, History) to findings. At plan time it says which findings it owes (`expect`), from
the definitions alone; at judging time it must produce exactly those. It reads no clock, no file and no global random
state, so that anyone can recompute its findings from a bundle.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict

from harness.model.case import Case
from harness.model.environment import Edge, Environment
from harness.model.findings import EvidencePointer, Finding, Outcome
from harness.model.history import History
from harness.model.plan import Arm, Unit

Origin = Literal["evidence", "scenario", "change"]

EXCHANGES_FILE = "history/exchanges.parquet"
EDGES_FILE = "history/edge_requests.parquet"
WITNESS_FILE = "history/witness.parquet"
EVENTS_FILE = "history/events.jsonl"
LABELS_FILE = "history/labels.parquet"


class Parameters(BaseModel):
    """Base of all checks' parameters: a typo is an error, and so is a limit that is no number or has no end."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Frame:
    """What is known before anything has run, and enough to say which findings a check owes."""

    environment: Environment
    units: tuple[Unit, ...]
    arms: tuple[Arm, ...]
    entry: str
    changed_services: tuple[str, ...] = ()
    has_labels: bool = False
    has_answers_schema: bool = False

    @classmethod
    def of(cls, case: Case) -> Frame:
        return cls(
            environment=case.environment,
            units=case.plan.units,
            arms=case.plan.arms,
            entry=case.plan.entry,
            changed_services=tuple(case.change.services),
            has_labels=case.plan.dataset_digest is not None,
            has_answers_schema=case.answers_schema is not None,
        )

    def fault_units(self) -> tuple[Unit, ...]:
        return tuple(unit for unit in self.units if unit.window is not None)

    def http_edges(self) -> tuple[Edge, ...]:
        """Edges between services that speak HTTP and that normal load passes."""
        edges = self.environment.edges
        return tuple(edge for edge in edges if edge.protocol == "http" and edge.traffic == "always")

    def http_services(self) -> tuple[str, ...]:
        """Services that others call over HTTP: those whose requests the plane's log shows."""
        return tuple(dict.fromkeys(edge.callee for edge in self.http_edges()))

    def served(self, unit: Unit) -> frozenset[str]:
        """Services that requests still reach while the unit's fault is on."""
        window = unit.window
        if window is None or not window.cuts:
            return self.environment.reachable()
        cut_edges = [window.edge] if window.edge else []
        cut_services = [window.service] if window.service else []
        return self.environment.reachable(cut_edges, cut_services)


class Check(Protocol):
    """One check; `name` is what scenarios call it, `summary` one line for people."""

    @property
    def name(self) -> str: ...

    @property
    def summary(self) -> str: ...

    @property
    def parameters(self) -> type[Parameters]: ...

    def expect(self, frame: Frame, parameters: Any) -> tuple[str, ...]:
        """Ids of the findings that `judge` must produce."""

    def judge(self, case: Case, parameters: Any, history: History) -> Iterable[Finding]:
        """The findings, exactly those expected."""


def generator(seed: int, name: str) -> np.random.Generator:
    """Randomness that depends on the plan's seed and the name of what is drawn alone."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def pointer(file: str, rows: int, **where: str) -> EvidencePointer:
    return EvidencePointer(file=file, where=where, rows=rows)


def outcome_against(low: float, high: float, limit: float, at_most: bool) -> Outcome:
    """Pass only when the whole interval is on the good side of the limit, fail only when it is wholly beyond."""
    if at_most:
        return Outcome.PASS if high <= limit else Outcome.FAIL if low > limit else Outcome.UNKNOWN
    return Outcome.PASS if low >= limit else Outcome.FAIL if high < limit else Outcome.UNKNOWN


def worst(*outcomes: Outcome) -> Outcome:
    """A failure beats an unknown, an unknown beats a pass; none at all is unknown."""
    for outcome in (Outcome.FAIL, Outcome.UNKNOWN):
        if outcome in outcomes:
            return outcome
    return Outcome.PASS if outcomes else Outcome.UNKNOWN


TOO_NOISY = (
    ", and baseline and control, which are the same, differ by more than a change may: nothing can be told"
)
TOO_CLOSE = ", and the numbers of this run decide it neither way"


def weighed(outcome: Outcome, noise: float, allowed: float, words: str) -> tuple[Outcome, str]:
    """The outcome and its words, which say why where it is unknown; a pass beside too much noise becomes unknown.

    The noise, by which baseline and control differ, is added to every margin. Without a bound of its own (what the change
    is allowed) a control that went astray would excuse anything.
    """
    if outcome is Outcome.PASS and not noise <= allowed:
        return Outcome.UNKNOWN, words + TOO_NOISY
    return outcome, words + TOO_CLOSE if outcome is Outcome.UNKNOWN else words


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def percent_or_none(share: float) -> str:
    """For a share of nothing."""
    return percent(share) if np.isfinite(share) else "none"


def finite(value: float) -> float | None:
    """None for NaN and infinities, which JSON does not have."""
    return float(value) if np.isfinite(value) else None
