"""Durations and sizes as people write them in definition files: `300ms`, `2s`, `1m`, `128MiB`.

Takes a string (or `0`), gives a frozen value whose accessors carry the unit in their name. A bare number is
refused, because nobody can tell seconds from milliseconds when reading it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

_NUMBER = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*$")
_SIGNED = re.compile(r"^\s*-\s*\d")
_NS_PER = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_BYTES_PER = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}


def _parse(value: object, units: dict[str, int], example: str) -> int:
    """The value in the smallest unit; raises ValueError with the units that exist."""
    known = ", ".join(units)
    match = _NUMBER.match(value) if isinstance(value, str) else None
    if value == 0 and not isinstance(value, bool):
        return 0
    if match is None and isinstance(value, str) and _SIGNED.match(value):
        raise ValueError(f"{value!r} is less than nothing; write for example {example}")
    if match is None or match[2] not in units:
        raise ValueError(f"{value!r} has no unit that is known here ({known}); write for example {example}")
    return round(float(match[1]) * units[match[2]])


class _Quantity:
    """What `Duration` and `Size` share: reading from and writing to text under pydantic."""

    _example: str

    @classmethod
    def parse(cls, value: object) -> _Quantity:
        raise NotImplementedError

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.parse, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "examples": [cls._example]}


@dataclass(frozen=True, order=True)
class Duration(_Quantity):
    """A span of time, whole nanoseconds, never negative."""

    ns: int
    _example = "300ms"

    @property
    def ms(self) -> float:
        return self.ns / 1e6

    @property
    def s(self) -> float:
        return self.ns / 1e9

    @classmethod
    def of_s(cls, seconds: float) -> Duration:
        return cls(round(seconds * 1e9))

    @classmethod
    def parse(cls, value: object) -> Duration:
        """`'300ms'` and the like. Raises ValueError for anything else."""
        return value if isinstance(value, Duration) else cls(_parse(value, _NS_PER, "300ms or 2s"))

    def __str__(self) -> str:
        for unit, size in reversed(_NS_PER.items()):
            if self.ns and self.ns % size == 0:
                return f"{self.ns // size}{unit}"
        return "0s"


@dataclass(frozen=True, order=True)
class Size(_Quantity):
    """An amount of memory or disk, whole bytes, never negative."""

    bytes: int
    _example = "128MiB"

    @classmethod
    def parse(cls, value: object) -> Size:
        """`'128MiB'` and the like. Raises ValueError for anything else."""
        return value if isinstance(value, Size) else cls(_parse(value, _BYTES_PER, "128MiB or 1GiB"))

    def __str__(self) -> str:
        for unit, size in sorted(_BYTES_PER.items(), key=lambda item: -item[1]):
            if self.bytes and self.bytes % size == 0:
                return f"{self.bytes // size}{unit}"
        return "0B"
