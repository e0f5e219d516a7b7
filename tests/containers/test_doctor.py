"""The sweep against a real engine: what a killed run left goes, what is alive or another's stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import docker
import docker.errors
import pytest

from harness.doctor import inspect
from harness.environment.host import capabilities, engine_facts, host_facts
from harness.environment.image_engine import connect
from harness.environment.images import DEBIAN, ImageRequest, ensure_images
from harness.environment.journal import process_start_ticks
from harness.sweep import LABEL_RUN, OWNER_LABEL, remains, sweep

ENVIRONMENT = """\
environment: doctored
services:
  one:
    image: readiness-test/never-built:1
    build: {context: image}
    health: {port: 80}
    limits: {memory: 10000GB}
  other:
    image: localhost:1/nowhere:1
    health: {port: 80}
    limits: {memory: 485760MB}
edges:
  - {from: one, to: other, port: 80, protocol: tcp, tolerance: {timeout: 1s}}
entries:
  front: {to: one, port: 80}
"""
SLEEPER = [sys.executable, "-c", "import time; time.sleep(300)"]


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    ensure_images([ImageRequest(DEBIAN)])
    found = docker.from_env(timeout=60)
    yield found
    found.close()


@pytest.fixture
def run_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: docker.DockerClient) -> Iterator[str]:
    """A run of this test's own, with its own state folder; whatever the test leaves is removed."""
    monkeypatch.setenv("READINESS_STATE_DIR", str(tmp_path / "state"))
    name = f"test-{uuid.uuid4().hex[:10]}"
    yield name
    labelled = {"label": f"{LABEL_RUN}={name}"}
    for container in client.containers.list(all=True, filters=labelled):
        container.remove(force=True, v=True)
    for network in client.networks.list(filters=labelled):
        network.remove()
    for volume in client.volumes.list(filters=labelled):
        volume.remove(force=True)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(SLEEPER)
    yield child
    child.kill()
    child.wait()


def write_journal(state: Path, run_id: str, *entries: dict[str, object], cut_off: str = "") -> Path:
    path = state / "runs" / run_id / "journal.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries) + cut_off)
    return path


def started(name: str, pid: int, ticks: int | None) -> dict[str, object]:
    return {"action": "start", "kind": "process", "name": name, "pid": pid, "pid_start_ticks": ticks}


def leave(client: docker.DockerClient, run_id: str, **labels: str) -> list[str]:
    """A network, a volume, and one container each running, paused, exited and created only; gives their names."""
    mark = {LABEL_RUN: run_id, **labels}
    network = client.networks.create(f"{run_id}-net", labels=mark)
    volume = client.volumes.create(f"{run_id}-vol", labels=mark)
    for state in ("running", "paused", "exited", "created"):
        command = ["true"] if state == "exited" else ["sleep", "300"]
        container = client.containers.create(
            DEBIAN,
            command,
            name=f"{run_id}-{state}",
            labels=mark,
            network=network.name,
            volumes={volume.name: {"bind": "/v"}},
        )
        if state != "created":
            container.start()
        if state == "paused":
            container.pause()
        if state == "exited":
            container.wait(timeout=20)
    return [f"{run_id}-{name}" for name in ("running", "paused", "exited", "created", "net", "vol")]


def there(client: docker.DockerClient, run_id: str) -> list[str]:
    labelled = {"label": f"{LABEL_RUN}={run_id}"}
    return sorted(
        item.name
        for items in (
            client.containers.list(all=True, filters=labelled),
            client.networks.list(filters=labelled),
            client.volumes.list(filters=labelled),
        )
        for item in items
    )


def test_everything_of_a_killed_run_goes(client, run_id, sleeper, tmp_path):
    names = leave(client, run_id)
    journal = write_journal(
        tmp_path / "state",
        run_id,
        started("run", 2**22 - 1, 1),
        started("replay", sleeper.pid, process_start_ticks(sleeper.pid)),
        cut_off='{"action": "start", "kind": "proc',
    )
    working = Path("/tmp") / f"readiness-{run_id}-x1"
    working.mkdir()
    assert {item.name for item in remains({run_id}).left_over} == {*names, "replay", working.name}

    report = sweep(only={run_id})
    assert report.clean
    assert {item.name for item in report.removed} == {*names, "replay", working.name}
    assert there(client, run_id) == []
    assert sleeper.wait(timeout=10) == -9
    assert not working.exists()
    assert not journal.parent.exists()
    assert sweep(only={run_id}).removed == ()


