"""From a file to a validated definition: every problem at once, each at its line, in the user's words.

Takes a path and a pydantic model, gives a `Loaded` with the value, the source as read and the way back from any part
of the value to its place in the file. Problems between files (an edge to nowhere, a missing image folder) are found by
`harness.crosscheck`.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from harness.errors import DefinitionError, Location, Problem
from harness.model.change import Change
from harness.model.dataset import Dataset
from harness.model.environment import Environment
from harness.model.policy import Policy
from harness.model.scenario import Scenario
from harness.yaml_source import Loc, YamlSource, read_yaml

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Loaded(Generic[M]):
    """A definition with its source. `yaml` is None for a built-in default that no file stands for."""

    value: M
    path: Path
    source: bytes
    yaml: YamlSource | None

    def locate(self, loc: Loc) -> Location:
        """Where that part of the definition stands."""
        return self.yaml.locate(loc) if self.yaml is not None else Location(str(self.path))


def load_definition(path: Path, model: type[M]) -> Loaded[M]:
    """Read and validate one file. Raises DefinitionError with all its problems."""
    source = read_yaml(path)
    try:
        value = model.model_validate(source.value)
    except ValidationError as error:
        raise DefinitionError(validation_problems(error, source, (), model)) from None
    return Loaded(value, path, source.content, source)


def load_environment(path: Path) -> Loaded[Environment]:
    """An environment that holds together: see `harness.crosscheck.environment_problems`."""
    from harness.crosscheck import environment_problems

    loaded = load_definition(path, Environment)
    _raise_if_any(environment_problems(loaded))
    return loaded


def load_scenario(path: Path) -> Loaded[Scenario]:
    from harness.crosscheck import scenario_problems

    loaded = load_definition(path, Scenario)
    _raise_if_any(scenario_problems(loaded))
    return loaded


def load_change(path: Path) -> Loaded[Change]:
    from harness.crosscheck import change_problems

    loaded = load_definition(path, Change)
    _raise_if_any(change_problems(loaded))
    return loaded


def load_dataset(path: Path) -> Loaded[Dataset]:
    return load_definition(path, Dataset)


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
    path = loaded.path.parent / relative
    if not path.exists():
        raise DefinitionError([missing_path(loaded, loc, relative)])
    return path


def missing_path(loaded: Loaded[Any], loc: Loc, relative: str) -> Problem:
    """What to say of a path that leads nowhere, with the nearest name that exists."""
    wanted = loaded.path.parent / relative
    beside = [item.name for item in wanted.parent.iterdir()] if wanted.parent.is_dir() else []
    close = difflib.get_close_matches(wanted.name, beside, 1)
    fix = f"did you mean {close[0]!r}?" if close else f"looked for {wanted}"
    return Problem(loaded.locate(loc), f"{relative!r} does not exist", fix)


def problems_of(
    error: ValidationError, loaded: Loaded[Any], prefix: Loc, model: type[BaseModel]
) -> list[Problem]:
    """Problems of a part that was validated later against its own model, such as a fault's parameters."""
    if loaded.yaml is None:
        return [Problem(Location(str(loaded.path)), item["msg"], "correct it") for item in error.errors()]
    return validation_problems(error, loaded.yaml, prefix, model)


def validation_problems(
    error: ValidationError, source: YamlSource, prefix: Loc, model: type[BaseModel]
) -> list[Problem]:
    """One problem for each thing pydantic found, in the order of the file."""
    problems = [_problem(item, source, prefix, model) for item in error.errors(include_url=False)]
    unique = {(str(problem.where), problem.what): problem for problem in problems}
    return sorted(unique.values(), key=lambda problem: (problem.where.line or 0, problem.where.column or 0))


def _problem(item: ErrorDetails, source: YamlSource, prefix: Loc, model: type[BaseModel]) -> Problem:
    loc: Loc = (*prefix, *item["loc"])
    kind, name = item["type"], str(item["loc"][-1]) if item["loc"] else ""
    if kind == "extra_forbidden":
        known = sorted(_keys_at(model, item["loc"][:-1]))
        close = difflib.get_close_matches(name, known, 1)
        fix = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"
        return Problem(source.key_location(loc), f"unknown key {name!r}", fix)
    if kind == "missing":
        return Problem(source.key_location(loc[:-1]), f"key {name!r} is missing here", f"add `{name}:`")
    given = item["input"]
    shown = "" if isinstance(given, dict | list) else f" {given!r}"
    message = item["msg"].removeprefix("Value error, ")
    if kind == "value_error":
        what, fix = (message, "correct it") if "; " not in message else tuple(message.split("; ", 1))
        return Problem(source.locate(loc), what, fix)
    return Problem(source.locate(loc), f"{name!r} cannot be{shown or ' this'}", _lower(message))


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


def _keys_at(model: type[BaseModel], loc: Sequence[str | int]) -> set[str]:
    """Keys that the model knows at this place; of all members where there is a union."""
    types_here: list[Any] = [model]
    for step in loc:
        types_here = [found for known in types_here for found in _step(known, step)]
    return {
        field.alias or name
        for known in types_here
        for part in _parts(known)
        if isinstance(part, type) and issubclass(part, BaseModel)
        for name, field in part.model_fields.items()
    }


def _step(known: Any, step: str | int) -> list[Any]:
    """Types that stand one step deeper; a step that is a union's tag stays where it is."""
    found: list[Any] = []
    for part in _parts(known):
        if isinstance(part, type) and issubclass(part, BaseModel):
            for name, field in part.model_fields.items():
                if step in (name, field.alias):
                    found.append(field.annotation)
        elif typing.get_origin(part) in (tuple, list, dict) and typing.get_args(part):
            found.append(typing.get_args(part)[-1 if typing.get_origin(part) is dict else 0])
    return found or [known]


def _parts(known: Any) -> list[Any]:
    """Members of a union, what an Annotated holds, or the type itself."""
    origin = typing.get_origin(known)
    if origin is typing.Annotated:
        return _parts(typing.get_args(known)[0])
    if origin in (typing.Union, types.UnionType):
        return [part for member in typing.get_args(known) for part in _parts(member)]
    return [known]


def _raise_if_any(problems: list[Problem]) -> None:
    if problems:
        raise DefinitionError(problems)
