"""JSON bodies: members by name, JSONPath or format, in a text whose layout stays as it was.

Takes a JSON text, gives it with replaced values, or None where it is no JSON. Most JSON is written by machines in one of
a few layouts: it is read and written again by the standard library, after a trial that writing what was read gives the
same text. Any other text is read by `json_spans`, which remembers where each value stands.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from harness.recording.redaction.core import Core, Place
from harness.recording.redaction.free_text import FreeText, edited, may_hold_pattern
from harness.recording.redaction.json_quick import LEAST_CHARS, QuickJson
from harness.recording.redaction.json_spans import (
    SpannedFloat,
    SpannedInt,
    SpannedKey,
    SpannedText,
    read_spanned,
)
from harness.recording.redaction.rules import Decision, Side

MOST_DEPTH = 200
MOST_NAMES = 50_000
LEAST_CARD = 10**12
"""A smaller number is no card's."""
LAYOUTS: tuple[dict[str, Any], ...] = (
    {"separators": (",", ":")},
    {"separators": (", ", ": ")},
    {"indent": 2},
    {"indent": 4},
    {"indent": 2, "separators": (", ", ": ")},
)
DIGEST_NAMES = frozenset(
    [
        "hash",
        "etag",
        "digest",
        "checksum",
        "integrity",
        "sha",
        "sha1",
        "sha256",
        "sha512",
        "md5",
        "revision",
        "commit",
        "version",
        "cursor",
    ]
)
"""Members whose values look drawn by lot and are public."""

_COLON = re.compile(r'":( ?)')
Steps = tuple[str | int, ...]
_REMOVED = object()
EMPTIED = Decision("fixed")


class _OtherDigits(Exception):  # noqa: N818 - no error: another way to write the text is needed
    """A number would not be written with its digits."""


class JsonText:
    """Looks at JSON texts."""

    def __init__(self, core: Core, texts: FreeText) -> None:
        self._core = core
        self._texts = texts
        self._quick: dict[Side, QuickJson] = {
            "request": QuickJson(core, texts, "request"),
            "answer": QuickJson(core, texts, "answer"),
        }
        self.of_name: dict[Side, dict[str, Decision | None]] = {"request": {}, "answer": {}}

    def redact(self, text: str, side: Side, prefix: str = "$") -> str | None:
        """None: it is no JSON, or none that can be taken apart."""
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(document, dict | list):
            return None
        quick = self._quick[side].redact(text) if prefix == "$" else None
        if quick is not None:
            return quick
        layout = _layout(text, document)
        if layout is None:
            return self._spanned(text, side, prefix)
        walk = _Walk(self._core, self._texts, self, side, prefix, spanned=False)
        try:
            new = walk.root(document)
        except _OtherDigits:
            return self._spanned(text, side, prefix)
        if not walk.changed:
            return text
        written = json.dumps(new, **layout)
        return text[: len(text) - len(text.lstrip())] + written + text[len(text.rstrip()) :]

    def _spanned(self, text: str, side: Side, prefix: str) -> str | None:
        try:
            document = read_spanned(text)
        except (ValueError, RecursionError, IndexError):
            return None
        walk = _Walk(self._core, self._texts, self, side, prefix, spanned=True)
        walk.root(document)
        return edited(text, sorted(walk.edits))


