"""From files to a `Prepared` run: load every definition, check them against each other, compile the plan.

Takes the paths a user gave, gives everything that a run needs, or raises one DefinitionError with all problems of all
files. Nothing is started here; the only thing built is the dataset bundle (from its cache when it is there).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from pydantic import BaseModel, ValidationError

import synthetic
from harness import faults
from harness.checks import CheckOrder, Frame, Origin, parameters_model, plan_checks, validate_parameters
from harness.crosscheck import change_fits, entry_fits, seeding_fits
from harness.environment.services import ArmService, arm_services
from harness.errors import DefinitionError, Problem
from harness.loading import (
    Loaded,
    beside,
    load_dataset,
    load_environment,
    load_policy,
    load_scenario,
    problems_of,
    resolve,
)
from harness.model.change import Change
from harness.model.dataset import Dataset
from harness.model.environment import Environment
from harness.model.plan import Arm, FaultWindow, Plan, PlannedCheck
from harness.model.policy import Policy
from harness.model.recording import Traffic
from harness.model.scenario import CheckRequest, FaultUnit, Scenario
from harness.recording.load import load_recording, recording_files, session_rules, texts_of
from harness.recording.pace import PaceError, lay
from harness.recording.sessions.rules import SessionRules
from harness.timeline import Machine, choose_mode, lay_units, take_turns, unit_length_ns, unit_name

if TYPE_CHECKING:
    from synthetic import DatasetBundle

M = TypeVar("M", bound=BaseModel)
A = TypeVar("A")
NOTHING_TO_LOOK_AT = (
    "leave it out, or give the scenario what it looks at: faults, services that are called over HTTP, "
    "a `dataset:` with labels, an `answers:` schema"
)
ARMS = (Arm.BASELINE, Arm.CONTROL, Arm.CANDIDATE)


@dataclass(frozen=True)
class Prepared:
    """One change under one scenario, ready to run. `definitions` are the sources as used, by name in the bundle."""

    change: Change
    environment: Environment
    environment_folder: Path
    scenario: Scenario
    policy: Policy
    plan: Plan
    recording: Traffic
    sessions: SessionRules | None
    dataset: DatasetBundle | None
    services: Mapping[Arm, Mapping[str, ArmService]]
    answers_schema: dict[str, Any] | None
    definitions: Mapping[str, bytes]


def machine() -> Machine:
    """What this process may use of this machine."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(cpus=len(os.sched_getaffinity(0)), memory_bytes=pages)


def scenario_paths(change: Loaded[Change], chosen: Sequence[Path]) -> tuple[Path, ...]:
    """The scenarios that a change must pass, or those that the user chose among or beside them."""
    if chosen:
        return tuple(chosen)
    return tuple(
        resolve(change, ("scenarios", index), relative)
        for index, relative in enumerate(change.value.scenarios)
    )


def prepare(
    change: Loaded[Change],
    scenario_path: Path,
    policy_path: Path | None,
    seed: int,
    progress: Callable[[str], None],
) -> Prepared:
    """Load, check, compile. Raises DefinitionError with every problem found."""
    files = _load(change, scenario_path, policy_path)
    scenario, environment = files.scenario, files.environment
    problems = Problems()
    windows = _windows(scenario, environment, problems)
    schema = _answers_schema(scenario, problems)
    problems.raise_if_any()
    dataset = None
    if files.dataset is not None:
        dataset = synthetic.find_or_build(files.dataset.path, files.dataset.value, progress)
    recording_path = resolve(scenario, ("recording",), scenario.value.recording)
    recording = load_recording(recording_path, dataset.table if dataset is not None else None)
    _sendable(scenario, recording, problems)
    sessions = session_rules(recording)
    recording = _paced(scenario, recording, problems)
    _long_enough(scenario, recording, problems)
    units = lay_units(scenario.value, recording.offsets_ns(), windows)
    mode, reason = choose_mode(environment.value, len(ARMS), machine(), scenario.value.workers)
    frame = Frame(
        environment=environment.value,
        units=units,
        arms=ARMS,
        entry=scenario.value.entry,
        changed_services=tuple(change.value.services),
        has_labels=dataset is not None,
        has_answers_schema=schema is not None,
    )
    checks = _checks(change, scenario, frame, problems)
    problems.raise_if_any()
    plan = Plan(
        change=change.value.change,
        scenario=scenario.value.scenario,
        environment=environment.value.environment,
        entry=scenario.value.entry,
        seed=seed,
        mode=mode,
        mode_reason=reason,
        arms=ARMS,
        units=units,
        turns=take_turns(units, ARMS, mode, seed),
        checks=checks,
        recording_digest=recording.digest,
        workers=scenario.value.workers,
        dataset_digest=dataset.digest if dataset is not None else None,
    )
    return Prepared(
        change=change.value,
        environment=environment.value,
        environment_folder=environment.path.parent,
        scenario=scenario.value,
        policy=files.policy.value,
        plan=plan,
        recording=recording,
        sessions=sessions,
        dataset=dataset,
        services={arm: _services(environment, change, arm) for arm in ARMS},
        answers_schema=schema,
        definitions=_sources(change, files, recording_path),
    )


