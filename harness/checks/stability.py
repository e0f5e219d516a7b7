"""Stability: containers stayed up except where a fault took them down.

A candidate whose service restarts, is killed for memory or never becomes healthy is not ready (`stability`). The same in
baseline or control proves nothing about the change: `clean_baseline` makes that unknown, as it does a baseline that
fails requests without any fault.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from harness.checks.base import EVENTS_FILE, EXCHANGES_FILE, Frame, percent, pointer
from harness.checks.evidence import NoParameters, evidence_finding
from harness.model.case import Case
from harness.model.findings import Finding, Outcome
from harness.model.history import EventKind, History
from harness.model.plan import Arm, Phase

HEALTHY_STATES = {"running"}
MOST_REFUSED = 0.5
"""Share of client errors beyond which two arms that answer alike are alike in answering nothing."""


def disturbances(history: History, arm: Arm) -> Iterator[tuple[str, str]]:
    """Service and what happened to it that no fault of the plan explains."""
    last_start: dict[str, str] = {}
    for event in history.events_of(EventKind.CONTAINER, arm=arm.value):
        service, detail = event.subject, event.detail
        started, state = str(detail.get("started_at", "")), str(detail.get("state"))
        place = f" in {event.unit}" if event.unit else ""
        if not detail.get("expected"):
            if detail.get("oom_killed"):
                yield service, f"{service} of {arm} ran out of memory{place}"
            elif state == "unhealthy":
                yield service, f"{service} of {arm} never became healthy"
            elif state not in HEALTHY_STATES:
                yield service, f"{service} of {arm} was {state}{place} although no fault was on it"
            elif started and last_start.get(service, started) != started:
                yield service, f"{service} of {arm} restarted by itself{place}"
        last_start[service] = started


def unseen(case: Case, history: History, arm: Arm) -> list[str]:
    """Services that nobody looked at in a unit: they may have been in any state."""
    seen = {(event.unit, event.subject) for event in history.events_of(EventKind.CONTAINER, arm=arm.value)}
    found = []
    for service in case.environment.services:
        units = [unit.name for unit in case.plan.units if (unit.name, service) not in seen]
        if units:
            found.append(f"nobody looked at {service} of {arm} in {units[0]}")
    return found


class Stability:
    """The candidate's containers. This one can fail: it is about the change."""

    name = "stability"
    summary = "no service of the candidate restarted, ran out of memory or stayed down by itself"
    parameters = NoParameters

    def expect(self, frame: Frame, parameters: NoParameters) -> tuple[str, ...]:
        return (self.name,)

    def judge(self, case: Case, parameters: NoParameters, history: History) -> Iterable[Finding]:
        looks = len(history.events_of(EventKind.CONTAINER, arm=Arm.CANDIDATE.value))
        blind = unseen(case, history, Arm.CANDIDATE)
        found = list(disturbances(history, Arm.CANDIDATE))
        words = list(dict.fromkeys(text for _, text in found))
        if words:
            outcome, sentence = Outcome.FAIL, f"{'; '.join(words[:3])}."
        elif looks == 0:
            outcome, sentence = Outcome.UNKNOWN, "Nobody looked at the candidate's containers."
        elif blind:
            sentence = "; ".join(blind[:3])
            outcome, sentence = Outcome.UNKNOWN, f"{sentence[:1].upper()}{sentence[1:]}."
        else:
            outcome = Outcome.PASS
            sentence = "No service of the candidate restarted, ran out of memory or stopped by itself."
        yield Finding(
            id=self.name,
            check=self.name,
            outcome=outcome,
            subject=found[0][0] if found else "run",
            sentence=sentence,
            value=float(len(words)),
            limit=0.0,
            unit_of_measure="count",
            sample_size=looks,
            evidence=(pointer(EVENTS_FILE, looks, kind=EventKind.CONTAINER.value, arm=Arm.CANDIDATE.value),),
            rank=8,
            details={"limit_is": "most"},
        )


class CleanBaseline:
    """Baseline and control are sound enough to compare with."""

    name = "clean_baseline"
    summary = "baseline and control answered in steady load and stayed up"
    parameters = NoParameters

    def expect(self, frame: Frame, parameters: NoParameters) -> tuple[str, ...]:
        return (self.name,)

    def judge(self, case: Case, parameters: NoParameters, history: History) -> Iterable[Finding]:
        problems: list[str] = []
        shares, rows_seen = {}, 0
        floor = case.policy.baseline_availability
        for arm in (Arm.BASELINE, Arm.CONTROL):
            rows = history.exchanges.where(arm=arm.value, phase=Phase.STEADY.value)
            rows_seen += len(rows)
            if len(rows) < case.policy.minimum_samples:
                problems.append(f"{arm} has only {len(rows)} requests in steady load")
                continue
            shares[arm] = float(rows.ok().mean())
            refused = float((rows.ok() & (rows.column("status") >= 400)).mean())
            if shares[arm] < floor:
                problems.append(
                    f"{arm} answered only {percent(shares[arm])} in steady load, {percent(floor)} is needed"
                )
            if refused > MOST_REFUSED:
                problems.append(
                    f"{arm} refused {percent(refused)} of requests in steady load (4xx): do recording and entry fit?"
                )
            problems += list(dict.fromkeys(text for _, text in disturbances(history, arm)))
            problems += unseen(case, history, arm)
        said = " and ".join(f"{arm} {percent(share)}" for arm, share in shares.items())
        yield evidence_finding(
            self.name,
            problems,
            f"There is something sound to compare with: in steady load {said} of requests were answered.",
            evidence=(pointer(EXCHANGES_FILE, rows_seen, phase=Phase.STEADY.value),),
            sample_size=rows_seen,
            rank=33,
        )
