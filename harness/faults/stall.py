"""Stall: connecting works and nothing comes back, on new and live connections; what is sent never arrives."""

from __future__ import annotations

from harness.faults.base import Applied, Fault, FaultContext
from harness.faults.edge_stream import EdgeStream


class Stall(Fault):
    """See the module's head. Requests are stopped on their way in, so the callee does no work that nobody gets.

    Healing closes the connections on which something was held back (Toxiproxy does): their callers see end of file.
    """

    name = "stall"
    summary = "connecting works, but nothing ever comes back"
    level = "streams"
    targets = "edge"
    cuts = True

    def apply(self, context: FaultContext) -> Applied:
        return EdgeStream.set(context, "timeout", "upstream", {"timeout": 0})
