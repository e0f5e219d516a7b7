"""Fault effect: the certificate of every window. A fault that touched no traffic proves nothing about the change.

For each window and arm: it was applied and healed, what it did was counted where it acts (packets by its own rule, streams
by a probe through the edge before, during and after, requests by the log, containers by their state), traffic was there
to be hit, and afterwards the edge is as before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from harness.checks.base import EVENTS_FILE, WITNESS_FILE, Frame, pointer
from harness.checks.evidence import NoParameters, evidence_finding
from harness.model.case import Case
from harness.model.findings import Finding
from harness.model.history import Event, EventKind, History
from harness.model.plan import Arm, FaultWindow, Unit
from harness.model.quantities import Duration

TRAFFIC = ("bytes_from_caller", "connections", "requests", "packets")


class FaultEffect:
    """See the module's head. One finding a window, about all arms."""

    name = "fault_effect"
    summary = "every fault was applied, hit traffic as it should, and was healed, in every arm"
    parameters = NoParameters

    def expect(self, frame: Frame, parameters: NoParameters) -> tuple[str, ...]:
        return tuple(f"{self.name}/{unit.name}" for unit in frame.fault_units())

    def judge(self, case: Case, parameters: NoParameters, history: History) -> Iterable[Finding]:
        for unit in Frame.of(case).fault_units():
            if unit.window is not None:
                yield self._finding(case, history, unit, unit.window)

    def _finding(self, case: Case, history: History, unit: Unit, window: FaultWindow) -> Finding:
        problems, hits = [], {}
        for arm in case.plan.arms:
            found = list(_problems(case, history, unit, window, arm))
            problems += [f"{window.fault} on {window.target} in {arm}: {problem}" for problem in found]
            healed = _one(history, EventKind.FAULT_HEALED, arm, unit)
            hits[arm.value] = dict(healed.detail.get("hits", {})) if healed else {}
        counted = "; ".join(f"{arm} {_words(found)}" for arm, found in hits.items())
        where = {"unit": unit.name}
        return evidence_finding(
            f"{self.name}/{unit.name}",
            problems,
            f"{window.fault} on {window.target} was applied, witnessed and healed in every arm: {counted}.",
            subject=window.target,
            unit=unit.name,
            evidence=(
                pointer(EVENTS_FILE, len(history.events_of(*EventKind, unit=unit.name)), **where),
                pointer(WITNESS_FILE, len(history.witness.where(unit=unit.name)), **where),
            ),
            sample_size=len(case.plan.arms),
            rank=32,
            details={"hits": hits},
        )


def _words(hits: Mapping[str, Any]) -> str:
    return ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in hits.items()) or "nothing counted"


def _problems(case: Case, history: History, unit: Unit, window: FaultWindow, arm: Arm) -> Iterator[str]:
    applied = _one(history, EventKind.FAULT_APPLIED, arm, unit)
    healed = _one(history, EventKind.FAULT_HEALED, arm, unit)
    if applied is None:
        yield "it was never applied"
        return
    if healed is None:
        yield "it was never healed"
        return
    yield from _order_problems(history, unit, arm, applied, healed)
    if healed.detail.get("healed") is not True:
        yield "it was still there after it had been healed"
    hits: Mapping[str, Any] = healed.detail.get("hits", {})
    if window.level == "packets" and not hits.get("packets", 0) > 0:
        yield "it hit no packet"
    elif window.level == "streams":
        yield from _stream_problems(case, history, unit, window, arm, hits)
    elif window.level == "requests":
        yield from _request_problems(history, unit, window, arm, hits)
    elif window.level == "containers":
        yield from _container_problems(history, unit, window, arm, applied, healed, hits)
    if window.edge is not None:
        after = _probe(history, arm, unit, "after")
        if after is None or after.get("outcome") not in {"answered", "connected"}:
            yield "no probe came back through the edge after it was healed"


