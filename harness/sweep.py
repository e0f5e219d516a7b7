"""What runs left on this machine, and removing it: after a kill -9, a lost terminal, a machine that went down.

Takes the journals under the state folder and the labels `readiness.run` in the Docker engine; gives `LeftOver`s and a
`SweepReport`. A run that is still alive is left alone, unless forced. Sweeping twice is no error.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.environment.image_engine import connect
from harness.environment.journal import OWNER_LABEL, process_start_ticks
from harness.state import state_directory

if TYPE_CHECKING:
    import docker

LABEL_RUN = "readiness.run"
RUN_PROCESS = "run"
ENGINE_LIMIT_S = 60
STOP_LIMIT_S = 30
NETWORK_TRIES = 10
ROUNDS = 8
ROUND_PAUSE_S = 1.0

Kind = Literal["process", "container", "network", "volume", "folder"]
_ORDER: tuple[Kind, ...] = ("process", "container", "network", "volume", "folder")


@dataclass(frozen=True)
class LeftOver:
    """One thing that a run left. `identity` is what removes it: a process id, an engine id, a path."""

    kind: Kind
    name: str
    run_id: str
    detail: str
    identity: str


@dataclass(frozen=True)
class LiveRun:
    """A run whose process is alive; what it has is no left-over."""

    run_id: str
    pid: int


@dataclass(frozen=True)
class Remains:
    """What is on the machine: of runs that are gone, and which runs are alive."""

    left_over: tuple[LeftOver, ...]
    live: tuple[LiveRun, ...]


@dataclass(frozen=True)
class Stubborn:
    """A left-over that could not be removed, and why."""

    left_over: LeftOver
    why: str


@dataclass(frozen=True)
class SweepReport:
    """What a sweep did. `clean` is True when nothing of a run that is gone is left."""

    removed: tuple[LeftOver, ...]
    stubborn: tuple[Stubborn, ...]
    live: tuple[LiveRun, ...]

    @property
    def clean(self) -> bool:
        return not self.stubborn


@dataclass(frozen=True)
class _JournalProcess:
    name: str
    pid: int
    start_ticks: int | None

    @property
    def alive(self) -> bool:
        return self.start_ticks is not None and _alive(self.pid, self.start_ticks)


def remains(only: Collection[str] | None = None) -> Remains:
    """What is left of runs that are gone (of all runs, or of those in `only`). Raises EngineError without an engine."""
    client = connect(ENGINE_LIMIT_S)
    try:
        return _remains(client, only, force=False)
    finally:
        client.close()


def sweep(force: bool = False, only: Collection[str] | None = None) -> SweepReport:
    """Remove what is left; with `force` end live runs as well (they get 30 s to undo what they did themselves).

    Raises EngineError when no Docker engine answers; processes of runs that are gone are ended before that.
    """
    journals = _journals(only)
    if force:
        _stop_live(journals)
    removed = [item for item in _processes(journals, force=force) if _end_process(item) is None]
    client = connect(ENGINE_LIMIT_S)
    try:
        stubborn: list[Stubborn] = []
        found = Remains((), ())
        for number in range(ROUNDS):
            found = _remains(client, only, force=force)
            stubborn = []
            for item in found.left_over:
                why = _remove(client, item)
                if why is None:
                    removed.append(item)
                else:
                    stubborn.append(Stubborn(item, why))
            # What the engine was still making when its run was killed appears only now.
            if not found.left_over and (number > 0 or not set(journals) - {run.run_id for run in found.live}):
                break
            time.sleep(ROUND_PAUSE_S)
        _forget(journals, found.live, stubborn)
        return SweepReport(tuple(removed), tuple(stubborn), found.live)
    finally:
        client.close()


def _remains(client: docker.APIClient, only: Collection[str] | None, force: bool) -> Remains:
    journals = _journals(only)
    live = {run_id: LiveRun(run_id, process.pid) for run_id, process in _live(journals)}
    labelled, owners = _labelled(client, only)
    for run_id, pid in owners.items():
        live.setdefault(run_id, LiveRun(run_id, pid))
    gone = [item for item in labelled if force or item.run_id not in live]
    known = {*journals, *(item.run_id for item in labelled)}
    folders = [item for run_id in sorted(known) if force or run_id not in live for item in _folders(run_id)]
    everything = [*_processes(journals, force=force), *gone, *folders]
    return Remains(
        tuple(sorted(everything, key=lambda item: (_ORDER.index(item.kind), item.run_id, item.name))),
        () if force else tuple(live.values()),
    )


def _journals(only: Collection[str] | None) -> dict[str, tuple[_JournalProcess, ...]]:
    """Processes that each journal names as started and not undone, by run."""
    folder = state_directory() / "runs"
    found = {}
    for path in sorted(folder.glob("*/journal.jsonl")):
        run_id = path.parent.name
        if only is not None and run_id not in only:
            continue
        with contextlib.suppress(FileNotFoundError):  # a run that ended well this very moment
            if path.stat().st_size > 0:  # an empty one belongs to a run that begins this very moment
                found[run_id] = _read_journal(path)
    return found


def _read_journal(path: Path) -> tuple[_JournalProcess, ...]:
    """A line cut off by the kill is the last one and started nothing yet; other unreadable lines are passed over."""
    processes: dict[str, _JournalProcess] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
            if entry["kind"] != "process":
                continue
            if entry["action"] == "undo":
                processes.pop(entry["name"], None)
            else:
                ticks = entry.get("pid_start_ticks")
                processes[entry["name"]] = _JournalProcess(entry["name"], int(entry["pid"]), ticks)
        except (ValueError, KeyError, TypeError):
            continue
    return tuple(processes.values())


def _alive(pid: int, start_ticks: int) -> bool:
    """The very process, running: not another one with its id, not one that only waits to be reaped."""
    if process_start_ticks(pid) != start_ticks:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _live(journals: dict[str, tuple[_JournalProcess, ...]]) -> Iterable[tuple[str, _JournalProcess]]:
    for run_id, processes in journals.items():
        for process in processes:
            if process.name == RUN_PROCESS and process.alive:
                yield run_id, process


def _processes(journals: dict[str, tuple[_JournalProcess, ...]], force: bool) -> list[LeftOver]:
    """Living processes of runs whose own process is gone."""
    live = {run_id for run_id, _ in _live(journals)}
    return [
        LeftOver(
            "process", process.name, run_id, f"process {process.pid}", f"{process.pid}:{process.start_ticks}"
        )
        for run_id, processes in journals.items()
        if force or run_id not in live
        for process in processes
        if process.alive and process.pid != os.getpid()
    ]


def _labelled(
    client: docker.APIClient, only: Collection[str] | None
) -> tuple[list[LeftOver], dict[str, int]]:
    """Everything in the engine that carries `readiness.run`, and the living owners that it names."""
    filters = {"label": LABEL_RUN}
    containers = client.containers(all=True, filters=filters)
    networks = client.networks(filters=filters)
    volumes = client.volumes(filters=filters).get("Volumes") or ()
    owners: dict[str, int] = {}
    for item in (*containers, *networks):
        pid, _, ticks = item["Labels"].get(OWNER_LABEL, "").partition(":")
        if pid.isdigit() and ticks.isdigit() and _alive(int(pid), int(ticks)):
            owners[item["Labels"][LABEL_RUN]] = int(pid)

    def left(kind: Kind, item: Mapping[str, Any], name: str, detail: str, identity: str) -> LeftOver:
        return LeftOver(kind, name, item["Labels"][LABEL_RUN], item[detail], item[identity])

    found = [
        *(left("container", item, item["Names"][0].lstrip("/"), "State", "Id") for item in containers),
        *(left("network", item, item["Name"], "Driver", "Id") for item in networks),
        *(left("volume", item, item["Name"], "Driver", "Name") for item in volumes),
    ]
    chosen = [item for item in found if only is None or item.run_id in only]
    return chosen, {run_id: pid for run_id, pid in owners.items() if only is None or run_id in only}


def _folders(run_id: str) -> list[LeftOver]:
    """The run's working folder, which a killed run cannot remove."""
    parent = Path(tempfile.gettempdir())
    return [
        LeftOver("folder", path.name, run_id, "working files", str(path))
        for path in sorted(parent.glob(f"readiness-{run_id}-*"))
        if path.is_dir() and not path.is_symlink()
    ]


