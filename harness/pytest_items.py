"""Scenario files as pytest sees them: a file is a collector, and each change that names it is a test.

`scenarios/lending.scenario.yaml` is tried with the `*.change.yaml` files in its folder and below whose `scenarios:` lead to
it: `scenarios/lending.scenario.yaml::rate-model-v2`. With `--readiness-change` those changes are tried instead, wherever
they lie. A scenario that no change names is a test that fails. Collecting reads definitions and starts nothing.
"""

from __future__ import annotations

import fnmatch
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness import pytest_summary
from harness.errors import DefinitionError, Problem, ReadinessError
from harness.pytest_runs import StartRun, as_typed

if TYPE_CHECKING:
    from _pytest._code.code import TerminalRepr

    from harness.loading import Loaded
    from harness.model.change import Change
    from harness.run import RunResult

CHANGE_SUFFIX = ".change.yaml"
NO_CHANGE = "no-change"
TRIED = pytest.StashKey[set[Path]]()
"""The changes asked for by option that some collected scenario belongs to."""


class NotReadyError(Exception):
    """A run ended otherwise than READY."""

    def __init__(self, results: Iterable[RunResult]) -> None:
        super().__init__(pytest_summary.failure_text(results) or "UNKNOWN: the run gave no verdict")


class ScenarioFile(pytest.Module):
    """One scenario file. A `Module` as doctest's text files are, so that fixtures of module scope have their place."""

    obj = None

    def collect(self) -> Iterator[pytest.Item]:
        """One item a change; a definition that is wrong is an error of collection."""
        from harness.loading import load_scenario

        path = as_typed(self.path)
        scenario = load_scenario(path).value
        environment = as_typed(self.path.parent / scenario.environment)
        changes = changes_for(path, self.config)
        names = Counter(change.value.change for change in changes)
        for change in changes:
            name = change.value.change
            if names[name] > 1:
                name = f"{name}[{os.path.relpath(change.path, path.parent)}]"
            yield self._item(name, scenario.scenario, environment, trial(change.path, path))
        if not changes and not self.config.getoption("readiness_change"):
            yield self._item(NO_CHANGE, scenario.scenario, environment, nothing_to_try(path))

    def _item(
        self, name: str, scenario: str, environment: Path, function: Callable[..., None]
    ) -> pytest.Item:
        item: ScenarioItem = ScenarioItem.from_parent(self, name=name, callobj=function)
        item.title = f"scenario {scenario}, change {name}"
        known = {line.partition(":")[0].partition("(")[0] for line in self.config.getini("markers")}
        if "xdist_group" in known:
            item.add_marker(pytest.mark.xdist_group(str(environment)))
        if "timeout" in known:
            # Every wait of a run has a limit of its own, and its length depends on the scenario. A limit from outside ends
            # the process at once and leaves containers behind.
            item.add_marker(pytest.mark.timeout(0))
        return item

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> str | TerminalRepr:  # type: ignore[override]
        return message_of(excinfo.value, self.path) or super().repr_failure(excinfo)


class ScenarioItem(pytest.Function):
    """One scenario with one change. `title` names both in headings."""

    title = ""

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, self.title

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> str | TerminalRepr:  # type: ignore[override]
        return message_of(excinfo.value, self.path) or super().repr_failure(excinfo)


class UntriedChange(pytest.Item):
    """A change that was asked for although nothing that was collected belongs to it: fails, and says so."""

    def runtest(self) -> None:
        raise DefinitionError.at(
            self.name,
            "none of the scenarios collected is named by this change",
            "give pytest the scenarios in its `scenarios:`, or leave out --readiness-change",
        )

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, self.name

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> str | TerminalRepr:  # type: ignore[override]
        return message_of(excinfo.value, self.path) or super().repr_failure(excinfo)


def trial(change: Path, scenario: Path) -> Callable[[StartRun], None]:
    """The test itself."""
    wanted = change.absolute(), scenario.absolute()

    def readiness(readiness_run: StartRun) -> None:
        results = readiness_run(wanted[0], scenario=wanted[1])
        worrying = [result for result in results if result.verdict.verdict.value != "READY"]
        if worrying or not results:
            raise NotReadyError(worrying)

    return readiness


