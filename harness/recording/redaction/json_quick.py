"""JSON bodies the quick way: every string of the text in one pass, without building a tree.

Takes a text that is known to be JSON, gives it with replaced values, or None where that takes a tree: a rule with a JSONPath,
a secret name before a whole object, a member that is removed, a number that may be a card's, something to be reported with
its path. `json_text.py` then does it the long way.
"""

from __future__ import annotations

import json
import re
from typing import Any

from harness.recording.redaction.core import DULL_CHARS, Core, Place
from harness.recording.redaction.free_text import FreeText, edited, may_hold_pattern
from harness.recording.redaction.rules import Decision, Side

LEAST_CHARS = 6
"""A shorter text holds nothing that its format gives away."""
MOST_NAMES = 50_000
MOST_BLANK = 50_000

_STRING = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"(\s*:)?', re.DOTALL)
_NUMBER = re.compile(r"\s*(-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)")
_LONG_NUMBER = re.compile(r"[:\[,]\s*[0-9]{13}")
_TREE = re.compile(r"\s*[{\[]")


class QuickJson:
    """Looks at JSON texts of one side."""

    def __init__(self, core: Core, texts: FreeText, side: Side) -> None:
        self._core = core
        self._texts = texts
        self._side: Side = side
        self._of_name: dict[str, Decision | None] = {}
        self._blank: dict[re.Pattern[str], set[str]] = {}
        """Short strings in which that pattern finds nothing: bodies repeat them."""

    def redact(self, text: str) -> str | None:
        """None: it needs a tree."""
        core = self._core
        if core.decisions.json or (core.look.values and _LONG_NUMBER.search(text)):
            return None
        wanted = self._wanted(text)
        if not wanted:
            return text
        edits: list[tuple[int, int, str]] = []
        suspects = core.suspects
        pending: tuple[Decision, str] | None = None
        for match in _STRING.finditer(text):
            if pending is not None:
                self._named(match, pending, edits)
                pending = None
                continue
            both = match.groups("")
            if both not in wanted:
                continue
            raw, colon = both
            decision = self._of_name[raw] if colon else None
            if decision is not None:
                pending, possible = self._value_of(text, match, decision, edits)
                if not possible:
                    return None
            elif colon:
                self._name(match, edits)
            else:
                self._free(match, edits)
            if core.suspects != suspects:
                core.forget_suspects(suspects)
                return None
        return edited(text, edits)

    def _wanted(self, text: str) -> set[tuple[str, str]]:
        """Strings (and the colon behind those that are names) that may have to be changed."""
        core, of_name = self._core, self._of_name
        look = core.look
        free = look.free or bool(core.decisions.texts)
        pattern = may_hold_pattern(look, bool(core.decisions.texts), core.colons)
        may_hold, blank = pattern.search, self._blank.setdefault(pattern, set())
        if len(blank) > MOST_BLANK:
            blank.clear()
        least = 1 if core.decisions.texts else LEAST_CHARS
        wanted = set()
        for both in set(_STRING.findall(text)):
            raw, colon = both
            dull = core.dull_names if colon else core.dull
            if (colon and (of_name[raw] if raw in of_name else self._decide(raw)) is not None) or (
                free and len(raw) >= least and raw not in blank and raw not in dull and may_hold(raw)
            ):
                wanted.add(both)
            elif free and least <= len(raw) <= DULL_CHARS and raw not in dull:
                blank.add(raw)
        return wanted

    def _decide(self, raw: str) -> Decision | None:
        found = self._core.decisions.of("json", self._side, _spoken(raw))
        if len(self._of_name) < MOST_NAMES:
            self._of_name[raw] = found
        return found

    def _value_of(
        self, text: str, match: re.Match[str], decision: Decision, edits: list[tuple[int, int, str]]
    ) -> tuple[tuple[Decision, str] | None, bool]:
        """What stands behind a name: a string that comes next, a number at once, or a tree (False)."""
        if decision.action == "remove" or _TREE.match(text, match.end()):
            return None, False
        name = _spoken(match.group(1))
        number = _NUMBER.match(text, match.end())
        if number is not None and decision.action != "keep":
            new = self._core.apply(number.group(1), self._place(name), decision) or "0"
            edits.append((*number.span(1), new if _NUMBER.fullmatch(new) else json.dumps(new)))
        following = text[match.end() : match.end() + 64].lstrip()[:1]
        return ((decision, name) if following in ('"', "") else None), True

    def _named(
        self, match: re.Match[str], pending: tuple[Decision, str], edits: list[tuple[int, int, str]]
    ) -> None:
        decision, name = pending
        if decision.action == "keep" or not match.group(1):
            return
        self._edit(match, self._core.apply(_spoken(match.group(1)), self._place(name), decision) or "", edits)

    def _free(self, match: re.Match[str], edits: list[tuple[int, int, str]]) -> None:
        text, before = _spoken(match.group(1)), self._core.suspects
        if text[:1] in ("{", "["):  # JSON in JSON has a path of its own
            new = self.redact(text) if _is_json(text) else None
            new = self._texts.value(text, Place(self._side, "json")) if new is None else new
        else:
            new = self._texts.value(text, Place(self._side, "json"))
        if new == text:
            if self._core.suspects == before:
                self._core.is_dull(match.group(1))
        else:
            self._edit(match, new, edits)

    def _name(self, match: re.Match[str], edits: list[tuple[int, int, str]]) -> None:
        """Names may be private too: {"anna@mail.org": …}."""
        name = _spoken(match.group(1))
        new = self._texts.redact(
            name, Place(self._side, "json", "name of a member"), named=False, entropy=False
        )
        if new == name:
            self._core.is_dull(match.group(1), name=True)
        else:
            self._edit(match, new, edits)

    def _place(self, name: str) -> Place:
        """`$..name`, a JSONPath for it wherever it stands."""
        return Place(self._side, "json", lambda: f"$..{name}" if name.isidentifier() else f"$..['{name}']")

    def _edit(self, match: re.Match[str], new: str, edits: list[tuple[int, int, str]]) -> None:
        start, stop = match.span(1)
        spoken = json.dumps(new, ensure_ascii=match.group(1).isascii())
        edits.append((start - 1, stop + 1, spoken))


def _spoken(raw: str) -> str:
    """What a string of JSON says."""
    if "\\" not in raw:
        return raw
    try:
        said: Any = json.loads(f'"{raw}"', strict=False)
    except ValueError:
        return raw
    return str(said)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
