"""What a manager reads first: the change in words, and what was proven about it, in counts.

Takes a Bundle, gives the facts that the head of the page and the terminal show. Nothing here is a judgement; the
judgement is the verdict.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from harness.model.change import Change, Version
from harness.model.findings import Finding, Outcome, VerdictWord
from harness.model.history import EventKind, Exchanges, History
from harness.model.plan import FaultWindow, Phase, Plan, Unit
from harness.model.policy import Policy
from harness.report.latency_chart import LatencyChart, fault_times, latency_chart
from harness.report.layout import Bundle
from harness.report.numbers import NO_VALUE, count, measure, seconds, words

VERDICT_TEXT = {
    VerdictWord.READY: "READY",
    VerdictWord.NOT_READY: "NOT READY",
    VerdictWord.UNKNOWN: "UNKNOWN",
}
PHASES = (Phase.STEADY, Phase.FAULT, Phase.RECOVERY)
ORDER = (Outcome.FAIL, Outcome.UNKNOWN, Outcome.PASS)


@dataclass(frozen=True)
class Tile:
    """One number with what it counts."""

    number: str
    what: str
    more: str = ""


@dataclass(frozen=True)
class ServiceChange:
    """One service of the change: what it is today and what it would become."""

    name: str
    baseline: tuple[str, ...]
    candidate: tuple[str, ...]


@dataclass(frozen=True)
class PhaseCell:
    """What one arm's requests met in one phase of a unit."""

    requests: str
    answered: str
    median: str
    p95: str


@dataclass(frozen=True)
class ArmRow:
    """One arm in each phase, in the order of `PHASES`."""

    arm: str
    cells: tuple[PhaseCell, ...]


@dataclass(frozen=True)
class FaultView:
    """One fault as it was applied, with the latency that clients saw around it."""

    number: int
    unit: Unit
    window: FaultWindow
    parameters: tuple[tuple[str, str], ...]
    applied: str
    findings: tuple[Finding, ...]
    rows: tuple[ArmRow, ...]
    chart: LatencyChart | None


@dataclass(frozen=True)
class CheckGroup:
    """Findings of one check in one outcome."""

    name: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class StageView:
    """A stage of the rollout, with its share of traffic as a width in per cent."""

    name: str
    percent: float
    hold: str


def tiles(bundle: Bundle) -> tuple[Tile, ...]:
    """The counts under "What was proven"."""
    exchanges, plan = bundle.history.exchanges, bundle.case.plan
    answered = int(np.count_nonzero(exchanges.column("answered_ns") >= 0))
    sent = int(np.count_nonzero(exchanges.column("sent_ns") >= 0))
    per_arm = [len(exchanges.where(arm=arm.value)) for arm in plan.arms]
    windows = plan.windows()
    seen = sum(1 for window in windows if _applied_everywhere(bundle, window.name))
    counts = {outcome: sum(1 for f in bundle.findings if f.outcome is outcome) for outcome in ORDER}
    planned = {finding for check in plan.checks for finding in check.findings}
    missing = len(planned - {finding.id for finding in bundle.findings})
    return (
        Tile(
            f"{sent:,}",
            "requests replayed",
            f"{measure(answered / sent, 'share')} answered" if sent else "nothing was sent",
        ),
        Tile(
            str(len(plan.arms)),
            "arms side by side" if plan.mode == "together" else "arms, turn by turn",
            f"{max(per_arm, default=0):,} requests each",
        ),
        Tile(f"{seen} of {len(windows)}", "faults applied and healed", "on every arm"),
        Tile(
            str(len(bundle.case.environment.all_edges())),
            "edges watched",
            f"{len(bundle.history.witness):,} samples",
        ),
        Tile(f"{len(bundle.history.labels):,}", "labelled decisions", "kept outside the graph"),
        Tile(
            f"{counts[Outcome.PASS]} of {len(bundle.findings)}",
            "findings passed",
            f"{counts[Outcome.FAIL]} failed, {counts[Outcome.UNKNOWN]} unknown"
            + (f", {missing} missing" if missing else ""),
        ),
    )


def _applied_everywhere(bundle: Bundle, unit: str) -> bool:
    events = bundle.history.events_of
    return all(
        events(EventKind.FAULT_APPLIED, arm=arm.value, unit=unit)
        and events(EventKind.FAULT_HEALED, arm=arm.value, unit=unit)
        for arm in bundle.case.plan.arms
    )


def service_changes(bundle: Bundle) -> tuple[ServiceChange, ...]:
    """Every service that the change touches."""
    environment = bundle.case.environment
    found = []
    for name, changed in bundle.case.change.services.items():
        today = _version_lines(changed.baseline)
        if not today and name in environment.services:
            today = (environment.services[name].image,)
        found.append(ServiceChange(name, today, _version_lines(changed.candidate)))
    return tuple(found)


def _version_lines(version: Version | None) -> tuple[str, ...]:
    if version is None:
        return ()
    lines = [version.image] if version.image else []
    lines += [f"command: {' '.join(version.command)}"] if version.command else []
    lines += [f"{key}={value}" for key, value in sorted(version.variables.items())]
    lines += [f"{path} from {source}" for path, source in sorted(version.files.items())]
    return tuple(lines)


