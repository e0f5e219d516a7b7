"""Which addresses an arm uses: one small network per service, one address per edge in its caller's network.

Takes the environment and a block of addresses, gives the whole layout as data; nothing is created here. Each service
network is a /26: Docker's gateway is .1, the service .2, the plane .3, and from .8 on the plane holds one address for
each host name that the service calls. Docker's own allocation is kept to the first eight addresses.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Sequence
from dataclasses import dataclass

from harness.errors import EngineError
from harness.model.environment import CLIENT, Edge, Environment
from harness.plane.routes import EdgeRoute

POOL = ipaddress.ip_network("10.128.0.0/9")
"""Where blocks are taken from; a block that overlaps with an existing network is passed over."""

NETWORK_PREFIX = 26
_SERVICE, _PLANE, _FIRST_EDGE = 2, 3, 8
_EDGES_PER_CALLER = 2 ** (32 - NETWORK_PREFIX) - 1 - _FIRST_EDGE


@dataclass(frozen=True)
class ServiceNetwork:
    """The network of one service, or of the plane's access when `service` is `client`."""

    service: str
    subnet: ipaddress.IPv4Network

    @property
    def ip_range(self) -> str:
        return f"{self.subnet.network_address}/29"

    @property
    def service_address(self) -> str:
        return str(self.subnet[_SERVICE])

    @property
    def plane_address(self) -> str:
        return str(self.subnet[_PLANE])


@dataclass(frozen=True)
class ArmLayout:
    """All networks of an arm, every edge's route through the plane, and each caller's host names."""

    networks: tuple[ServiceNetwork, ...]
    routes: tuple[EdgeRoute, ...]
    hosts: dict[str, dict[str, str]]

    @property
    def access(self) -> ServiceNetwork:
        """The plane's own network, where load enters; always the first."""
        return self.networks[0]

    def network(self, service: str) -> ServiceNetwork:
        return next(network for network in self.networks if network.service == service)


def pick_block(service_count: int, taken: Sequence[str], rng: random.Random) -> ipaddress.IPv4Network:
    """A free block with room for one arm: `service_count` service networks and the access network.

    Raises EngineError when no free block is found in a bounded number of tries.
    """
    bits = max((service_count + 1 - 1).bit_length(), 1)
    prefix = NETWORK_PREFIX - bits
    in_use = [ipaddress.ip_network(subnet, strict=False) for subnet in taken]
    count = 2 ** (prefix - POOL.prefixlen)
    for _ in range(200):
        offset = rng.randrange(count) << (32 - prefix)
        block = ipaddress.IPv4Network((int(POOL.network_address) + offset, prefix))
        if not any(block.overlaps(net) for net in in_use if net.version == 4):
            return block
    raise EngineError(
        f"no free block of /{prefix} in {POOL} for the networks of an arm",
        "remove networks that nobody needs (`docker network prune`, `readiness doctor --sweep`)",
    )


def lay_out(environment: Environment, block: ipaddress.IPv4Network) -> ArmLayout:
    """Give every service its network and every edge its address. Raises EngineError when a caller has too many."""
    subnets = block.subnets(new_prefix=NETWORK_PREFIX)
    networks = tuple(
        ServiceNetwork(name, subnet)
        for name, subnet in zip((CLIENT, *environment.services), subnets, strict=False)
    )
    by_service = {network.service: network for network in networks}
    hosts: dict[str, dict[str, str]] = {name: {} for name in environment.services}
    routes = []
    for index, edge in enumerate(environment.all_edges()):
        address = _listen_address(edge, by_service, hosts)
        callee = by_service[edge.callee].service_address
        routes.append(
            EdgeRoute(
                index=index,
                edge=edge.name,
                caller=edge.caller,
                protocol=edge.protocol,
                listen_address=address,
                listen_port=edge.port,
                callee_address=callee,
                callee_port=edge.port,
            )
        )
    return ArmLayout(networks, tuple(routes), hosts)


def _listen_address(edge: Edge, networks: dict[str, ServiceNetwork], hosts: dict[str, dict[str, str]]) -> str:
    """One address per host name that a caller uses, so that edges to equal ports stay apart."""
    if edge.caller == CLIENT:
        return networks[CLIENT].plane_address
    names = hosts[edge.caller]
    if edge.host_name not in names:
        if len(names) >= _EDGES_PER_CALLER:
            raise EngineError(
                f"{edge.caller} calls more than {_EDGES_PER_CALLER} host names",
                "split the service in the environment, or give callees one host name with several ports",
            )
        names[edge.host_name] = str(networks[edge.caller].subnet[_FIRST_EDGE + len(names)])
    return names[edge.host_name]
