"""What the decision checks share: good, undegraded answers of all arms to the same requests, joined to their labels.

Answers made with a fallback are left out, as the fallback is judged elsewhere; a request counts only when every arm
gave such an answer, so that arms are compared on the same applications.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.checks.base import generator
from harness.checks.pairs import Paired, pair
from harness.checks.statistics import Weights, block_weights
from harness.model.case import Case
from harness.model.history import History
from harness.model.plan import Phase

PHASES = tuple(phase.value for phase in (Phase.STEADY, Phase.FAULT, Phase.RECOVERY, Phase.SWITCHING))


@dataclass(frozen=True)
class Labelled:
    """Aligned with `rows`: the truth (1: should be approved) and each protected attribute."""

    rows: Paired
    labels: npt.NDArray[np.bool_]
    groups: Mapping[str, npt.NDArray[np.str_]]


def undegraded(case: Case, history: History, degraded_field: str) -> Paired:
    """Requests that every arm answered well and without a fallback."""
    rows = pair(history.exchanges, case.plan.arms, case.policy.block.ns, phase=PHASES)
    keep = np.ones(len(rows), dtype=bool)
    for arm in case.plan.arms:
        degraded = np.array([value is True for value in rows.field(arm, degraded_field)], dtype=bool)
        status = rows.arms[arm].column("status")
        keep &= ~degraded & (status >= 200) & (status < 300)
    return rows.take(keep)


def labelled(case: Case, history: History, degraded_field: str) -> Labelled:
    """Those of the undegraded requests whose key has a label."""
    rows = undegraded(case, history, degraded_field)
    table = {row["key"]: (row["label"], json.loads(row["groups"] or "{}")) for row in history.labels.rows()}
    keys = rows.arms[case.plan.arms[0]].column("key").tolist()
    known = np.array([key in table for key in keys], dtype=bool)
    rows = rows.take(known)
    truths = [table[key] for key in keys if key in table]
    names = sorted({name for _, groups in truths for name in groups})
    return Labelled(
        rows=rows,
        labels=np.array([label == 1 for label, _ in truths], dtype=bool),
        groups={name: np.array([str(groups.get(name, "")) for _, groups in truths]) for name in names},
    )


def resampled(case: Case, finding_id: str, rows: Paired) -> Weights:
    """Weights of the bootstrap; decisions do not depend on each other, so every request is a block of its own."""
    count = len(rows)
    if count == 0:
        return np.zeros((case.policy.resamples, 0))
    return block_weights(np.arange(count), case.policy.resamples, generator(case.plan, finding_id))
