"""Whole runs of a tiny graph: what makes a verdict READY, and each thing that must keep it from being READY.

Every test starts real containers and takes about half a minute. What is broken is broken in the world: an edge is really
bypassed, a generator really killed, an engine really gone.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from harness.checks.availability import Availability
from harness.driver.base import ContainerSpec
from harness.driver.docker import DockerDriver
from harness.model.findings import Outcome, VerdictWord
from harness.model.history import History
from harness.run import RunRequest, RunResult, run_change
from tests.containers.engine_socket import EngineSocket
from tests.containers.tiny_graph import write_graph
from tests.unit.starving import starved

READINESS = Path(sys.executable).parent / "readiness"
LIMIT_S = 240


class Noted:
    """A progress that keeps what it was told and may act on it."""

    def __init__(self, react: Callable[[str], None] = lambda _text: None) -> None:
        self.lines: list[str] = []
        self._react = react

    def stage(self, text: str) -> None:
        self.note(text)

    def note(self, text: str) -> None:
        self.lines.append(text)
        self._react(text)


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keys and journals of a test are its own."""
    state = tmp_path / "state"
    monkeypatch.setenv("READINESS_STATE_DIR", str(state))
    return state


@pytest.fixture(autouse=True)
def before(own_state: Path) -> Iterator[set[str]]:
    """What stood before the test. Whatever it does to a run, the machine is the same when it is over."""
    there = labelled()
    yield there
    assert labelled() == there


def labelled() -> set[str]:
    """Containers, networks and volumes of runs, in any state."""
    client = docker.from_env(timeout=60)
    try:
        wanted: dict[str, str | list[str] | bool] = {"label": "readiness.run"}
        found = [*client.containers.list(all=True, filters=wanted), *client.networks.list(filters=wanted)]
        return {item.name or "" for item in found} | {v.name for v in client.volumes.list(filters=wanted)}
    finally:
        client.close()


def request(tmp_path: Path, **knobs: str) -> RunRequest:
    change = write_graph(tmp_path / "graph", **knobs)
    return RunRequest(change, policy=change.parent / "policy.yaml", seed=7, out=tmp_path / "reports")


def run(tmp_path: Path, driver: DockerDriver | None = None, **knobs: str) -> RunResult:
    return run_change(request(tmp_path, **knobs), Noted(), driver)[0]


def words(result: RunResult) -> str:
    return "\n".join(result.verdict.reasons)


def command(tmp_path: Path, **knobs: str) -> list[str]:
    wanted = request(tmp_path, **knobs)
    return [
        str(READINESS), "run", str(wanted.change), "--policy", str(wanted.policy),
        "--seed", "7", "--out", str(wanted.out),
    ]  # fmt: skip


def start(arguments: list[str], **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **variables},
        start_new_session=True,
    )


def wait_for(child: subprocess.Popen[str], text: str) -> str:
    """Everything printed up to the line that holds the text."""
    assert child.stdout is not None
    said = ""
    for line in child.stdout:
        said += line
        if text in line:
            return said
    raise AssertionError(f"{text!r} was never said:\n{said}")


def sweep(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [READINESS, "doctor", "--sweep", *arguments], capture_output=True, text=True, timeout=LIMIT_S
    )


class TestVerdicts:
    def test_a_sound_change_is_ready_and_anyone_can_check_it(self, tmp_path: Path) -> None:
        result = run(tmp_path)
        assert result.verdict.verdict is VerdictWord.READY, words(result)
        assert any(f.sentence.startswith("Refused on front->back was applied") for f in result.findings)
        verified = subprocess.run(
            [READINESS, "verify", result.report, "--json"], capture_output=True, text=True, timeout=60
        )
        assert verified.returncode == 0, verified.stdout + verified.stderr
        assert json.loads(verified.stdout)["ok"] is True
        self.every_altered_byte_is_found(result.report)
        self.emptied_history_is_unknown(result)

    def every_altered_byte_is_found(self, report: Path) -> None:
        """One byte in the middle of each file of a real report."""
        from harness.report import verify

        for path in sorted(item for item in report.rglob("*") if item.is_file() and item.stat().st_size):
            content = path.read_bytes()
            middle = len(content) // 2
            path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
            found = verify(report)
            path.write_bytes(content)
            name = path.relative_to(report).as_posix()
            assert not found.ok, name
            assert name in {problem.file for problem in found.problems}, (name, found.problems)
        assert verify(report).ok

    def emptied_history_is_unknown(self, result: RunResult) -> None:
        from harness.checks import decide, judge

        findings = judge(result.case, History.empty())
        verdict = decide(result.case, findings)
        assert verdict.verdict is VerdictWord.UNKNOWN
        assert any("no requests at all" in reason for reason in verdict.reasons), verdict.reasons

    def test_a_service_that_answers_something_else_is_not_ready(self, tmp_path: Path) -> None:
        result = run(tmp_path, variables="ANSWER: maybe")
        assert result.verdict.verdict is VerdictWord.NOT_READY
        assert result.verdict.sentence.startswith("back: 0.0 % of answers are yes, 100.0 % in the baseline")

    def test_a_candidate_that_never_becomes_healthy_is_not_ready(self, tmp_path: Path) -> None:
        wanted = request(tmp_path, variables='PYTHONHOME: "/nowhere"')
        path = wanted.change.parent / "environment.yaml"
        path.write_text(path.read_text().replace("http: /healthz}", "http: /healthz, within: 3s}"))
        result = run_change(wanted, Noted())[0]
        assert result.verdict.verdict is VerdictWord.NOT_READY
        assert "back of candidate never became healthy" in result.verdict.sentence