class _Walk:
    """One document, changed in place. `edits` are what changed in the text, for documents that know their places."""

    def __init__(
        self, core: Core, texts: FreeText, nested: JsonText, side: Side, prefix: str, spanned: bool
    ) -> None:
        self._core = core
        self._texts = texts
        self._nested = nested
        self._side: Side = side
        self._look_free = core.look.free or bool(core.decisions.texts)
        self._least = 1 if core.decisions.texts else LEAST_CHARS
        self._may_hold = may_hold_pattern(core.look, bool(core.decisions.texts), core.colons).search
        self._of_name = nested.of_name[side]
        self._dull = core.dull
        self._prefix = prefix
        self._spanned = spanned
        self._steps: list[str | int] = []
        self._by_path: dict[Steps, Decision] = {}
        self.changed = False
        self.edits: list[tuple[int, int, str]] = []

    def root(self, document: Any) -> Any:
        self._by_path = self._paths(document)
        return self._node(document, None)

    def _paths(self, document: Any) -> dict[Steps, Decision]:
        """What the rules' JSONPaths find in it; the first rule decides."""
        found: dict[Steps, Decision] = {}
        for rule in self._core.decisions.json:
            if rule.within in ("both", self._side):
                for match in rule.find(document):
                    found.setdefault(_steps_of(match.full_path), rule.decision)
        return found

    def _node(self, node: Any, decision: Decision | None) -> Any:
        """`decision` is that of whatever holds the node."""
        if self._by_path:
            decision = self._by_path.get(tuple(self._steps), decision)
        if decision is not None and decision.action == "keep":
            return node
        if decision is not None and decision.action == "remove" and self._steps:
            self._core.tally.replaced(str(Place(self._side, "json", self._path)), "remove")
            self.changed = True
            if not (self._spanned and isinstance(node, dict | list)):
                return _REMOVED
            decision = EMPTIED  # where its end stands is not known: all that it holds goes
        if isinstance(node, dict):
            return self._object(node, decision)
        if isinstance(node, list):
            return self._list(node, decision)
        if decision is not None:
            return self._replaced(node, decision)
        return self._free(node) if self._look_free else node

    def _object(self, node: dict[str, Any], decision: Decision | None) -> dict[str, Any]:
        if len(self._steps) >= MOST_DEPTH:
            raise RecursionError
        renamed = False
        of_name = self._of_name
        for name, item in list(node.items()):
            own = of_name[name] if name in of_name else self._decide(name)
            kind = type(item)
            if (
                own is None
                and decision is None
                and not self._by_path
                and (kind is float or kind is bool or item is None or self._is_dull(kind, item))
            ):
                pass  # most values: no rule names them, and nothing can stand in them
            else:
                self._steps.append(name)
                new = self._node(item, own or decision)
                self._steps.pop()
                if new is _REMOVED:
                    del node[name]
                    self._edit(item, "null")
                elif new is not item:
                    node[name] = new
            renamed |= (
                self._look_free
                and len(name) >= self._least
                and name not in self._core.dull_names
                and self._new_name(name) != name
            )
        return self._with_new_names(node) if renamed else node

    def _decide(self, name: str) -> Decision | None:
        found = self._core.decisions.of("json", self._side, name.partition("\0")[0])
        if len(self._of_name) < MOST_NAMES:
            self._of_name[name] = found
        return found

    def _is_dull(self, kind: type, item: Any) -> bool:
        if kind is str:
            return not self._look_free or len(item) < self._least or item in self._dull
        if kind is int:
            return not self._look_free or -LEAST_CARD < item < LEAST_CARD
        return False

    def _new_name(self, name: str) -> str:
        """Names may be private too: {"anna@mail.org": …}."""
        place = Place(self._side, "json", "name of a member")
        before = self._core.suspects
        new = self._texts.redact(str(name), place, named=False, entropy=False)
        if new == name and self._core.suspects == before:
            self._core.is_dull(name, name=True)
        return new

    def _with_new_names(self, node: dict[str, Any]) -> dict[str, Any]:
        self.changed = True
        renamed: dict[str, Any] = {}
        for name, item in node.items():
            new = self._new_name(name)
            if new != name and isinstance(name, SpannedKey):
                self.edits.append((name.start, name.stop, json.dumps(new)))
            renamed[new] = item
        return renamed

    def _list(self, node: list[Any], decision: Decision | None) -> list[Any]:
        if len(self._steps) >= MOST_DEPTH:
            raise RecursionError
        for number, item in enumerate(node):
            self._steps.append(number)
            new = self._node(item, decision)
            if new is _REMOVED:
                self._edit(item, "null")
                new = None
            if new is not item:
                node[number] = new
            self._steps.pop()
        return node

    def _replaced(self, node: Any, decision: Decision) -> Any:
        """A text for a text and a number for a number; true, false and null say too little to be hidden."""
        if node is None or isinstance(node, bool) or node == "":
            return node
        place = Place(self._side, "json", self._path)
        if isinstance(node, str):
            return self._new(node, self._core.apply(str(node), place, decision) or "")
        spelled = node.spelled if isinstance(node, SpannedInt | SpannedFloat) else json.dumps(node)
        self._core.tally.replaced(str(place), decision.action)
        if decision.action == "fixed":
            return self._new(node, _fixed_number(decision.value))
        return self._new(node, _number(self._core.pseudonym(spelled), node))

    def _free(self, node: Any) -> Any:
        """A value that no rule names."""
        if isinstance(node, str):
            if len(node) < self._least:
                return node
            text = str(node)
            if text in self._dull or not self._may_hold(text):
                return node
            before = self._core.suspects
            new = self._inside(text) if text[0] in "{[" else self._text(text)
            if new == text and self._core.suspects == before:
                self._core.is_dull(text)
            return self._new(node, new)
        if isinstance(node, bool) or node is None or not isinstance(node, int) or abs(node) < LEAST_CARD:
            return node
        spelled = node.spelled if isinstance(node, SpannedInt) else str(node)
        return self._new(node, _number(self._text(spelled), node))

    def _inside(self, text: str) -> str:
        """A JSON document in a text."""
        new = self._nested.redact(text, self._side, prefix=f"{self._path()}→$")
        return self._text(text) if new is None else new

    def _text(self, text: str) -> str:
        name = next((step for step in reversed(self._steps) if isinstance(step, str)), "")
        entropy = not DIGEST_NAMES.intersection(name.lower().replace("-", "_").split("_"))
        return self._texts.value(text, Place(self._side, "json", self._path), entropy=entropy)

    def _new(self, node: Any, new: Any) -> Any:
        if new == (str(node) if isinstance(node, str) else node) and type(new) is not bool:
            return node
        self.changed = True
        self._edit(node, new if isinstance(new, _Spelled) else json.dumps(new))
        if not isinstance(new, _Spelled):
            return new
        if not self._spanned and json.dumps(new.number) != new.text:
            raise _OtherDigits
        return new.number

    def _edit(self, node: Any, literal: Any) -> None:
        """For a document that knows where its values stand."""
        if isinstance(node, SpannedText | SpannedInt | SpannedFloat):
            self.edits.append(
                (node.start, node.stop, literal.text if isinstance(literal, _Spelled) else literal)
            )

    def _path(self) -> str:
        """A JSONPath that finds it, whatever its place in a list."""
        steps = (
            "[*]"
            if isinstance(step, int)
            else f".{step}"
            if step.isidentifier()
            else f"['{step.partition(chr(0))[0]}']"
            for step in self._steps
        )
        return self._prefix + "".join(steps)


