"""A quick look at the JSON of an answer: which of its values can matter, without a step for each of them.

Takes the parsed document, what requests carry and what the client had before; gives the values that a request carries,
and the places that give something for the first time. Values at the same place, such as one field of all items of a
list, are looked at together as a column: a set's own methods pass over them, and most columns hold nothing that counts.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from harness.recording.sessions.carried import Carried
from harness.recording.sessions.choosing import may_be_believed
from harness.recording.sessions.distinct import Strength, is_variable, strength
from harness.recording.sessions.json_leaves import json_path
from harness.recording.sessions.live import url_parts
from harness.recording.sessions.steps import Source

MOST_ITEMS = 256
"""Of a list; what comes later in it is not looked at."""

MOST_URL_CHARS = 4_096
MOST_WORDS = 256
"""So many values of one place are looked at for one that says something; after that the place is taken to give words
alone, as long as no request carries one of them."""

_INDEX = re.compile(r"\[\d+\]")
_URL = re.compile(r"(?:https?:)?//|/|\?")
_URL_STARTS = ("/", "?", "http://", "https://")


@dataclass(slots=True)
class Had:
    """The places where one route has given something to one client. `words`: how much was looked at in vain elsewhere."""

    json: set[str] = field(default_factory=set)
    other: set[tuple[Source, str]] = field(default_factory=set)
    words: dict[str, int] = field(default_factory=dict)

    def has(self, source: Source, general: str) -> bool:
        return general in self.json if source == "json" else (source, general) in self.other

    def note(self, source: Source, general: str) -> None:
        if source == "json":
            self.json.add(general)
        else:
            self.other.add((source, general))


@dataclass(slots=True)
class Glance:
    """`hits`: values (URLs whole) that count where they stand; `fresh`: places that give something for the first time."""

    hits: set[str | int] = field(default_factory=set)
    fresh: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Column:
    """All values at one place of a document: `path` with `[*]` for every index, `name` its last key."""

    path: str
    name: str
    values: Sequence[Any]


def glance(document: Any, carried: Carried, had: Had) -> Glance:
    """See the module's head. Numbers with a fraction or an exponent are passed over: they are never evidence."""
    found = Glance()
    waiting = [_Column("", "", (document,))]
    while waiting:
        column = waiting.pop()
        kinds = set(map(type, column.values))
        if dict in kinds or list in kinds:
            waiting += _inner(column, kinds)
        if str in kinds or int in kinds:
            _look(column, kinds, found, carried, had)
    return found


def _inner(column: _Column, kinds: set[type]) -> Iterator[_Column]:
    """The columns within: one for each key, one for the items of lists."""
    if not column.path.endswith("[*]") and is_variable(column.name):
        return  # rules cannot name what lies below a key that varies
    if dict in kinds:
        dicts = column.values if len(kinds) == 1 else [one for one in column.values if type(one) is dict]
        for key, values in _members(dicts):
            yield _Column(_child(column.path, key), key, values)
    if list in kinds:
        lists = [one[:MOST_ITEMS] for one in column.values if type(one) is list]
        items = lists[0] if len(lists) == 1 else list(itertools.chain.from_iterable(lists))
        yield _Column(f"{column.path}[*]", column.name, items)


def _members(dicts: Sequence[dict[str, Any]]) -> Iterable[tuple[str, Sequence[Any]]]:
    """The values of each key; fast where all have the same keys, as they nearly always have."""
    if len(set(map(len, dicts))) == 1:
        try:
            return [(key, list(map(itemgetter(key), dicts))) for key in dicts[0]]
        except KeyError:
            pass
    gathered: dict[str, list[Any]] = {}
    for one in dicts:
        for key, value in one.items():
            gathered.setdefault(key, []).append(value)
    return gathered.items()


@functools.lru_cache(maxsize=16_384)
def _child(path: str, key: str) -> str:
    step = _INDEX.sub("[*]", json_path((key,)))
    return f"{path}.{step}" if path and not step.startswith("[") else path + step


def _look(column: _Column, kinds: set[type], found: Glance, carried: Carried, had: Had) -> None:
    values, path = column.values, column.path or "$"
    if len(kinds) > 1:
        values = [value for value in values if type(value) is str or type(value) is int]
    if not carried.no_one_of(values):
        least = Strength.WEAK if may_be_believed(column.path) else Strength.STRONG
        name = column.name
        found.hits.update(value for value in carried.among(values) if strength(str(value), name) >= least)
    if path not in had.json and had.words.get(path, 0) < MOST_WORDS:
        others = [value for value in values if value not in found.hits]
        had.words[path] = had.words.get(path, 0) + len(others)
        if any(strength(str(value), column.name) is not Strength.NONE for value in others):
            found.fresh.add(path)
    if str in kinds:
        for value in values:
            if type(value) is str and value.startswith(_URL_STARTS):
                _look_into(value, path, found, carried, had)


def _look_into(url: str, path: str, found: Glance, carried: Carried, had: Had) -> None:
    """The parts of a value that is a URL."""
    for part, inner in parts_of_url(url):
        meaning = strength(inner, part)
        if meaning is Strength.NONE or part == "path":
            continue
        if inner in carried and (meaning is Strength.STRONG or may_be_believed(path)):
            found.hits.add(url)
        elif f"{path}|{part}" not in had.json:
            found.fresh.add(f"{path}|{part}")


def parts_of_url(value: str) -> tuple[tuple[str, str], ...]:
    """Names and decoded values of the parts of a value that is a URL; none where it is not."""
    return _parts(value) if len(value) <= MOST_URL_CHARS and _URL.match(value) else ()


@functools.lru_cache(maxsize=8_192)
def _parts(url: str) -> tuple[tuple[str, str], ...]:
    return tuple((part, inner) for part, inner, _, _ in url_parts(url))
