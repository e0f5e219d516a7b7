"""The world around the traffic: nobody on a network of somebody else, a log without holes, and nothing left behind.

Three checks of one kind, each over one kind of event; a missing event is a problem, not a pass.
"""

from __future__ import annotations

from collections.abc import Iterable

from harness.checks.base import EVENTS_FILE, Frame, pointer
from harness.checks.evidence import NoParameters, evidence_finding
from harness.model.case import Case
from harness.model.findings import Finding
from harness.model.history import EventKind, History


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
                problems += [
                    f"in {arm}, {found}: an edge was bypassed" for found in event.detail.get("unexpected", ())
                ]
                if event.detail.get("containers") != len(case.environment.services):
                    problems.append(f"not every service of {arm} was looked at")
        good = "Every service was alone with the plane on its network, in every arm."
        evidence = (pointer(EVENTS_FILE, len(case.plan.arms), kind=EventKind.ISOLATION.value),)
        yield evidence_finding(self.name, problems, good, evidence=evidence, rank=31)


class LogsComplete:
    """The plane wrote every log line."""

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
            dropped = sum(int(event.detail.get("dropped", 0)) for event in events)
            if dropped:
                problems.append(f"the plane of {arm} dropped {dropped} log lines")
        rows = len(history.edge_requests)
        evidence = (pointer(EVENTS_FILE, len(case.plan.arms), kind=EventKind.LOG_DROPPED.value),)
        good = f"The plane's request log is complete: {rows} requests on all edges."
        yield evidence_finding(self.name, problems, good, evidence=evidence, sample_size=rows)


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
