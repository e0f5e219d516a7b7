"""From a file to a validated definition: every problem at once, each at its line, in the user's words.

Takes a path and a pydantic model, gives a `Loaded` with the value, the source as read and the way back from any part
of the value to its place in the file. Problems between files (an edge to nowhere, a missing image folder) are found by
`harness.crosscheck`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from harness.errors import DefinitionError, Location, Problem
from harness.model.change import Change
from harness.model.dataset import Dataset
from harness.model.environment import Environment
from harness.model.policy import Policy
from harness.model.scenario import Scenario
from harness.model_paths import find_place
from harness.validation import validation_problems
from harness.wording import did_you_mean
from harness.yaml_source import Loc, YamlSource, read_yaml

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Loaded(Generic[M]):
    """A definition with its source. `yaml` is None for a built-in default that no file stands for."""

    value: M
    path: Path
    source: bytes
    yaml: YamlSource | None

    def locate(self, loc: Loc, key: bool = False) -> Location:
        """Where that part of the definition stands; `key` asks for its key rather than its value."""
        return self.yaml.locate(loc, key) if self.yaml is not None else Location(str(self.path))


def load_definition(path: Path, model: type[M]) -> Loaded[M]:
    """Read and validate one file. Raises DefinitionError with all its problems."""
    source = read_yaml(path)
    try:
        value = model.model_validate(source.value)
    except ValidationError as error:
        raise DefinitionError(validation_problems(error, source, (), model, source.value)) from None
    return Loaded(value, path, source.content, source)


def load_environment(path: Path) -> Loaded[Environment]:
    """An environment that holds together: see `harness.crosscheck.environment_problems`."""
    from harness.crosscheck import environment_problems

    return _holding_together(load_definition(path, Environment), environment_problems)


def load_scenario(path: Path) -> Loaded[Scenario]:
    """A scenario whose files exist: see `harness.crosscheck.scenario_problems`."""
    from harness.crosscheck import scenario_problems

    return _holding_together(load_definition(path, Scenario), scenario_problems)


def load_change(path: Path) -> Loaded[Change]:
    """A change that changes something: see `harness.crosscheck.change_problems`."""
    from harness.crosscheck import change_problems

    return _holding_together(load_definition(path, Change), change_problems)


def load_dataset(path: Path) -> Loaded[Dataset]:
    """A dataset definition whose parts fit each other: see `harness.crosscheck.dataset_problems`."""
    from harness.crosscheck import dataset_problems

    return _holding_together(load_definition(path, Dataset), dataset_problems)


def load_policy(path: Path | None) -> Loaded[Policy]:
    """The user's policy, or the built-in default."""
    if path is not None:
        return load_definition(path, Policy)
    policy = Policy()
    return Loaded(
        policy, Path("default.policy.json"), policy.model_dump_json(indent=1).encode() + b"\n", None
    )


def resolve(loaded: Loaded[Any], loc: Loc, relative: str) -> Path:
    """A path that a definition names, against the file's own folder. Raises DefinitionError when nothing is there."""
    path = beside(loaded, relative)
    if not exists(path):
        raise DefinitionError([missing_path(loaded, loc, relative)])
    return path


def beside(loaded: Loaded[Any], relative: str) -> Path:
    """The path that `relative` names in that file, without detours, as a user would type it."""
    return Path(os.path.normpath(loaded.path.parent / relative))


def exists(path: Path, kind: str = "any") -> bool:
    """Whether there is a file, a folder, or any of both; a name that no file system takes does not exist."""
    try:
        return {"any": path.exists, "file": path.is_file, "folder": path.is_dir}[kind]()
    except (OSError, ValueError):
        return False


def missing_path(loaded: Loaded[Any], loc: Loc, relative: str, kind: str = "any") -> Problem:
    """What to say of a path that leads nowhere, or to a folder where a file is meant."""
    wanted = loaded.path.parent / relative
    if kind != "any" and exists(wanted):
        other = "folder" if kind == "file" else "file"
        return Problem(loaded.locate(loc), f"{relative!r} is a {other}", f"name a {kind}")
    try:
        beside = [item.name for item in wanted.parent.iterdir()]
    except (OSError, ValueError):
        beside = []
    return Problem(
        loaded.locate(loc),
        f"{relative!r} does not exist",
        did_you_mean(wanted.name, beside, otherwise=f"paths are relative to this file; looked for {wanted}"),
    )


def problems_of(
    error: ValidationError,
    loaded: Loaded[Any],
    prefix: Loc,
    model: type[BaseModel],
) -> list[Problem]:
    """Problems of a part that was validated later against its own model, such as a fault's parameters."""
    if loaded.yaml is None:
        return [Problem(Location(str(loaded.path)), item["msg"], "correct it") for item in error.errors()]
    whole = loaded.yaml.value
    beside = find_place(type(loaded.value), prefix, whole).keys()
    return validation_problems(error, loaded.yaml, prefix, model, _value_at(whole, prefix), beside)


def _value_at(value: Any, loc: Loc) -> object:
    for step in loc:
        try:
            value = value[step]
        except (LookupError, TypeError):
            return None
    return value


def _holding_together(loaded: Loaded[M], problems_of_it: Callable[[Loaded[M]], list[Problem]]) -> Loaded[M]:
    """The definition itself, when nothing is wrong with it."""
    problems = problems_of_it(loaded)
    if problems:
        raise DefinitionError(problems)
    return loaded
