"""From the members of JSON access logs to the columns of captured batches.

Takes the members' values of many records (out of Arrow's parser, or out of Python objects), gives a batch and, by row,
why a record cannot be used. Numbers are read as decimals, so that no digit of a time is lost.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal, InvalidOperation
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from harness.recording.captured import FRAMING_HEADERS
from harness.recording.readers.access_log_line import CONTROL, STATUS_RANGE
from harness.recording.readers.clock import NoTimeError, begun_and_answered, iso_time, iso_times, log_time
from harness.recording.readers.columns import captured_batch, codes, encoded, header_column, through
from harness.recording.readers.json_fields import (
    DURATION,
    LOWER_CASE,
    NUMBERS,
    TIME,
    Layout,
    Member,
    Path,
    value_at,
)
from harness.recording.readers.request_line import NO_REQUEST, split_requests

NO_TIME = "no time in it"
NOT_NAMED = "no request: the line tells of something else, or the connection ended before one was read"
NO_NUMBER = "a member that should be a number is none"
NO_TEXT = "a member that should be a text is none"
UNITS = {"s": 9, "ms": 6, "us": 3, "ns": 0}
"""Digits by which a number of this unit is shifted to be nanoseconds."""

_CONTROL = r"[\x00-\x08\x0a-\x1f\x7f]"
_NONE = ("", "-")
_ISO_BEGIN = re.compile(r"\d{4}-\d\d-\d\d")
_CLOCK = re.compile(r"\[?([^\[\]]*)\]?")

Integers = npt.NDArray[np.int64]
Wrong = dict[int, str]


@dataclass(frozen=True)
class Values:
    """`lines`: where each record stands in its block, from 0. Texts are Arrow's, null where there was none; numbers are
    whole (durations and times in nanoseconds) with -1 for none."""

    lines: Integers
    texts: Mapping[str, pa.Array]
    numbers: Mapping[str, Integers]
    headers: Mapping[str, pa.Array]


def is_number(layout: Layout, role: str) -> bool:
    """Whether the member of this role is read as a number; a time is one when it has a unit."""
    return role in NUMBERS or role == DURATION or (role == TIME and bool(layout.members[role].unit))


def wanted(layout: Layout) -> pa.Schema:
    """The schema of just the members that are needed."""
    tree: dict[str, Any] = {}
    for role, member in layout.members.items():
        digits = UNITS[member.unit] if member.unit else 0
        leaf = pa.decimal128(38, digits) if is_number(layout, role) else pa.string()
        _grow(tree, member.path, pa.list_(leaf) if member.listed else leaf)
    for _, member in layout.headers:
        _grow(tree, member.path, pa.list_(pa.string()) if member.listed else pa.string())
    return pa.schema([pa.field(name, _type(item)) for name, item in tree.items()])


def _grow(tree: dict[str, Any], path: Path, leaf: pa.DataType) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree.setdefault(path[-1], leaf)


def _type(item: Any) -> pa.DataType:
    if isinstance(item, dict):
        return pa.struct([pa.field(name, _type(child)) for name, child in item.items()])
    return item


def values_of_table(table: pa.Table, layout: Layout, lines: Integers) -> Values:
    """The values that Arrow's parser found with the schema `wanted`."""
    found = {role: _column(table, member) for role, member in layout.members.items()}
    return Values(
        lines,
        {role: column for role, column in found.items() if not is_number(layout, role)},
        {role: _low_words(column) for role, column in found.items() if is_number(layout, role)},
        {name: _column(table, member) for name, member in layout.headers},
    )


def _column(table: pa.Table, member: Member) -> pa.Array:
    column = table.column(member.path[0]).combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if len(member.path) > 1:
        column = pc.struct_field(column, list(member.path[1:]))
    return _first_items(column) if member.listed else column


def _first_items(lists: pa.ListArray) -> pa.Array:
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    offsets = lists.offsets.to_numpy()[:-1]
    return lists.values.take(pa.array(offsets.astype(np.int64), mask=lengths == 0))


def _low_words(column: pa.Array) -> Integers:
    """The unscaled decimals; -1 for none and for negative ones (HAProxy's "never came so far"), -2: beyond 64 bits."""
    if len(column) == 0:
        return np.zeros(0, np.int64)
    words = np.frombuffer(column.buffers()[1], np.int64).reshape(-1, 2)
    words = words[column.offset : column.offset + len(column)]
    value = np.where((words[:, 1] == 0) & (words[:, 0] >= 0), words[:, 0], -2)
    value = np.where(words[:, 1] < 0, -1, value)
    return np.where(column.is_null().to_numpy(zero_copy_only=False), -1, value)


