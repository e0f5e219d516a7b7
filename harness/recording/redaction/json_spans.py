"""Reads a JSON text into values that know where they stand in it, for texts that nobody would write again the same way.

Takes a text, gives dicts and lists of `SpannedText`, `SpannedInt`, `SpannedFloat`, booleans and None. A member that
stands twice is kept twice, the second under a name with a null character and a number behind it.
"""

from __future__ import annotations

import json
import re
from typing import Any

MOST_DEPTH = 200
_SPACE = re.compile(r"[ \t\n\r]*")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"', re.DOTALL)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_WORDS = {"t": ("true", True), "f": ("false", False), "n": ("null", None)}


class SpannedText(str):
    """A string at `text[start:stop]`, its quotes included."""

    __slots__ = ("start", "stop")
    start: int
    stop: int


class SpannedKey(SpannedText):
    """A member's name."""

    __slots__ = ()


class SpannedInt(int):
    """A whole number at `text[start:stop]`."""

    start: int
    stop: int
    spelled: str


class SpannedFloat(float):
    """Another number at `text[start:stop]`."""

    start: int
    stop: int
    spelled: str


def read_spanned(text: str) -> Any:
    """Raises ValueError, IndexError or RecursionError for what is no JSON."""
    value, end = _value(text, _space(text, 0), 0)
    if _space(text, end) != len(text):
        raise ValueError("more than one value")
    return value


def _space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _value(text: str, at: int, depth: int) -> tuple[Any, int]:
    char = text[at]
    if depth > MOST_DEPTH:
        raise RecursionError
    if char == "{":
        return _object(text, at, depth)
    if char == "[":
        return _list(text, at, depth)
    if char == '"':
        return _string(text, at, SpannedText)
    if char in _WORDS:
        word, value = _WORDS[char]
        if not text.startswith(word, at):
            raise ValueError("no word of JSON")
        return value, at + len(word)
    return _number(text, at)


def _string(text: str, at: int, kind: type[SpannedText]) -> tuple[SpannedText, int]:
    found = _STRING.match(text, at)
    if found is None:
        raise ValueError("a string that does not end")
    value = kind(json.loads(found.group()))
    value.start, value.stop = found.span()
    return value, found.end()


def _number(text: str, at: int) -> tuple[Any, int]:
    found = _NUMBER.match(text, at)
    if found is None:
        raise ValueError("no value")
    kind = SpannedFloat if found.group(1) or found.group(2) else SpannedInt
    value = kind(found.group())
    value.start, value.stop = found.span()
    value.spelled = found.group()
    return value, found.end()


def _list(text: str, at: int, depth: int) -> tuple[list[Any], int]:
    items: list[Any] = []
    at = _space(text, at + 1)
    if text[at] == "]":
        return items, at + 1
    while True:
        value, at = _value(text, at, depth + 1)
        items.append(value)
        at = _space(text, at)
        if text[at] == "]":
            return items, at + 1
        if text[at] != ",":
            raise ValueError("no comma")
        at = _space(text, at + 1)


def _object(text: str, at: int, depth: int) -> tuple[dict[str, Any], int]:
    members: dict[str, Any] = {}
    at = _space(text, at + 1)
    if text[at] == "}":
        return members, at + 1
    while True:
        name, at = _string(text, at, SpannedKey)
        at = _space(text, at)
        if text[at] != ":":
            raise ValueError("no colon")
        value, at = _value(text, _space(text, at + 1), depth + 1)
        members[_free_name(members, name)] = value
        at = _space(text, at)
        if text[at] == "}":
            return members, at + 1
        if text[at] != ",":
            raise ValueError("no comma")
        at = _space(text, at + 1)


def _free_name(members: dict[str, Any], name: SpannedText) -> SpannedText:
    if name not in members:
        return name
    number = 2
    while f"{name}\0{number}" in members:
        number += 1
    other = SpannedKey(f"{name}\0{number}")
    other.start, other.stop = name.start, name.stop
    return other
