"""The Witness: what was seen on every edge, and what a probe of one edge met.

Takes a `Plane`, gives rows for `WitnessSamples` (without arm, unit, turn, time and moment, which the recorder adds) and
`ProbeResult`s. It keeps nothing and starts nothing: a sample that cannot be taken raises, so that the run records the
gap as an event.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from harness.plane.client import Plane, ProbeResult

__all__ = ["PROBE_LIMIT_S", "ProbeResult", "Witness"]

PROBE_LIMIT_S = 1.5
"""A stalled edge costs this much of its window."""


class Witness:
    """See the module's head."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    def sample(self) -> list[dict[str, Any]]:
        """Counters of every edge at this moment. Raises PlaneError."""
        return [asdict(counters) for counters in self._plane.sample()]

    def probe(self, edge: str, limit_s: float = PROBE_LIMIT_S) -> ProbeResult:
        """What a stream on the edge meets now; never longer than `limit_s`. Raises PlaneError."""
        return self._plane.probe(edge, limit_s)