def values_of_records(
    records: Sequence[Mapping[str, Any]], layout: Layout, lines: Integers, wrong: Wrong
) -> Values:
    """The same from Python objects; a record with a value of a wrong kind goes to `wrong`, by line."""
    kept: list[int] = []
    rows: list[dict[str, Any]] = []
    headers: list[dict[str, str | None]] = []
    for place, record in enumerate(records):
        try:
            row = {
                role: _value(record, member, is_number(layout, role))
                for role, member in layout.members.items()
            }
            headers.append({name: _text(_given(record, member)) for name, member in layout.headers})
        except ValueError as error:
            wrong[int(lines[place])] = str(error)
            continue
        rows.append(row)
        kept.append(place)
    return Values(
        lines[kept],
        {
            role: pa.array([row[role] for row in rows], pa.string())
            for role in layout.members
            if not is_number(layout, role)
        },
        {
            role: np.array([row[role] for row in rows], np.int64)
            for role in layout.members
            if is_number(layout, role)
        },
        {name: pa.array([row[name] for row in headers], pa.string()) for name, _ in layout.headers},
    )


def _given(record: Mapping[str, Any], member: Member) -> Any:
    value = value_at(record, member.path)
    if member.listed and isinstance(value, list):
        return value[0] if value else None
    return value


def _value(record: Mapping[str, Any], member: Member, number: bool) -> str | int | None:
    value = _given(record, member)
    return _number(value, member.unit) if number else _text(value)


def _text(value: Any) -> str | None:
    """Raises ValueError."""
    if value is None or isinstance(value, str):
        if value is not None:
            _encodable(value)
        return value
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return str(value)
    raise ValueError(NO_TEXT)


