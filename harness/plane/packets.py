"""Packet rules: a table of our own in the plane's network namespace, with counters and an empty place per edge.

Takes routes, gives the ruleset that the plane starts with; `PacketRules` then puts a rule on an edge or on a callee's
address, reads it back and takes it away. Docker's own rules in that namespace are left alone. Counters are named, so
they keep counting from the plane's start to its end, whatever rules come and go.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Mapping, Sequence

from harness.plane.control import Control
from harness.plane.errors import PlaneError
from harness.plane.routes import EdgeRoute, callee_addresses

TABLE = "ip readiness"


class EdgeRule(enum.Enum):
    """What happens to the packets of an edge."""

    BLACK_HOLE = "black hole"
    REFUSED = "refused"


class CalleeRule(enum.Enum):
    """What happens to the packets that the plane sends to a callee, on whichever edge."""

    COUNTED = "counted"
    REFUSED = "refused"


# Only packets that open a connection or carry data are counted: acknowledgements, keep-alives and closing packets of
# idle connections would make a fault that nobody met look as if it had hit something.
_TRAFFIC = "tcp flags & (syn | psh) != 0"
_EDGE_STATEMENTS: Mapping[EdgeRule, tuple[str, str]] = {
    EdgeRule.BLACK_HOLE: ("drop", "drop"),
    EdgeRule.REFUSED: ("reject with tcp reset", ""),
}
_CALLEE_STATEMENTS: Mapping[CalleeRule, str] = {
    CalleeRule.COUNTED: "accept",
    CalleeRule.REFUSED: "reject with tcp reset",
}


def ruleset(routes: Sequence[EdgeRoute]) -> str:
    """The nftables file that a plane starts with: everything counted, nothing harmed."""
    callees = callee_addresses(routes)
    lines = [f"table {TABLE} {{"]
    lines += [f"  counter {kind}_{route.index} {{ }}" for route in routes for kind in ("in", "rule")]
    lines += [f"  counter callee_{number} {{ }}" for number in range(len(callees))]
    for route in routes:
        lines += [f"  chain fault_in_{route.index} {{ }}", f"  chain fault_out_{route.index} {{ }}"]
        lines += [
            f"  chain in_{route.index} {{",
            f"    counter name in_{route.index}",
            f"    jump fault_in_{route.index}",
            "  }",
        ]
    lines += [f"  chain callee_{number} {{ }}" for number in range(len(callees))]
    inward = _verdicts(
        (f"{_place(route)} : jump in_{route.index}" for route in routes), "ip daddr . tcp dport"
    )
    outward = _verdicts(
        (f"{_place(route)} : jump fault_out_{route.index}" for route in routes), "ip saddr . tcp sport"
    )
    to_callees = _verdicts((f"{callees[n]} : jump callee_{n}" for n in range(len(callees))), "ip daddr")
    lines += ["  chain input {", "    type filter hook input priority -150", inward, "  }"]
    lines += ["  chain output {", "    type filter hook output priority -150", outward, to_callees, "  }"]
    return "\n".join([*lines, "}", ""])


def _place(route: EdgeRoute) -> str:
    return f"{route.listen_address} . {route.listen_port}"


def _verdicts(items: Iterable[str], key: str) -> str:
    joined = ", ".join(items)
    return f"    {key} vmap {{ {joined} }}" if joined else ""


def packets(listing: str) -> dict[str, int]:
    """Packets by counter name, from `nft -j list counters`."""
    try:
        items = [item["counter"] for item in json.loads(listing)["nftables"] if "counter" in item]
        return {str(item["name"]): int(item["packets"]) for item in items}
    except (ValueError, KeyError, TypeError) as error:
        raise PlaneError(f"nft gave counters that cannot be read: {error!r}") from error


class PacketRules:
    """Rules on a running plane. One rule at a time per edge and per callee; setting one replaces the other."""

    def __init__(self, control: Control, routes: Sequence[EdgeRoute]) -> None:
        self._control = control
        self._callees = callee_addresses(routes)

    def set_edge(self, route: EdgeRoute, rule: EdgeRule) -> None:
        """In force for new and live connections when this returns."""
        inward, outward = _EDGE_STATEMENTS[rule]
        places = {f"fault_in_{route.index}": inward, f"fault_out_{route.index}": outward}
        self._replace(places, f"rule_{route.index}")

    def clear_edge(self, route: EdgeRoute) -> None:
        """Idempotent."""
        self._replace({f"fault_in_{route.index}": "", f"fault_out_{route.index}": ""}, "")

    def edge_is_clear(self, route: EdgeRoute) -> bool:
        """Read from the kernel: no rule stands on the edge."""
        return not any(self._rules(f"fault_{way}_{route.index}") for way in ("in", "out"))

    def edge_packets(self, route: EdgeRoute) -> int:
        """Packets that rules on this edge have hit since the plane started."""
        return self._counted(f"rule_{route.index}")

    def set_callee(self, address: str, rule: CalleeRule) -> None:
        number = self._number(address)
        self._replace({f"callee_{number}": _CALLEE_STATEMENTS[rule]}, f"callee_{number}")

    def clear_callee(self, address: str) -> None:
        """Idempotent."""
        self._replace({f"callee_{self._number(address)}": ""}, "")

    def callee_is_clear(self, address: str) -> bool:
        return not self._rules(f"callee_{self._number(address)}")

    def callee_packets(self, address: str) -> int:
        """Packets towards this callee that rules have hit since the plane started."""
        return self._counted(f"callee_{self._number(address)}")

    def _number(self, address: str) -> int:
        try:
            return self._callees.index(address)
        except ValueError:
            raise PlaneError(
                f"no edge leads to {address}", "aim the fault at a service that is called"
            ) from None

    def _replace(self, places: Mapping[str, str], counter: str) -> None:
        """One transaction: old rules out, new ones in, and read back."""
        lines = [f"flush chain {TABLE} {chain}" for chain in places]
        for chain, statement in places.items():
            if statement:
                lines.append(f"add rule {TABLE} {chain} {_TRAFFIC} counter name {counter} {statement}")
                lines.append(f"add rule {TABLE} {chain} {statement}")
        self._control.nft(("-f", "-"), "\n".join(lines) + "\n")
        for chain, statement in places.items():
            if self._rules(chain) != (2 if statement else 0):
                raise PlaneError(f"the packet rules of {chain} are not what was just written")

    def _rules(self, chain: str) -> int:
        listing = self._control.nft(("-j", "list", "chain", *TABLE.split(), chain))
        try:
            return sum("rule" in item for item in json.loads(listing)["nftables"])
        except (ValueError, KeyError, TypeError) as error:
            raise PlaneError(f"nft gave rules of {chain} that cannot be read: {error!r}") from error

    def _counted(self, counter: str) -> int:
        return packets(self._control.nft(("-j", "list", "counter", *TABLE.split(), counter)))[counter]
