"""Where pydantic's `loc` really leads: which of its steps stand in the file, and which models are known there.

Takes a model, a `loc` and the parsed value, gives a `Place`. A `loc` names the member of a union before it goes on, and
such a name may equal a key of the file (`fault` is both), so only the model's types tell them apart.
"""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from harness.yaml_source import Loc

KEY_MARK = "[key]"


@dataclass(frozen=True)
class Place:
    """A `loc` as it stands in the file.

    `is_key`: the key itself is wrong, not its value. `member_at` is how many steps of the `loc` lead up to the last
    name of a union's member, None where there is none.
    """

    steps: Loc
    models: tuple[type[BaseModel], ...]
    is_key: bool
    member_at: int | None

    def keys(self) -> tuple[str, ...]:
        """Keys that are known here, as a user writes them."""
        return tuple(
            dict.fromkeys(
                field.alias or name for model in self.models for name, field in model.model_fields.items()
            )
        )


def find_place(model: type[BaseModel], loc: Loc, value: object) -> Place:
    """Follow `loc` through the model's types and the parsed value side by side."""
    here: list[Any] = [model]
    named = True  # the member of the union at hand has been named already, or there is only one
    steps: list[str | int] = []
    member_at: int | None = None
    for index, step in enumerate(loc):
        if step == KEY_MARK and index == len(loc) - 1:
            return Place(tuple(steps), _models(here), True, member_at)
        if not named:
            here, named, member_at = _member(here, step), True, index
            continue
        exists, key = _in_value(value, here, step)
        deeper = [kind for known in here for kind in _below(known, step)]
        if exists or deeper or not here:
            steps.append(key)
        value = value[key] if exists else None  # type: ignore[index]
        here = [member for kind in deeper for member in _members(kind)]
        named = len(here) <= 1
    return Place(tuple(steps), _models(here), False, member_at)


def _models(here: list[Any]) -> tuple[type[BaseModel], ...]:
    return tuple(kind for kind in here if isinstance(kind, type) and issubclass(kind, BaseModel))


def _members(kind: Any) -> list[Any]:
    """The type itself, or a union's members without None, as pydantic counts them."""
    bare = _bare(kind)
    if typing.get_origin(bare) in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(bare) if member is not type(None)]
        return _members(members[0]) if len(members) == 1 else members
    return [kind]


def _bare(kind: Any) -> Any:
    """Without Annotated and without the name of a type alias."""
    while True:
        if typing.get_origin(kind) is typing.Annotated:
            kind = typing.get_args(kind)[0]
        elif hasattr(kind, "__value__"):
            kind = kind.__value__
        else:
            return kind


def _member(here: list[Any], name: str | int) -> list[Any]:
    """The union's member that pydantic calls `name`; all of them where none says so of itself."""
    found = [_bare(kind) for kind in here if name in _names(kind)]
    return found or [_bare(kind) for kind in here]


def _names(kind: Any) -> set[Any]:
    """What a member may be called: its tag, its class, or a literal that tells it apart."""
    names = {getattr(item, "tag", None) for item in getattr(kind, "__metadata__", ())}
    bare = _bare(kind)
    names.add(getattr(bare, "__name__", None))
    if isinstance(bare, type) and issubclass(bare, BaseModel):
        for field in bare.model_fields.values():
            if typing.get_origin(field.annotation) is typing.Literal:
                names.update(typing.get_args(field.annotation))
    return names - {None}


def _in_value(value: object, here: list[Any], step: str | int) -> tuple[bool, str | int]:
    """Whether the step stands in the value, and under which name: a field may be written by alias or by name."""
    if isinstance(value, list):
        return isinstance(step, int) and 0 <= step < len(value), step
    if not isinstance(value, dict):
        return False, step
    if step in value:
        return True, step
    for model in _models([_bare(kind) for kind in here]):
        for name, field in model.model_fields.items():
            if field.alias == step and name in value:
                return True, name
    return False, step


def _below(kind: Any, step: str | int) -> list[Any]:
    """Types one step below; none where the type does not tell."""
    bare = _bare(kind)
    if isinstance(bare, type) and issubclass(bare, BaseModel):
        return [field.annotation for name, field in bare.model_fields.items() if step in (name, field.alias)]
    origin, arguments = typing.get_origin(bare), typing.get_args(bare)
    if not arguments or origin in (typing.Union, types.UnionType, typing.Literal):
        return []
    if isinstance(origin, type) and issubclass(origin, dict):
        return [arguments[1]]
    if isinstance(step, int) and origin is tuple and Ellipsis not in arguments:
        return list(arguments[step : step + 1])
    return [arguments[0]] if isinstance(step, int) else []
