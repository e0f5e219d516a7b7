"""The pytest plugin with real runs: a folder elsewhere, two workers, one scenario that passes and one that does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.containers.tiny_graph import write_graph

PYTHON_TEST = """
import json
import urllib.request

def test_an_environment_stands_for_a_test(readiness_environment):
    arm = readiness_environment("environment.yaml")
    answer = urllib.request.urlopen(arm.entries["api"] + "/ask", timeout=5)
    assert json.load(answer) == {"answer": "yes", "degraded": False}
    assert readiness_environment("environment.yaml") is arm

def test_a_change_is_run_by_a_test(readiness_run):
    (result,) = readiness_run("another-word.change.yaml", seed=3)
    assert result.verdict.verdict == "READY", result.verdict.reasons
"""


def pytest_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:locust", "-p", "no:cacheprovider",
         "--readiness-policy", "policy.yaml", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=400,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READINESS_STATE_DIR", str(tmp_path / "state"))


def test_a_scenario_that_is_not_ready_fails_with_findings_and_logs(tmp_path: Path) -> None:
    folder = write_graph(tmp_path / "graph", variables="ANSWER: maybe").parent
    done = pytest_in(folder, "-n", "2", "--readiness-seed", "5")
    said = " ".join(done.stdout.split())
    assert done.returncode == 1, done.stdout + done.stderr
    assert "tiny.scenario.yaml::another-word" in said
    assert "NOT_READY" in said
    assert "back: 0.0 % of answers are yes, 100.0 % in the baseline" in said
    assert "candidate/back" in said  # the section with its log
    assert "clean_world" in said  # one line a finding, passed ones too
    assert list((folder / "readiness-reports").glob("*/verdict.json"))


def test_the_fixtures_serve_tests_in_python(tmp_path: Path) -> None:
    folder = write_graph(tmp_path / "graph").parent
    (folder / "test_graph.py").write_text(PYTHON_TEST)
    done = pytest_in(folder, "test_graph.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