def nothing_to_try(scenario: Path) -> Callable[[], None]:
    """The test of a scenario that no change names."""

    def readiness() -> None:
        raise DefinitionError.at(
            scenario,
            "no change names this scenario, so there is nothing to try it with",
            f"list it under `scenarios:` of a *{CHANGE_SUFFIX} file in {scenario.parent} or below, "
            "or give one with --readiness-change FILE",
        )

    return readiness


# changes --------------------------------------------------------------------------------------------------------------


def changes_for(scenario: Path, config: pytest.Config) -> list[Loaded[Change]]:
    """The changes to try a scenario with. Raises one DefinitionError with what is wrong in any that may name it."""
    from harness.loading import load_change

    given = given_changes(config)
    problems: list[Problem] = []
    found = []
    for path in given or change_files(scenario.parent, config.getini("norecursedirs")):
        try:
            change = load_change(path)
        except DefinitionError as error:
            if may_name(path, scenario):
                problems += error.problems
            continue
        if any(same_file(path.parent / named, scenario) for named in change.value.scenarios):
            found.append(change)
    if problems:
        raise DefinitionError(problems)
    config.stash.setdefault(TRIED, set()).update(change.path for change in found)
    return found


def given_changes(config: pytest.Config) -> list[Path]:
    """The changes asked for by option, relative to where pytest was started; each once."""
    folder = config.invocation_params.dir
    return list(dict.fromkeys(as_typed(folder / given) for given in config.getoption("readiness_change")))


def change_files(folder: Path, skipped: list[str]) -> list[Path]:
    """Change files in the folder and below, but for reports and the folders that pytest does not enter either."""
    found: list[Path] = []
    for place, folders, files in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if not any(fnmatch.fnmatch(name, pattern) for pattern in skipped)
            and not is_report(Path(place, name))
        ]
        found += [as_typed(Path(place, name)) for name in files if name.endswith(CHANGE_SUFFIX)]
    return sorted(found)


def is_report(folder: Path) -> bool:
    """Whether the folder is a report: it holds copies of the definitions that it is about."""
    return (folder / "manifest.json").is_file() and (folder / "verdict.json").is_file()


def may_name(change: Path, scenario: Path) -> bool:
    """Whether a change that is wrong somewhere belongs to the scenario, or nobody can tell."""
    from harness.yaml_source import read_yaml

    try:
        named: Any = read_yaml(change).value.get("scenarios")
    except DefinitionError:
        return True
    if not isinstance(named, list) or not all(isinstance(item, str) for item in named):
        return True
    paths = [change.parent / item for item in named]
    return any(same_file(path, scenario) or not path.is_file() for path in paths)


def same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def require_changes(config: pytest.Config) -> None:
    """Every change asked for by option can be read. Raises UsageError."""
    from harness.loading import load_change

    problems: list[Problem] = []
    for path in given_changes(config):
        try:
            load_change(path)
        except DefinitionError as error:
            problems += error.problems
    if problems:
        raise pytest.UsageError(f"--readiness-change\n{DefinitionError(problems)}")


def untried_changes(session: pytest.Session) -> list[pytest.Item]:
    """An item that fails for each change that was asked for in vain."""
    tried = session.config.stash.get(TRIED, set())
    return [
        UntriedChange.from_parent(session, name=str(path), nodeid=path.as_posix())
        for path in given_changes(session.config)
        if path not in tried
    ]


# messages -------------------------------------------------------------------------------------------------------------


def message_of(error: BaseException, path: Path) -> TerminalRepr | None:
    """The message in place of a traceback, for what is not the fault of any code; None for all else."""
    if not isinstance(error, NotReadyError | ReadinessError):
        return None
    from _pytest._code.code import ReprEntry, ReprExceptionInfo, ReprFileLocation, ReprTraceback

    text = str(error)
    line = 1
    if isinstance(error, DefinitionError) and error.problems:
        where = error.problems[0].where
        path, line = Path(where.file), where.line or 1
    entry = ReprEntry(text.splitlines(), None, None, None, "value")
    return ReprExceptionInfo(
        reprtraceback=ReprTraceback([entry], None, "value"), reprcrash=ReprFileLocation(str(path), line, text)
    )
