"""The service graph with each edge's state: how much traffic, which faults, and the worst finding about it.

Takes a Bundle, gives what `templates/graph.svg.j2` and the table of edges show.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness.model.environment import CLIENT, Edge
from harness.model.findings import Finding, Outcome
from harness.model.history import History
from harness.model.plan import Arm
from harness.report.curves import curves, path, places
from harness.report.graph_layout import BOX_HEIGHT_PX, BOX_WIDTH_PX, Point, lay_out
from harness.report.layout import Bundle
from harness.report.numbers import count

WORST_FIRST = (Outcome.FAIL, Outcome.UNKNOWN, Outcome.PASS)


@dataclass(frozen=True)
class NodeView:
    """A service's box; `changed`: the change touches it; `worst`: of the findings about it (empty: none)."""

    name: str
    x: float
    y: float
    width: float
    height: float
    changed: bool
    worst: str
    label: str


@dataclass(frozen=True)
class EdgeView:
    """An edge: its number in the table, its path, and what is known of it."""

    number: int
    name: str
    edge: Edge
    path: str
    badge: Point
    thickness: float
    worst: str
    findings: tuple[Finding, ...]
    faults: tuple[str, ...]
    traffic: tuple[str, ...]
    label: str


@dataclass(frozen=True)
class GraphView:
    """Everything that the drawing and the table need."""

    width: float
    height: float
    nodes: tuple[NodeView, ...]
    edges: tuple[EdgeView, ...]
    label: str


def worst(findings: Iterable[Finding]) -> str:
    """The worst outcome's word, or nothing where there is no finding."""
    outcomes = {finding.outcome for finding in findings}
    return next((outcome.value for outcome in WORST_FIRST if outcome in outcomes), "")


def graph_view(bundle: Bundle) -> GraphView:
    """The graph of the report's environment."""
    environment = bundle.case.environment
    edges = environment.all_edges()
    nodes = (CLIENT, *environment.services)
    layout = lay_out(nodes, [(edge.caller, edge.callee) for edge in edges], CLIENT)
    traffic = {edge.name: _traffic(bundle.history, edge) for edge in edges}
    busiest = max((number for numbers in traffic.values() for number in numbers.values()), default=0)
    lines = [curves(way) for way in layout.ways]
    views = tuple(
        _edge_view(number, edge, path(line), badge, traffic[edge.name], busiest, bundle)
        for number, (edge, line, badge) in enumerate(zip(edges, lines, places(lines), strict=True), start=1)
    )
    return GraphView(
        width=layout.width,
        height=layout.height,
        nodes=tuple(_node_view(name, layout.centres[name], bundle) for name in nodes),
        edges=views,
        label="Service graph. " + ". ".join(view.label for view in views),
    )


def _node_view(name: str, centre: Point, bundle: Bundle) -> NodeView:
    about = [finding for finding in bundle.findings if finding.subject == name]
    changed = name in bundle.case.change.services
    state = worst(about)
    said = [name, "changed by this change" if changed else "", f"worst finding: {state}" if state else ""]
    return NodeView(
        name=name,
        x=centre[0] - BOX_WIDTH_PX / 2,
        y=centre[1] - BOX_HEIGHT_PX / 2,
        width=BOX_WIDTH_PX,
        height=BOX_HEIGHT_PX,
        changed=changed,
        worst=state,
        label=", ".join(word for word in said if word),
    )


def _edge_view(
    number: int, edge: Edge, line: str, badge: Point, traffic: Mapping[str, int], busiest: int, bundle: Bundle
) -> EdgeView:
    windows = [window for window in bundle.case.plan.windows() if window.edge == edge.name]
    findings = tuple(finding for finding in bundle.findings if finding.subject == edge.name)
    state = worst(findings)
    noun = "request" if edge.protocol == "http" else "connection"
    most = max(traffic.values(), default=0)
    share = math.log1p(most) / math.log1p(busiest) if busiest else 0.0
    faults = tuple(window.name for window in windows)
    said = [f"{number}: {edge.name}, {edge.protocol}, {count(most, noun)}"]
    said += [f"{count(len(faults), 'fault')}"] * bool(faults) + [f"worst finding {state}"] * bool(state)
    return EdgeView(
        number=number,
        name=edge.name,
        edge=edge,
        path=line,
        badge=badge,
        thickness=round(1.2 + 2.4 * share, 1),
        worst=state,
        findings=findings,
        faults=faults,
        traffic=_traffic_lines(traffic, noun),
        label=", ".join(said),
    )


def _traffic_lines(traffic: Mapping[str, int], noun: str) -> tuple[str, ...]:
    """One line where all arms had the same, else one an arm."""
    if len(set(traffic.values())) == 1:
        return (f"{count(next(iter(traffic.values())), noun)} per arm",)
    return tuple(f"{arm}: {count(amount, noun)}" for arm, amount in traffic.items())


def _traffic(history: History, edge: Edge) -> dict[str, int]:
    """Per arm: HTTP requests that left the edge, or connections that entered it over the run."""
    found = {}
    for arm in Arm:
        if edge.protocol == "http":
            amount = len(history.edge_requests.where(arm=arm.value, edge=edge.name))
        else:
            samples = history.witness.where(arm=arm.value, edge=edge.name).column("in_connections")
            amount = int(samples.max() - samples.min()) if len(samples) else 0
        found[arm.value] = amount
    arms = {str(name) for name in history.exchanges.table.column("arm").unique().to_pylist()}
    return {arm: amount for arm, amount in found.items() if amount or arm in arms}
