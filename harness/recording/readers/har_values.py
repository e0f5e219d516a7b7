"""Values of a HAR file as they were meant: exporters write null, "", -1 or nothing where they know nothing.

Takes what `json` made of them, gives texts, numbers, mappings and pairs of names and values; never fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def number(value: Any) -> float | None:
    """What is one, also where it is written as text; None for negative ones, which mean "not known" in HAR."""
    try:
        found = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else -1.0
    except (ValueError, OverflowError):
        return None
    return found if 0 <= found < 1e15 else None


def pairs_in(value: Any) -> list[tuple[str, str]]:
    """Headers, cookies, parameters: a list of `{"name", "value"}`, or, as some write it, one object."""
    if isinstance(value, dict):
        return [(name, _written(of)) for name, of in value.items()]
    if not isinstance(value, list):
        return []
    named = (mapping(item) for item in value)
    return [
        (item["name"], _written(item.get("value"))) for item in named if isinstance(item.get("name"), str)
    ]


def _written(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else ""
