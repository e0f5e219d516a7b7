"""One arm: the whole service graph in containers of its own, every edge through the arm's plane.

Takes the resolved services of an arm and a driver, gives a running, healthy, seeded stack with a `Plane` to reach its
edges. Everything is journaled before it is started, and `down()` removes all of it, in any state, as often as called.
"""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from harness.driver.base import Attachment, ContainerSpec, Driver, DriverError, NetworkSpec, SubnetTakenError
from harness.environment.addresses import ArmLayout, ServiceNetwork, lay_out, pick_block
from harness.environment.journal import Journal, owner_label
from harness.environment.seeding import Tables, seed_service
from harness.environment.services import ArmService
from harness.errors import EngineError, Interrupted
from harness.model.environment import CLIENT, Environment, Health
from harness.plane.client import Plane
from harness.plane.container import PLANE_IMAGE, plane_files, plane_ports

LABEL_RUN, LABEL_ARM, LABEL_SERVICE = "readiness.run", "readiness.arm", "readiness.service"
_HEALTH_SCRIPT = "/opt/readiness/health_wait.py"
_BLOCK_TRIES = 20
_LOG_TAIL = 15


class UnhealthyError(EngineError):
    """A service did not become healthy in time; carries its name, so that a candidate can be blamed."""

    def __init__(self, service: str, what: str, fix: str) -> None:
        self.service = service
        super().__init__(what, fix)


