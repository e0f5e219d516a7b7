"""A toxic on one edge, in one or both directions, as an `Applied`: what the faults of the stream level share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

from harness.faults.base import FaultContext, healed_on_failure
from harness.faults.toxiproxy import Stream, Toxic, Toxiproxy

NAME = "readiness"


class EdgeStream:
    """See the module's head. Toxiproxy counts nothing, so hits are what entered and left the edge meanwhile."""

    def __init__(self, context: FaultContext) -> None:
        self._plane = context.plane
        self._route = context.route
        self._toxiproxy = Toxiproxy(context.plane.toxiproxy_url())
        self._before = context.plane.counters(self._route.edge)

    @classmethod
    def set(cls, context: FaultContext, kind: str, streams: Sequence[Stream], **attributes: int) -> Self:
        """Put one toxic on each of the streams of the window's edge."""
        applied = cls(context)
        with healed_on_failure(applied):
            for stream in streams:
                applied._toxiproxy.add(
                    applied._route.proxy_name, Toxic(f"{NAME}-{stream}", kind, stream, attributes)
                )
        return applied

    def hits(self) -> Mapping[str, int]:
        now = self._plane.counters(self._route.edge)
        return {
            "connections": now.in_connections - self._before.in_connections,
            "bytes_from_caller": now.in_bytes_from_caller - self._before.in_bytes_from_caller,
            "requests": now.out_requests - self._before.out_requests,
        }

    def heal(self) -> None:
        for toxic in self._toxiproxy.toxics(self._route.proxy_name):
            self._toxiproxy.remove(self._route.proxy_name, toxic.name)

    def is_healed(self) -> bool:
        return not self._toxiproxy.toxics(self._route.proxy_name)