def _encodable(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("half a character in it (a lone surrogate)") from None


def _number(value: Any, unit: str) -> int:
    """Shifted to nanoseconds where it has a unit; -1: none, -2: beyond 64 bits. Raises ValueError."""
    if value is None or value in _NONE:
        return -1
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError(NO_NUMBER)
    try:
        number = Decimal(value).scaleb(UNITS[unit] if unit else 0)
    except InvalidOperation:
        raise ValueError(NO_NUMBER) from None
    if not number.is_finite():
        raise ValueError(NO_NUMBER)
    if number >= 2**63:
        return -2
    return max(int(number.to_integral_value(ROUND_FLOOR)), -1)


def captured(values: Values, layout: Layout, zone: dt.tzinfo) -> tuple[pa.RecordBatch, Wrong]:
    """The batch, and by row why a record cannot be used."""
    count = len(values.lines)
    wrong: Wrong = {}
    requests = split_requests(_request_lines(values, layout))
    wrong |= {row: NOT_NAMED if why == NO_REQUEST else why for row, why in requests.wrong.items()}
    columns: dict[str, Any] = dict(requests.columns)
    columns |= {name: _plain(values, name, columns.get(name), make) for name, make in _PLAIN.items()}
    columns["headers"] = _headers(values, wrong)
    written = _times(values, zone, wrong)
    spent = _checked(values, DURATION, wrong, count)
    columns["at_ns"], columns["answered_ns"] = begun_and_answered(
        written, spent, layout.written == "end", wrong
    )
    columns["status"] = _status(values, wrong, count)
    columns["answer_bytes"] = _checked(values, "bytes", wrong, count)
    columns["request_bytes"] = _checked(values, "request_bytes", wrong, count)
    return captured_batch(
        count, {name: column for name, column in columns.items() if column is not None}
    ), wrong


def _request_lines(values: Values, layout: Layout) -> pa.Array:
    """`METHOD target HTTP/version` for each record; empty where there is none."""
    if "request" in values.texts:
        return _wire(encoded(pc.fill_null(values.texts["request"], "")))
    method, target = (pc.fill_null(values.texts[name], "") for name in ("method", "target"))
    if layout.server == LOWER_CASE:
        method = pc.utf8_upper(method)
    line = pc.binary_join_element_wise(method, target, " ")
    if "query" in values.texts:
        query = pc.utf8_ltrim(_or_empty(values.texts["query"]), "?")
        line = pc.binary_join_element_wise(line, pc.if_else(pc.equal(query, ""), "", "?"), query, "")
    if "protocol" in values.texts:
        version = encoded(_or_empty(values.texts["protocol"]))
        number = pc.replace_substring_regex(version.dictionary, "^HTTP/", "")
        after = pc.if_else(pc.equal(number, ""), "", pc.binary_join_element_wise(" HTTP/", number, ""))
        line = pc.binary_join_element_wise(line, through(version, after).dictionary_decode(), "")
    nothing = pc.or_(_is_none(method), _is_none(target))
    return _wire(encoded(pc.if_else(nothing, "", line)))


def _is_none(texts: pa.Array) -> pa.Array:
    return pc.or_(pc.equal(texts, ""), pc.equal(texts, "-"))


def _or_empty(texts: pa.Array) -> pa.Array:
    texts = pc.fill_null(texts, "")
    return pc.if_else(pc.equal(texts, "-"), "", texts)


def _wire(column: pa.DictionaryArray) -> pa.DictionaryArray:
    """The texts as bytes on the wire, one character a byte (Latin-1): what JSON shows as text was UTF-8."""
    if pc.all(pc.string_is_ascii(column.dictionary), min_count=0).as_py():
        return column
    return through(
        column, pa.array([text.encode().decode("latin-1") for text in column.dictionary.to_pylist()])
    )


def client_of(text: str) -> str:
    """An address without its port, the first one of several."""
    text = text.partition(",")[0].strip()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


_PLAIN: Mapping[str, Callable[[str], str]] = {"client": client_of, "host": str.lower, "scheme": str.lower}


def _plain(
    values: Values, name: str, of_target: pa.DictionaryArray | None, make: Callable[[str], str]
) -> pa.DictionaryArray | None:
    """A text that is used as it is; what a target itself names counts more."""
    if name not in values.texts:
        return of_target
    said = encoded(_or_empty(values.texts[name]))
    said = through(said, pa.array([make(text) for text in said.dictionary.to_pylist()], pa.string()))
    if of_target is None or of_target.dictionary.to_pylist() in ([], [""]):
        return said
    target = of_target.dictionary_decode()
    return encoded(pc.if_else(pc.equal(target, ""), said.dictionary_decode(), target))


def _headers(values: Values, wrong: Wrong) -> pa.DictionaryArray | None:
    sent = []
    for name, texts in values.headers.items():
        if name in FRAMING_HEADERS:
            continue
        column = _wire(encoded(pc.fill_null(texts, "")))
        _reject(column, pc.match_substring_regex(column.dictionary, _CONTROL), CONTROL, wrong)
        sent.append((name, column))
    return header_column(sent) if sent else None


def _reject(column: pa.DictionaryArray, bad: pa.Array, reason: str, wrong: Wrong) -> None:
    flags = bad.to_numpy(zero_copy_only=False)
    if flags.any():
        for row in np.flatnonzero(flags[codes(column)]).tolist():
            wrong.setdefault(row, reason)


def _times(values: Values, zone: dt.tzinfo, wrong: Wrong) -> Integers:
    if TIME in values.numbers:
        times = values.numbers[TIME]
        for row in np.flatnonzero(times < 0).tolist():
            wrong.setdefault(row, NO_TIME if times[row] == -1 else NO_NUMBER)
        return np.maximum(times, 0)
    column = encoded(pc.fill_null(values.texts[TIME], ""))
    made: list[int] = []
    reasons: dict[int, str] = {}
    quick = iso_times(column.dictionary, zone)
    if quick is not None:
        return quick[codes(column)]
    for place, text in enumerate(column.dictionary.to_pylist()):
        try:
            made.append(_time(text, zone))
        except NoTimeError as error:
            made.append(0)
            reasons[place] = str(error)
    for row in np.flatnonzero(np.isin(codes(column), list(reasons))).tolist():
        wrong.setdefault(row, reasons[int(codes(column)[row])])
    return np.array(made, np.int64)[codes(column)] if made else np.zeros(0, np.int64)


def _time(text: str, zone: dt.tzinfo) -> int:
    """ISO 8601, as access logs write it, or a number in quotes. Raises NoTimeError."""
    if text in _NONE:
        raise NoTimeError(NO_TIME)
    if _ISO_BEGIN.match(text):
        return iso_time(text, zone)
    clock = _CLOCK.fullmatch(text)
    return log_time(clock[1] if clock else text, zone)


def _checked(values: Values, role: str, wrong: Wrong, count: int) -> Integers:
    if role not in values.numbers:
        return np.full(count, -1, np.int64)
    numbers = values.numbers[role]
    for row in np.flatnonzero(numbers < -1).tolist():
        wrong.setdefault(row, NO_NUMBER)
    return numbers


def _status(values: Values, wrong: Wrong, count: int) -> Integers:
    status = _checked(values, "status", wrong, count)
    out = ((status > 0) & (status < 100)) | (status > 599)
    for row in np.flatnonzero(out).tolist():
        wrong.setdefault(row, STATUS_RANGE)
    return np.where(out, -1, status)
