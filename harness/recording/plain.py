"""Reads and writes the plain format: NDJSON, one header line, then one exchange a line (`harness/model/recording.py`).

Takes a file, gives a `Recording`, or one DefinitionError with every line that is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from harness.errors import DefinitionError, Location
from harness.model.base import Definition
from harness.model.recording import Exchange, Recording
from harness.model.recording_lines import FORMAT, AnswerLine, ExchangeLine, RecordingHeader
from harness.recording.problems import Problems, did_you_mean, in_line
from harness.recording.store import StoredRecording

Model = TypeVar("Model", bound=Definition)

HEADER_EXAMPLE = (
    f'start the file with {{"format": {FORMAT}, "recording": "name", "source": "where from", '
    '"attribution": "whose"}'
)
CUT_OFF_FIX = (
    "the file was cut off: copy it again, or remove the last line (end it with a line break when it is whole)"
)


PLAIN_FORMAT = "ndjson"
"""What `--format` calls it."""


def read_plain_header(path: Path) -> RecordingHeader:
    """The first line alone. Raises DefinitionError."""
    problems = Problems()
    number, text = next(_lines(path, problems), (0, ""))
    header = _header(path, number, text, problems) if number else None
    problems.raise_if_any()
    if header is None:
        raise DefinitionError.at(path, "the recording is empty", HEADER_EXAMPLE)
    return header


def read_plain(path: Path) -> Recording:
    """Raises DefinitionError with everything that is wrong."""
    problems = Problems()
    lines = _lines(path, problems)
    number, text = next(lines, (0, ""))
    if number == 0:
        problems.raise_if_any()
        raise DefinitionError.at(path, "the recording is empty", HEADER_EXAMPLE)
    header = _header(path, number, text, problems)
    exchanges, order = [], _Order(path)
    for number, text in lines:
        line = _parse(ExchangeLine, path, number, text, problems)
        exchange = _exchange(line, path, number, text, problems) if line is not None else None
        if exchange is not None:
            order.check(exchange, number, text, problems)
            exchanges.append(exchange)
    if not problems and header is not None:
        _check_count(path, header, len(exchanges), problems)
    problems.raise_if_any()
    assert header is not None  # a header that could not be read is a problem
    return Recording.of(header.recording, header.attribution, exchanges, header.length_ns or 0)


def write_plain(recording: Recording, path: Path, source: str) -> None:
    """The recording in the plain format; read again it has the same digest. Raises OSError."""
    header = RecordingHeader(
        format=FORMAT,
        recording=recording.name,
        source=source,
        attribution=recording.attribution,
        exchanges=len(recording.exchanges),
        length_ns=recording.length_ns,
    )
    with path.open("w", encoding="utf-8") as file:
        file.write(header.model_dump_json(exclude_defaults=True) + "\n")
        file.writelines(exchange.line() + "\n" for exchange in recording.exchanges)


def plain_lines(stored: StoredRecording) -> Iterator[str]:
    """A stored recording in the plain format, line by line; imported again it has the same content."""
    header = RecordingHeader(
        format=FORMAT,
        recording=stored.name,
        source=f"exported from {stored.digest}",
        attribution=stored.attribution,
        exchanges=stored.count,
        length_ns=stored.length_ns,
        clock=stored.header.clock,
        start_ns=stored.header.start_ns,
    )
    yield header.model_dump_json() + "\n"
    for exchange, body_known in stored.exchanges():
        yield exchange.line(body_known) + "\n"


def _lines(path: Path, problems: Problems) -> Iterator[tuple[int, str]]:
    """Lines with their 1-based numbers; blank ones left out, unreadable ones and a cut-off one made problems."""
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                try:
                    text = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                except UnicodeDecodeError as error:
                    problems.add(
                        Location(str(path), number), f"not UTF-8: {error.reason}", "save the file as UTF-8"
                    )
                    continue
                if not raw.endswith(b"\n"):
                    problems.add(in_line(path, number, text), "the last line does not end", CUT_OFF_FIX)
                elif text.strip():
                    yield number, text
    except OSError as error:
        what = f"the recording cannot be read: {error.strerror or error}"
        problems.add(Location(str(path)), what, "give the path of a file that you may read")


def _header(path: Path, number: int, text: str, problems: Problems) -> RecordingHeader | None:
    """The first line, which says what the file is."""
    document = _json(path, number, text, problems)
    if document is None:
        return None
    if "format" not in document:
        problems.add(in_line(path, number, text), "the first line does not say the format", HEADER_EXAMPLE)
        return None
    if document["format"] not in range(1, FORMAT + 1) or isinstance(document["format"], bool):
        what = f"format {document['format']!r} is not known to this version"
        problems.add(
            in_line(path, number, text, '"format"'), what, f"this version reads formats 1 to {FORMAT}"
        )
        return None
    return _validate(RecordingHeader, document, path, number, text, problems)


def _parse(model: type[Model], path: Path, number: int, text: str, problems: Problems) -> Model | None:
    document = _json(path, number, text, problems)
    return None if document is None else _validate(model, document, path, number, text, problems)


def _json(path: Path, number: int, text: str, problems: Problems) -> dict[str, Any] | None:
    """One line as a JSON object without repeated keys, or None and a problem."""
    repeated: list[str] = []

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        repeated.extend(name for name in dict.fromkeys(names) if names.count(name) > 1)
        return dict(pairs)

    try:
        document = json.loads(text, object_pairs_hook=members, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        column = getattr(error, "colno", 1)
        where = in_line(path, number, text, text[column - 1 : column])
        problems.add(where, f"no JSON: {getattr(error, 'msg', error)}", "write one JSON object a line")
        return None
    if not isinstance(document, dict):
        problems.add(in_line(path, number, text), "no JSON object", "write one JSON object a line")
        return None
    for name in repeated:
        where = in_line(path, number, text, f'"{name}"')
        problems.add(where, f"key {name!r} stands there twice", "keep one of them")
    return None if repeated else document


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


def _validate(
    model: type[Model], document: dict[str, Any], path: Path, number: int, text: str, problems: Problems
) -> Model | None:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        # One problem a key: pydantic reports each form that a value might have had.
        by_key = {
            str(detail["loc"][0]) if detail["loc"] else "": detail for detail in reversed(error.errors())
        }
        for name, detail in reversed(by_key.items()):
            what, fix = _in_words(detail, model)
            problems.add(in_line(path, number, text, f'"{name}"' if name else ""), what, fix)
        return None


def _in_words(detail: ErrorDetails, model: type[Model]) -> tuple[str, str]:
    """What pydantic found, as (what, fix)."""
    name = str(detail["loc"][0]) if detail["loc"] else ""
    if len(detail["loc"]) > 1 and name == "answer" and detail["type"] == "extra_forbidden":
        what, fix = _in_words({**detail, "loc": detail["loc"][1:]}, AnswerLine)
        return f"answer: {what}", fix
    known = [field.alias or field_name for field_name, field in model.model_fields.items()]
    match detail["type"]:
        case "extra_forbidden":
            return f"unknown key {name!r}", did_you_mean(name, known)
        case "missing":
            return f"key {name!r} is missing", f"add {name!r}"
        case "value_error":
            what, _, fix = str(detail["ctx"]["error"]).partition("; ")
            return what, fix or (f"correct {name!r}" if name else "correct the body")
    return f"{name}: {detail['input']!r}: {detail['msg'].lower()}", f"correct {name!r}"


def _exchange(line: ExchangeLine, path: Path, number: int, text: str, problems: Problems) -> Exchange | None:
    try:
        exchange = line.exchange()
        exchange.line().encode("utf-8")
    except ValueError as error:
        problems.add(
            in_line(path, number, text), f"cannot be sent: {error}", "correct the text of this exchange"
        )
        return None
    return exchange


class _Order:
    """Exchanges come in order of time, and each key once: a label must not count twice."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last_ns, self._last_number = -1, 0
        self._keys: dict[str, int] = {}

    def check(self, exchange: Exchange, number: int, text: str, problems: Problems) -> None:
        if exchange.at_ns < self._last_ns:
            problems.add(
                in_line(self._path, number, text, str(exchange.at_ns)),
                f"out of order: {exchange.at_ns} comes after {self._last_ns} in line {self._last_number}",
                "sort the lines by at_ns, or correct the time",
            )
        else:
            self._last_ns, self._last_number = exchange.at_ns, number
        if exchange.key in self._keys:
            problems.add(
                in_line(self._path, number, text, f'"{exchange.key}"'),
                f"key {exchange.key!r} stands in line {self._keys[exchange.key]} already: its label would count twice",
                "leave `key` out of one of them",
            )
        elif exchange.key:
            self._keys[exchange.key] = number


def _check_count(path: Path, header: RecordingHeader, found: int, problems: Problems) -> None:
    if header.exchanges is not None and header.exchanges != found:
        problems.add(
            Location(str(path), 1),
            f"the first line promises {header.exchanges} exchanges, the file holds {found}",
            "the file was cut off or edited: copy it again, or correct `exchanges`",
        )
    elif found == 0:
        problems.add(
            Location(str(path)),
            "the recording holds no exchange",
            "add one JSON object a line, after the first",
        )
