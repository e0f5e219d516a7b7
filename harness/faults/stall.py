"""Stall: connecting works, then nothing passes in either direction, on new and live connections."""

from __future__ import annotations

from harness.faults.base import Applied, Fault, FaultContext
from harness.faults.edge_stream import EdgeStream


class Stall(Fault):
    """See the module's head. Requests do not arrive, so the callee does no work that nobody gets.

    Healing closes every connection of the edge (Toxiproxy does): who still waits sees end of file.
    """

    name = "stall"
    summary = "connecting works, but nothing ever comes back"
    level = "streams"
    targets = "edge"
    cuts = True

    def apply(self, context: FaultContext) -> Applied:
        return EdgeStream.set(context, "timeout", ("upstream", "downstream"), timeout=0)