@dataclass(frozen=True)
class _Files:
    """The definitions of one scenario, loaded and checked against each other."""

    scenario: Loaded[Scenario]
    environment: Loaded[Environment]
    dataset: Loaded[Dataset] | None
    policy: Loaded[Policy]


def _load(change: Loaded[Change], scenario_path: Path, policy_path: Path | None) -> _Files:
    """All files that a scenario leads to; the problems of all of them at once."""
    problems = Problems()
    policy = problems.collected(load_policy, policy_path)
    scenario = problems.collected(load_scenario, scenario_path)
    environment, dataset = None, None
    if scenario is not None:
        said = scenario.value
        environment = problems.collected(load_environment, beside(scenario, said.environment))
        if said.dataset is not None:
            dataset = problems.collected(load_dataset, beside(scenario, said.dataset))
    if scenario is not None and environment is not None:
        problems.found += change_fits(change, environment) + entry_fits(scenario, environment)
        if dataset is not None or scenario.value.dataset is None:
            problems.found += seeding_fits(scenario, environment, dataset)
    problems.raise_if_any()
    if scenario is None or environment is None or policy is None:
        raise AssertionError("a file that could not be loaded has left a problem")
    return _Files(scenario, environment, dataset, policy)


def _services(environment: Loaded[Environment], change: Loaded[Change], arm: Arm) -> Mapping[str, ArmService]:
    return arm_services(environment.value, environment.path.parent, change.value, change.path.parent, arm)


def _sources(change: Loaded[Change], files: _Files, recording_path: Path) -> dict[str, bytes]:
    """Every definition as it was used, by its file's name; files of one name in several folders are told apart."""
    sources: dict[str, bytes] = {}
    loaded: tuple[Loaded[Any] | None, ...] = (
        change,
        files.scenario,
        files.environment,
        files.dataset,
        files.policy,
    )
    named = [(item.path.name, item.source) for item in loaded if item is not None]
    named += [(path.name, path.read_bytes()) for path in recording_files(recording_path)]
    for name, source in named:
        unique, number = name, 2
        while sources.get(unique, source) != source:
            unique, number = f"{number}-{name}", number + 1
        sources[unique] = source
    return sources


class Problems:
    """Collects what is wrong, each at its place in its file."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def add(self, loaded: Loaded[Any], loc: tuple[str | int, ...], what: str, fix: str) -> None:
        self.found.append(Problem(loaded.locate(loc), what, fix))

    def add_invalid(
        self,
        error: ValidationError,
        loaded: Loaded[Any],
        prefix: tuple[str | int, ...],
        model: type[BaseModel],
    ) -> None:
        """What pydantic said about open parameters, at their place."""
        self.found += problems_of(error, loaded, prefix, model)

    def collected(self, load: Callable[[A], Loaded[M]], path: A) -> Loaded[M] | None:
        """What `load` gives; None when it found problems, which are collected."""
        try:
            return load(path)
        except DefinitionError as error:
            self.found += error.problems
            return None

    def raise_if_any(self) -> None:
        if self.found:
            raise DefinitionError(self.found)


def fault_windows(
    scenario: Loaded[Scenario], environment: Loaded[Environment]
) -> tuple[FaultWindow | None, ...]:
    """One item per unit of the timeline, None for a steady one. Raises DefinitionError with all problems."""
    problems = Problems()
    problems.found += entry_fits(scenario, environment)
    windows = _windows(scenario, environment, problems)
    problems.raise_if_any()
    return tuple(windows)


def _windows(
    scenario: Loaded[Scenario], environment: Loaded[Environment], problems: Problems
) -> list[FaultWindow | None]:
    """One item per unit of the timeline; problems are collected, not raised."""
    windows: list[FaultWindow | None] = []
    for index, item in enumerate(scenario.value.timeline):
        window = None
        if isinstance(item, FaultUnit):
            loc = ("timeline", index)
            if _target_fits(item, scenario, environment.value, loc, problems):
                window = _window(scenario, index, item, problems)
        windows.append(window)
    return windows


def _target_fits(
    item: FaultUnit,
    scenario: Loaded[Scenario],
    environment: Environment,
    loc: tuple[str | int, ...],
    problems: Problems,
) -> bool:
    """The fault exists, and what it is aimed at exists and is of the right sort."""
    before = len(problems.found)
    try:
        wanted = faults.make_fault(item.fault).targets
    except KeyError:
        known = ", ".join(faults.fault_names())
        problems.add(scenario, (*loc, "fault"), f"unknown fault {item.fault!r}", f"known: {known}")
        return False
    given = {"edge": item.edge, "service": item.service}
    other = "service" if wanted == "edge" else "edge"
    if given[wanted] is None:
        problems.add(
            scenario, loc, f"fault {item.fault!r} needs `{wanted}:`", f"name the {wanted} it is aimed at"
        )
    if given[other] is not None:
        problems.add(
            scenario,
            (*loc, other),
            f"fault {item.fault!r} is aimed at a {wanted}",
            f"use `{wanted}:` instead",
        )
    names = {
        "edge": [edge.name for edge in environment.all_edges()],
        "service": list(environment.services),
    }
    target = given[wanted]
    if target is not None and target not in names[wanted]:
        problems.add(
            scenario,
            (*loc, wanted),
            f"no {wanted} {target!r} in environment {environment.environment!r}",
            f"it has: {', '.join(names[wanted])}",
        )
    return len(problems.found) == before


def _window(
    scenario: Loaded[Scenario], index: int, item: FaultUnit, problems: Problems
) -> FaultWindow | None:
    try:
        parameters = faults.validate_parameters(item.fault, item.parameters())
    except ValidationError as error:
        problems.add_invalid(error, scenario, ("timeline", index), faults.make_fault(item.fault).parameters)
        return None
    fault = faults.make_fault(item.fault)
    start_ns = scenario.value.warmup.ns + item.before.ns
    return FaultWindow(
        name=unit_name(scenario.value, index),
        fault=item.fault,
        level=fault.level,
        edge=item.edge,
        service=item.service,
        parameters=parameters,
        start_ns=start_ns,
        stop_ns=start_ns + item.duration.ns,
        cuts=fault.cuts,
    )


def _answers_schema(scenario: Loaded[Scenario], problems: Problems) -> dict[str, Any] | None:
    if scenario.value.answers is None:
        return None
    path = resolve(scenario, ("answers",), scenario.value.answers)
    try:
        schema = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        problems.add(scenario, ("answers",), f"{path.name} is no JSON: {error}", "give a JSON Schema file")
        return None
    if not isinstance(schema, dict):
        problems.add(scenario, ("answers",), f"{path.name} is no JSON object", "give a JSON Schema file")
        return None
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        what = f"{path.name} is no JSON Schema: {error.message[:120]} at {error.json_path}"
        problems.add(scenario, ("answers",), what, "correct it (draft 2020-12)")
        return None
    return schema


def _sendable(scenario: Loaded[Scenario], recording: Traffic, problems: Problems) -> None:
    """All of it goes to the scenario's entry, over HTTP/1.x: what was sent to several hosts was not meant for one."""
    hosts = sorted(texts_of(recording, "host"))
    if len(hosts) > 1:
        named = ", ".join(hosts[:3]) + (f" and {len(hosts) - 3} more" if len(hosts) > 3 else "")
        what = f"the recording was sent to {len(hosts)} hosts ({named}); all of it would go to one entry"
        problems.add(
            scenario, ("recording",), what, "keep one: `readiness record filter RECORDING --host HOST`"
        )
    newer = sorted(texts_of(recording, "http") & {"2", "3"})
    if newer:
        what = f"the recording has exchanges over HTTP/{' and HTTP/'.join(newer)}, which are not replayed"
        fix = "make one that says otherwise: `readiness record import … --http1`"
        problems.add(scenario, ("recording",), what, fix)