def _remove(client: docker.APIClient, item: LeftOver) -> str | None:
    """None when it is gone (also when it was already), else why not."""
    import docker.errors

    removers: dict[Kind, Callable[[], str | None]] = {
        "process": lambda: _end_process(item),
        "container": lambda: _remove_container(client, item.identity),
        "network": lambda: _remove_network(client, item.identity),
        "volume": lambda: client.remove_volume(item.identity, force=True),
        "folder": lambda: shutil.rmtree(item.identity),
    }
    try:
        return removers[item.kind]()
    except (docker.errors.NotFound, FileNotFoundError):
        return None
    except (docker.errors.DockerException, OSError) as error:
        return str(error)


def _remove_container(client: docker.APIClient, container_id: str) -> None:
    """Unpause first: a paused container cannot be stopped, and older engines hang when it is removed."""
    import docker.errors

    if client.inspect_container(container_id)["State"]["Paused"]:
        with contextlib.suppress(docker.errors.APIError):
            client.unpause(container_id)
    client.remove_container(container_id, force=True, v=True)


def _remove_network(client: docker.APIClient, network_id: str) -> str | None:
    """Detach whatever is still on it, then remove; the engine lets go of endpoints a moment late."""
    import docker.errors

    for attempt in range(NETWORK_TRIES):
        for container_id in client.inspect_network(network_id).get("Containers") or {}:
            client.disconnect_container_from_network(container_id, network_id, force=True)
        try:
            client.remove_network(network_id)
        except docker.errors.NotFound:
            return None
        except docker.errors.APIError as error:
            if attempt == NETWORK_TRIES - 1:
                return str(error)
            time.sleep(0.3)
        else:
            return None
    return None


def _end_process(item: LeftOver) -> str | None:
    """SIGKILL the very process that the journal names, and wait until it is gone."""
    pid, ticks = (int(part) for part in item.identity.split(":"))
    deadline = time.monotonic() + STOP_LIMIT_S
    while _alive(pid, ticks):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return None
        except OSError as error:
            return str(error)
        if time.monotonic() > deadline:
            return f"still there {STOP_LIMIT_S} s after SIGKILL"
        time.sleep(0.05)
    return None


def _stop_live(journals: dict[str, tuple[_JournalProcess, ...]]) -> None:
    """Ask live runs to end; what they do not undo within STOP_LIMIT_S, the sweep does."""
    live = [process for _, process in _live(journals) if process.pid != os.getpid()]
    for process in live:
        os.kill(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_LIMIT_S
    while any(process.alive for process in live) and time.monotonic() < deadline:
        time.sleep(0.1)


def _forget(journals: Iterable[str], live: Iterable[LiveRun], stubborn: Iterable[Stubborn]) -> None:
    """Journals of runs that are gone and of which nothing is left are removed."""
    keep = {run.run_id for run in live} | {item.left_over.run_id for item in stubborn}
    for run_id in journals:
        if run_id not in keep:
            shutil.rmtree(state_directory() / "runs" / run_id, ignore_errors=True)