def owners(change: Change) -> tuple[tuple[str, str], ...]:
    """Role and who holds it."""
    held = change.owners
    return (
        ("Change Sponsor", held.change_sponsor),
        ("Data Steward", held.data_steward),
        ("Model Validator", held.model_validator),
        ("Service Owner", held.service_owner),
    )


def stages(change: Change) -> tuple[StageView, ...]:
    """The rollout's stages in order."""
    return tuple(StageView(stage.name, stage.traffic_percent, stage.hold) for stage in change.stages)


def policy_words(policy: Policy) -> str:
    """The policy's name and every limit in which it is not the built-in default."""
    default = Policy()
    other = [
        f"{name} {getattr(policy, name)}"
        for name in Policy.model_fields
        if name != "policy" and getattr(policy, name) != getattr(default, name)
    ]
    return f"{policy.policy} ({', '.join(other)})" if other else f"{policy.policy} (the built-in limits)"


def moment(when: dt.datetime) -> str:
    """`2026-03-01 08:00 UTC`."""
    zone = "UTC" if when.utcoffset() == dt.timedelta(0) else when.strftime("UTC%z")
    return f"{when:%Y-%m-%d %H:%M} {zone}"


def sorted_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Failed first, then unknown, then passed; inside by rank and id."""
    return tuple(sorted(findings, key=lambda f: (ORDER.index(f.outcome), f.rank, f.id)))


def grouped(findings: Iterable[Finding]) -> tuple[CheckGroup, ...]:
    """By check, in the findings' order."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.check, []).append(finding)
    return tuple(CheckGroup(name, tuple(items)) for name, items in groups.items())


def faults(bundle: Bundle) -> tuple[FaultView, ...]:
    """Every fault window of the plan, in order."""
    return tuple(
        _fault_view(bundle, number, unit, unit.window)
        for number, unit in enumerate(bundle.case.plan.units, start=1)
        if unit.window is not None
    )


def _fault_view(bundle: Bundle, number: int, unit: Unit, window: FaultWindow) -> FaultView:
    plan, history = bundle.case.plan, bundle.history
    return FaultView(
        number=number,
        unit=unit,
        window=window,
        parameters=tuple(
            (words(key), _short(value))
            for key, value in sorted(window.parameter_values().items())
            if value not in ("", None)
        ),
        applied=_applied(plan, history, unit),
        findings=sorted_findings(f for f in bundle.findings if f.unit == unit.name or f.subject == unit.name),
        rows=arm_rows(bundle, unit),
        chart=latency_chart(plan, unit, history, f"unit-{number}"),
    )


def _short(value: object) -> str:
    return "none" if value is None else str(value)[:80]


def _applied(plan: Plan, history: History, unit: Unit) -> str:
    """When the fault was on, counted from the unit's start; one clause where all arms are within 0.1 s."""
    times = {arm.value: fault_times(history, arm.value, unit.name) for arm in plan.arms}
    said = {
        arm: "never applied"
        if found is None
        else f"on from {seconds(found.applied_ns)}, for {seconds(found.healed_ns - found.applied_ns)}"
        for arm, found in times.items()
    }
    if len(set(said.values())) == 1:
        return f"{next(iter(said.values()))}, on every arm"
    return "; ".join(f"{arm} {text}" for arm, text in said.items())


def arm_rows(bundle: Bundle, unit: Unit) -> tuple[ArmRow, ...]:
    """What clients met in the unit, an arm a row; empty when nothing was sent."""
    of_unit = bundle.history.exchanges.where(unit=unit.name)
    if not len(of_unit):
        return ()
    return tuple(
        ArmRow(arm.value, tuple(_cell(of_unit.where(arm=arm.value, phase=phase.value)) for phase in PHASES))
        for arm in bundle.case.plan.arms
    )


def _cell(rows: Exchanges) -> PhaseCell:
    if not len(rows):
        return PhaseCell("0", NO_VALUE, NO_VALUE, NO_VALUE)
    ok, latency_ms = rows.ok(), rows.latency_ms()
    known = latency_ms[~np.isnan(latency_ms)]
    return PhaseCell(
        requests=f"{len(ok):,}",
        answered=measure(float(np.count_nonzero(ok)) / len(ok), "share"),
        median=measure(float(np.median(known)), "ms") if len(known) else NO_VALUE,
        p95=measure(float(np.quantile(known, 0.95)), "ms") if len(known) >= 20 else NO_VALUE,
    )


def head_counts(bundle: Bundle) -> str:
    """`3 failed, 1 unknown, 40 passed`."""
    counts = {outcome: sum(1 for f in bundle.findings if f.outcome is outcome) for outcome in ORDER}
    word = {Outcome.FAIL: "failed", Outcome.UNKNOWN: "unknown", Outcome.PASS: "passed"}
    parts = [f"{number} {word[outcome]}" for outcome, number in counts.items() if number]
    return f"{count(len(bundle.findings), 'finding')}: {', '.join(parts)}" if parts else "no finding at all"
