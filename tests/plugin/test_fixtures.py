"""The fixtures for tests written in Python: runs, and environments that stand until the session ends."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Project


def test_a_run_from_python_shows_in_summary_and_properties(project: Project) -> None:
    project.change("not-ready")
    project.write(
        "tests/test_change.py",
        """
        def test_it_is_refused(readiness_run, record_property):
            (result,) = readiness_run(
                "../scenarios/changes/not-ready.change.yaml", scenario="../scenarios/steady.scenario.yaml", seed=5
            )
            assert result.verdict.verdict == "NOT_READY"
            assert result.seed == 5
        """,
    )
    result = project.run("tests")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["NOT_READY not-ready in steady: *", "  FAILED  availability/redis-away: *"])
    result.stdout.no_fnmatch_line("*container log*")


def test_paths_are_also_looked_for_below_the_root_folder(project: Project) -> None:
    project.change("ready")
    project.write(
        "tests/deep/test_change.py",
        """
        def test_it(readiness_run, monkeypatch, tmp_path):
            monkeypatch.chdir(tmp_path)
            (result,) = readiness_run(
                "scenarios/changes/ready.change.yaml", scenario="scenarios/steady.scenario.yaml"
            )
            assert result.report.is_absolute()
        """,
    )
    project.run("tests").assert_outcomes(passed=1)


def test_a_failed_test_shows_what_the_containers_said(project: Project) -> None:
    project.change("ready")
    project.write(
        "test_change.py",
        """
        def test_it(readiness_run):
            (result,) = readiness_run("scenarios/changes/ready.change.yaml", scenario="scenarios/steady.scenario.yaml")
            assert len(result.findings) == 0
        """,
    )
    result = project.run("test_change.py")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*- container log candidate/shop -*", "line 99"])


def test_an_error_points_at_the_test_and_not_into_the_engine(project: Project) -> None:
    project.change("broken")
    project.write(
        "test_change.py",
        """
        def test_it(readiness_run):
            readiness_run("scenarios/changes/broken.change.yaml")


        def test_typo(readiness_run):
            readiness_run("scenarios/changes/borken.change.yaml")
        """,
    )
    result = project.run("test_change.py")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            '>*readiness_run("scenarios/changes/broken.change.yaml")',
            "E *EngineError: error: the engine went away",
            "*scenarios/changes/borken.change.yaml: error: *",
        ]
    )
    for hidden in ("*ConnectionError*", "*stand_in.py*", "*pytest_runs.py*"):
        result.stdout.no_fnmatch_line(hidden)


def test_an_environment_stands_once_and_goes_though_tests_fail(project: Project) -> None:
    project.write(
        "tests/test_shop.py",
        """
        import pytest

        ENVIRONMENT = "environments/shop/environment.yaml"


        @pytest.mark.parametrize("number", range(2))
        def test_it_answers(readiness_environment, number):
            assert readiness_environment(ENVIRONMENT).entries["api"] == "http://127.0.0.1:1"


        def test_it_fails(readiness_environment):
            assert readiness_environment("../environments/shop/environment.yaml").run_id == "another"
        """,
    )
    result = project.run("tests")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["[[]* s] 2 services up"])
    assert project.standing() == ["try shop", "up shop", "down shop, protected: True"]


def test_ctrl_c_between_is_pytests_own_and_everything_goes(project: Project) -> None:
    project.write(
        "environments/other/environment.yaml", "environment: other\n" + _environment_without_name(project)
    )
    project.write(
        "test_shop.py",
        """
        import os, signal, time


        def test_it_hangs(readiness_environment):
            for name in ("shop", "other"):
                readiness_environment(f"environments/{name}/environment.yaml")
            os.kill(os.getpid(), signal.SIGTERM if os.environ.get("BY_TERM") else signal.SIGINT)
            time.sleep(60)


        def test_never():
            pass
        """,
    )
    for by_term in ("", "1"):
        project.pytester._monkeypatch.setenv("BY_TERM", by_term)
        result = project.run_apart("test_shop.py", "-v")
        assert result.ret == pytest.ExitCode.INTERRUPTED
        result.stdout.no_fnmatch_line("*test_never PASSED*")
        assert project.standing()[-2:] == ["down other, protected: True", "down shop, protected: True"]


def _environment_without_name(project: Project) -> str:
    return (project.path / "environments/shop/environment.yaml").read_text("utf-8").split("\n", 1)[1]


def test_what_did_not_come_up_is_not_tried_for_every_test(project: Project) -> None:
    project.write(
        "test_shop.py",
        """
        import pytest


        @pytest.mark.parametrize("number", range(3))
        def test_it(readiness_environment, number):
            readiness_environment("environments/shop/environment.yaml", dataset="x.dataset.yaml")
        """,
    )
    result = project.run("test_shop.py")
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(["E *EngineError: error: x.dataset.yaml does not fit"])
    assert project.standing() == ["try shop"]
