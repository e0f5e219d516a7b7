"""One way to write JSON, so that equal content means equal bytes, and one strict way to read it back.

Gives `dump` (sorted keys, two-space indent, UTF-8, a line break at the end, no NaN) and `dump_line` (the same on one
line), and `parse`, which refuses what two readers could understand differently: duplicate keys, NaN, bytes that are
no UTF-8. Anyone can write the same bytes with `json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False)`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python


class BrokenFile(Exception):  # noqa: N818 - it names the thing found, as the errors of the project do
    """A file of a bundle that cannot be what it should be: `file` is its path in the bundle, `what` one sentence."""

    def __init__(self, file: str, what: str) -> None:
        self.file = file
        self.what = what
        super().__init__(f"{file}: {what}")


def jsonable(value: object) -> Any:
    """Plain JSON values: models by alias, enums by value, numpy scalars as numbers, NaN and infinity as null."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", by_alias=True, fallback=_plain)
    return _finite(to_jsonable_python(value, by_alias=True, fallback=_plain))


def _plain(value: object) -> object:
    item = getattr(value, "item", None)  # numpy scalars
    return item() if callable(item) else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def dump(value: object) -> bytes:
    """The canonical bytes of a JSON file."""
    text = json.dumps(jsonable(value), sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return _utf8(text + "\n")


def dump_line(value: object) -> bytes:
    """The canonical bytes of one line of JSON, with its line break."""
    text = json.dumps(
        jsonable(value), sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    return _utf8(text + "\n")


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", errors="replace")  # a lone surrogate has no UTF-8; "?" is what is left of it


def parse(file: str, data: bytes) -> Any:
    """The value of strict JSON. Raises BrokenFile naming `file`."""
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except RecursionError:
        raise BrokenFile(file, "is nested deeper than any file of a report") from None
    except ValueError as error:
        raise BrokenFile(file, f"is not JSON that can be read in one way only: {error}") from None


def _no_duplicates(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key {key!r} is there twice in one object")
        result[key] = value
    return result


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def parse_canonical(file: str, data: bytes) -> Any:
    """As `parse`, and the bytes must be the ones that `dump` writes."""
    value = parse(file, data)
    if dump(value) != data:
        raise BrokenFile(file, "is not in the canonical form that reports are written in")
    return value
