"""Which tests there are: one a change that names the scenario, and never silently none. Collecting starts nothing."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Project

BAD_CHANGE = """\
change: bad
title: New prices
scenarioz: [../steady.scenario.yaml]
"""


def node_ids(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if "::" in line or line.endswith("change.yaml")]


def test_a_scenario_is_tried_with_every_change_that_names_it(project: Project) -> None:
    project.change("ready")
    project.change("ready-too", scenarios="steady.scenario.yaml", path="scenarios/beside.change.yaml")
    project.change("elsewhere", scenarios="other.scenario.yaml", path="scenarios/changes/other.change.yaml")
    project.write("scenarios/changes/other.scenario.yaml", "")
    result = project.run("--collect-only", "-q", "scenarios/steady.scenario.yaml")
    assert node_ids(result) == [
        "scenarios/steady.scenario.yaml::ready-too",
        "scenarios/steady.scenario.yaml::ready",
    ]
    assert project.runs_started() == []


def test_one_test_can_be_picked_by_its_id(project: Project) -> None:
    project.change("ready")
    project.change("not-ready")
    project.run("scenarios/steady.scenario.yaml::ready").assert_outcomes(passed=1)


def test_changes_of_one_name_are_told_apart(project: Project) -> None:
    project.change("ready")
    project.change("ready", path="scenarios/changes/copy.change.yaml")
    assert node_ids(project.run("--collect-only", "-q")) == [
        "scenarios/steady.scenario.yaml::ready[changes/copy.change.yaml]",
        "scenarios/steady.scenario.yaml::ready[changes/ready.change.yaml]",
    ]


def test_a_scenario_that_no_change_names_fails_and_says_what_to_do(project: Project) -> None:
    result = project.run("scenarios")
    result.assert_outcomes(failed=1)
    assert "FAILED scenarios/steady.scenario.yaml::no-change" in result.stdout.str()
    result.stdout.fnmatch_lines(
        [
            "scenarios/steady.scenario.yaml: error: no change names this scenario*",
            "*list it under `scenarios:` of a *.change.yaml file in scenarios or below*--readiness-change FILE",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*pytest_items.py*")


def test_options_pick_changes_wherever_they_lie(project: Project) -> None:
    project.change("not-ready")
    project.change("ready", path="proposals/ready.change.yaml", scenarios="../scenarios/steady.scenario.yaml")
    result = project.run("scenarios", "--readiness-change", "proposals/ready.change.yaml", "-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["scenarios/steady.scenario.yaml::ready PASSED*"])


def test_a_change_asked_for_in_vain_fails(project: Project) -> None:
    project.change("ready")
    project.change("ready-elsewhere", scenarios="other.scenario.yaml")
    project.write("scenarios/changes/other.scenario.yaml", "")
    changes = [
        f"--readiness-change=scenarios/changes/{name}.change.yaml" for name in ("ready", "ready-elsewhere")
    ]
    result = project.run("scenarios/steady.scenario.yaml", *changes)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "scenarios/changes/ready-elsewhere.change.yaml: error: none of the scenarios collected *",
            "FAILED scenarios/changes/ready-elsewhere.change.yaml*",
        ]
    )


def test_a_change_asked_for_that_is_wrong_ends_the_session_at_once(project: Project) -> None:
    project.write("bad.change.yaml", BAD_CHANGE)
    result = project.run("scenarios", "--readiness-change", "bad.change.yaml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*bad.change.yaml:3:1: error: unknown key 'scenarioz'", "*did you mean 'scenarios'?"]
    )
    result.stderr.no_fnmatch_line("*Traceback*")


def test_a_bad_scenario_is_shown_at_its_place_without_a_traceback(project: Project) -> None:
    scenario = project.path / "scenarios/steady.scenario.yaml"
    scenario.write_text(scenario.read_text("utf-8").replace("for: 10s", "fro: 10s"), "utf-8")
    result = project.run("scenarios")
    result.assert_outcomes(errors=1)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(
        [
            "*ERROR collecting scenarios/steady.scenario.yaml*",
            "scenarios/steady.scenario.yaml:6:5: error: unknown key 'fro'",
            "6 |     fro: 10s",
            "  |     ^^^ did you mean 'for'?",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*.py:*")


def test_a_bad_change_is_an_error_of_the_scenario_that_it_may_name(project: Project) -> None:
    project.change("ready")
    project.write("scenarios/changes/bad.change.yaml", BAD_CHANGE)
    result = project.run("scenarios")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["scenarios/changes/bad.change.yaml:3:1: error: unknown key 'scenarioz'"])


def test_a_bad_change_of_another_scenario_does_not_stop_this_one(project: Project) -> None:
    project.change("ready")
    bad = project.change("bad", scenarios="other.scenario.yaml")
    bad.write_text(bad.read_text("utf-8").replace("why:", "wy:"), "utf-8")
    project.write("scenarios/changes/other.scenario.yaml", "")
    project.run("scenarios/steady.scenario.yaml").assert_outcomes(passed=1)


def test_copies_in_reports_are_no_tests(project: Project) -> None:
    project.change("ready")
    for name in ("manifest.json", "verdict.json"):
        project.write(f"scenarios/reports/r1/{name}", "{}")
    project.write("scenarios/reports/r1/definitions/steady.scenario.yaml", "not: valid")
    project.change("ready", path="scenarios/reports/r1/definitions/ready.change.yaml")
    assert node_ids(project.run("--collect-only", "-q")) == ["scenarios/steady.scenario.yaml::ready"]


@pytest.mark.parametrize("option", ["--collect-only", "--setup-plan", "--setup-only"])
def test_looking_starts_nothing(project: Project, option: str) -> None:
    project.change("not-ready")
    result = project.run(option)
    assert result.ret == pytest.ExitCode.OK
    assert project.runs_started() == []


def test_fixtures_of_every_scope_reach_a_scenario(project: Project) -> None:
    project.change("ready")
    project.write(
        "scenarios/conftest.py",
        """
        import pytest


        def told(scope):
            @pytest.fixture(scope=scope, autouse=True, name=f"told_{scope}")
            def fixture(request):
                print(f"{scope} fixture of {request.node.name}")
                if scope not in ("session", "package"):
                    assert request.module is None

            return fixture


        told_session, told_package, told_module = told("session"), told("package"), told("module")
        told_class, told_function = told("class"), told("function")
        """,
    )
    result = project.run("-s")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["module fixture of *steady.scenario.yaml", "function fixture of ready"])
