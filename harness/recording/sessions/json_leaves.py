"""Where each value stands in a JSON text, which the standard library's parser does not tell.

Takes the text, gives its leaves with path, value and place, so that one value can be replaced and every other byte
stays as it was recorded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

MOST_LEAVES = 20_000
_DEEPEST = 100
_SPACE = re.compile(r"[ \t\r\n]*+")
_STRING = re.compile(r'"([^"\\]*+(?:\\.[^"\\]*+)*+)"', re.DOTALL)
_SCALAR = re.compile(r"-?\d[\d.eE+-]*+|true|false|null")
_PLAIN_KEY = re.compile(r"[^.\[\]\"|]+")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A string (`start` and `stop` are inside its quotes, `value` is unescaped) or another scalar as written."""

    path: str
    value: str
    is_string: bool
    start: int
    stop: int


def json_leaves(text: str) -> list[Leaf]:
    """Its leaves in order, at most `MOST_LEAVES`. Raises ValueError for what is no JSON."""
    scan = _Scan(text)
    end = scan.value(scan.skip(1 if text.startswith("\ufeff") else 0), (), 0)
    if scan.skip(end) != len(text):
        raise ValueError("more than one document")
    return scan.leaves


def json_path(steps: Sequence[str | int]) -> str:
    """`a.b[0]["c.d"]`; `$` for the document itself."""
    path = ""
    for step in steps:
        if isinstance(step, int):
            path += f"[{step}]"
        elif _PLAIN_KEY.fullmatch(step):
            path += f".{step}" if path else step
        else:
            path += f"[{json.dumps(step)}]"
    return path or "$"


class _Scan:
    def __init__(self, text: str) -> None:
        self.text = text
        self.leaves: list[Leaf] = []

    def skip(self, at: int) -> int:
        space = _SPACE.match(self.text, at)
        return space.end() if space is not None else at

    def value(self, at: int, steps: tuple[str | int, ...], depth: int) -> int:
        """Reads the value at `at`; gives where it ends."""
        if depth > _DEEPEST or len(self.leaves) > MOST_LEAVES:
            raise ValueError("too deep or too large")
        first = self.text[at : at + 1]
        if first == "{":
            return self._members(at, steps, depth)
        if first == "[":
            return self._items(at, steps, depth)
        if first == '"':
            string = self._string(at)
            value = json.loads(string[0], strict=False) if "\\" in string[1] else string[1]
            self.leaves.append(Leaf(json_path(steps), value, True, string.start(1), string.end(1)))
            return string.end()
        scalar = _SCALAR.match(self.text, at)
        if scalar is None:
            raise ValueError(f"no value at {at}")
        self.leaves.append(Leaf(json_path(steps), scalar[0], False, scalar.start(), scalar.end()))
        return scalar.end()

    def _string(self, at: int) -> re.Match[str]:
        string = _STRING.match(self.text, at)
        if string is None:
            raise ValueError(f"no string at {at}")
        return string

    def _members(self, at: int, steps: tuple[str | int, ...], depth: int) -> int:
        at = self.skip(at + 1)
        if self.text[at : at + 1] == "}":
            return at + 1
        while True:
            name = self._string(at)
            key = json.loads(name[0], strict=False) if "\\" in name[1] else name[1]
            at = self.skip(name.end())
            if self.text[at : at + 1] != ":":
                raise ValueError(f"no colon at {at}")
            at = self.skip(self.value(self.skip(at + 1), (*steps, key), depth + 1))
            if self.text[at : at + 1] == "}":
                return at + 1
            at = self._comma(at)

    def _items(self, at: int, steps: tuple[str | int, ...], depth: int) -> int:
        at = self.skip(at + 1)
        if self.text[at : at + 1] == "]":
            return at + 1
        number = 0
        while True:
            at = self.skip(self.value(at, (*steps, number), depth + 1))
            if self.text[at : at + 1] == "]":
                return at + 1
            at = self._comma(at)
            number += 1

    def _comma(self, at: int) -> int:
        if self.text[at : at + 1] != ",":
            raise ValueError(f"no comma at {at}")
        return self.skip(at + 1)
