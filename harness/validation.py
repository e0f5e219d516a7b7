"""Pydantic's findings as problems of a file: each at its line, in the user's words, once.

Takes a ValidationError and the YAML it is about, gives `Problem`s in the order of the file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from harness.errors import Location, Problem
from harness.model_paths import Place, find_place
from harness.wording import did_you_mean, in_words, listed
from harness.yaml_source import Loc, YamlSource

MOST_PROBLEMS = 50


@dataclass(frozen=True)
class _Item:
    """One of pydantic's errors, the place it leads to, and the keys that are known around it."""

    error: ErrorDetails
    place: Place
    known: tuple[str, ...]

    @property
    def kind(self) -> str:
        return self.error["type"]


def validation_problems(
    error: ValidationError,
    source: YamlSource,
    prefix: Loc,
    model: type[BaseModel],
    value: object,
    beside: Iterable[str] = (),
) -> list[Problem]:
    """One problem for each thing that is wrong.

    `value` is what was validated, found in the file at `prefix`; `beside` are keys that are known there as well.
    """
    items = [_item(item, model, value, tuple(beside)) for item in error.errors(include_url=False)]
    items = _without_echoes(_best_member(items))
    missing = [item for item in items if item.kind in ("missing", "union_tag_not_found")]
    problems = _missing(missing, source, prefix)
    problems += [_problem(item, source, prefix) for item in items if item not in missing]
    unique = {(str(problem.where), problem.what): problem for problem in problems}
    ordered = sorted(
        unique.values(), key=lambda problem: (problem.where.line or 0, problem.where.column or 0)
    )
    return [*ordered[:MOST_PROBLEMS], *_rest(ordered)]


def _item(error: ErrorDetails, model: type[BaseModel], value: object, beside: tuple[str, ...]) -> _Item:
    loc = error["loc"]
    known = find_place(model, loc[:-1], value).keys() if error["type"] == "extra_forbidden" else ()
    return _Item(error, find_place(model, loc, value), (*known, *beside) if len(loc) == 1 else known)


def _rest(problems: list[Problem]) -> list[Problem]:
    if len(problems) <= MOST_PROBLEMS:
        return []
    more = len(problems) - MOST_PROBLEMS
    where = Location(problems[0].where.file)
    return [Problem(where, f"{more} more problems like these", "put these right and try again")]


def _best_member(items: list[_Item]) -> list[_Item]:
    """Where a value fits no member of a union, pydantic tells of each: keep the one that got furthest."""
    groups: dict[Loc, list[_Item]] = defaultdict(list)
    kept = []
    for item in items:
        if item.place.member_at is None:
            kept.append(item)
        else:
            groups[item.error["loc"][: item.place.member_at]].append(item)
    for group in groups.values():
        kept += _furthest(group)
    return kept


def _furthest(group: list[_Item]) -> list[_Item]:
    members = {item.error["loc"][item.place.member_at or 0] for item in group}
    if len(members) == 1:
        return group
    depth = max(len(item.place.steps) for item in group)
    best = [item for item in group if len(item.place.steps) == depth]
    return best[:1] if len({item.place.steps for item in best}) == 1 else best


def _without_echoes(items: list[_Item]) -> list[_Item]:
    """A list whose items are all wrong also counts as too short; that is said already."""
    deeper = [item.error["loc"] for item in items]
    return [
        item
        for item in items
        if item.kind != "too_short"
        or not any(
            loc[: len(item.error["loc"])] == item.error["loc"] and loc != item.error["loc"] for loc in deeper
        )
    ]


def _missing(items: Iterable[_Item], source: YamlSource, prefix: Loc) -> list[Problem]:
    """All keys that are missing from one mapping, in one sentence."""
    by_place: dict[Loc, list[str]] = defaultdict(list)
    for item in items:
        if item.kind == "missing":
            by_place[(*prefix, *item.place.steps[:-1])].append(str(item.place.steps[-1]))
        else:
            key = str(item.error.get("ctx", {}).get("discriminator", "")).strip("'")
            by_place[(*prefix, *item.place.steps)].append(key)
    problems = []
    for loc, names in by_place.items():
        what = (
            f"key {listed(names)} is missing here"
            if len(names) == 1
            else f"keys {listed(names)} are missing here"
        )
        problems.append(
            Problem(source.key_location(loc), what, "add " + " and ".join(f"`{name}:`" for name in names))
        )
    return problems


def _problem(item: _Item, source: YamlSource, prefix: Loc) -> Problem:
    loc: Loc = (*prefix, *item.place.steps)
    if item.kind == "extra_forbidden":
        name = str(loc[-1])
        return Problem(source.key_location(loc), f"unknown key {name!r}", did_you_mean(name, item.known))
    if item.kind == "invalid_key" or (item.place.is_key and item.kind == "string_type"):
        where = source.key_location(loc)
        key = source.key_text(loc)
        return Problem(where, f"the key {key} is no text for YAML", f'write it in quotes: "{key}"')
    if item.place.is_key:
        where, text, name = source.key_location(loc), source.key_text(loc), "a key here"
    else:
        where, text, name = source.locate(loc), source.text(loc), _name(loc)
    error = item.error
    what, fix = in_words(item.kind, name, text, error["input"], error["msg"], error.get("ctx", {}))
    return Problem(where, what, fix)


def _name(loc: Loc) -> str:
    """What to call the value: its key, or its number in a list."""
    if not loc:
        return "this"
    if isinstance(loc[-1], int):
        keys = [step for step in loc if isinstance(step, str)]
        return f"item {loc[-1] + 1} of {keys[-1]!r}" if keys else f"item {loc[-1] + 1}"
    return repr(loc[-1])
