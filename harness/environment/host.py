"""What this machine, its kernel and its Docker engine can do: probed, not assumed.

Takes nothing (and, to probe from the inside, an image with `nft` and `tc`); gives frozen facts. A capability that could
not be probed is None, never "yes". Every probe has a limit and leaves nothing behind.
"""

from __future__ import annotations

import gzip
import os
import platform
import shutil
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import EngineError
from harness.state import state_directory

if TYPE_CHECKING:
    import docker

PROBE_LIMIT_S = 20


@dataclass(frozen=True)
class Capability:
    """One thing that faults or limits need. `supported` None: could not be probed; `how` says how or why not."""

    name: str
    needed_for: str
    supported: bool | None
    how: str


@dataclass(frozen=True)
class EngineFacts:
    """The Docker engine that answers. `cgroup_version` is "1" or "2"; sizes are bytes."""

    version: str
    api_version: str
    storage_driver: str
    cgroup_version: str
    cgroup_driver: str
    operating_system: str
    kernel: str
    cpus: int
    memory_bytes: int
    data_folder: str
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class HostFacts:
    """This machine as this process may use it. `free_disk_bytes` is of the folder where state is kept."""

    python: str
    kernel: str
    architecture: str
    cpus: int
    memory_bytes: int
    memory_available_bytes: int
    free_disk_bytes: int
    state_folder: Path


def host_facts() -> HostFacts:
    """CPU count (affinity), memory and disk of this machine; reads /proc alone."""
    memory = _meminfo()
    folder = state_directory()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return HostFacts(
        python=platform.python_version(),
        kernel=platform.release(),
        architecture=platform.machine(),
        cpus=len(os.sched_getaffinity(0)),
        memory_bytes=memory.get("MemTotal", 0),
        memory_available_bytes=memory.get("MemAvailable", 0),
        free_disk_bytes=shutil.disk_usage(existing).free,
        state_folder=folder,
    )


def engine_facts(client: docker.APIClient) -> EngineFacts:
    """What the engine says of itself. Raises EngineError when it stops answering."""
    import docker.errors

    try:
        info, version = client.info(), client.version()
    except (docker.errors.DockerException, OSError) as error:
        raise EngineError(f"the Docker engine does not answer: {error}", "is it running?") from error
    return EngineFacts(
        version=str(version.get("Version", "")),
        api_version=str(version.get("ApiVersion", "")),
        storage_driver=str(info.get("Driver", "")),
        cgroup_version=str(info.get("CgroupVersion", "1")),
        cgroup_driver=str(info.get("CgroupDriver", "")),
        operating_system=str(info.get("OperatingSystem", "")),
        kernel=str(info.get("KernelVersion", "")),
        cpus=int(info.get("NCPU", 0)),
        memory_bytes=int(info.get("MemTotal", 0)),
        data_folder=str(info.get("DockerRootDir", "")),
        warnings=tuple(map(str, info.get("Warnings") or ())),
    )


def capabilities(
    client: docker.APIClient, engine: EngineFacts, probe_image: str | None
) -> tuple[Capability, ...]:
    """What the faults need of the kernel, probed in a container of `probe_image` when the engine has it."""
    inside = _probe_inside(client, probe_image) if probe_image is not None else None
    return (
        _nftables(inside),
        _netem(inside),
        _limits(engine),
        Capability("pause", "fault pause", *_freezer(engine)),
    )


@dataclass(frozen=True)
class _Inside:
    """What a container with NET_ADMIN in a network namespace of its own could do: exit codes and messages."""

    nftables: tuple[bool, str]
    netem: tuple[bool, str] | None


