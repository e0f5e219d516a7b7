"""Request faults: answers that HAProxy gives in the callee's place, switched while it runs.

One rule per edge: requests whose path begins with `route` are drawn by a hash of their x-request-id and the run's
seed, and those below the limit are answered with `status`. The same ids are hit in every arm and every repetition. A
request without an id is drawn by its order of arrival instead, which is counted, because arms may then differ.
"""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass

from harness.plane.control import Control
from harness.plane.errors import PlaneError
from harness.plane.haproxy import REQUEST_FAULTS_MAP, REQUEST_FAULTS_TABLE
from harness.plane.routes import EdgeRoute


@dataclass(frozen=True)
class RequestRule:
    """Answer with `status` where draw < `limit` (of 10,000); `window` names the fault in the log."""

    window: str
    status: int
    limit: int
    route: str = ""


@dataclass(frozen=True)
class RequestCounts:
    """Totals of one edge since its rule was set: path matched, answered by the fault, of the matched without an id."""

    matched: int
    answered: int
    without_id: int


class RequestRules:
    """Rules on a running plane; one per edge."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def set(self, route: EdgeRoute, rule: RequestRule) -> None:
        """In force for the next request when this returns; counts start at zero."""
        if route.protocol != "http":
            raise PlaneError(
                f"{route.edge} speaks {route.protocol}: only http requests can be answered in the callee's place",
                "aim this fault at an http edge",
            )
        self.clear(route)
        self._control.haproxy(f"clear table {REQUEST_FAULTS_TABLE} key {route.index}")
        value = f"{rule.limit}:{rule.status}:{urllib.parse.quote(rule.window, safe='')}"
        self._control.haproxy(f"add map {REQUEST_FAULTS_MAP} {route.index}:{rule.route} {value}")
        if self._entries(route) != (f"{route.index}:{rule.route} {value}",):
            raise PlaneError(f"HAProxy did not take the request rule of {route.edge}")

    def clear(self, route: EdgeRoute) -> None:
        """Idempotent."""
        for entry in self._entries(route):
            self._control.haproxy(f"del map {REQUEST_FAULTS_MAP} {entry.split()[0]}")

    def is_clear(self, route: EdgeRoute) -> bool:
        """Read from HAProxy: no rule stands on the edge."""
        return not self._entries(route)

    def counts(self, route: EdgeRoute) -> RequestCounts:
        answer = self._control.haproxy(f"show table {REQUEST_FAULTS_TABLE} key {route.index}")
        found = dict(re.findall(r"\bgpc([012])=(\d+)", answer))
        if len(found) != 3 and answer.strip():  # nothing at all: no request has matched yet
            raise PlaneError(f"HAProxy did not tell the request counts of {route.edge}: {answer.strip()!r}")
        matched, answered, without_id = (int(found.get(number, 0)) for number in "012")
        return RequestCounts(matched, answered, without_id)

    def _entries(self, route: EdgeRoute) -> tuple[str, ...]:
        """`KEY VALUE` of every rule of the edge."""
        listing = self._control.haproxy(f"show map {REQUEST_FAULTS_MAP}")
        lines = (line.partition(" ")[2].strip() for line in listing.splitlines() if line.startswith("0x"))
        return tuple(line for line in lines if line.startswith(f"{route.index}:"))
