"""Completeness: every arm took every unit, every exchange of the plan has one row in every arm, nothing broke on the way."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from harness.checks.base import EVENTS_FILE, EXCHANGES_FILE, Frame, pointer
from harness.checks.evidence import NoParameters, evidence_finding
from harness.model.case import Case
from harness.model.findings import Finding
from harness.model.history import EventKind, History
from harness.model.plan import Arm, Turn

_BREAKS = {
    EventKind.REPLAY_FAILED: "the load generator failed",
    EventKind.FAULT_FAILED: "a fault could not be applied or healed",
    EventKind.HARNESS: "the harness had a problem",
}


class Completeness:
    """See the module's head."""

    name = "completeness"
    summary = "every unit ran in every arm and every request of the plan has a row"
    parameters = NoParameters

    def expect(self, frame: Frame, parameters: NoParameters) -> tuple[str, ...]:
        return (self.name,)

    def judge(self, case: Case, parameters: NoParameters, history: History) -> Iterable[Finding]:
        problems = [problem for turn in case.plan.turns for problem in _turn_problems(case, history, turn)]
        for event in history.events_of(*_BREAKS):
            said = str(event.detail.get("error", "it did not say why"))
            place = f" in {event.unit}, {event.arm}" if event.unit else ""
            problems.append(f"{_BREAKS[event.kind]}{place}: {said}")
        problems += _pair_problems(case, history)
        if not case.plan.turns or len(history.exchanges) == 0:
            problems.insert(0, "the history holds no requests at all")
        rows = len(history.exchanges)
        units = len(case.plan.units)
        good = f"All {units} units ran in all {len(case.plan.arms)} arms; {rows} requests are on record."
        evidence = (pointer(EXCHANGES_FILE, rows), pointer(EVENTS_FILE, len(history.events)))
        yield evidence_finding(self.name, problems, good, sample_size=rows, evidence=evidence, rank=30)


def _turn_problems(case: Case, history: History, turn: Turn) -> Iterable[str]:
    planned = case.plan.unit(turn.unit)
    for arm in turn.arms:
        place = f"{turn.unit}, {arm}"
        if not history.events_of(EventKind.UNIT_FINISHED, arm=arm.value, turn=turn.turn, unit=turn.unit):
            yield f"{place} did not run to its end"
            continue
        seqs = history.exchanges.where(arm=arm.value, turn=turn.turn).column("seq")
        wanted = np.arange(planned.first_seq, planned.stop_seq)
        if planned.exchanges == 0:
            yield f"{place} has no requests to send: the recording is silent there"
        elif len(seqs) != len(wanted) or not np.array_equal(np.sort(seqs), wanted):
            yield f"{place} has {len(seqs)} of {planned.exchanges} requests on record"


def _pair_problems(case: Case, history: History) -> list[str]:
    """Request k must be the same request in every arm."""
    ids = {}
    for arm in case.plan.arms:
        rows = history.exchanges.where(arm=arm.value)
        ids[arm] = dict(zip(rows.column("seq").tolist(), rows.column("request_id").tolist(), strict=True))
    first = ids.get(Arm.BASELINE, {})
    return [
        f"{arm} was sent other requests than the baseline" for arm, found in ids.items() if found != first
    ]