@dataclass
class ArmStack:
    """See the module's head. `arm` is only a name here.

    `image_ids` says which image a reference means: names may be given to other images while a run waits for its turn.
    """

    driver: Driver
    journal: Journal
    run_id: str
    arm: str
    environment: Environment
    services: Mapping[str, ArmService]
    seed: int
    dataset: Tables | None
    environment_folder: Path
    progress: Callable[[str], None] = lambda _text: None
    image_ids: Mapping[str, str] = field(default_factory=dict)
    _layout: ArmLayout | None = None
    _plane: Plane | None = None
    _containers: list[str] = field(default_factory=list)
    _networks: list[str] = field(default_factory=list)
    _abandoned: threading.Event = field(default_factory=threading.Event)

    @property
    def plane(self) -> Plane:
        if self._plane is None:
            raise EngineError(f"arm {self.arm} is not up", "call up() first")
        return self._plane

    @property
    def layout(self) -> ArmLayout:
        if self._layout is None:
            raise EngineError(f"arm {self.arm} is not up", "call up() first")
        return self._layout

    def container(self, service: str) -> str:
        """Name of a service's container; `plane` is the plane's."""
        return f"rdy-{self.run_id}-{self.arm}-{service}"

    def entry_url(self, entry: str) -> str:
        """Base URL of an entry on this machine's loopback."""
        host, port = self.driver.published(self.container("plane"), self.environment.entries[entry].port)
        return f"http://{host}:{port}"

    def up(self) -> None:
        """Networks, plane, services wave by wave; healthy and seeded on return. Takes itself down when it fails."""
        try:
            self._create_networks()
            self._start_plane()
            for wave in self.environment.start_order():
                self._start_wave(wave)
        except BaseException:
            self.down()
            raise

    def abandon(self) -> None:
        """From another thread: an `up` under way ends soon, and takes itself down. Its waiting is done in the plane."""
        self._abandoned.set()
        with contextlib.suppress(DriverError):
            self.driver.kill(self.container("plane"))

    def down(self) -> None:
        """Remove every container and network of this arm. Idempotent; errors are raised after all was tried."""
        errors: list[EngineError] = []
        with ThreadPoolExecutor(max_workers=4) as pool:
            for name, error in pool.map(self._remove_container, list(self._containers)):
                if error is None:
                    self._containers.remove(name)
                else:
                    errors.append(error)
        for name in list(self._networks):
            try:
                self.driver.remove_network(name)
                self.journal.undone("network", name)
                self._networks.remove(name)
            except EngineError as error:  # also a journal that cannot be written
                errors.append(error)
        if errors:
            raise errors[0]

    def logs(self, tail: int | None = None) -> dict[str, str]:
        """Container logs by service, the plane's too; a log that cannot be read says so."""
        logs = {}
        for service in ("plane", *self.services):
            try:
                logs[service] = self.driver.logs(self.container(service), tail).decode("utf-8", "replace")
            except DriverError as error:
                logs[service] = f"(log not readable: {error.what})"
        return logs

    def unexpected_attachments(self) -> tuple[str, ...]:
        """Containers that sit on a network they have no business on, and networks with a guest: a bypassed edge."""
        return tuple(
            f"{service} is attached to {network}, which is not its own network"
            for service in self.services
            for network in self.driver.status(self.container(service)).networks
            if network != self._network_name(service)
        )

    def _remove_container(self, name: str) -> tuple[str, EngineError | None]:
        try:
            self.driver.remove(name)
            self.journal.undone("container", name)
        except EngineError as error:  # also a journal that cannot be written
            return name, error
        return name, None

    def _network_name(self, service: str) -> str:
        return f"rdy-{self.run_id}-{self.arm}-{service}"

    def _labels(self, service: str) -> dict[str, str]:
        return {LABEL_RUN: self.run_id, LABEL_ARM: self.arm, LABEL_SERVICE: service, **owner_label()}

    def _create_networks(self) -> None:
        """In a block that nothing else uses; another run may take it first, then the next one is tried."""
        rng = random.Random()  # where a stack lives must differ between runs, whatever their seed
        for _ in range(_BLOCK_TRIES):
            block = pick_block(len(self.environment.services), self.driver.subnets(), rng)
            layout = lay_out(self.environment, block)
            try:
                for network in layout.networks:
                    self._create_network(network)
            except SubnetTakenError:
                self.down()
                continue
            self._layout = layout
            return
        raise EngineError(
            f"no free addresses for arm {self.arm} after {_BLOCK_TRIES} tries",
            "other runs are starting at the same time; run again, or remove networks nobody needs",
        )

    def _create_network(self, network: ServiceNetwork) -> None:
        name = self._network_name(network.service)
        self.journal.starting("network", name)
        self._networks.append(name)
        self.driver.create_network(
            NetworkSpec(
                name=name,
                subnet=str(network.subnet),
                ip_range=network.ip_range,
                internal=network.service != CLIENT,
                labels=self._labels(network.service),
            )
        )

    def _go_on(self) -> None:
        """Raises Interrupted once nobody wants this arm any more."""
        if self._abandoned.is_set():
            raise Interrupted(f"arm {self.arm} was given up while it came up")

    def _start(self, spec: ContainerSpec) -> None:
        self._go_on()
        self.journal.starting("container", spec.name)
        self._containers.append(spec.name)
        self.driver.start(spec)

    def _start_plane(self) -> None:
        layout = self.layout
        name = self.container("plane")
        entry_ports = tuple(entry.port for entry in self.environment.entries.values())
        script = (Path(__file__).parent / "health_wait.py").read_bytes()
        self._start(
            ContainerSpec(
                name=name,
                image=self.image_ids.get(PLANE_IMAGE, PLANE_IMAGE),
                networks=tuple(
                    Attachment(self._network_name(network.service), network.plane_address)
                    for network in layout.networks
                ),
                files={
                    **plane_files(layout.routes, layout.access.plane_address, self.seed),
                    _HEALTH_SCRIPT: script,
                },
                hostname=f"{self.arm}-plane",
                labels=self._labels("plane"),
                publish=(*entry_ports, *plane_ports()),
                capabilities=("NET_ADMIN",),
            )
        )
        self._plane = Plane(self.driver, name, layout.routes)
        self._plane.wait_ready()

    def _start_wave(self, wave: tuple[str, ...]) -> None:
        with ThreadPoolExecutor(max_workers=4) as pool:
            list(pool.map(self._start_service, wave))
        self._wait_healthy(wave)
        for name in wave:
            self._go_on()
            seed = self.services[name].definition.seed
            if seed is None:
                continue
            if self.dataset is None:
                raise EngineError(
                    f"{name} is to be seeded, but the scenario names no dataset", "add `dataset:` to it"
                )
            report = seed_service(
                self.driver,
                self.container(name),
                name,
                seed,
                self.dataset,
                lambda source: (self.environment_folder / source).read_bytes(),
            )
            self.progress(f"{self.arm}: seeded {report}")

    def _start_service(self, name: str) -> None:
        service = self.services[name]
        limits = service.definition.limits
        network = self.layout.network(name)
        self._start(
            ContainerSpec(
                name=self.container(name),
                image=self.image_ids.get(service.image.reference, service.image.reference),
                networks=(Attachment(self._network_name(name), network.service_address),),
                command=service.command,
                variables=service.variables,
                files=service.files,
                extra_hosts=self.layout.hosts[name],
                hostname=name,
                labels=self._labels(name),
                cpus=limits.cpus,
                memory_bytes=limits.memory.bytes,
                tmpfs=service.definition.tmpfs,
            )
        )

    def _wait_healthy(self, wave: tuple[str, ...]) -> None:
        """Ports are probed by one process in the plane, commands inside their own containers."""
        checks = {name: self.services[name].definition.health for name in wave}
        by_port = {name: health for name, health in checks.items() if health.command is None}
        if by_port:
            self._wait_ports(by_port)
        for name, health in checks.items():
            if health.command is not None:
                self._wait_command(name, health, health.command)

    def _wait_ports(self, checks: Mapping[str, Health]) -> None:
        targets = [
            {
                "service": name,
                "address": self.layout.network(name).service_address,
                "port": health.port,
                "http": health.http,
                "every_s": health.every.s,
                "within_s": health.within.s,
            }
            for name, health in checks.items()
        ]
        limit_s = max(health.within.s for health in checks.values()) + 10
        result = self.driver.execute(
            self.container("plane"), ("python3", _HEALTH_SCRIPT, json.dumps(targets)), timeout_s=limit_s
        )
        answers = [json.loads(line) for line in result.stdout.decode().splitlines() if line.startswith("{")]
        decided = {answer["service"]: answer for answer in answers}
        for name in checks:
            answer = decided.get(
                name, {"healthy": False, "last": result.stderr.decode("utf-8", "replace")[-300:]}
            )
            if not answer["healthy"]:
                raise self._unhealthy(name, f"the last try: {answer['last']}")

    def _wait_command(self, name: str, health: Health, command: tuple[str, ...]) -> None:
        deadline = time.monotonic() + health.within.s
        last = "it was never tried"
        while time.monotonic() < deadline:
            self._go_on()
            with contextlib.suppress(DriverError):
                result = self.driver.execute(self.container(name), command)
                if result.exit_code == 0:
                    return
                last = (result.stderr or result.stdout).decode("utf-8", "replace").strip()[-300:]
            time.sleep(health.every.s)
        raise self._unhealthy(name, f"the last try: {last}")

    def _unhealthy(self, name: str, last: str) -> UnhealthyError:
        status = self.driver.status(self.container(name))
        tail = self.driver.logs(self.container(name), _LOG_TAIL).decode("utf-8", "replace").rstrip()
        log = "\n".join(f"    {line}" for line in tail.splitlines()) or "    (nothing)"
        within = self.services[name].definition.health.within
        return UnhealthyError(
            name,
            f"{name} of arm {self.arm} was not healthy within {within} (it is {status.state}); {last}\n"
            f"  its last lines:\n{log}",
            f"check the health, command and limits of {name} in the environment, and its image",
        )
