"""What the decision checks share: good, undegraded answers of all arms to the same requests, joined to their labels.

Answers made with a fallback are left out, as the fallback is judged elsewhere; a request counts only when every arm
gave such an answer, so that arms are compared on the same applications. A candidate that answers markedly fewer requests
in this way than the baseline has picked its own exam: nothing can be told from the rest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from harness.checks.base import generator, percent
from harness.checks.pairs import Paired, pair
from harness.checks.statistics import Array, Weights, block_weights
from harness.model.case import Case
from harness.model.history import History
from harness.model.plan import Arm, Phase

PHASES = tuple(phase.value for phase in (Phase.STEADY, Phase.FAULT, Phase.RECOVERY, Phase.SWITCHING))


MOST_LEFT_OUT = 0.05
"""Share of the baseline's good answers that the candidate may not have given."""


@dataclass(frozen=True)
class Comparable:
    """Requests that every arm answered well and without a fallback; `left_out` of the baseline's are missing."""

    rows: Paired
    left_out: float

    def why_not(self) -> str:
        """Why these rows say nothing about the candidate; empty when they do."""
        if self.left_out <= MOST_LEFT_OUT:
            return ""
        return (
            f"the candidate gave no such answer to {percent(self.left_out)} of the requests "
            "that the baseline answered well and without a fallback"
        )


@dataclass(frozen=True)
class Labelled:
    """Aligned with `rows`: the truth (1: should be approved) and each protected attribute.

    `left_out` says why these rows say nothing about the candidate (see `Comparable`); empty when they do.
    """

    rows: Paired
    left_out: str
    labels: npt.NDArray[np.bool_]
    groups: Mapping[str, npt.NDArray[np.str_]]

    def take(self, mask: npt.NDArray[np.bool_]) -> Labelled:
        """The requests where `mask` is true."""
        groups = {name: values[mask] for name, values in self.groups.items()}
        return replace(self, rows=self.rows.take(mask), labels=self.labels[mask], groups=groups)


def undegraded(case: Case, history: History, degraded_field: str) -> Comparable:
    """What can be compared of all phases but the warm-up."""
    rows = pair(history.exchanges, case.plan.arms, case.policy.block.ns, phase=PHASES)
    good = {}
    for arm in case.plan.arms:
        degraded = np.array([value is True for value in rows.field(arm, degraded_field)], dtype=bool)
        status = rows.arms[arm].column("status")
        good[arm] = ~degraded & (status >= 200) & (status < 300)
    asked = good[Arm.BASELINE]
    left_out = float((asked & ~good[Arm.CANDIDATE]).sum() / asked.sum()) if asked.any() else 0.0
    return Comparable(rows.take(np.all(list(good.values()), axis=0)), left_out)


def labelled(case: Case, history: History, degraded_field: str) -> Labelled:
    """Those of the undegraded requests whose key has a label."""
    comparable = undegraded(case, history, degraded_field)
    rows = comparable.rows
    table = _truths(history)
    keys = rows.arms[case.plan.arms[0]].column("key").tolist()
    known = np.array([key in table for key in keys], dtype=bool)
    rows = rows.take(known)
    truths = [table[key] for key in keys if key in table]
    names = sorted({name for _, groups in truths for name in groups})
    return Labelled(
        rows=rows,
        left_out=comparable.why_not(),
        labels=np.array([label == 1 for label, _ in truths], dtype=bool),
        groups={name: np.array([str(groups.get(name, "")) for _, groups in truths]) for name in names},
    )


def _truths(history: History) -> dict[str, tuple[int, Mapping[str, object]]]:
    """Label and groups by key. A label that is neither 0 nor 1 is none. Raises ValueError for a key with two truths."""
    table: dict[str, tuple[int, Mapping[str, object]]] = {}
    for row in history.labels.rows():
        if row["label"] not in (0, 1):
            continue
        truth = (row["label"], json.loads(row["groups"] or "{}"))
        if table.setdefault(row["key"], truth) != truth:
            raise ValueError(f"the labels say two things about {row['key']}")
    return table


def missing_numbers(candidate: Array, baseline: Array) -> int:
    """How many requests have a number in the baseline's answer and none in the candidate's."""
    return int((np.isfinite(baseline) & ~np.isfinite(candidate)).sum())


def resampled(case: Case, rows: Paired) -> Weights:
    """Weights of the bootstrap; decisions do not depend on each other, so every request is a block of its own.

    The same for every finding about as many requests: each interval is looked at by itself.
    """
    return _weights(case.plan.seed, len(rows), case.policy.resamples)


@lru_cache(maxsize=2)
def _weights(seed: int, count: int, resamples: int) -> Weights:
    if count == 0:
        return np.zeros((resamples, 0))
    weights = block_weights(np.arange(count), resamples, generator(seed, f"decisions/{count}"))
    weights.flags.writeable = False
    return weights
