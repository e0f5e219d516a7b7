"""The driver for Docker Engine 20.10 (API 1.41) and newer, on docker-py.

Takes the specs of `base`, gives facts; every call is bounded, every undo idempotent, every engine error becomes a
`DriverError` that names the call and the container. One client per thread, because docker-py's HTTP session is not
made for sharing.
"""

from __future__ import annotations

import contextlib
import io
import queue
import shlex
import tarfile
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any, TypeVar

import docker
import docker.errors
import docker.types
import requests

from harness.driver.base import (
    Attachment,
    ContainerSpec,
    ContainerStatus,
    DriverError,
    ExecResult,
    NetworkSpec,
    SubnetTakenError,
)

T = TypeVar("T")
CALL_TIMEOUT_S = 60.0
"""Longest silence of the engine within one call."""

_ENGINE_FIX = "see `docker ps -a` and the engine's log, then `readiness doctor --sweep` and run again"
_STDIN_FILE = "/tmp/.readiness-stdin"


@contextlib.contextmanager
def _engine_errors(doing: str, too_long: str = "") -> Iterator[None]:
    """Turn what docker-py raises into one kind of error that says what was being done."""
    try:
        yield
    except _TooLongError as error:
        raise DriverError(f"{doing}: {too_long}", _ENGINE_FIX) from error
    except docker.errors.APIError as error:
        what = f"{doing}: {error.explanation or error}"
        raise DriverError(what, _ENGINE_FIX) from error
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        raise DriverError(
            f"{doing}: the Docker engine does not answer ({error})",
            "start it (`systemctl start docker`), then `readiness doctor --sweep` and run again",
        ) from error


class _TooLongError(Exception):
    """A stream of the engine did not end in time."""


def _until(deadline: float, stream: Iterable[T]) -> Iterator[T]:
    """The stream's items; raises _TooLongError at the deadline, however silent the stream is.

    docker-py waits for the output of a command without any limit, so a thread of its own does the waiting. It ends
    with the command, at the latest when its container is removed.
    """
    items: queue.SimpleQueue[tuple[T] | BaseException | None] = queue.SimpleQueue()

    def read() -> None:
        try:
            for item in stream:
                items.put((item,))
            items.put(None)
        except BaseException as error:  # noqa: BLE001 - handed over and raised on the other side
            items.put(error)

    threading.Thread(target=read, name="exec-output", daemon=True).start()
    while True:
        try:
            item = items.get(timeout=max(deadline - time.monotonic(), 0.001))
        except queue.Empty:
            raise _TooLongError from None
        if item is None:
            return
        if isinstance(item, BaseException):
            raise item
        yield item[0]


