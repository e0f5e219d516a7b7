"""The words of messages about definitions: names that come close, and pydantic's findings in the user's terms.

Takes what pydantic says about one value, gives what is wrong and what to do. No positions, no files.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

MOST_NAMES = 20

NAME_PATTERN = "^[a-z0-9][a-z0-9._-]{0,62}$"
IDENTIFIER_PATTERN = "^[a-z_][a-z0-9_]{0,62}$"
PATTERNS = {
    NAME_PATTERN: "lower-case letters, digits, dots, dashes and underscores, at most 63, a letter or digit first",
    IDENTIFIER_PATTERN: "lower-case letters, digits and underscores, at most 63, no digit first",
}


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """`did you mean 'x'?` where one is near; else `otherwise`, or the list of what there is."""
    names = sorted(set(known))
    by_folded = {other.casefold(): other for other in reversed(names)}
    close = difflib.get_close_matches(name.casefold(), by_folded, 1)
    if close:
        return f"did you mean {by_folded[close[0]]!r}?"
    if otherwise:
        return otherwise
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"known here: {', '.join(names[:MOST_NAMES])}{more}" if names else "there is none here"


def listed(names: Iterable[str]) -> str:
    """`'a', 'b' and 'c'`"""
    quoted = [repr(name) for name in names]
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)


def in_words(
    kind: str, name: str, text: str | None, given: object, message: str, context: Mapping[str, Any]
) -> tuple[str, str]:
    """What is wrong with the value of `name` and what to do.

    `kind`, `message` and `context` are pydantic's; `text` is the single value as written, None for anything else.
    """
    from_pydantic = kind in _KNOWN_KINDS or message.startswith(("Input should", "String should"))
    if kind == "value_error" or not from_pydantic:
        return _own_words(message, name)
    if given is None:
        return f"{name} is empty", "give it a value, or leave the key out"
    if kind in _BOUNDS:
        many = context.get("actual_length", "that many")
        return f"{name} has {many} items", _must(message.partition(" after ")[0])
    shown = f"{text!r}" if text is not None else _shape(given)
    what = f"{name} cannot be {shown}"
    if kind == "string_type":
        fix = f'write it in quotes: "{text}"' if text is not None else "write one text"
        return what, fix
    if kind in {"literal_error", "enum"}:
        expected = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        return what, did_you_mean(str(text), expected) if expected else _must(message)
    if kind == "union_tag_invalid":
        expected = re.findall(r"'([^']*)'", str(context.get("expected_tags", "")))
        return what, did_you_mean(str(context.get("tag", "")), expected)
    if kind == "string_pattern_mismatch":
        pattern = str(context.get("pattern", ""))
        return what, f"allowed: {PATTERNS.get(pattern, f'what matches {pattern}')}"
    if kind in _SHAPES:
        return what, _SHAPES[kind].replace("VALUE", text or "item")
    return what, _must(message)


_BOUNDS = {"too_short", "too_long"}
_SHAPES = {
    "int_type": "write a whole number",
    "int_parsing": "write a whole number",
    "int_from_float": "write a whole number",
    "float_type": "write a number",
    "float_parsing": "write a number",
    "bool_type": "write true or false",
    "bool_parsing": "write true or false",
    "tuple_type": "write a list: [VALUE]",
    "list_type": "write a list: [VALUE]",
    "dict_type": "write `key: value` lines below it",
    "model_type": "write `key: value` lines below it",
    "model_attributes_type": "write `key: value` lines below it",
}
_KNOWN_KINDS = {*_BOUNDS, *_SHAPES, "string_type", "literal_error", "enum", "union_tag_invalid"}


def _own_words(message: str, name: str) -> tuple[str, str]:
    """A validator's own sentence: what is wrong, and after a semicolon what to do."""
    said = message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    what, _, fix = said.partition("; ")
    return what, fix or f"correct {name}"


def _shape(given: object) -> str:
    if isinstance(given, dict):
        return "a mapping of keys"
    if isinstance(given, list):
        return "a list" if given else "an empty list"
    return repr(given)


def _must(message: str) -> str:
    """`Input should be greater than 0` -> `it must be greater than 0`."""
    return re.sub(r"^[A-Z]\w* should", "it must", message)