def test_process_that_only_has_the_same_id_is_not_touched(run_id, sleeper, tmp_path):
    ticks = process_start_ticks(sleeper.pid)
    assert ticks is not None
    write_journal(
        tmp_path / "state", run_id, started("run", 2**22 - 1, 1), started("replay", sleeper.pid, ticks - 1)
    )
    assert sweep(only={run_id}).removed == ()
    assert sleeper.poll() is None


def test_live_run_is_left_alone_until_forced(client, run_id, sleeper, tmp_path):
    client.volumes.create(f"{run_id}-vol", labels={LABEL_RUN: run_id})
    write_journal(tmp_path / "state", run_id, started("run", sleeper.pid, process_start_ticks(sleeper.pid)))
    report = sweep(only={run_id})
    assert [run.pid for run in report.live] == [sleeper.pid]
    assert there(client, run_id) == [f"{run_id}-vol"]

    forced = sweep(force=True, only={run_id})
    assert forced.clean
    assert there(client, run_id) == []
    assert sleeper.wait(timeout=10) == -15


def test_live_run_with_its_journal_elsewhere_is_told_by_its_owner_label(client, run_id):
    owner = f"{os.getpid()}:{process_start_ticks(os.getpid())}"
    client.containers.create(
        DEBIAN, ["true"], name=f"{run_id}-c", labels={LABEL_RUN: run_id, OWNER_LABEL: owner}
    )
    assert [run.pid for run in sweep(only={run_id}).live] == [os.getpid()]
    assert there(client, run_id) == [f"{run_id}-c"]


def test_network_with_a_stranger_on_it_goes_and_the_stranger_stays(client, run_id):
    network = client.networks.create(f"{run_id}-net", labels={LABEL_RUN: run_id})
    stranger = client.containers.run(DEBIAN, ["sleep", "300"], detach=True, network=network.name)
    try:
        assert sweep(only={run_id}).clean
        assert there(client, run_id) == []
        stranger.reload()
        assert stranger.status == "running"
    finally:
        stranger.remove(force=True, v=True)


def test_what_the_engine_finishes_after_the_kill_is_swept_too(client, run_id, tmp_path, monkeypatch):
    """The engine may be half-way through a request when its run is killed: here it is done after the first look."""
    write_journal(tmp_path / "state", run_id, started("run", 2**22 - 1, 1))
    pauses: list[float] = []

    def engine_finishes(seconds: float) -> None:
        if not pauses:
            client.volumes.create(f"{run_id}-late", labels={LABEL_RUN: run_id})
        pauses.append(seconds)

    monkeypatch.setattr("harness.sweep.time.sleep", engine_finishes)
    report = sweep(only={run_id})
    assert [item.name for item in report.removed] == [f"{run_id}-late"]
    assert there(client, run_id) == []


def test_inspect_says_what_images_take_and_what_stands_in_the_way(client, run_id, tmp_path):
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "Dockerfile").write_text(f"FROM {DEBIAN}\n")
    (tmp_path / "environment.yaml").write_text(ENVIRONMENT)
    client.volumes.create(f"{run_id}-vol", labels={LABEL_RUN: run_id})
    report = inspect([tmp_path / "environment.yaml"])
    images = {image.reference: image for image in report.images}
    assert images[DEBIAN].how == "present"
    assert images["readiness-test/never-built:1"].how == "build"
    assert images["localhost:1/nowhere:1"].how == "missing"
    assert report.images_expected_s >= images["readiness-test/never-built:1"].expected_s > 0
    assert f"{run_id}-vol" in [item.name for item in report.left_over]
    assert not report.healthy
    assert any("localhost:1/nowhere:1" in problem for problem in report.problems)
    assert any("may use 9765.6 GiB of memory" in problem for problem in report.problems)


def test_inspect_without_an_engine_says_so_and_what_to_do(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    report = inspect()
    assert report.engine is None
    assert "no Docker engine answers" in report.problems[0]
    assert report.host.cpus >= 1


def test_probes_leave_nothing_and_never_guess(client):
    engine_client = connect()
    try:
        engine = engine_facts(engine_client)
        probed = {item.name: item for item in capabilities(engine_client, engine, DEBIAN)}
        unprobed = {item.name: item for item in capabilities(engine_client, engine, "no/such:image")}
    finally:
        engine_client.close()
    assert engine.cgroup_version in {"1", "2"}
    assert set(probed) == set(unprobed) == {"nftables", "netem", "limits", "pause"}
    # The image has no `nft`: that says nothing about the kernel, which is then asked from outside.
    assert probed["nftables"] == unprobed["nftables"]
    assert not [item for item in client.containers.list(all=True) if item.name.startswith("readiness-probe-")]
    assert host_facts().memory_bytes >= host_facts().memory_available_bytes > 0
