"""A team in a repository of its own: `readiness init`, then the same command and the plugin on what it wrote.

Everything runs as an installed user would run it: the `readiness` beside this Python, in a folder elsewhere, with a
state folder of its own. Nothing of this repository's environments or scenarios is in reach.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

READINESS = Path(sys.executable).with_name("readiness")
CHANGE = Path("scenarios/changes/first.change.yaml")
LIMIT_S = 600


def readiness(team: Path, *words: str, state: str = "state") -> subprocess.CompletedProcess[str]:
    """One command in the team's folder."""
    return call(team, [READINESS, *words], state)


def call(team: Path, words: list[Any], state: str = "state") -> subprocess.CompletedProcess[str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHONPATH"))
    }
    variables = kept | {"READINESS_STATE_DIR": str(team.parent / state), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(words, cwd=team, env=variables, capture_output=True, text=True, timeout=LIMIT_S)


@pytest.fixture
def team(tmp_path: Path) -> Path:
    folder = tmp_path / "team"
    folder.mkdir()
    answer = readiness(folder, "init")
    assert answer.returncode == 0, answer.stderr
    assert f"readiness run {CHANGE}" in answer.stdout
    return folder


def run(team: Path) -> subprocess.CompletedProcess[str]:
    """The change. Load on a machine that others use may come late, which is UNKNOWN and no wrong verdict: then again."""
    words = ("run", str(CHANGE), "--json")
    answer = readiness(team, *words)
    return answer if answer.returncode != 3 else readiness(team, *words)


def verdict(answer: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one report of a run with `--json`."""
    (report,) = json.loads(answer.stdout)["reports"]
    found: dict[str, Any] = report
    return found


@pytest.mark.slow
def test_the_skeleton_as_it_stands_is_ready_and_anyone_can_check_it(team: Path) -> None:
    answer = run(team)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    report = verdict(answer)
    assert report["verdict"] == "READY"
    assert "first (pricing)" in report["sentence"]
    assert (team / report["page"]).is_file()
    assert readiness(team, "verify", report["report"]).returncode == 0
    # whoever has another state folder has another key: this report is not theirs
    assert readiness(team, "verify", report["report"], state="other").returncode == 1


@pytest.mark.slow
def test_a_candidate_that_answers_in_another_unit_is_not_ready_by_name(team: Path) -> None:
    """What the README proposes to try: nothing fails and nothing is slow."""
    text = (team / CHANGE).read_text()
    assert text.count("UNIT: euro}") == 1
    (team / CHANGE).write_text(text.replace("UNIT: euro}", "UNIT: cent}"))
    answer = run(team)
    assert answer.returncode == 1, answer.stdout + answer.stderr
    report = verdict(answer)
    assert report["verdict"] == "NOT_READY"
    assert report["sentence"].startswith("pricing: ")


def test_a_candidate_that_never_starts_is_not_ready_by_name(team: Path) -> None:
    text = (team / CHANGE).read_text()
    (team / CHANGE).write_text(text.replace("UNIT: euro}", "UNIT: pound}"))
    environment = team / "environments/shop/environment.yaml"
    pricing, healthy = "command: [python3, -m, shop.pricing]\n", "health: {port: 8080, http: /healthz"
    before, after = environment.read_text().split(pricing)
    after = after.replace(healthy, f"{healthy}, within: 5s", 1)  # a minute is long for a test
    environment.write_text(before + pricing + after)
    answer = readiness(team, "run", str(CHANGE), "--json")
    assert answer.returncode == 1, answer.stdout + answer.stderr
    assert "pricing of candidate never became healthy" in verdict(answer)["sentence"]


def test_the_plugin_collects_the_scenario_with_its_change(team: Path) -> None:
    answer = call(team, [sys.executable, "-m", "pytest", "--collect-only", "-q", "scenarios"])
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "scenarios/shop.scenario.yaml::first" in answer.stdout
    assert "1 test collected" in answer.stdout