def _order_problems(history: History, unit: Unit, arm: Arm, applied: Event, healed: Event) -> Iterator[str]:
    for kind, word in ((EventKind.FAULT_APPLIED, "applied"), (EventKind.FAULT_HEALED, "healed")):
        times = len(history.events_of(kind, arm=arm.value, unit=unit.name))
        if times > 1:
            yield f"it was {word} {times} times"
    if healed.at_ns <= applied.at_ns:
        yield "it was healed before it was applied"


def _stream_problems(
    case: Case, history: History, unit: Unit, window: FaultWindow, arm: Arm, hits: Mapping[str, Any]
) -> Iterator[str]:
    """Latency must be seen as that latency by a probe; a stall must hold the probe back."""
    if not any(hits.get(name, 0) > 0 for name in TRAFFIC):
        yield "no traffic entered the edge while it was on"
    before, during = (_probe(history, arm, unit, moment) for moment in ("before", "during"))
    if before is None or during is None:
        yield "the edge was not probed before and during it"
        return
    asked = case.environment.edge(window.target).protocol != "tcp"
    if before.get("outcome") not in {"answered", "connected"}:
        yield f"the edge was not healthy before it ({before.get('outcome')})"
    elif window.fault == "stall" and asked and during.get("outcome") == "answered":
        yield "a probe was answered while it was on"
    elif window.fault == "latency" and asked:
        yield from _delay_problems(case, window, before, during)


def _delay_problems(
    case: Case, window: FaultWindow, before: Mapping[str, Any], during: Mapping[str, Any]
) -> Iterator[str]:
    delay = Duration.parse(window.parameter_values()["delay"])
    if before.get("first_byte_ms") is None or during.get("first_byte_ms") is None:
        yield f"the probe got no answer while it was on ({during.get('outcome')})"
        return
    added_ms = float(during["first_byte_ms"]) - float(before["first_byte_ms"])
    tolerance_ms = case.policy.probe_tolerance.ms
    if not abs(added_ms - delay.ms) <= tolerance_ms:
        yield f"the probe was delayed by {added_ms:.0f} ms instead of {delay} (± {tolerance_ms:.0f} ms)"


def _request_problems(
    history: History, unit: Unit, window: FaultWindow, arm: Arm, hits: Mapping[str, Any]
) -> Iterator[str]:
    rows = history.edge_requests.where(arm=arm.value, unit=unit.name, fault=window.name)
    if len(rows) == 0:
        yield "no request on the edge's log was hit by it"
    elif not hits.get("answered", 0) > 0:
        yield "its own counter says that it answered nothing"


def _container_problems(
    history: History,
    unit: Unit,
    window: FaultWindow,
    arm: Arm,
    applied: Event,
    healed: Event,
    hits: Mapping[str, Any],
) -> Iterator[str]:
    wanted = {"kill": "exited", "pause": "paused"}.get(window.fault)
    states = [
        str(event.detail.get("state"))
        for event in history.events_of(
            EventKind.CONTAINER, arm=arm.value, unit=unit.name, subject=window.target
        )
        if event.detail.get("expected") is True and applied.at_ns <= event.at_ns <= healed.at_ns
    ]
    if wanted is not None and wanted not in states:
        yield f"{window.target} was {' then '.join(states) or 'not looked at'} while it should have been {wanted}"
    if not any(hits.get(name, 0) > 0 for name in TRAFFIC):
        yield f"no traffic was on its way to {window.target} while it was {wanted or 'harmed'}"


def _one(history: History, kind: EventKind, arm: Arm, unit: Unit) -> Event | None:
    found = history.events_of(kind, arm=arm.value, unit=unit.name)
    return found[-1] if found else None


def _probe(history: History, arm: Arm, unit: Unit, moment: str) -> Mapping[str, Any] | None:
    found = [
        event.detail
        for event in history.events_of(EventKind.PROBE, arm=arm.value, unit=unit.name)
        if event.detail.get("moment") == moment
    ]
    return found[-1] if found else None
