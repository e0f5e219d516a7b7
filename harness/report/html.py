"""The page: one self-contained HTML file that needs no script, no network and, if it must be, no style.

Takes a Bundle, gives bytes; the same bytes for the same bundle, so that `verify` can draw it again and compare. All the
arithmetic is in the view modules beside this one; the templates only place what they are given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness.model.change import Change
from harness.model.findings import EvidencePointer, Finding, Outcome, Verdict
from harness.model.plan import Plan
from harness.report import fidelity_view, numbers, summary
from harness.report.arm_chart import ArmChart, arm_chart
from harness.report.axes import Axis
from harness.report.fidelity_view import FidelityTable
from harness.report.graph_view import GraphView, graph_view
from harness.report.lanes import TimelineView, timeline_view
from harness.report.latency_chart import LatencyChart, latency_chart
from harness.report.layout import Bundle, FileDigest, RunMeta, Signer
from harness.report.signing import PAYLOAD_TYPE

TEMPLATES = Path(__file__).parent / "templates"
TIME_CHARTS_FOR = ("fault", "recovery", "switching", "")
MINI_WIDTH_PX, MINI_HEIGHT_PX = 132, 18
DETAILS_DRAWN = ("arms", "groups", "limit_is")


@dataclass(frozen=True)
class Mini:
    """A finding in a table row: value with interval as a dot on a line, and the limit. Pixels; None: not there."""

    x: float
    low_x: float | None
    high_x: float | None
    limit_x: float | None
    label: str


@dataclass(frozen=True)
class FindingView:
    """One finding as the page shows it."""

    finding: Finding
    anchor: str
    value: str
    limit: str
    interval: str
    baseline: str
    control: str
    where: str
    evidence: tuple[str, ...]
    further: tuple[tuple[str, str], ...]
    mini: Mini | None
    chart: ArmChart | None
    latency: LatencyChart | None


@dataclass(frozen=True)
class PassedGroup:
    """Passed findings of one check."""

    name: str
    views: tuple[FindingView, ...]


@dataclass(frozen=True)
class Reason:
    """A reason of the verdict, and the finding it comes from (empty: none)."""

    sentence: str
    anchor: str


@dataclass(frozen=True)
class ImageRow:
    """A service's image in each arm, in the plan's order of arms."""

    service: str
    images: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """Everything the page shows, in the order in which it shows it."""

    change: Change
    plan: Plan
    run: RunMeta
    signer: Signer
    policy: str
    made_with: dict[str, str]
    verdict: Verdict
    verdict_text: str
    sentence: Reason
    reasons: tuple[Reason, ...]
    counts: str
    tiles: tuple[summary.Tile, ...]
    services: tuple[summary.ServiceChange, ...]
    owners: tuple[tuple[str, str], ...]
    stages: tuple[summary.StageView, ...]
    glance: tuple[tuple[str, int, int, int], ...]
    failed: tuple[FindingView, ...]
    unknown: tuple[FindingView, ...]
    passed: tuple[PassedGroup, ...]
    fidelity: FidelityTable | None
    faults: tuple[summary.FaultView, ...]
    graph: GraphView
    timeline: TimelineView | None
    images: tuple[ImageRow, ...]
    digests: tuple[tuple[str, FileDigest], ...]
    confidence: str
    payload_type: str = PAYLOAD_TYPE
    payload_type_length: int = len(PAYLOAD_TYPE)


def render_page(bundle: Bundle) -> bytes:
    """The HTML file."""
    text = _templates().get_template("page.html.j2").render(page=page(bundle), css=Markup(_css()))
    return (text.rstrip("\n") + "\n").encode("utf-8", "replace")


def page(bundle: Bundle) -> Page:
    """The page's content, before it is text."""
    ordered = summary.sorted_findings(bundle.findings)
    views = {
        finding.id: _finding_view(bundle, finding, f"f-{number}")
        for number, finding in enumerate(ordered, start=1)
    }
    by_outcome = {outcome: tuple(views[f.id] for f in ordered if f.outcome is outcome) for outcome in Outcome}
    passed = summary.grouped(view.finding for view in by_outcome[Outcome.PASS])
    case, manifest = bundle.case, bundle.manifest
    return Page(
        change=case.change,
        plan=case.plan,
        run=manifest.run,
        signer=manifest.signer,
        policy=summary.policy_words(bundle.case.policy),
        made_with=manifest.made_with,
        verdict=bundle.verdict,
        verdict_text=summary.VERDICT_TEXT[bundle.verdict.verdict],
        sentence=Reason(bundle.verdict.sentence, _anchor(bundle.verdict.sentence, ordered, views)),
        reasons=_reasons(bundle, ordered, views),
        counts=summary.head_counts(bundle),
        tiles=summary.tiles(bundle),
        services=summary.service_changes(bundle),
        owners=summary.owners(case.change),
        stages=summary.stages(case.change),
        glance=_glance(ordered),
        failed=by_outcome[Outcome.FAIL],
        unknown=by_outcome[Outcome.UNKNOWN],
        passed=tuple(PassedGroup(g.name, tuple(views[f.id] for f in g.findings)) for g in passed),
        fidelity=fidelity_view.of_findings(ordered, [arm.value for arm in case.plan.arms]),
        faults=summary.faults(bundle),
        graph=graph_view(bundle),
        timeline=timeline_view(bundle),
        images=_images(bundle),
        digests=tuple(
            (path, digest)
            for path, digest in sorted(manifest.files.items())
            if not path.endswith((".html", ".xml")) or "/" in path
        ),
        confidence=f"{numbers.percent(case.policy.confidence)} %",
    )


