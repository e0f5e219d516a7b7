"""The driver seam: everything that the engine and the faults may ask of the place where containers run.

Takes frozen specs, gives frozen facts. Every method has a time limit of its own, every undo is idempotent (healing
twice, or healing what is gone, is no error), and every failure is a `DriverError`. A second implementation (a
cluster) must provide exactly this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from harness.errors import EngineError


class DriverError(EngineError):
    """The place where containers run refused or failed; says which call and on what."""


class SubnetTakenError(DriverError):
    """The subnet overlaps with one that exists; choose another."""


@dataclass(frozen=True)
class NetworkSpec:
    """A network of its own for one service (or the plane's access). `internal` networks reach nothing outside."""

    name: str
    subnet: str
    ip_range: str
    internal: bool
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Attachment:
    """A container on a network at a fixed address (none: the driver picks one)."""

    network: str
    address: str | None = None


@dataclass(frozen=True)
class ContainerSpec:
    """One container, complete: nothing about it is decided later. `publish` maps container ports to loopback."""

    name: str
    image: str
    networks: tuple[Attachment, ...]
    command: tuple[str, ...] | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    extra_hosts: Mapping[str, str] = field(default_factory=dict)
    hostname: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    publish: tuple[int, ...] = ()
    cpus: float | None = None
    memory_bytes: int | None = None
    capabilities: tuple[str, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    tmpfs: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExecResult:
    exit_code: int
    stdout: bytes
    stderr: bytes


@dataclass(frozen=True)
class ContainerStatus:
    """`state` is running, paused, exited, created, restarting, dead or gone."""

    state: str
    exit_code: int | None
    oom_killed: bool
    started_at: str
    networks: Mapping[str, str]


class Driver(Protocol):
    """See the module's head. Names are container or network names, unique per run."""

    def ping(self) -> None:
        """Raises DriverError when the engine does not answer."""

    def subnets(self) -> tuple[str, ...]:
        """Subnets that existing networks take, in CIDR notation."""

    def owned(self, label: str, value: str) -> tuple[str, ...]:
        """`container NAME`, `network NAME` or `volume NAME` for everything that carries the label, in any state."""

    def create_network(self, spec: NetworkSpec) -> None:
        """Raises `SubnetTakenError` when the subnet overlaps with another network's."""

    def remove_network(self, name: str) -> None: ...

    def start(self, spec: ContainerSpec) -> None:
        """Create with files in place, attach to all networks, start. Leaves nothing behind when it fails."""

    def remove(self, name: str) -> None:
        """Stop at once and remove with its anonymous volumes; paused ones too."""

    def kill(self, name: str) -> None:
        """SIGKILL, as a crash would."""

    def start_again(self, name: str) -> None:
        """Start a container that was killed or stopped; no-op when it runs."""

    def pause(self, name: str) -> None: ...

    def unpause(self, name: str) -> None: ...

    def limit(self, name: str, cpus: float | None, memory_bytes: int | None) -> None: ...

    def connect(self, name: str, attachment: Attachment) -> None: ...

    def disconnect(self, name: str, network: str) -> None: ...

    def execute(
        self, name: str, command: tuple[str, ...], stdin: bytes = b"", timeout_s: float = 20.0
    ) -> ExecResult: ...

    def put_file(self, name: str, path: str, content: bytes) -> None: ...

    def logs(self, name: str, tail: int | None = None) -> bytes:
        """Standard output and error, oldest first; the last `tail` lines when given."""

    def status(self, name: str) -> ContainerStatus: ...

    def published(self, name: str, port: int) -> tuple[str, int]:
        """Host and port on this machine for a published container port."""
