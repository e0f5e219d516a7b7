"""Templates of a married recording: text with `{column}` in it, filled from one row of the dataset.

Takes templates as written, gives objects that know which columns they need and what a row makes of them. Only plain
`{column}` exists: no attributes, conversions or formats, so that a template cannot do more than name a column.
"""

from __future__ import annotations

import datetime as dt
import decimal
import math
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pydantic import JsonValue

Row = Mapping[str, Any]
"""One row of a table: column name -> Python value, as `pyarrow.Table.to_pylist` gives it."""


class EmptyValueError(ValueError):
    """A row has nothing in a column that a path, header, client or key needs."""


@dataclass(frozen=True)
class TextTemplate:
    """Text with `{column}` in it; `parts` alternate literal text and column names (None where there is none)."""

    parts: tuple[tuple[str, str | None], ...]

    @classmethod
    def parse(cls, text: str) -> TextTemplate:
        """Raises ValueError for a brace that is not closed and for anything but a column's name in braces."""
        try:
            fields = list(string.Formatter().parse(text))
        except ValueError as error:
            raise ValueError(f"{text!r}: {error}; write {{{{ and }}}} for braces that are meant") from error
        for _, name, form, conversion in fields:
            if name is not None and (form or conversion or not name):
                raise ValueError(f"{text!r}: only the name of a column may stand in braces")
        return cls(tuple((literal, name) for literal, name, _, _ in fields))

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(name for _, name in self.parts if name is not None)

    @property
    def only_column(self) -> str | None:
        """The column, when the template is nothing but one `{column}`."""
        if len(self.parts) == 1 and self.parts[0][0] == "":
            return self.parts[0][1]
        return None

    def fill(self, row: Row, escape: Callable[[str], str] = str) -> str:
        """The text for one row. Raises `EmptyValueError` naming the column that has no value."""
        return "".join(
            literal + (escape(_text(row, name)) if name is not None else "") for literal, name in self.parts
        )


def percent_encoded(value: str) -> str:
    """For a value within a path: everything but letters, digits and `-._~`."""
    return quote(value, safe="")


def _text(row: Row, column: str) -> str:
    value = json_value(row[column])
    if value is None:
        raise EmptyValueError(column)
    return str(value).lower() if isinstance(value, bool) else str(value)


def json_value(value: object) -> JsonValue:
    """A table's value as JSON has it: times as ISO text, decimals as numbers, NaN as null, the rest as it is.

    Raises ValueError for bytes and other kinds that JSON cannot say.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    if isinstance(value, dict):
        return {str(name): json_value(item) for name, item in value.items()}
    raise ValueError(f"{value!r} ({type(value).__name__}) has no form in JSON")


Loc = tuple[str | int, ...]


@dataclass(frozen=True)
class JsonTemplate:
    """A JSON document whose strings are templates; `columns` says which column is needed at which place in it."""

    fill: Callable[[Row], JsonValue]
    columns: tuple[tuple[str, Loc], ...]

    @classmethod
    def parse(cls, document: JsonValue, loc: Loc = ()) -> JsonTemplate:
        """Raises ValueError for a string that is no template. Keys of objects are literal."""
        if isinstance(document, str):
            return cls._of_text(TextTemplate.parse(document), loc)
        if isinstance(document, list):
            items = [cls.parse(item, (*loc, index)) for index, item in enumerate(document)]
            columns = tuple(column for item in items for column in item.columns)
            return cls(lambda row: [item.fill(row) for item in items], columns)
        if isinstance(document, dict):
            members = {name: cls.parse(item, (*loc, name)) for name, item in document.items()}
            columns = tuple(column for member in members.values() for column in member.columns)
            return cls(lambda row: {name: member.fill(row) for name, member in members.items()}, columns)
        return cls(lambda _: document, ())

    @classmethod
    def _of_text(cls, template: TextTemplate, loc: Loc) -> JsonTemplate:
        column = template.only_column
        if column is not None:
            return cls(lambda row: json_value(row[column]), ((column, loc),))
        return cls(template.fill, tuple((name, loc) for name in template.columns))
