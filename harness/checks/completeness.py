"""Completeness: every arm took every unit, every exchange of the plan has one row in every arm, nothing broke on the way."""

from __future__ import annotations

from collections import Counter
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
        problems = _plan_problems(case)
        problems += [problem for turn in case.plan.turns for problem in _turn_problems(case, history, turn)]
        for event in history.events_of(*_BREAKS):
            said = str(event.detail.get("error", "it did not say why"))
            place = f" in {event.unit}, {event.arm}" if event.unit else ""
            problems.append(f"{_BREAKS[event.kind]}{place}: {said}")
        problems += _pair_problems(case, history)
        problems += _stray_problems(case, history)
        if not case.plan.turns or len(history.exchanges) == 0:
            problems.insert(0, "the history holds no requests at all")
        rows = len(history.exchanges)
        units = len(case.plan.units)
        good = f"All {units} units ran in all {len(case.plan.arms)} arms; {rows} requests are on record."
        evidence = (pointer(EXCHANGES_FILE, rows), pointer(EVENTS_FILE, len(history.events)))
        yield evidence_finding(self.name, problems, good, sample_size=rows, evidence=evidence, rank=30)


def _plan_problems(case: Case) -> list[str]:
    """Every arm takes every unit once; a unit that no arm takes would be missed by nobody."""
    taken = Counter((arm, turn.unit) for turn in case.plan.turns for arm in turn.arms)
    problems = [f"the plan has no {arm}" for arm in Arm if arm not in case.plan.arms]
    for unit in case.plan.units:
        for arm in case.plan.arms:
            times = taken.pop((arm, unit.name), 0)
            if times != 1:
                problems.append(f"{unit.name}, {arm} is planned {times} times instead of once")
    return problems + [f"{unit}, {arm} is no unit and arm of the plan" for arm, unit in taken]


def _turn_problems(case: Case, history: History, turn: Turn) -> Iterable[str]:
    planned = case.plan.unit(turn.unit)
    for arm in turn.arms:
        place = f"{turn.unit}, {arm}"
        if not history.events_of(EventKind.UNIT_FINISHED, arm=arm.value, turn=turn.turn, unit=turn.unit):
            yield f"{place} did not run to its end"
            continue
        seqs = history.exchanges.where(arm=arm.value, turn=turn.turn, unit=turn.unit).column("seq")
        wanted = np.arange(planned.first_seq, planned.stop_seq)
        if planned.exchanges == 0:
            yield f"{place} has no requests to send: the recording is silent there"
        elif len(seqs) != len(wanted) or not np.array_equal(np.sort(seqs), wanted):
            yield f"{place} has {len(seqs)} of {planned.exchanges} requests on record"


def _pair_problems(case: Case, history: History) -> list[str]:
    """Request k must be the same request in every arm, due at the same moment of its unit."""
    started = {
        (event.arm, event.turn): int(event.detail["zero_ns"])
        for event in history.events_of(EventKind.UNIT_STARTED)
        if "zero_ns" in event.detail
    }
    sent: dict[Arm, dict[int, tuple[str, int | None]]] = {}
    for arm in case.plan.arms:
        rows = history.exchanges.where(arm=arm.value)
        names = ("seq", "request_id", "turn", "scheduled_ns")
        sent[arm] = {}
        for seq, request_id, turn, due_ns in zip(*(rows.column(n).tolist() for n in names), strict=True):
            zero_ns = started.get((arm.value, turn))
            sent[arm][seq] = (request_id, None if zero_ns is None else due_ns - zero_ns)
    first = sent.get(Arm.BASELINE, {})
    problems = []
    for arm, found in sent.items():
        if any(offset_ns is None for _, offset_ns in found.values()):
            problems.append(f"{arm} was sent requests in a unit whose beginning is not on record")
        elif found != first:
            problems.append(f"{arm} was sent other requests than the baseline, or at other times")
    return problems


def _stray_problems(case: Case, history: History) -> list[str]:
    """Rows that no turn of the plan explains."""
    planned = {(arm.value, turn.unit, turn.turn) for turn in case.plan.turns for arm in turn.arms}
    between = {(arm.value, "", -1) for arm in case.plan.arms}
    problems = []
    tables = (("requests", history.exchanges, planned), ("counters", history.witness, planned))
    for what, rows, known in (*tables, ("log lines", history.edge_requests, planned | between)):
        places = Counter(zip(*(rows.column(name).tolist() for name in ("arm", "unit", "turn")), strict=True))
        for arm, unit, turn in sorted(set(places) - known, key=str):
            count = places[arm, unit, turn]
            problems.append(
                f"{count} {what} of {arm!r} in {unit!r}, turn {turn}, belong to no turn of the plan"
            )
    return problems
