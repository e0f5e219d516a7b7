"""Where each edge runs: from the caller's side, through the sandwich inside the plane, to the callee.

An `EdgeRoute` is data that the stack lays out and the plane's configuration is written from. Inside the plane an edge
is known by its index, so that names with any character in them need no escaping anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.model.environment import Protocol

TOXIPROXY_BASE_PORT = 20_000
"""Edge i enters Toxiproxy on this port plus i (loopback, inside the plane)."""
OUT_BASE_PORT = 21_000
"""Edge i leaves Toxiproxy towards HAProxy's second half on this port plus i (loopback, inside the plane)."""
MOST_EDGES = OUT_BASE_PORT - TOXIPROXY_BASE_PORT


@dataclass(frozen=True)
class EdgeRoute:
    """One edge: `caller` connects to the listen address, the plane connects to the callee's.

    Addresses are literal IPv4; several edges may share a listen address (with different ports) or a callee.
    """

    index: int
    edge: str
    caller: str
    protocol: Protocol
    listen_address: str
    listen_port: int
    callee_address: str
    callee_port: int

    @property
    def toxiproxy_port(self) -> int:
        return TOXIPROXY_BASE_PORT + self.index

    @property
    def out_port(self) -> int:
        return OUT_BASE_PORT + self.index

    @property
    def proxy_name(self) -> str:
        """The edge's name in Toxiproxy."""
        return f"edge-{self.index}"


def callee_addresses(routes: Sequence[EdgeRoute]) -> tuple[str, ...]:
    """Every callee's address once, in order of first use; its place is the callee's number in the packet rules."""
    return tuple(dict.fromkeys(route.callee_address for route in routes))