class DockerDriver:
    """See `base.Driver`, whose methods these are."""

    def __init__(self) -> None:
        self._local = threading.local()

    @property
    def _client(self) -> Any:
        client = getattr(self._local, "client", None)
        if client is None:
            with _engine_errors("connecting to Docker"):
                client = docker.from_env(timeout=int(CALL_TIMEOUT_S))
            self._local.client = client
        return client

    def _container(self, name: str) -> Any:
        return self._client.containers.get(name)

    def ping(self) -> None:
        with _engine_errors("asking Docker whether it is there"):
            self._client.ping()

    def subnets(self) -> tuple[str, ...]:
        with _engine_errors("listing networks"):
            networks = self._client.api.networks()
        configs = [config for network in networks for config in (network["IPAM"].get("Config") or [])]
        return tuple(config["Subnet"] for config in configs if "Subnet" in config)

    def owned(self, label: str, value: str) -> tuple[str, ...]:
        filters = {"label": f"{label}={value}"}
        with _engine_errors(f"listing what {label}={value} owns"):
            api = self._client.api
            containers = api.containers(all=True, filters=filters)
            networks = api.networks(filters=filters)
            volumes = api.volumes(filters=filters)["Volumes"] or []
        return (
            *(f"container {item['Names'][0].lstrip('/')}" for item in containers),
            *(f"network {item['Name']}" for item in networks),
            *(f"volume {item['Name']}" for item in volumes),
        )

    def create_network(self, spec: NetworkSpec) -> None:
        pool = docker.types.IPAMPool(subnet=spec.subnet, iprange=spec.ip_range)
        try:
            with _engine_errors(f"creating network {spec.name} on {spec.subnet}"):
                self._client.networks.create(
                    spec.name,
                    driver="bridge",
                    ipam=docker.types.IPAMConfig(pool_configs=[pool]),
                    internal=spec.internal,
                    labels=dict(spec.labels),
                    check_duplicate=True,
                )
        except DriverError as error:
            if "overlaps" in error.what:
                raise SubnetTakenError(error.what, error.fix) from error
            raise

    def remove_network(self, name: str) -> None:
        with _engine_errors(f"removing network {name}"), contextlib.suppress(docker.errors.NotFound):
            network = self._client.networks.get(name)
            for endpoint in (network.attrs.get("Containers") or {}).values():
                with contextlib.suppress(docker.errors.APIError):
                    network.disconnect(endpoint["Name"], force=True)
            network.remove()

    def start(self, spec: ContainerSpec) -> None:
        try:
            with _engine_errors(f"starting container {spec.name} from {spec.image}"):
                self._create(spec)
                self._container(spec.name).start()
        except BaseException:
            with contextlib.suppress(DriverError):
                self.remove(spec.name)
            raise

    def _create(self, spec: ContainerSpec) -> None:
        api = self._client.api
        first, *others = spec.networks
        memory = (
            {"mem_limit": spec.memory_bytes, "memswap_limit": spec.memory_bytes} if spec.memory_bytes else {}
        )
        host_config = api.create_host_config(
            extra_hosts=dict(spec.extra_hosts),
            port_bindings=dict.fromkeys(spec.publish, ("127.0.0.1", None)),
            nano_cpus=round(spec.cpus * 1e9) if spec.cpus else None,
            cap_add=list(spec.capabilities),
            sysctls=dict(spec.sysctls),
            tmpfs=dict.fromkeys(spec.tmpfs, ""),
            network_mode=first.network,
            log_config=docker.types.LogConfig(type="json-file"),
            **memory,
        )
        endpoint = api.create_endpoint_config(ipv4_address=first.address)
        api.create_container(
            spec.image,
            command=list(spec.command) if spec.command is not None else None,
            hostname=spec.hostname,
            name=spec.name,
            environment=dict(spec.variables),
            labels=dict(spec.labels),
            ports=list(spec.publish),
            host_config=host_config,
            networking_config=api.create_networking_config({first.network: endpoint}),
        )
        for attachment in others:
            api.connect_container_to_network(spec.name, attachment.network, ipv4_address=attachment.address)
        for path, content in spec.files.items():
            self._put(spec.name, path, content)

    def remove(self, name: str) -> None:
        with _engine_errors(f"removing container {name}"), contextlib.suppress(docker.errors.NotFound):
            container = self._container(name)
            if container.status == "paused":
                with contextlib.suppress(docker.errors.APIError):
                    container.unpause()
            try:
                container.remove(force=True, v=True)
            except docker.errors.APIError as error:
                if error.status_code != 409:  # 409: its removal is already under way
                    raise

    def kill(self, name: str) -> None:
        with _engine_errors(f"killing container {name}"):
            container = self._container(name)
            if container.status in {"running", "paused"}:
                container.kill()

    def start_again(self, name: str) -> None:
        with _engine_errors(f"starting container {name} again"):
            self._container(name).start()

    def pause(self, name: str) -> None:
        with _engine_errors(f"pausing container {name}"):
            container = self._container(name)
            if container.status != "paused":
                container.pause()

    def unpause(self, name: str) -> None:
        with _engine_errors(f"unpausing container {name}"), contextlib.suppress(docker.errors.NotFound):
            container = self._container(name)
            if container.status == "paused":
                container.unpause()

    def limit(self, name: str, cpus: float | None, memory_bytes: int | None) -> None:
        changes: dict[str, Any] = {}
        if cpus is not None:
            changes |= {"cpu_period": 100_000, "cpu_quota": round(cpus * 100_000)}
        if memory_bytes is not None:
            changes |= {"mem_limit": memory_bytes, "memswap_limit": memory_bytes}
        with _engine_errors(f"limiting container {name}"):
            self._container(name).update(**changes)

    def connect(self, name: str, attachment: Attachment) -> None:
        with _engine_errors(f"connecting {name} to {attachment.network}"):
            self._client.api.connect_container_to_network(
                name, attachment.network, ipv4_address=attachment.address
            )

    def disconnect(self, name: str, network: str) -> None:
        with (
            _engine_errors(f"disconnecting {name} from {network}"),
            contextlib.suppress(docker.errors.NotFound),
        ):
            self._client.networks.get(network).disconnect(name, force=True)

    def execute(
        self, name: str, command: tuple[str, ...], stdin: bytes = b"", timeout_s: float = 20.0
    ) -> ExecResult:
        if stdin:
            self.put_file(name, _STDIN_FILE, stdin)
            command = ("sh", "-c", f"exec {shlex.join(command)} < {_STDIN_FILE}")
        deadline = time.monotonic() + timeout_s
        out, err = bytearray(), bytearray()
        doing = f"running {shlex.join(command)[:120]} in {name}"
        with _engine_errors(doing, f"it took over {timeout_s:g} s"):
            api = self._client.api
            exec_id = api.exec_create(name, list(command))["Id"]
            for stdout, stderr in _until(deadline, api.exec_start(exec_id, stream=True, demux=True)):
                out += stdout or b""
                err += stderr or b""
            exit_code = api.exec_inspect(exec_id)["ExitCode"]
        return ExecResult(-1 if exit_code is None else int(exit_code), bytes(out), bytes(err))

    def put_file(self, name: str, path: str, content: bytes) -> None:
        with _engine_errors(f"writing {path} into {name}"):
            self._put(name, path, content)

    def _put(self, name: str, path: str, content: bytes) -> None:
        """As a tar archive unpacked at the root, so that missing folders are made."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            member = tarfile.TarInfo(str(PurePosixPath(path).relative_to("/")))
            member.size, member.mode, member.mtime = len(content), 0o644, int(time.time())
            archive.addfile(member, io.BytesIO(content))
        self._client.api.put_archive(name, "/", buffer.getvalue())

    def logs(self, name: str, tail: int | None = None) -> bytes:
        with _engine_errors(f"reading the log of {name}"):
            content: bytes = self._container(name).logs(tail="all" if tail is None else tail)
        return content

    def status(self, name: str) -> ContainerStatus:
        with _engine_errors(f"inspecting container {name}"):
            try:
                facts = self._client.api.inspect_container(name)
            except docker.errors.NotFound:
                return ContainerStatus("gone", None, False, "", {})
        state = facts["State"]
        networks = {
            network: endpoint.get("IPAddress", "")
            for network, endpoint in facts["NetworkSettings"]["Networks"].items()
        }
        return ContainerStatus(
            state=state["Status"],
            exit_code=state["ExitCode"] if state["Status"] == "exited" else None,
            oom_killed=bool(state["OOMKilled"]),
            started_at=state["StartedAt"],
            networks=networks,
        )

    def published(self, name: str, port: int) -> tuple[str, int]:
        with _engine_errors(f"looking up port {port} of {name}"):
            ports = self._client.api.inspect_container(name)["NetworkSettings"]["Ports"]
        bindings = ports.get(f"{port}/tcp") or []
        if not bindings:
            raise DriverError(
                f"port {port} of {name} is not published (the container may have died)", _ENGINE_FIX
            )
        return "127.0.0.1", int(bindings[0]["HostPort"])
