"""What a user sees of a run: the word, the reasons, a line a finding, containers' lines, properties, and progress."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from tests.plugin.conftest import Project

SUMMARY = "*= readiness =*"


def lines_after(result: pytest.RunResult, heading: str) -> list[str]:
    start = next(index for index, line in enumerate(result.outlines) if heading in line)
    return result.outlines[start + 1 :]


def test_ready_passes_with_a_line_a_finding(project: Project) -> None:
    project.change("ready")
    result = project.run("--readiness-seed=11")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            SUMMARY,
            "READY ready in steady: All 14 findings passed*",
            "  passed  availability/ledger-killed: The candidate answered *",
            "  report: readiness-reports/ready-steady/report.html",
            "  repeat: readiness run scenarios/changes/ready.change.yaml *--seed 11",
        ]
    )
    assert len([line for line in result.outlines if line.startswith("  passed ")]) == 14
    result.stdout.no_fnmatch_line("*container log*")


def test_not_ready_fails_with_its_reasons_and_no_traceback(project: Project) -> None:
    project.change("not-ready")
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*_ scenario steady, change not-ready _*",
            "NOT_READY: The candidate answered *",
            "  report: readiness-reports/not-ready-steady/report.html",
            "  seed 7; repeat it with: readiness run *",
            SUMMARY,
            "NOT_READY not-ready in steady: The candidate answered *",
            "  FAILED  availability/redis-away: The candidate answered *",
            "  passed  *",
            "FAILED scenarios/steady.scenario.yaml::not-ready - NOT_READY: The candidate answered *",
        ]
    )
    for hidden in ("*Traceback*", "*Error*", "*pytest_items.py*"):
        result.stdout.no_fnmatch_line(hidden)


def test_unknown_fails_too(project: Project) -> None:
    project.change("unknown")
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "UNKNOWN: The load generator of baseline left no figures *",
            "UNKNOWN unknown in steady: The load generator of baseline left no figures *",
            "  UNKNOWN availability/ledger-killed: *",
            "FAILED scenarios/steady.scenario.yaml::unknown - UNKNOWN: *",
        ]
    )


def test_a_run_without_any_result_fails(project: Project) -> None:
    project.change("nothing")
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["UNKNOWN: the run gave no verdict"])


def test_an_engine_that_fails_is_a_message(project: Project) -> None:
    project.change("broken")
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["error: the engine went away", "  start it again", "FAILED *::broken - error: the engine went away"]
    )
    result.stdout.no_fnmatch_line("*ConnectionError*")


def test_ctrl_c_ends_the_session(project: Project) -> None:
    project.change("interrupted")
    project.change("ready")
    result = project.run("-v", no_reraise_ctrlc=True)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*KeyboardInterrupt*"])
    assert len(project.runs_started()) == 1


def test_the_containers_last_lines_stand_under_a_failed_scenario(project: Project) -> None:
    project.change("not-ready")
    result = project.run()
    result.stdout.fnmatch_lines(
        [
            "*- container log baseline/shop -*",
            "baseline is well",
            "*- container log candidate/shop -*",
            "(the last 20 lines; more of them in readiness-reports/not-ready-steady/logs)",
            "line 80",
            "line 99",
        ],
        consecutive=False,
    )
    result.stdout.no_fnmatch_line("line 79")
    result.stdout.no_fnmatch_line("*candidate/stock*")


def test_quiet_counts_what_passed(project: Project) -> None:
    project.change("not-ready")
    result = project.run("-q")
    shown = lines_after(result, "= readiness =")
    assert any(re.fullmatch(r"  \d+ findings passed", line) for line in shown)
    assert not any(line.startswith("  passed ") for line in shown)
    assert any(line.startswith("  FAILED ") for line in shown)


def test_stages_are_printed_as_they_happen_and_nothing_else_is(project: Project) -> None:
    project.change("ready")
    result = project.run()
    result.stdout.fnmatch_lines(
        ["[[]* s] scenarios/changes/ready.change.yaml", "[[]* s] definitions", "[[]* s]   a note"]
    )
    result.stdout.no_fnmatch_line("*printed by the engine*")


@pytest.mark.parametrize(("flag", "stages", "notes"), [("-q", True, False), ("-qq", False, False)])
def test_quiet_says_less(project: Project, flag: str, stages: bool, notes: bool) -> None:
    project.change("ready")
    shown = project.run(flag).stdout.str()
    assert (" s] definitions" in shown, "a note" in shown) == (stages, notes)


def properties(project: Project, *args: str) -> dict[str, str]:
    project.run("--junit-xml=junit.xml", *args)
    case = ET.parse(project.path / "junit.xml").find(".//testcase")
    assert case is not None
    return {item.attrib["name"]: item.attrib["value"] for item in case.iter("property")}


def test_junit_properties(project: Project) -> None:
    project.change("not-ready")
    found = properties(project)
    assert found == {
        "readiness_verdict": "NOT_READY",
        "readiness_seed": "7",
        "readiness_report": "readiness-reports/not-ready-steady",
        "readiness_findings_fail": found["readiness_findings_fail"],
        "readiness_findings_unknown": "0",
        "readiness_findings_pass": found["readiness_findings_pass"],
    }
    assert int(found["readiness_findings_fail"]) + int(found["readiness_findings_pass"]) == 14


def test_junit_properties_can_be_left_out_and_the_summary_stays(project: Project) -> None:
    project.change("not-ready")
    assert properties(project, "--readiness-no-properties") == {}
    result = project.run("--readiness-no-properties")
    result.stdout.fnmatch_lines([SUMMARY, "NOT_READY not-ready in steady: *"])


def test_junit_message_is_the_verdict(project: Project) -> None:
    project.change("not-ready")
    project.run("--junit-xml=junit.xml")
    failure = ET.parse(project.path / "junit.xml").find(".//failure")
    assert failure is not None
    assert failure.attrib["message"].startswith("NOT_READY: The candidate answered ")


def test_options_reach_the_run_and_are_relative_to_where_pytest_was_started(project: Project) -> None:
    project.change("ready")
    project.run(
        "--readiness-out=out", "--readiness-policy=p.yaml", "--readiness-key=k.pem", "--readiness-seed=3"
    )
    (request,) = project.runs_started()
    for part in ("out=PosixPath('out')", "policy=PosixPath('p.yaml')", "key=PosixPath('k.pem')", "seed=3"):
        assert part in request


@pytest.mark.parametrize("dist", ["load", "loadgroup"])
def test_findings_of_workers_reach_the_controller(project: Project, dist: str) -> None:
    for name in ("ready", "not-ready", "unknown"):
        project.change(name)
    result = project.run_apart("-p", "xdist", "-n2", f"--dist={dist}", "--junit-xml=junit.xml")
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines_random(
        [
            "*- container log candidate/shop -*",
            "READY ready in steady: *",
            "NOT_READY not-ready in steady: *",
            "  FAILED  availability/redis-away: *",
            "UNKNOWN unknown in steady: *",
            "  UNKNOWN availability/ledger-killed: *",
            "FAILED *::not-ready* - NOT_READY: The candidate answered *",
        ]
    )
    result.stderr.fnmatch_lines(["[[]gw?] [[]* s] definitions"])
    cases = ET.parse(project.path / "junit.xml").iter("testcase")
    assert {item.attrib["value"] for case in cases for item in case.iter("property") if "verdict" in item.attrib["name"]} == {
        "READY", "NOT_READY", "UNKNOWN",
    }  # fmt: skip


def test_scenarios_of_one_environment_are_of_one_group(project: Project) -> None:
    """Asked of the marks: not every pair of pytest and xdist heeds them (pytest-xdist 1386)."""
    conftest = project.path / "conftest.py"
    more = """

def pytest_collection_finish(session):
    for item in session.items:
        print([mark.args for mark in item.iter_markers("xdist_group")])
"""
    conftest.write_text(conftest.read_text("utf-8") + more, "utf-8")
    for name in ("ready", "not-ready"):
        project.change(name)
    result = project.run_apart("-p", "xdist", "-s", "--collect-only")
    assert result.outlines.count("[('environments/shop/environment.yaml',)]") == 2
