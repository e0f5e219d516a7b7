"""What pytest shows of runs: the text of a failure, properties, containers' lines, and the summary at the end.

Takes `RunResult`s where they were made. A `RunLines` of plain values travels with the test's report, from a worker of xdist
to its controller, too, and is printed there. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.visible import visible

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from harness.run import RunResult

LOG_LINES = 20
"""Last lines of each container under a failed test; the report has more of them."""
ORDER = ("fail", "unknown", "pass")
WORDS = {"fail": "FAILED", "unknown": "UNKNOWN", "pass": "passed"}
COLOURS = {
    "READY": "green", "NOT_READY": "red", "UNKNOWN": "yellow", "pass": "green", "fail": "red", "unknown": "yellow",
}  # fmt: skip


@dataclass(frozen=True)
class FindingLine:
    """A finding as it stands in the summary."""

    outcome: str
    id: str
    sentence: str


@dataclass(frozen=True)
class RunLines:
    """A run as the summary shows it; nothing but plain values, as workers of xdist send nothing else."""

    change: str
    scenario: str
    verdict: str
    sentence: str
    report: str
    repeat_command: str
    findings: tuple[FindingLine, ...]

    @classmethod
    def of(cls, result: RunResult) -> RunLines:
        findings = sorted(
            result.findings, key=lambda finding: (ORDER.index(finding.outcome), finding.rank, finding.id)
        )
        return cls(
            change=str(result.case.plan.change),
            scenario=str(result.case.plan.scenario),
            verdict=result.verdict.verdict.value,
            sentence=result.verdict.sentence,
            report=str(result.report),
            repeat_command=result.repeat_command,
            findings=tuple(FindingLine(item.outcome.value, item.id, item.sentence) for item in findings),
        )

    @classmethod
    def received(cls, plain: dict[str, Any]) -> RunLines:
        """What `asdict` made of one, perhaps in another process."""
        return cls(**{**plain, "findings": tuple(FindingLine(**item) for item in plain["findings"])})


def failure_text(results: Iterable[RunResult]) -> str:
    """The word first: it is what the one-line summary of pytest shows."""
    return "\n\n".join(_failure(result) for result in results)


def _failure(result: RunResult) -> str:
    verdict = result.verdict
    return "\n".join(
        [
            f"{verdict.verdict.value}: {visible(verdict.sentence)}",
            *(f"  - {visible(reason)}" for reason in verdict.reasons if reason != verdict.sentence),
            f"  report: {result.report / 'report.html'}",
            f"  seed {result.seed}; repeat it with: {result.repeat_command}",
        ]
    )


def properties(results: Sequence[RunResult]) -> list[tuple[str, object]]:
    """For JUnit files and whatever else reads `user_properties`."""
    found: list[tuple[str, object]] = []
    for result in results:
        counts = dict.fromkeys(ORDER, 0)
        for finding in result.findings:
            counts[finding.outcome.value] += 1
        found += [
            ("readiness_verdict", result.verdict.verdict.value),
            ("readiness_seed", result.seed),
            ("readiness_report", str(result.report)),
            *((f"readiness_findings_{outcome}", number) for outcome, number in counts.items()),
        ]
    return found


def attach(report: pytest.TestReport, results: Sequence[RunResult]) -> None:
    """Put the runs into the report of the test that made them; where it failed, the containers' last lines with them."""
    report.readiness = [asdict(RunLines.of(result)) for result in results]  # type: ignore[attr-defined]
    if not report.failed:
        return
    for result in results:
        for name, text in sorted(result.logs.items(), key=_candidate_last):
            if text.strip():
                report.sections.append((f"container log {name}", _tail(text, result.report)))


def _candidate_last(item: tuple[str, str]) -> tuple[bool, str]:
    """The candidate's containers are the ones to look at: last, where the eye is."""
    return item[0].startswith("candidate/"), item[0]


def _tail(text: str, report: Path) -> str:
    lines = [visible(line, keep="\t") for line in text.splitlines()]
    if len(lines) <= LOG_LINES:
        return "\n".join(lines)
    return "\n".join(
        [f"(the last {LOG_LINES} lines; more of them in {report / 'logs'})", *lines[-LOG_LINES:]]
    )


def print_summary(reports: Iterable[pytest.TestReport], reporter: TerminalReporter) -> None:
    """Each run: verdict, report, and one line a finding, failed ones first; with -q those that passed are counted."""
    quiet = reporter.config.get_verbosity() < 0
    reporter.section("readiness")
    for report in sorted(reports, key=lambda report: report.nodeid):
        for plain in report.readiness:
            _print_run(RunLines.received(plain), reporter, quiet)


def _print_run(run: RunLines, reporter: TerminalReporter, quiet: bool) -> None:
    reporter.write(run.verdict, bold=True, **{COLOURS[run.verdict]: True})
    reporter.line(visible(f" {run.change} in {run.scenario}: {run.sentence}"))
    passed = 0
    for finding in run.findings:
        if quiet and finding.outcome == "pass":
            passed += 1
            continue
        reporter.write(f"  {WORDS[finding.outcome]:8}", **{COLOURS[finding.outcome]: True})
        reporter.line(visible(f"{finding.id}: {finding.sentence}"))
    if passed:
        reporter.line(f"  {passed} findings passed")
    reporter.line(f"  report: {Path(run.report) / 'report.html'}")
    reporter.line(f"  repeat: {run.repeat_command}")
