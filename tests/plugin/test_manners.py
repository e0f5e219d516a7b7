"""The plugin is in every pytest session of everybody who has the package: what it costs them, and what it takes."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.plugin.conftest import Project
from tests.plugin.stand_in import ROOT

HEAVY = (
    "docker",
    "locust",
    "gevent",
    "pandas",
    "sdv",
    "numpy",
    "scipy",
    "pyarrow",
    "pydantic",
    "yaml",
    "rich",
    "typer",
)


def test_every_option_bears_the_plugins_name(project: Project) -> None:
    shown = project.run("--help").stdout.str()
    block = shown.partition("readiness of changes (pytest-readiness):")[2].partition("\n\n")[0]
    options = re.findall(r"^ {2}(-\S+)", block, re.MULTILINE)
    assert len(options) == 6
    assert all(option.startswith("--readiness-") for option in options)


def test_every_fixture_bears_the_plugins_name(project: Project) -> None:
    shown = project.run("--fixtures").stdout.str()
    block = shown.partition("fixtures defined from harness.plugin")[2].partition("\n-----")[0]
    names = re.findall(r"^(\w+) \[", block, re.MULTILINE)
    assert sorted(names) == ["readiness_environment", "readiness_run"]


def test_a_session_without_scenarios_imports_nothing_heavy(project: Project) -> None:
    """Of a whole session, not only of the import."""
    project.write("conftest.py", "")
    project.write(
        "test_plain.py",
        f"""
        import sys


        def test_plain():
            assert [name for name in {HEAVY!r} if name in sys.modules] == []
            assert sorted(name for name in sys.modules if name.startswith("harness")) == ["harness", "harness.plugin"]
        """,
    )
    result = project.run_apart("test_plain.py")
    result.assert_outcomes(passed=1)
    assert "readiness" not in result.stdout.str().partition("collected")[2]


def test_the_import_alone_brings_nothing_heavy() -> None:
    code = f"import harness.plugin, sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert told.stdout == "[]\n"


def test_the_plugin_may_be_named_twice(project: Project) -> None:
    conftest = project.path / "conftest.py"
    conftest.write_text('pytest_plugins = ["harness.plugin"]\n' + conftest.read_text("utf-8"), "utf-8")
    project.change("ready")
    result = project.run_apart("-W", "error")
    assert result.ret == pytest.ExitCode.OK


def test_a_time_limit_for_tests_does_not_kill_a_run(project: Project) -> None:
    """pytest-timeout would end the process at once and leave containers behind."""
    project.change("ready")
    project.write(
        "scenarios/conftest.py",
        """
        import time

        import pytest


        @pytest.fixture(autouse=True)
        def slow():
            time.sleep(1.5)
        """,
    )
    result = project.run_apart("-p", "pytest_timeout", "--timeout=1", "--timeout-method=thread")
    result.assert_outcomes(passed=1)
