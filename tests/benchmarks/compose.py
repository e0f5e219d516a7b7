"""The same graph for `docker compose`: a compose file made from an environment, and the compose that can be had here.

Takes a graph and a run's id, gives the file as JSON (which is YAML) and a way to bring it up until all is healthy.
Images, commands, variables, files, limits, start order and health checks are the environment's own; health checks by
port become commands inside the container, because that is the only kind that compose knows.
"""

from __future__ import annotations

import json
import math
import shlex
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.environment.image_engine import connect
from harness.environment.services import ArmService
from harness.environment.stack import LABEL_RUN
from harness.errors import EngineError
from harness.model.environment import Health
from tests.benchmarks.arms import Graph

CANDIDATES = (("docker", "compose"), ("docker-compose",))
UP_LIMIT_S = 180
ANSWER_LIMIT_S = 20
POLL_S = 0.05


@dataclass(frozen=True)
class Compose:
    """A compose that answers. Version 1 has no `--wait`: its last services' health is polled instead."""

    command: tuple[str, ...]
    version: str

    @property
    def waits(self) -> bool:
        return not self.version.startswith("1.")

    def __str__(self) -> str:
        waiting = "up --wait" if self.waits else "up, then health polled"
        return f"{shlex.join(self.command)} {waiting} ({self.version})"

    def up(self, file: Path, project: str) -> None:
        """Until every service is healthy. Raises EngineError with what compose said."""
        words = [*self.command, "--project-name", project, "--file", str(file), "up", "--detach"]
        if self.waits:
            words += ["--wait", "--wait-timeout", str(UP_LIMIT_S)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=UP_LIMIT_S + 30, check=False)
        if done.returncode != 0:
            raise EngineError(
                f"{self} failed:\n{done.stderr.strip()[-2000:]}", "try the same by hand with that compose"
            )
        if not self.waits:
            wait_healthy(project)


def find_composes(wanted: str | None) -> tuple[Compose, ...]:
    """The one that was asked for, else every one that answers, each version once; empty where there is none."""
    commands = CANDIDATES if wanted is None else (tuple(shlex.split(wanted)),)
    found = {compose.version: compose for command in reversed(commands) for compose in _answering(command)}
    return tuple(reversed(found.values()))


def _answering(command: Sequence[str]) -> Iterator[Compose]:
    """One, or none."""
    words = [*command, "version", "--short"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=ANSWER_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return
    if done.returncode == 0 and done.stdout.strip():
        yield Compose(tuple(command), done.stdout.strip().removeprefix("v"))


def wait_healthy(run_id: str) -> None:
    """Poll until every container of the run is healthy, as `--wait` does. Raises EngineError."""
    client = connect()
    deadline = time.monotonic() + UP_LIMIT_S
    while True:
        found = client.containers(all=True, filters={"label": f"{LABEL_RUN}={run_id}"})
        waiting = [item["Names"][0] for item in found if "(healthy)" not in item["Status"]]
        if found and not waiting:
            return
        if time.monotonic() > deadline:
            raise EngineError(f"not healthy: {', '.join(waiting)}", "see `docker ps -a`")
        time.sleep(POLL_S)


def write_compose_file(graph: Graph, run_id: str, folder: Path) -> Path:
    """`compose.json` in the folder, with the services' files beside it."""
    services = {name: _service(graph, service, run_id, folder) for name, service in graph.services.items()}
    for entry in graph.environment.entries.values():
        services[entry.service].setdefault("ports", []).append(f"127.0.0.1::{entry.port}")
    file = folder / "compose.json"
    networks = {"default": {"labels": {LABEL_RUN: run_id}}}
    file.write_text(json.dumps({"services": services, "networks": networks}, indent=1))
    return file


def _service(graph: Graph, service: ArmService, run_id: str, folder: Path) -> dict[str, Any]:
    definition = service.definition
    written: dict[str, Any] = {
        "image": service.image.reference,
        "hostname": service.name,
        "environment": {name: _plain(value) for name, value in service.variables.items()},
        "labels": {LABEL_RUN: run_id},
        "cpus": definition.limits.cpus,
        "mem_limit": definition.limits.memory.bytes,
        "memswap_limit": definition.limits.memory.bytes,
        "healthcheck": _healthcheck(definition.health),
        "depends_on": {name: {"condition": "service_healthy"} for name in definition.after},
        "volumes": _volumes(service, folder),
        "tmpfs": list(definition.tmpfs),
    }
    if service.command is not None:
        written["command"] = [_plain(word) for word in service.command]
    return written


def _volumes(service: ArmService, folder: Path) -> list[str]:
    volumes = []
    for number, (path, content) in enumerate(service.files.items()):
        source = folder / f"{service.name}-{number}"
        source.write_bytes(content)
        volumes.append(f"{source}:{path}:ro")
    return volumes


def _healthcheck(health: Health) -> dict[str, Any]:
    return {
        "test": ["CMD", *map(_plain, health_command(health))],
        "interval": f"{health.every.ms:.0f}ms",
        "timeout": "2s",
        "retries": math.ceil(health.within.s / health.every.s),
    }


def health_command(health: Health) -> tuple[str, ...]:
    """A command inside the container that asks what the environment's health check asks; bash alone is needed."""
    if health.command is not None:
        return health.command
    connect_to = f"exec 3<>/dev/tcp/127.0.0.1/{health.port}"
    if health.http is None:
        return ("bash", "-c", connect_to)
    ask = f'printf "GET {health.http} HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n" >&3'
    return ("bash", "-c", f"{connect_to} && {ask} && read -r _ status _ <&3 && [[ $status == 2* ]]")


def _plain(text: str) -> str:
    """As compose must see it to leave it alone: it fills in what stands after a dollar sign."""
    return text.replace("$", "$$")