class _Spelled:
    """A number and how it is written."""

    def __init__(self, text: str, number: int | float) -> None:
        self.text = text
        self.number = number


def _number(text: str, like: int | float) -> _Spelled | int | float:
    number: int | float = float(text) if isinstance(like, float) else int(text)
    if isinstance(number, float) and not math.isfinite(number):
        return like
    return _Spelled(text, number)


def _fixed_number(value: str) -> Any:
    """A number where it is one, else the text."""
    try:
        return _Spelled(value, float(value) if "." in value or "e" in value.lower() else int(value))
    except ValueError:
        return value


def _layout(text: str, document: Any) -> dict[str, Any] | None:
    """How to write `document` so that it is `text`; None: the standard library cannot."""
    stripped = text.strip()
    for layout in LAYOUTS:
        if not _may_be(layout, stripped):
            continue
        for ascii_only in (True, False) if stripped.isascii() else (False,):
            options = {**layout, "ensure_ascii": ascii_only}
            if json.dumps(document, **options) == stripped:
                return options
    return None


def _may_be(layout: dict[str, Any], text: str) -> bool:
    """A first look that costs next to nothing."""
    lined = "\n" in text[:8]
    if lined or "indent" in layout:
        return lined == ("indent" in layout)
    colon = _COLON.search(text)
    return colon is None or (colon.group(1) == " ") == (layout["separators"][1] == ": ")


def _steps_of(path: Any) -> Steps:
    """jsonpath-ng's path as keys and numbers."""
    from jsonpath_ng import Child, Fields, Index, Root

    if isinstance(path, Child):
        return (*_steps_of(path.left), *_steps_of(path.right))
    if isinstance(path, Fields):
        return tuple(path.fields)
    if isinstance(path, Index):
        return tuple(path.indices)
    if isinstance(path, Root):
        return ()
    return (str(path),)
