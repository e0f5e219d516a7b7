"""Request templates filled from the columns of a table, all rows at once.

Takes options as written and Arrow columns of text, gives columns of captured batches. `{COLUMN}` stands for the row's
value, as in a married recording (`harness/recording/templates.py`): in a path it is percent-encoded; a JSON text that is
nothing but one `{COLUMN}` becomes a number where the value is one, and a text otherwise. Each distinct value is looked
at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness.model.recording import check_headers, check_path
from harness.recording.problems import did_you_mean
from harness.recording.readers.columns import codes, constant, encoded, header_column, through
from harness.recording.templates import TextTemplate, percent_encoded

NO_HEADER = "a value holds what no header can carry"
EMPTY_PATH = "a column that the path needs is empty"

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_METHOD = re.compile(r"[A-Z]{1,16}")
_CONTROL = r"[\x00-\x08\x0a-\x1f\x7f]"

Write = Callable[[str], str]
Texts = Mapping[str, pa.Array]
Wrong = dict[int, str]


@dataclass(frozen=True)
class Pieces:
    """A text in pieces: what is written as it is, and columns with how their values are written."""

    parts: tuple[str | tuple[str, Write], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns that are needed."""
        return tuple(part[0] for part in self.parts if not isinstance(part, str))

    def fill(self, texts: Texts, count: int) -> pa.DictionaryArray:
        """The text of each row."""
        if not self.columns:
            return constant("".join(str(part) for part in self.parts), count)
        made = [part if isinstance(part, str) else _written(texts[part[0]], part[1]) for part in self.parts]
        return encoded(pc.binary_join_element_wise(*made, ""))


def _written(values: pa.Array, write: Write) -> pa.Array:
    column = encoded(values)
    written = pa.array([write(text) for text in column.dictionary.to_pylist()], pa.string())
    return written.take(column.indices)


def text_pieces(text: str, write: Write = str) -> Pieces:
    """A text template. Raises ValueError."""
    parts: list[str | tuple[str, Write]] = []
    for literal, name in TextTemplate.parse(text).parts:
        parts += [literal] if literal else []
        parts += [(name, write)] if name is not None else []
    return Pieces(tuple(parts))


def json_pieces(document: Any) -> Pieces:
    """A JSON document whose texts are templates, written compactly. Raises ValueError."""
    return Pieces(tuple(_json_parts(document)))


def _json_parts(document: Any) -> Iterator[str | tuple[str, Write]]:
    if isinstance(document, str):
        template = TextTemplate.parse(document)
        if template.only_column is not None:
            yield template.only_column, _json_value
            return
        yield '"'
        for literal, name in template.parts:
            yield _json_inner(literal)
            if name is not None:
                yield name, _json_inner
        yield '"'
    elif isinstance(document, dict):
        for place, (name, value) in enumerate(document.items()):
            yield f"{',' if place else '{'}{_json_text(name)}:"
            yield from _json_parts(value)
        yield "}" if document else "{}"
    elif isinstance(document, list):
        for place, value in enumerate(document):
            yield "," if place else "["
            yield from _json_parts(value)
        yield "]" if document else "[]"
    else:
        yield json.dumps(document, allow_nan=False)


def _json_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _json_inner(text: str) -> str:
    return _json_text(text)[1:-1]


def _json_value(text: str) -> str:
    return text if _NUMBER.fullmatch(text) else _json_text(text)


@dataclass(frozen=True)
class RequestTemplates:
    """The request that each row makes."""

    OPTIONS: ClassVar[tuple[str, ...]] = ("method", "path", "body", "client", "host", "key")

    method: str
    path: Pieces
    route: str
    body: Pieces | None
    headers: tuple[tuple[str, Pieces], ...]
    client: Pieces
    host: str
    key: str

    @classmethod
    def of(cls, options: Mapping[str, str], columns: Sequence[str]) -> RequestTemplates:
        """From the options. Raises ValueError with what is wrong and what to do."""
        method = options.get("method", "GET")
        if not _METHOD.fullmatch(method):
            raise ValueError(f"option method: {method!r} is no method in capitals", "write GET, POST, …")
        path = options.get("path", "/")
        named = {name.removeprefix("header."): text for name, text in options.items() if "." in name}
        try:
            check_path(path)
            headers = dict(check_headers(named.items()))
            body = _body(options.get("body"))
            pieces = {name: text_pieces(text) for name, text in headers.items()}
            client = text_pieces(options.get("client", ""))
            of_path = text_pieces(path, percent_encoded)
        except ValueError as error:
            raise ValueError(str(error), "correct the option") from error
        if body is not None and "content-type" not in pieces and _is_json(options["body"]):
            pieces["content-type"] = text_pieces("application/json")
        key = options.get("key", "")
        used = [*of_path.columns, *client.columns, *(body.columns if body else ()), *([key] if key else [])]
        used += [column for text in pieces.values() for column in text.columns]
        for column in used:
            if column not in columns:
                raise ValueError(f"no column {column!r}", did_you_mean(column, columns))
        route = path.partition("?")[0] if of_path.columns else ""
        host = options.get("host", "").lower()
        return cls(method, of_path, route, body, tuple(pieces.items()), client, host, key)

    def columns(self, texts: Texts, wrong: Wrong) -> dict[str, pa.Array]:
        """The columns of a captured batch, and by row why a request cannot be made."""
        count = len(next(iter(texts.values())))
        for column in dict.fromkeys(self.path.columns):
            _reject(encoded(texts[column]), lambda values: pc.equal(values, ""), EMPTY_PATH, wrong)
        columns: dict[str, pa.Array] = {
            "method": constant(self.method, count),
            "path": self.path.fill(texts, count),
            "route": constant(self.route, count),
            "client": self.client.fill(texts, count),
            "host": constant(self.host, count),
            "body": self._bodies(texts, count),
        }
        if self.key:
            columns["key"] = encoded(texts[self.key])
        if self.headers:
            sent = [(name, _latin_1(pieces.fill(texts, count))) for name, pieces in self.headers]
            for _, column in sent:
                _reject(column, lambda values: pc.match_substring_regex(values, _CONTROL), NO_HEADER, wrong)
            columns["headers"] = header_column(sent, absent="")
        return columns

    def _bodies(self, texts: Texts, count: int) -> pa.Array:
        if self.body is None:
            return pa.repeat(pa.scalar(b"", pa.binary()), count)
        return self.body.fill(texts, count).dictionary_decode().cast(pa.binary())


def _body(text: str | None) -> Pieces | None:
    """Raises ValueError."""
    if text is None:
        return None
    return json_pieces(json.loads(text)) if _is_json(text) else text_pieces(text)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _latin_1(column: pa.DictionaryArray) -> pa.DictionaryArray:
    """A header's value as bytes on the wire, one character a byte: text is sent as UTF-8."""
    return through(
        column, pa.array([text.encode().decode("latin-1") for text in column.dictionary.to_pylist()])
    )


def _reject(
    column: pa.DictionaryArray, bad: Callable[[pa.Array], pa.Array], reason: str, wrong: Wrong
) -> None:
    flags = bad(column.dictionary).to_numpy(zero_copy_only=False)
    for row in np.flatnonzero(flags[codes(column)]).tolist() if flags.any() else ():
        wrong.setdefault(row, reason)
