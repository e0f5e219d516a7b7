"""The pytest plugin: scenario files are tests, and two fixtures serve tests written in Python.

`pytest scenarios/` collects every `*.scenario.yaml`: one test for each change that names it (see
`harness.pytest_items`). READY passes; NOT_READY and UNKNOWN fail, each with its reasons, a line a finding in the summary and
the containers' last lines.

Fixtures, both of session scope:

`readiness_run(change, *, scenario=None, seed=None, policy=None)`
    Runs a change through its scenarios, or through one. Gives a tuple of `harness.run.RunResult`, one a scenario.
`readiness_environment(environment, dataset=None)`
    Stands an environment up, once for each file and session. Gives a `harness.standing.StandingEnvironment`.

Relative paths are looked for beside the test, then below pytest's root folder.

Options, for pytest.ini's `addopts`, too:

`--readiness-change FILE`    only this change; may be repeated. One that no collected scenario belongs to fails.
`--readiness-seed N`         repeats a run; without it a seed is drawn and printed.
`--readiness-out DIR`        where reports go; without it ./readiness-reports.
`--readiness-key KEY`        the ed25519 private key to sign with; without it one of the user's own.
`--readiness-policy POLICY`  a policy file; without it the default policy.
`--readiness-no-properties`  no properties in JUnit files, for readers that refuse them.

This module is imported by every pytest session of everybody who has the package: it imports nothing but pytest, and the
engine only where something is run. PYTEST_DONT_REWRITE: no assertion is in here.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from harness.pytest_items import ScenarioFile
    from harness.pytest_runs import Runs, StandEnvironment, StartRun

RUNS = pytest.StashKey["Runs"]()
NOW = pytest.StashKey[pytest.Item]()
"""The test that runs now: relative paths are looked for beside it."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Every option begins with `--readiness-`; none has a short form."""
    group = parser.getgroup("readiness", "readiness of changes (pytest-readiness)")
    group.addoption(
        "--readiness-change",
        metavar="FILE",
        action="append",
        default=[],
        help="try scenarios with this *.change.yaml file alone; may be repeated",
    )
    group.addoption(
        "--readiness-seed",
        metavar="N",
        type=int,
        help="repeat a run; without it a seed is drawn and printed",
    )
    group.addoption(
        "--readiness-out",
        metavar="DIR",
        default="readiness-reports",
        help="where reports go; without it ./readiness-reports",
    )
    group.addoption(
        "--readiness-key",
        metavar="KEY",
        help="ed25519 private key (PEM) to sign reports with; without it one of your own is made",
    )
    group.addoption(
        "--readiness-policy",
        metavar="POLICY",
        help="a policy file; without it the default policy",
    )
    group.addoption(
        "--readiness-no-properties",
        action="store_true",
        help="write no properties to JUnit files: some readers refuse them",
    )


def pytest_configure(config: pytest.Config) -> None:
    """A change that is asked for and cannot be read ends the session before anything is collected."""
    if config.getoption("readiness_change"):
        from harness.pytest_items import require_changes

        require_changes(config)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Reports hold copies of the definitions that they are about; those are no tests."""
    if not (collection_path / "manifest.json").is_file():
        return None
    from harness.pytest_items import is_report

    return True if is_report(collection_path) else None


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> ScenarioFile | None:
    """A `*.scenario.yaml` file is a collector."""
    if not file_path.name.endswith(".scenario.yaml"):
        return None
    from harness.pytest_items import ScenarioFile

    return ScenarioFile.from_parent(parent, path=file_path)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """A change that was asked for and belongs to nothing that was collected must not pass unseen."""
    if config.getoption("readiness_change"):
        from harness.pytest_items import untried_changes

        items[:0] = untried_changes(session)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    """Remember which test runs."""
    item.config.stash[NOW] = item


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What was run meanwhile goes into the test's report, and with it from a worker of xdist to its controller."""
    runs = item.config.stash.get(RUNS, None)
    finished = runs.take_finished() if runs is not None else ()
    if not finished:
        return (yield)
    from harness import pytest_summary

    if not item.config.getoption("readiness_no_properties"):
        item.user_properties += pytest_summary.properties(finished)
    report = yield
    pytest_summary.attach(report, finished)
    return report


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Every verdict with its findings."""
    reports = [
        report
        for found in terminalreporter.stats.values()
        for report in found
        if hasattr(report, "readiness")  # the name under which `pytest_summary.attach` puts it
    ]
    if reports:
        from harness.pytest_summary import print_summary

        print_summary(reports, terminalreporter)


def _runs(config: pytest.Config) -> Runs:
    if RUNS not in config.stash:
        from harness.pytest_runs import Runs

        config.stash[RUNS] = Runs(config, lambda: config.stash.get(NOW, None))
    return config.stash[RUNS]


@pytest.fixture(scope="session")
def readiness_run(request: pytest.FixtureRequest) -> StartRun:
    """Run a change: readiness_run(change, *, scenario=None, seed=None, policy=None) -> tuple of RunResult."""
    return _runs(request.config).start


@pytest.fixture(scope="session")
def readiness_environment(request: pytest.FixtureRequest) -> Iterator[StandEnvironment]:
    """Stand an environment up: readiness_environment(environment, dataset=None) -> StandingEnvironment."""
    with _runs(request.config).environments() as stand:
        yield stand