def _paced(scenario: Loaded[Scenario], recording: Traffic, problems: Problems) -> Traffic:
    """The recording at the scenario's pace."""
    try:
        return lay(recording, scenario.value.pace)
    except PaceError as error:
        problems.add(scenario, ("pace", "from"), str(error), "begin sooner, or leave `from` out")
        problems.raise_if_any()
        raise


def _long_enough(scenario: Loaded[Scenario], recording: Traffic, problems: Problems) -> None:
    needed_ns = sum(unit_length_ns(scenario.value, index) for index in range(len(scenario.value.timeline)))
    if recording.length_ns < needed_ns:
        problems.add(
            scenario,
            ("recording",),
            f"the recording is {recording.length_ns / 1e9:.1f} s long, the timeline needs {needed_ns / 1e9:.1f} s",
            "shorten the timeline or use a longer recording",
        )


def _checks(
    change: Loaded[Change], scenario: Loaded[Scenario], frame: Frame, problems: Problems
) -> tuple[PlannedCheck, ...]:
    """Evidence checks first, then the scenario's, then the change's own."""
    wanted: list[tuple[CheckOrder, Loaded[Any], tuple[str | int, ...]]] = []
    origins: tuple[tuple[Loaded[Any], str, Origin, tuple[CheckRequest, ...]], ...] = (
        (scenario, "checks", "scenario", scenario.value.checks),
        (change, "objectives", "change", change.value.objectives),
    )
    for loaded, key, origin, requests in origins:
        for index, request in enumerate(requests):
            try:
                parameters = validate_parameters(request.check, request.parameters())
            except ValidationError as error:
                problems.add_invalid(error, loaded, (key, index), parameters_model(request.check))
            except KeyError as error:
                problems.add(
                    loaded, (key, index, "check"), f"unknown check {request.check!r}", str(error.args[0])
                )
            else:
                order = CheckOrder(request.check, origin, parameters)
                wanted.append((order, loaded, (key, index, "check")))
    if problems.found:
        return ()
    planned = plan_checks([order for order, _, _ in wanted], frame)
    for item, (order, loaded, loc) in zip(planned[len(planned) - len(wanted) :], wanted, strict=True):
        if not item.findings:
            what = f"check {order.check!r} has nothing to look at in this scenario"
            problems.add(loaded, loc, what, NOTHING_TO_LOOK_AT)
    return planned