class TestUnknown:
    def test_a_fault_on_an_idle_edge_proves_nothing(self, tmp_path: Path) -> None:
        done = subprocess.run(
            command(tmp_path, fault="stall", edge="back->front"),
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
        assert done.returncode == 3, done.stderr
        said = " ".join(done.stdout.split())
        assert "Stall on back->front in baseline: no traffic entered the edge while it was on" in said

    def test_an_edge_around_the_plane_is_found(self, tmp_path: Path) -> None:
        result = run(tmp_path, driver=BypassingDriver())
        assert result.verdict.verdict is VerdictWord.UNKNOWN
        unknown = {
            finding.id: finding.sentence for finding in result.findings if finding.outcome is Outcome.UNKNOWN
        }
        assert (
            "front->back carried no traffic in candidate: it was bypassed"
            in unknown["edge_traffic/front->back"]
        )
        assert "front is attached to" in unknown["isolation"]

    def test_a_check_that_raises_has_not_passed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def judge(*_: object) -> None:
            raise ZeroDivisionError("no such number")

        monkeypatch.setattr(Availability, "judge", judge)
        result = run(tmp_path)
        assert result.verdict.verdict is VerdictWord.UNKNOWN
        assert "The check 'availability' broke down: ZeroDivisionError: no such number." in words(result)

    def test_a_generator_killed_half_way_makes_it_unknown(self, tmp_path: Path, own_state: Path) -> None:
        child = start(command(tmp_path))
        said = wait_for(child, "turn 2/6")
        time.sleep(1.5)
        os.kill(journaled(own_state, "generator candidate"), signal.SIGKILL)
        rest, _ = child.communicate(timeout=LIMIT_S)
        assert child.returncode == 3, said + rest
        assert "The load generator failed in calm, candidate: it was killed by signal 9" in " ".join(
            rest.split()
        )

    def test_a_generator_starved_of_cpu_makes_it_unknown_and_the_limit_is_named(
        self, tmp_path: Path, own_state: Path
    ) -> None:
        arguments = command(tmp_path)
        policy = tmp_path / "graph" / "policy.yaml"
        lines = policy.read_text().splitlines(keepends=True)
        policy.write_text("".join(line for line in lines if not line.startswith("schedule_lag")))
        scenario = policy.with_name("tiny.scenario.yaml")
        calm, _, fault = scenario.read_text().partition("  - fault:")
        checks = fault[fault.index("checks:") :].replace("  - check: recovery\n", "")
        scenario.write_text(calm + checks)
        child = start(arguments)
        said = wait_for(child, "turn 1/3")
        try:
            with starved(journaled(own_state, "generator candidate"), 0.02):
                rest, _ = child.communicate(timeout=LIMIT_S)
        except BaseException:  # a skip where no limit can be set is one
            child.send_signal(signal.SIGINT)
            child.communicate(timeout=LIMIT_S)
            raise
        assert child.returncode == 3, said + rest
        told = " ".join(rest.split())
        assert "requests to candidate were sent more than" in told
        assert "what ran short: the CPU limit of the generator's control group (it was held back for" in told


class BypassingDriver(DockerDriver):
    """What a careless operator does: puts one service on another's network and points it there directly."""

    def start(self, spec: ContainerSpec) -> None:
        super().start(spec)
        if spec.name.endswith("-candidate-front"):
            other = spec.name.removesuffix("front") + "back"
            address = self.status(other).networks[other]
            client = docker.from_env(timeout=60)
            try:
                client.networks.get(other).connect(spec.name)
            finally:
                client.close()
            hosts = self.execute(spec.name, ("cat", "/etc/hosts")).stdout.decode()
            lines = [line for line in hosts.splitlines() if not line.endswith("\tback")]
            direct = "\n".join([*lines, f"{address}\tback", ""]).encode()
            self.execute(spec.name, ("tee", "/etc/hosts"), stdin=direct)


def journaled(state: Path, name: str) -> int:
    """Process id of a process that the only run of this state folder has started."""
    [journal] = (state / "runs").glob("*/journal.jsonl")
    entries = [json.loads(line) for line in journal.read_text().splitlines()]
    return next(int(entry["pid"]) for entry in entries if entry.get("name") == name)


class TestUndo:
    def test_ctrl_c_takes_everything_down(self, tmp_path: Path, before: set[str]) -> None:
        child = start(command(tmp_path))
        wait_for(child, "turn 1/6")
        child.send_signal(signal.SIGINT)
        rest, _ = child.communicate(timeout=LIMIT_S)
        assert child.returncode == 130, rest
        assert labelled() == before
        assert not list((tmp_path / "reports").glob("*"))

    def test_ctrl_c_while_arms_come_up_does_not_wait_for_their_health(
        self, tmp_path: Path, before: set[str]
    ) -> None:
        child = start(command(tmp_path, variables='PYTHONHOME: "/nowhere"'))  # is waited for 60 s
        wait_for(child, "arms up")
        time.sleep(8)
        asked = time.monotonic()
        child.send_signal(signal.SIGINT)
        rest, _ = child.communicate(timeout=LIMIT_S)
        assert child.returncode == 130, rest
        assert time.monotonic() - asked < 35
        assert labelled() == before

    def test_a_killed_run_is_swept_up(self, tmp_path: Path, own_state: Path, before: set[str]) -> None:
        child = start(command(tmp_path))
        wait_for(child, "turn 4/6")
        time.sleep(1.0)  # the fault is on
        child.kill()
        child.wait(timeout=30)
        assert labelled() > before
        done = sweep()
        assert done.returncode == 0, done.stdout + done.stderr
        assert labelled() == before
        assert not list((own_state / "runs").glob("*"))
        assert sweep().returncode == 0

    def test_an_engine_that_stops_during_a_run_is_a_failure_and_not_a_verdict(self, tmp_path: Path) -> None:
        with EngineSocket(tmp_path / "engine.sock") as engine:
            child = start(command(tmp_path), DOCKER_HOST=engine.url)
            wait_for(child, "turn 2/6")
            engine.stop()
            rest, _ = child.communicate(timeout=LIMIT_S)
        assert child.returncode == 4, rest
        assert "does not answer" in rest
        assert "doctor --sweep" in rest
        assert not list((tmp_path / "reports").glob("*/verdict.json"))
        done = sweep()
        assert done.returncode == 0, done.stdout + done.stderr

    @pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
    def test_a_full_disk_is_said_before_anything_is_started(self, tmp_path: Path) -> None:
        full = tmp_path / "full"
        full.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", full], check=True)
        try:
            arguments = [*command(tmp_path)[:-1], str(full / "reports")]
            done = subprocess.run(arguments, capture_output=True, text=True, timeout=LIMIT_S)
        finally:
            subprocess.run(["umount", full], check=True)
        assert done.returncode == 4
        assert "no report could be written" in done.stderr
        assert "No space left on device" in done.stderr
        assert "Traceback" not in done.stderr


def test_two_runs_on_one_machine_take_turns(tmp_path: Path) -> None:
    """They would measure each other; the second one says that it waits."""
    first, second = Noted(), Noted()
    results: list[RunResult] = []
    wanted = request(tmp_path)
    other = dataclasses.replace(wanted, out=tmp_path / "others")
    threads = [
        threading.Thread(target=lambda r=r, n=n: results.extend(run_change(r, n)))
        for r, n in ((wanted, first), (other, second))
    ]
    for thread in threads:
        thread.start()
        time.sleep(3)
    for thread in threads:
        thread.join(timeout=LIMIT_S)
    assert [result.verdict.verdict for result in results] == [VerdictWord.READY] * 2
    assert any("another process is measuring on this machine" in line for line in second.lines)