def _reasons(
    bundle: Bundle, ordered: tuple[Finding, ...], views: dict[str, FindingView]
) -> tuple[Reason, ...]:
    """The reasons besides the one that the verdict's sentence already is."""
    return tuple(
        Reason(sentence, _anchor(sentence, ordered, views))
        for sentence in bundle.verdict.reasons
        if sentence != bundle.verdict.sentence
    )


def _anchor(sentence: str, ordered: tuple[Finding, ...], views: dict[str, FindingView]) -> str:
    """The finding that says so, or one whose sentence is part of what is said."""
    found = next((f for f in ordered if f.sentence == sentence), None)
    if found is None:
        found = next((f for f in ordered if f.sentence in sentence and f.outcome is not Outcome.PASS), None)
    return views[found.id].anchor if found is not None else ""


def _glance(ordered: tuple[Finding, ...]) -> tuple[tuple[str, int, int, int], ...]:
    """Per check: how many failed, are unknown, passed."""
    counts: dict[str, list[int]] = {}
    for finding in ordered:
        counts.setdefault(finding.check, [0, 0, 0])[summary.ORDER.index(finding.outcome)] += 1
    return tuple((name, *numbers_) for name, numbers_ in counts.items())  # type: ignore[misc]


def _finding_view(bundle: Bundle, finding: Finding, anchor: str) -> FindingView:
    worrying = finding.outcome is not Outcome.PASS
    unit = finding.unit_of_measure
    return FindingView(
        finding=finding,
        anchor=anchor,
        value=numbers.measure(finding.value, unit),
        limit=numbers.limit(finding),
        interval=numbers.interval(finding),
        baseline=numbers.measure(finding.baseline_value, unit),
        control=numbers.measure(finding.control_value, unit),
        where=", ".join(part for part in (finding.subject, finding.unit, finding.phase) if part),
        evidence=tuple(_evidence(pointer) for pointer in finding.evidence),
        further=tuple(
            (numbers.words(name), numbers.plain(value) if isinstance(value, int | float) else str(value))
            for name, value in sorted(finding.details.items())
            if name not in DETAILS_DRAWN and isinstance(value, int | float | str)
        ),
        mini=_mini(finding),
        chart=arm_chart(finding, f"chart-{anchor}") if worrying else None,
        latency=_latency(bundle, finding, anchor) if worrying else None,
    )


def _latency(bundle: Bundle, finding: Finding, anchor: str) -> LatencyChart | None:
    """Latency over the unit that the finding speaks of, where time matters to it."""
    units = {unit.name: unit for unit in bundle.case.plan.units}
    unit = units.get(finding.unit) or units.get(finding.subject)
    if unit is None or finding.phase not in TIME_CHARTS_FOR:
        return None
    return latency_chart(bundle.case.plan, unit, bundle.history, f"time-{anchor}")


def _evidence(pointer: EvidencePointer) -> str:
    where = ", ".join(f"{key}={value}" for key, value in sorted(pointer.where.items()))
    return f"{pointer.file}: {numbers.count(pointer.rows, 'row')}" + (f" where {where}" if where else "")


def _mini(finding: Finding) -> Mini | None:
    if finding.value is None or (finding.limit is None and finding.interval is None):
        return None
    inner = [finding.value]
    if finding.interval is not None:
        inner += [finding.interval.low, finding.interval.high]
    if finding.limit is not None:
        inner.append(finding.limit)
    axis = Axis.around(inner, 4.0, MINI_WIDTH_PX - 4.0)
    interval = finding.interval
    return Mini(
        x=axis.px(finding.value),
        low_x=None if interval is None else axis.px(interval.low),
        high_x=None if interval is None else axis.px(interval.high),
        limit_x=None if finding.limit is None else axis.px(finding.limit),
        label=f"{numbers.measure(finding.value, finding.unit_of_measure)}, limit {numbers.limit(finding)}",
    )


def _images(bundle: Bundle) -> tuple[ImageRow, ...]:
    by_arm = bundle.case.images
    arms = [arm.value for arm in bundle.case.plan.arms]
    names = sorted({service for arm in arms for service in by_arm.get(arm, {})})
    return tuple(
        ImageRow(name, tuple(by_arm.get(arm, {}).get(name, numbers.NO_VALUE) for arm in arms))
        for name in names
    )


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., str]] = {
        "words": numbers.words,
        "size": numbers.size,
        "moment": summary.moment,
        "plain": numbers.plain,
        "count": numbers.count,
    }
    environment.filters.update(filters)
    return environment


@cache
def _css() -> str:
    return (TEMPLATES / "style.css").read_text(encoding="utf-8")
