"""`Plane`: a running plane container, seen from the engine.

Takes the driver, the container's name and its routes; gives counters, the request log and probes, and the places where
faults put their rules (`packets`, `requests`, `toxiproxy_url`). Every call is bounded; failures are `PlaneError`s.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.driver.base import Driver
from harness.plane.control import Control
from harness.plane.errors import PlaneError
from harness.plane.log import RequestLog, read_request_log
from harness.plane.packets import PacketRules
from harness.plane.requests import RequestRules
from harness.plane.routes import EdgeRoute
from harness.plane.samples import EdgeCounters, edge_counters, live_connections

READY_LIMIT_S = 40.0


@dataclass(frozen=True)
class ProbeResult:
    """What a probe of one edge's stream met, and the fastest of `tries` times in ms (None: did not get so far).

    `outcome` is answered, connected (protocol tcp: there is nothing to ask), refused, timed_out or closed.
    """

    outcome: str
    connect_ms: float | None
    first_byte_ms: float | None
    tries: int

    def detail(self) -> dict[str, Any]:
        """For an event's detail."""
        return asdict(self)


class Plane:
    """See the module's head. Safe to use from several threads."""

    def __init__(self, driver: Driver, container: str, routes: Sequence[EdgeRoute]) -> None:
        self._driver = driver
        self.container = container
        self.routes = tuple(routes)
        self._by_edge = {route.edge: route for route in self.routes}
        self._control = Control(driver, container)
        self.packets = PacketRules(self._control, self.routes)
        self.requests = RequestRules(self._control)
        self._log: RequestLog | None = None

    def route(self, edge: str) -> EdgeRoute:
        """Raises PlaneError for an unknown edge."""
        try:
            return self._by_edge[edge]
        except KeyError:
            raise PlaneError(
                f"no edge {edge!r} in this plane", f"it has: {', '.join(self._by_edge)}"
            ) from None

    def toxiproxy_url(self) -> str:
        """Base address of the plane's Toxiproxy on this machine."""
        return self._control.toxiproxy_url()

    def wait_ready(self, limit_s: float = READY_LIMIT_S) -> None:
        """Until every edge can be counted. Raises PlaneError at once, with its last lines, when it died."""
        deadline = time.monotonic() + limit_s
        while True:
            try:
                self.sample()
                return
            except PlaneError as error:
                why = error
            state = self._driver.status(self.container).state
            if state not in ("running", "created") or time.monotonic() > deadline:
                raise PlaneError(
                    f"the plane did not come up: {why.what}",
                    "is NET_ADMIN allowed, and does the kernel have nftables (`readiness doctor`)?",
                )
            time.sleep(0.05)

    def sample(self) -> tuple[EdgeCounters, ...]:
        """Every edge's counters, in the order of the routes; one question for all of them."""
        statistics, counters = self._control.sample()
        return edge_counters(statistics, counters, self.routes)

    def counters(self, edge: str) -> EdgeCounters:
        """One edge's counters."""
        return self.sample()[self.routes.index(self.route(edge))]

    def probe(self, edge: str, limit_s: float) -> ProbeResult:
        """What a stream on this edge meets right now, measured inside the plane, through Toxiproxy alone.

        An http probe is answered by HAProxy's second half, so it is neither counted nor logged nor seen by the
        callee; redis is asked PING and postgres whether it speaks TLS, and both see it.
        """
        route = self.route(edge)
        answer = self._control.probe(route.toxiproxy_port, route.protocol, limit_s)
        return ProbeResult(**answer)

    def cut_connections(self, edge: str) -> int:
        """Close every connection of the edge on both sides; gives how many there were."""
        route = self.route(edge)
        there = live_connections(self._control.sample()[0], route)
        self._control.haproxy(f"shutdown sessions server in_{route.index}/next")
        return there

    def log_rows(self) -> tuple[dict[str, Any], ...]:
        """Rows for `EdgeRequests`, without arm, unit, turn and phase; `at_wall_ns` is since the epoch."""
        self._log = read_request_log(self._driver.logs(self.container), self.routes)
        return self._log.rows

    def dropped_log_lines(self) -> int:
        """Requests that `log_rows` cannot know of: lines HAProxy could not write, and lines that could not be read."""
        info = self._control.haproxy("show info")
        found = re.search(r"^DroppedLogs: (\d+)$", info, re.MULTILINE)
        if found is None:
            raise PlaneError("HAProxy does not say how many log lines it dropped")
        log = self._log or read_request_log(self._driver.logs(self.container), self.routes)
        return int(found[1]) + log.unreadable
