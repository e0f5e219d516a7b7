"""Refused: as if nothing listened any more. New connections are refused, live ones end."""

from __future__ import annotations

from collections.abc import Mapping

from harness.faults.base import Applied, Fault, FaultContext, healed_on_failure
from harness.faults.edge_packets import EdgePackets
from harness.plane.packets import EdgeRule


class RefusedEdge(EdgePackets):
    """The packet rule, and the count of live connections that were closed with it."""

    cut = 0

    def hits(self) -> Mapping[str, int]:
        return {**super().hits(), "connections_cut": self.cut}


class Refused(Fault):
    """See the module's head. The callee's side is closed too, so that it does not wait for callers that are gone."""

    name = "refused"
    summary = "connecting is refused at once, and live connections end"
    level = "packets"
    targets = "edge"
    cuts = True

    def apply(self, context: FaultContext) -> Applied:
        applied = RefusedEdge.set(context, EdgeRule.REFUSED)
        with healed_on_failure(applied):
            applied.cut = context.plane.cut_connections(context.route.edge)
        return applied
