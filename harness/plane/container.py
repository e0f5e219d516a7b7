"""What a plane container needs: its image, its files and its published ports.

Takes routes, the access address and the seed, gives plain data for a `ContainerSpec`; it also needs the capability
NET_ADMIN (in its own network namespace) for secondary addresses and packet rules.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import EngineError
from harness.model.environment import RESERVED_PORTS
from harness.plane.control import CONTROL_PORT, TOXIPROXY_PORT
from harness.plane.haproxy import REQUEST_FAULTS_MAP, haproxy_configuration
from harness.plane.packets import ruleset
from harness.plane.routes import MOST_EDGES, EdgeRoute

if TYPE_CHECKING:
    from harness.environment.images import ImageRequest

PLANE_IMAGE = "readiness/plane:1"
CONTEXT = Path(__file__).parent / "image"


def plane_image_request() -> ImageRequest:
    """How to have the image: built from `image/`, on the same two bases as everything else."""
    from harness.environment.image_context import BuildRequest
    from harness.environment.images import ImageRequest

    return ImageRequest(PLANE_IMAGE, BuildRequest(CONTEXT))


def plane_ports() -> tuple[int, ...]:
    """Container ports to publish on loopback besides the entries'."""
    return RESERVED_PORTS


def plane_files(routes: Sequence[EdgeRoute], access_address: str, seed: int) -> Mapping[str, bytes]:
    """Path in the container -> content. Raises EngineError for routes that one plane cannot carry."""
    _check(routes, access_address)
    plane = {
        "access_address": access_address,
        "control_port": CONTROL_PORT,
        "toxiproxy_port": TOXIPROXY_PORT,
        "addresses": sorted({route.listen_address for route in routes}),
        "edges": len(routes),
    }
    proxies = [
        {
            "name": route.proxy_name,
            "listen": f"127.0.0.1:{route.toxiproxy_port}",
            "upstream": f"127.0.0.1:{route.out_port}",
            "enabled": True,
        }
        for route in routes
    ]
    texts = {
        "/etc/readiness/plane.json": json.dumps(plane, indent=1),
        "/etc/readiness/toxiproxy.json": json.dumps(proxies, indent=1),
        "/etc/readiness/rules.nft": ruleset(routes),
        "/etc/readiness/haproxy.cfg": haproxy_configuration(routes, seed),
        REQUEST_FAULTS_MAP: "",
    }
    return {path: text.encode() for path, text in texts.items()}


def _check(routes: Sequence[EdgeRoute], access_address: str) -> None:
    places: dict[tuple[str, int], str] = {
        (access_address, port): "the plane's own control port" for port in plane_ports()
    }
    for route in routes:
        place = (route.listen_address, route.listen_port)
        if place in places:
            raise EngineError(
                f"edge {route.edge} and {places[place]} would both listen on {place[0]}:{place[1]}",
                "give one of them another port or host name in the environment",
            )
        places[place] = f"edge {route.edge}"
    if len(routes) > MOST_EDGES or {route.index for route in routes} != set(range(len(routes))):
        raise EngineError(
            f"{len(routes)} edges do not fit one plane (at most {MOST_EDGES}, numbered from 0)",
            "split the environment",
        )
