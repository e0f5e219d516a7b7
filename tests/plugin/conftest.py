"""A project of its own for each test, in which pytest runs with this plugin and no other but those that are named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.plugin import stand_in


class Project:
    """A folder with definitions. `run` runs pytest there, in this process; `run_apart` in one of its own."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.path = pytester.path
        stand_in.write_project(self.path)

    def write(self, path: str, text: str) -> Path:
        return stand_in.write(self.path / path, text)

    def change(self, name: str, scenarios: str = "../steady.scenario.yaml", path: str | None = None) -> Path:
        return stand_in.write_change(
            self.path / (path or f"scenarios/changes/{name}.change.yaml"), name, scenarios
        )

    def run(self, *args: str, **more: bool) -> pytest.RunResult:
        return self.pytester.runpytest_inprocess("-p", "harness.plugin", *args, **more)

    def run_apart(self, *args: str) -> pytest.RunResult:
        return self.pytester.runpytest_subprocess("-p", "harness.plugin", *args, timeout=120)

    def runs_started(self) -> list[str]:
        path = self.path / stand_in.STARTED
        return path.read_text("utf-8").splitlines() if path.exists() else []

    def standing(self) -> list[str]:
        path = self.path / stand_in.STANDING
        return path.read_text("utf-8").splitlines() if path.exists() else []


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Definitions and a scenario that no change names yet."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("CI", raising=False)
    known = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(stand_in.ROOT), *([known] if known else [])]))
    return Project(pytester)
