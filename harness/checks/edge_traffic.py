"""Edge traffic: every edge that normal load passes was seen carrying it, in every arm, and what went in came out.

An edge that saw nothing was bypassed: the service talks to its callee around the plane, no fault can hit it, and
nothing that was measured holds. Entry edges are held against the generator's own records as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from harness.checks.base import WITNESS_FILE, Frame, pointer
from harness.checks.evidence import NoParameters, evidence_finding
from harness.model.case import Case
from harness.model.environment import CLIENT, Edge
from harness.model.findings import Finding
from harness.model.history import History
from harness.model.plan import Arm, Unit

UNDER_WAY_SHARE = 0.05
"""Requests under way at the edges of the counted stretches, as a share of all."""


class EdgeTraffic:
    """See the module's head. One finding an edge that normal load passes."""

    name = "edge_traffic"
    summary = "every edge carried its traffic through the plane, in every arm"
    parameters = NoParameters

    def expect(self, frame: Frame, parameters: NoParameters) -> tuple[str, ...]:
        return tuple(f"{self.name}/{edge.name}" for edge in _edges(frame))

    def judge(self, case: Case, parameters: NoParameters, history: History) -> Iterable[Finding]:
        for edge in _edges(Frame.of(case)):
            yield self._finding(case, history, edge)

    def _finding(self, case: Case, history: History, edge: Edge) -> Finding:
        problems: list[str] = []
        seen: dict[str, dict[str, int]] = {}
        for arm in case.plan.arms:
            counts = _counts(case, history, edge, arm)
            seen[arm.value] = counts
            problems += _problems(case, history, edge, arm, counts)
        least = min((counts["bytes_in"] for counts in seen.values()), default=0)
        samples = len(history.witness.where(edge=edge.name))
        return evidence_finding(
            f"{self.name}/{edge.name}",
            problems,
            f"{edge.name} carried its traffic through the plane in every arm, at least {least} bytes of requests.",
            subject=edge.name,
            evidence=(pointer(WITNESS_FILE, samples, edge=edge.name),),
            sample_size=samples,
            rank=34,
            details={"counts": seen},
        )


def _edges(frame: Frame) -> tuple[Edge, ...]:
    return tuple(
        edge
        for edge in frame.environment.all_edges()
        if edge.traffic == "always"
        and (edge.caller != CLIENT or edge == frame.environment.entry_edge(frame.entry))
    )


def _undisturbed(case: Case) -> tuple[Unit, ...]:
    """Units without a fault; of a timeline that has none, all of them."""
    return tuple(unit for unit in case.plan.units if unit.window is None) or case.plan.units


def _counts(case: Case, history: History, edge: Edge, arm: Arm) -> dict[str, int]:
    """Bytes and requests over the units without a fault."""
    counts = {"bytes_in": 0, "bytes_out": 0, "packets": 0, "requests": 0}
    for unit in _undisturbed(case):
        rows = history.witness.where(arm=arm.value, unit=unit.name, edge=edge.name).rows()
        if len(rows) >= 2:
            first, last = rows[0], rows[-1]
            counts["bytes_in"] += last["in_bytes_from_caller"] - first["in_bytes_from_caller"]
            counts["bytes_out"] += last["out_bytes_to_callee"] - first["out_bytes_to_callee"]
            counts["packets"] += last["in_packets"] - first["in_packets"]
        counts["requests"] += len(history.edge_requests.where(arm=arm.value, unit=unit.name, edge=edge.name))
    return counts


def _problems(case: Case, history: History, edge: Edge, arm: Arm, counts: dict[str, int]) -> Iterator[str]:
    if counts["bytes_in"] <= 0 or counts["packets"] <= 0:
        yield f"{edge.name} carried no traffic in {arm}: it was bypassed, or nothing uses it (then say `traffic: on_fallback`)"
        return
    if counts["bytes_out"] <= 0:
        yield f"{edge.name} took {counts['bytes_in']} bytes in {arm}, and none came out towards {edge.callee}"
    if edge.protocol == "http" and counts["requests"] == 0:
        yield f"{edge.name} took traffic in {arm}, but its log shows no request"
    if edge.caller == CLIENT:
        units = tuple(unit.name for unit in _undisturbed(case))
        rows = history.exchanges.where(arm=arm.value, unit=units)
        sent = int((rows.column("sent_ns") >= 0).sum())
        if abs(sent - counts["requests"]) > max(3, UNDER_WAY_SHARE * sent):
            yield f"the generator sent {sent} requests to {arm}, {edge.name} saw {counts['requests']}"
