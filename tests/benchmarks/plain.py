"""What the containers alone need: the same ones on one network, wave by wave, health polled, without plane or compose.

Takes a graph and a bench, gives nothing; when it returns every service is healthy. What `docker run` would do in the
same start order, by the project's own driver: the floor for every other way up, and the nearest where there is no compose.
"""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor

from harness.driver.base import Attachment, ContainerSpec, NetworkSpec
from harness.environment.addresses import pick_block
from harness.environment.stack import LABEL_RUN
from harness.errors import EngineError
from tests.benchmarks.arms import Bench, Graph
from tests.benchmarks.compose import health_command

FIRST_ADDRESS = 2


def up_plain(graph: Graph, bench: Bench) -> None:
    """Raises EngineError when a service is not healthy in time."""
    block = pick_block(1, bench.driver.subnets(), random.Random())
    labels = {LABEL_RUN: bench.run_id}
    network = f"rdy-{bench.run_id}"
    ends = f"{block.network_address}/{block.prefixlen}"
    bench.driver.create_network(NetworkSpec(network, ends, ends, internal=False, labels=labels))
    addresses = {name: str(block[FIRST_ADDRESS + number]) for number, name in enumerate(graph.services)}

    def start(name: str) -> None:
        service = graph.services[name]
        limits = service.definition.limits
        entries = [entry.port for entry in graph.environment.entries.values() if entry.service == name]
        bench.driver.start(
            ContainerSpec(
                name=f"{network}-{name}",
                image=service.image.reference,
                networks=(Attachment(network, addresses[name]),),
                command=service.command,
                variables=service.variables,
                files=service.files,
                extra_hosts={other: address for other, address in addresses.items() if other != name},
                hostname=name,
                labels=labels,
                publish=tuple(entries),
                cpus=limits.cpus,
                memory_bytes=limits.memory.bytes,
                tmpfs=service.definition.tmpfs,
            )
        )

    def wait(name: str) -> None:
        health = graph.services[name].definition.health
        deadline = time.monotonic() + health.within.s
        while bench.driver.execute(f"{network}-{name}", health_command(health)).exit_code != 0:
            if time.monotonic() > deadline:
                raise EngineError(f"{name} was not healthy within {health.within}", "see `docker ps -a`")
            time.sleep(health.every.s)

    with ThreadPoolExecutor(max_workers=4) as pool:
        for wave in graph.environment.start_order():
            list(pool.map(start, wave))
            list(pool.map(wait, wave))
