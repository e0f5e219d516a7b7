"""A packet rule on one edge, as an `Applied`: what the faults of the packet level share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from harness.faults.base import FaultContext, healed_on_failure
from harness.plane.client import Plane
from harness.plane.packets import EdgeRule
from harness.plane.routes import EdgeRoute


class EdgePackets:
    """See the module's head. Hits are the rule's own counter."""

    def __init__(self, plane: Plane, route: EdgeRoute) -> None:
        self._plane = plane
        self._route = route
        self._before = plane.packets.edge_packets(route)

    @classmethod
    def set(cls, context: FaultContext, rule: EdgeRule) -> Self:
        """Put the rule on the window's edge."""
        applied = cls(context.plane, context.route)
        with healed_on_failure(applied):
            context.plane.packets.set_edge(context.route, rule)
        return applied

    def hits(self) -> Mapping[str, int]:
        return {"packets": self._plane.packets.edge_packets(self._route) - self._before}

    def heal(self) -> None:
        self._plane.packets.clear_edge(self._route)

    def is_healed(self) -> bool:
        return self._plane.packets.edge_is_clear(self._route)
