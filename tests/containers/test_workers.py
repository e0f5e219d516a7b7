"""Whole runs of a tiny graph whose load is sent by two workers an arm."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.model.findings import VerdictWord
from harness.model.history import EventKind
from harness.run import RunRequest, run_change
from tests.containers.test_runs import LIMIT_S, Noted, journaled, start, wait_for, words
from tests.containers.tiny_graph import write_graph

READINESS = Path(sys.executable).parent / "readiness"


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keys and journals of a test are its own."""
    state = tmp_path / "state"
    monkeypatch.setenv("READINESS_STATE_DIR", str(state))
    return state


def two_workers(tmp_path: Path) -> Path:
    """The tiny graph's change file, its scenario with two workers."""
    change = write_graph(tmp_path / "graph")
    scenario = change.parent / "tiny.scenario.yaml"
    scenario.write_text(scenario.read_text("utf-8") + "workers: 2\n", "utf-8")
    return change


def test_a_run_with_two_workers_an_arm_is_as_good_as_one(tmp_path: Path) -> None:
    change = two_workers(tmp_path)
    wanted = RunRequest(change, policy=change.parent / "policy.yaml", seed=7, out=tmp_path / "reports")
    result = run_change(wanted, Noted())[0]
    assert result.verdict.verdict is VerdictWord.READY, words(result)
    lines = (result.report / "history" / "events.jsonl").read_text("utf-8").splitlines()
    replays = [event for event in map(json.loads, lines) if event["kind"] == EventKind.REPLAY]
    assert replays
    assert result.case.plan.workers == 2
    for replay in replays:
        workers = replay["detail"]["workers"]
        assert [worker["name"] for worker in workers] == ["worker-1", "worker-2"]
        assert all(worker["finished"] and worker["sent"] > 0 for worker in workers)
    verified = subprocess.run(
        [READINESS, "verify", result.report, "--json"], capture_output=True, text=True, timeout=60
    )
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_a_worker_killed_half_way_makes_it_unknown_by_name(tmp_path: Path, own_state: Path) -> None:
    change = two_workers(tmp_path)
    policy, reports = change.parent / "policy.yaml", tmp_path / "reports"
    child = start(
        [str(READINESS), "run", str(change), "--policy", str(policy), "--seed", "7", "--out", str(reports)]
    )
    said = wait_for(child, "turn 2/6")
    time.sleep(1.5)
    os.kill(journaled(own_state, "generator candidate worker-2"), signal.SIGKILL)
    rest, _ = child.communicate(timeout=LIMIT_S)
    assert child.returncode == 3, said + rest
    told = " ".join(rest.split())
    assert "The load generator failed in calm, candidate: worker-2 (process" in told
    assert "was killed by signal 9" in told
