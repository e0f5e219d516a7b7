"""The Environment: the service graph a change is tried in.

Takes what `environment.yaml` says (validated by pydantic), gives services, edges and entries with the few derived
facts that the rest of the engine asks for. Nothing here touches a file or a container.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from harness.model.base import Definition, Name
from harness.model.quantities import Duration, Size

CLIENT = "client"
"""The caller of every entry: the load generator, which is no service of the graph."""

RESERVED_PORTS = (61_474, 61_475)
"""The fault plane's own, on the address where entries listen; above the ports that kernels hand out to clients."""

Port = Annotated[int, Field(ge=1, le=65535)]
Protocol = Literal["http", "postgres", "redis", "tcp"]
"""What an edge speaks. `tcp` is any stream the harness does not parse."""


class Build(Definition):
    """How an image is made where it can be neither found nor pulled."""

    context: str = Field(description="Folder of the build context, relative to the file that names it.")
    dockerfile: str = "Dockerfile"
    args: dict[str, str] = Field(default_factory=dict)
    package_files: dict[str, str] = Field(
        default_factory=dict,
        description="Files of installed Python packages to add: `package/path/in/it` -> name in the context.",
    )


class Health(Definition):
    """How to tell that a service can work: exactly one of an HTTP path, a TCP port or a command inside it."""

    http: str | None = Field(default=None, description="Path that answers 2xx when the service is healthy.")
    port: Port | None = Field(default=None, description="Port for `http`, or alone: a TCP connect is enough.")
    command: tuple[str, ...] | None = Field(
        default=None, description="Command that exits 0 inside the container."
    )
    every: Duration = Duration.of_s(0.25)
    within: Duration = Field(
        default=Duration.of_s(60), description="Give up when not healthy after this long."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.command is None) == (self.port is None):
            raise ValueError("give either `command`, or `port` (with `http` for a path)")
        return self


class Limits(Definition):
    """What one container may use; every service has limits, as in production."""

    cpus: float = Field(default=0.5, gt=0, description="CPU share in cores.")
    memory: Size = Size(256 * 2**20)


class PostgresSeed(Definition):
    """Fill a PostgreSQL service: run `schema_file`, then COPY the dataset's tables in this order."""

    kind: Literal["postgres"]
    database: str
    user: str
    schema_file: str | None = Field(default=None, description="SQL file, relative to the environment file.")
    tables: tuple[str, ...] = ()


class RedisHash(Definition):
    """One Redis hash per row of `table`; `key` is a template over its columns, such as `features:{applicant_id}`."""

    table: str
    key: str
    fields: tuple[str, ...] = Field(default=(), description="Columns to store; all when empty.")


class RedisSeed(Definition):
    """Fill a Redis service through its own pipeline protocol."""

    kind: Literal["redis"]
    hashes: tuple[RedisHash, ...]
    port: Port = 6379


Seed = Annotated[PostgresSeed | RedisSeed, Field(discriminator="kind")]


class Service(Definition):
    """One container of the graph, as production would run it."""

    image: str
    build: Build | None = None
    command: tuple[str, ...] | None = None
    variables: dict[str, str] = Field(default_factory=dict)
    files: dict[str, str] = Field(
        default_factory=dict, description="Path in the container -> file, relative to the file that names it."
    )
    health: Health
    limits: Limits = Limits()
    after: tuple[Name, ...] = Field(
        default=(), description="Services that must be healthy before this one starts."
    )
    seed: Seed | None = None
    tmpfs: tuple[str, ...] = Field(default=(), description="Paths in the container that live in memory.")


class Tolerance(Definition):
    """What an edge claims to survive. The faults put these claims to the test."""

    timeout: Duration = Field(description="How long the caller waits for one try.")
    retries: int = Field(default=0, ge=0, description="Most tries after the first, per call.")
    fallback: str | None = Field(
        default=None, description="What the caller does without the callee; none: it fails."
    )
    quality_loss: float = Field(
        default=0.0, ge=0, le=1, description="Most share of answers that may be degraded."
    )
    recovery: Duration = Field(
        default=Duration.of_s(5), description="Normal again within this long after the fault."
    )


class Edge(Definition):
    """One service calling another over one protocol. `host` is the name the caller uses in production."""

    name: str = ""
    caller: str = Field(alias="from")
    callee: str = Field(alias="to")
    port: Port
    protocol: Protocol
    host: str | None = Field(
        default=None, description="Host name the caller uses; the callee's name by default."
    )
    tolerance: Tolerance
    traffic: Literal["always", "on_fallback"] = Field(
        default="always",
        description="`always`: no traffic in steady load means that the edge was bypassed: UNKNOWN.",
    )

    @model_validator(mode="before")
    @classmethod
    def _default_name(cls, data: object) -> object:
        if isinstance(data, dict) and not data.get("name"):
            caller, callee = data.get("from", data.get("caller")), data.get("to", data.get("callee"))
            return {**data, "name": f"{caller}->{callee}"}
        return data

    @property
    def host_name(self) -> str:
        return self.host or self.callee


class Entry(Definition):
    """Where load enters the graph; it is an edge too, with the load generator as its caller."""

    service: str = Field(alias="to")
    port: Port
    protocol: Literal["http"] = "http"
    tolerance: Tolerance = Tolerance(timeout=Duration.of_s(10))


class Environment(Definition):
    """The service graph: services, edges, entries."""

    environment: Name
    description: str = ""
    services: dict[Name, Service] = Field(min_length=1)
    edges: tuple[Edge, ...] = ()
    entries: dict[Name, Entry] = Field(min_length=1)

    def all_edges(self) -> tuple[Edge, ...]:
        """Entry edges first (`client->SERVICE`), then the edges between services."""
        entries = tuple(
            Edge(
                name=f"{CLIENT}->{entry.service}"
                if len(self.entries) == 1
                else f"{CLIENT}->{entry.service}:{name}",
                caller=CLIENT,
                callee=entry.service,
                port=entry.port,
                protocol=entry.protocol,
                tolerance=entry.tolerance,
            )
            for name, entry in self.entries.items()
        )
        return entries + self.edges

    def entry_edge(self, entry: str) -> Edge:
        """The edge of one entry. Raises KeyError for an unknown entry."""
        return dict(zip(self.entries, self.all_edges(), strict=False))[entry]

    def edge(self, name: str) -> Edge:
        """Raises KeyError for an unknown edge."""
        return {edge.name: edge for edge in self.all_edges()}[name]

    def start_order(self) -> tuple[tuple[str, ...], ...]:
        """Services in waves: each wave may start when the waves before it are healthy.

        Raises ValueError naming the services that wait for each other.
        """
        waves: list[tuple[str, ...]] = []
        started: set[str] = set()
        while len(started) < len(self.services):
            wave = tuple(
                name
                for name, service in self.services.items()
                if name not in started and started >= set(service.after)
            )
            if not wave:
                stuck = ", ".join(name for name in self.services if name not in started)
                raise ValueError(f"these services wait for each other and none can start: {stuck}")
            waves.append(wave)
            started.update(wave)
        return tuple(waves)

    def reachable(self, cut_edges: Iterable[str] = (), cut_services: Iterable[str] = ()) -> frozenset[str]:
        """Services that a request from the client can still reach when these edges and services are cut."""
        gone_edges, gone_services = set(cut_edges), set(cut_services)
        reached: set[str] = {CLIENT}
        grew = True
        while grew:
            found = {
                edge.callee
                for edge in self.all_edges()
                if edge.caller in reached and edge.name not in gone_edges and edge.callee not in gone_services
            }
            grew = not found <= reached
            reached |= found
        return frozenset(reached - {CLIENT})
