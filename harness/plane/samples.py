"""Counters of every edge at one moment, read from HAProxy's statistics and nftables' counters.

Takes the two texts as the plane gives them, gives one `EdgeCounters` per route. All counts are totals since the plane
started and live: bytes of a connection that is still open are in them.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.plane.errors import PlaneError
from harness.plane.packets import packets
from harness.plane.routes import EdgeRoute

Row = Mapping[str, str]


@dataclass(frozen=True)
class EdgeCounters:
    """One edge. "in" is the caller's side, "out" the callee's. The fields are columns of `WitnessSamples`.

    `in_packets` come from the caller; `out_connections` are attempts; `out_requests` is 0 on edges that are not http;
    on http edges the bytes of the callee's side count headers as HAProxy holds them, not as they were sent.
    """

    edge: str
    in_packets: int
    in_connections: int
    in_bytes_from_caller: int
    in_bytes_to_caller: int
    out_connections: int
    out_requests: int
    out_bytes_to_callee: int
    out_bytes_from_callee: int
    rule_packets: int


def edge_counters(statistics: str, counters: str, routes: Sequence[EdgeRoute]) -> tuple[EdgeCounters, ...]:
    """In the order of the routes. Raises PlaneError when an edge or a number is missing."""
    rows = _rows(statistics)
    counted = packets(counters)
    try:
        return tuple(_edge(route, rows, counted) for route in routes)
    except (KeyError, ValueError) as error:
        raise PlaneError(f"the plane's counters are not complete: {error!r}") from error


def live_connections(statistics: str, route: EdgeRoute) -> int:
    """Connections that the caller's side of an edge holds open now."""
    return int(_rows(statistics)[f"in_{route.index}", "FRONTEND"]["scur"])


def _rows(statistics: str) -> dict[tuple[str, str], Row]:
    """Frontends and backends by name."""
    reader = csv.DictReader(statistics.lstrip("# ").splitlines())
    return {(row["pxname"], row["svname"]): row for row in reader}


def _edge(route: EdgeRoute, rows: Mapping[tuple[str, str], Row], counted: Mapping[str, int]) -> EdgeCounters:
    caller_side = rows[f"in_{route.index}", "FRONTEND"]
    callee_side = rows[f"out_{route.index}", "BACKEND"]
    return EdgeCounters(
        edge=route.edge,
        in_packets=counted[f"in_{route.index}"],
        in_connections=int(caller_side["stot"]),
        in_bytes_from_caller=int(caller_side["bin"]),
        in_bytes_to_caller=int(caller_side["bout"]),
        out_connections=int(callee_side["connect"]),
        out_requests=int(callee_side["req_tot"]) if route.protocol == "http" else 0,
        out_bytes_to_callee=int(callee_side["bin"]),
        out_bytes_from_callee=int(callee_side["bout"]),
        rule_packets=counted[f"rule_{route.index}"],
    )
