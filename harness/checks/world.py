"""The world around the traffic: nobody on a network of somebody else, a log without holes, and nothing left behind.

Three checks of one kind, each over one kind of event; a missing event is a problem, not a pass.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from harness.checks.base import EVENTS_FILE, Frame, pointer
from harness.checks.evidence import NoParameters, evidence_finding
from harness.model.case import Case
from harness.model.findings import Finding
from harness.model.history import EdgeRequests, EventKind, History, Moment

UNDER_WAY = 5
UNDER_WAY_SHARE = 0.05
"""How far log and counter of a unit may be apart: requests under way when the counter was read."""
Place = tuple[str, str, str]
"""Arm, unit, edge."""
Span = tuple[tuple[int, int], tuple[int, int]]
"""When the counter was read at a unit's start and end (ns), and what it said."""


class Isolation:
    """Every service sat alone with the plane on its network, so that no edge could be bypassed."""

    name = "isolation"
    summary = "no container was attached to a network that is not its own"
    parameters = NoParameters

    def expect(self, frame: Frame, parameters: NoParameters) -> tuple[str, ...]:
        return (self.name,)

    def judge(self, case: Case, parameters: NoParameters, history: History) -> Iterable[Finding]:
        problems = []
        for arm in case.plan.arms:
            events = history.events_of(EventKind.ISOLATION, arm=arm.value)
            if not events:
                problems.append(f"nobody looked whether the services of {arm} were alone on their networks")
            for event in events:
                strangers = event.detail.get("unexpected")
                if not isinstance(strangers, list | tuple):
                    problems.append(f"nobody says who else was on the networks of {arm}")
                    continue
                problems += [f"in {arm}, {found}: an edge was bypassed" for found in strangers]
                if event.detail.get("containers") != len(case.environment.services):
                    problems.append(f"not every service of {arm} was looked at")
        good = "Every service was alone with the plane on its network, in every arm."
        evidence = (pointer(EVENTS_FILE, len(case.plan.arms), kind=EventKind.ISOLATION.value),)
        yield evidence_finding(self.name, problems, good, evidence=evidence, rank=31)


class LogsComplete:
    """The plane wrote every log line, and its log holds as many requests as its counters counted."""

    name = "logs_complete"
    summary = "the plane's request log has no holes"
    parameters = NoParameters

    def expect(self, frame: Frame, parameters: NoParameters) -> tuple[str, ...]:
        return (self.name,)

    def judge(self, case: Case, parameters: NoParameters, history: History) -> Iterable[Finding]:
        problems = []
        for arm in case.plan.arms:
            events = history.events_of(EventKind.LOG_DROPPED, arm=arm.value)
            if not events:
                problems.append(f"the plane of {arm} was not asked whether it dropped log lines")
            for event in events:
                dropped = event.detail.get("dropped")
                if dropped != 0:
                    said = "an unknown number of" if dropped is None else dropped
                    problems.append(f"the plane of {arm} dropped {said} log lines")
        problems += _holes(case, history)
        rows = len(history.edge_requests)
        evidence = (pointer(EVENTS_FILE, len(case.plan.arms), kind=EventKind.LOG_DROPPED.value),)
        good = f"The plane's request log is complete: {rows} requests on all edges."
        yield evidence_finding(self.name, problems, good, evidence=evidence, sample_size=rows)


def _holes(case: Case, history: History) -> Iterator[str]:
    """Edges and units whose log and counter disagree between the readings at the unit's start and end: what waited for an
    answer under a fault may come later. A request that a fault hit may not have reached the counter."""
    readings: dict[Place, dict[str, tuple[int, int]]] = {}
    for row in history.witness.rows():
        place = (row["arm"], row["unit"], row["edge"])
        readings.setdefault(place, {})[row["moment"]] = (row["at_ns"], row["out_requests"])
    spans = {
        place: (read[Moment.UNIT_STARTED], read[Moment.UNIT_FINISHED])
        for place, read in readings.items()
        if read.keys() >= {Moment.UNIT_STARTED, Moment.UNIT_FINISHED}
    }
    everything, unharmed = (
        _by_place(rows, spans) for rows in (history.edge_requests, history.edge_requests.where(fault=""))
    )
    edges = [edge.name for edge in case.environment.all_edges() if edge.protocol == "http"]
    for arm, unit, edge in itertools.product(case.plan.arms, case.plan.units, edges):
        place = (arm.value, unit.name, edge)
        span = spans.get(place)
        if span is None:
            yield f"the counters of {edge} were not read in {unit.name}, {arm}"
            continue
        passed = span[1][1] - span[0][1]
        allowed = max(UNDER_WAY, UNDER_WAY_SHARE * passed)
        if not unharmed[place] - allowed <= passed <= everything[place] + allowed:
            yield f"in {unit.name}, {arm}, {passed} requests passed {edge}, and its log holds {everything[place]}"


def _by_place(rows: EdgeRequests, spans: Mapping[Place, Span]) -> Counter[Place]:
    columns = (rows.column(name).tolist() for name in ("arm", "unit", "edge", "at_ns"))
    return Counter(
        (arm, unit, edge)
        for arm, unit, edge, at_ns in zip(*columns, strict=True)
        if (span := spans.get((arm, unit, edge))) and span[0][0] <= at_ns <= span[1][0]
    )


class CleanWorld:
    """Everything that was started or harmed was undone."""

    name = "clean_world"
    summary = "everything that was started is gone and everything that was harmed is healed"
    parameters = NoParameters

    def expect(self, frame: Frame, parameters: NoParameters) -> tuple[str, ...]:
        return (self.name,)

    def judge(self, case: Case, parameters: NoParameters, history: History) -> Iterable[Finding]:
        events = history.events_of(EventKind.WORLD)
        problems = [] if events else ["nobody looked whether anything was left behind"]
        for event in events:
            left = [str(item) for item in event.detail.get("left", ())]
            if left or event.detail.get("clean") is not True:
                problems.append(
                    f"left behind: {', '.join(left) or 'something'}; `readiness doctor --sweep` removes it"
                )
        evidence = (pointer(EVENTS_FILE, len(events), kind=EventKind.WORLD.value),)
        good = "Nothing was left behind: every container, network and fault of the run is gone."
        yield evidence_finding(self.name, problems, good, evidence=evidence, rank=45)
