"""Black hole: every packet of the edge vanishes, both ways, on new and live connections."""

from __future__ import annotations

from harness.faults.base import Applied, Fault, FaultContext
from harness.faults.edge_packets import EdgePackets
from harness.plane.packets import EdgeRule


class BlackHole(Fault):
    """See the module's head. Live connections go on where they were when it is healed, if the caller kept them."""

    name = "black_hole"
    summary = "packets vanish: connecting and waiting for an answer both time out"
    level = "packets"
    targets = "edge"
    cuts = True

    def apply(self, context: FaultContext) -> Applied:
        return EdgePackets.set(context, EdgeRule.BLACK_HOLE)