def _probe_inside(client: docker.APIClient, image: str) -> _Inside | None:
    """One throwaway container, no network but its own, removed afterwards; None when it could not be run."""
    import docker.errors

    script = "command -v nft >/dev/null || exit 0; nft add table inet probe 2>&1; echo nft=$?; "
    script += "command -v tc >/dev/null || exit 0; tc qdisc add dev lo root netem delay 1ms 2>&1; echo tc=$?"
    name = f"readiness-probe-{uuid.uuid4().hex[:8]}"
    try:
        client.inspect_image(image)
        client.create_container(
            image,
            entrypoint=["sh", "-c", script],
            name=name,
            labels={"readiness.run": name},
            host_config=client.create_host_config(
                network_mode="none", cap_add=["NET_ADMIN"], mem_limit="64m"
            ),
        )
    except (docker.errors.DockerException, OSError):
        return None
    try:
        client.start(name)
        client.wait(name, timeout=PROBE_LIMIT_S)
        lines = client.logs(name).decode(errors="replace").splitlines()
    except (docker.errors.DockerException, OSError):
        return None
    finally:
        client.remove_container(name, force=True, v=True)
    return _read_probe(lines)


def _read_probe(lines: list[str]) -> _Inside | None:
    """Lines such as `nft=0` and `tc=1`, each after what the tool said."""
    verdicts: dict[str, tuple[bool, str]] = {}
    said: list[str] = []
    for line in lines:
        tool, equals, code = line.partition("=")
        if equals and tool in ("nft", "tc"):
            verdicts[tool] = (code == "0", " ".join(said) or "tried in a container")
            said = []
        elif line.strip():
            said.append(line.strip())
    return _Inside(verdicts["nft"], verdicts.get("tc")) if "nft" in verdicts else None


def _nftables(inside: _Inside | None) -> Capability:
    supported, how = inside.nftables if inside else _by_kernel_config("NF_TABLES", "nf_tables")
    return Capability("nftables", "faults black_hole and refused", supported, how)


def _netem(inside: _Inside | None) -> Capability:
    probed = inside.netem if inside else None
    supported, how = probed or _by_kernel_config("NET_SCH_NETEM", "sch_netem")
    return Capability("netem", "nothing here (other tools' packet delays need it)", supported, how)


def _limits(engine: EngineFacts) -> Capability:
    lacking = [
        warning for warning in engine.warnings if "memory limit" in warning or "cpu cfs" in warning.lower()
    ]
    how = "; ".join(lacking) or f"cgroup version {engine.cgroup_version}, driver {engine.cgroup_driver}"
    return Capability("limits", "CPU and memory limits of every service", not lacking, how)


def _freezer(engine: EngineFacts) -> tuple[bool | None, str]:
    """cgroup version 2 always has a freezer; version 1 where the controller is mounted."""
    if engine.cgroup_version == "2":
        return True, "cgroup version 2"
    mounts = _read("/proc/mounts")
    if mounts is None:
        return None, "/proc/mounts cannot be read"
    frozen = any("cgroup" in line and "freezer" in line for line in mounts.splitlines())
    return frozen, "cgroup version 1, controller freezer " + ("mounted" if frozen else "not mounted")


def _by_kernel_config(option: str, module: str) -> tuple[bool | None, str]:
    """From outside a container: the kernel's configuration, else whether its module could be loaded."""
    config = kernel_config()
    if config is not None:
        value = config.get(f"CONFIG_{option}", "n")
        return value in ("y", "m"), f"kernel configuration CONFIG_{option}={value}"
    modprobe = shutil.which("modprobe", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if modprobe is None:
        return None, "neither the kernel's configuration nor modprobe is here"
    try:
        done = subprocess.run([modprobe, "-n", module], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"modprobe: {error}"
    if done.returncode == 0:
        return True, f"module {module} can be loaded"
    return None, f"module {module} is not here; it may be built in"


def kernel_config() -> dict[str, str] | None:
    """The running kernel's configuration, from /proc/config.gz or /boot; None where neither can be read."""
    try:
        text = gzip.decompress(Path("/proc/config.gz").read_bytes()).decode()
    except OSError:
        found = _read(f"/boot/config-{platform.release()}")
        if found is None:
            return None
        text = found
    pairs = (line.partition("=") for line in text.splitlines() if line.startswith("CONFIG_"))
    return {key: value for key, _, value in pairs}


def _meminfo() -> dict[str, int]:
    """/proc/meminfo in bytes."""
    facts = {}
    for line in (_read("/proc/meminfo") or "").splitlines():
        key, _, value = line.partition(":")
        number, _, unit = value.strip().partition(" ")
        facts[key] = int(number) * (1024 if unit == "kB" else 1)
    return facts


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text()
    except OSError:
        return None
