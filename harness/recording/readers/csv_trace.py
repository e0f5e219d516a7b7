"""CSV traces of arrival times, married to a request template: each row becomes a whole request.

Takes a file with a header line, gives captured batches. The column of times holds ISO 8601 times (up to nanoseconds; a
time without a zone is in `zone`, UTC by default) or numbers in a unit. Lines that start with # before the header line
are for the licence; lines are records and are counted from the file's first line.

Options: `time=COLUMN`, `unit=s|ms|us|ns` (by default the end of the column's name says it), `zone=NAME`,
`method=GET`, `path=TEMPLATE`, `body=TEMPLATE` (JSON, or any text), `header.NAME=TEMPLATE`, `client=TEMPLATE`,
`host=HOST`, `key=COLUMN`, `delimiter=,`. In a template `{COLUMN}` stands for the row's value (`column_templates.py`).
"""

from __future__ import annotations

import csv
import datetime as dt
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pcsv

from harness.model.arrivals import NS_PER_UNIT
from harness.recording.problems import did_you_mean
from harness.recording.readers.bad_lines import BROKE_OFF, NO_UNIT, NOT_UTF_8, NUL_BYTES, reject_all, without
from harness.recording.readers.base import Rejects, Source
from harness.recording.readers.clock import NoTimeError, iso_time, iso_times, zone_of
from harness.recording.readers.column_templates import RequestTemplates
from harness.recording.readers.columns import captured_batch, codes, encoded
from harness.recording.readers.lines import Block, first_bytes, read_blocks
from harness.recording.readers.options import Parse, options_of

DELIMITERS = (",", ";", "\t", "|")
TIME_NAMES = (
    "timestamp",
    "time",
    "datetime",
    "date_time",
    "arrival_time",
    "start_time",
    "arrival",
    "ts",
    "date",
)
OFFSET_NAMES = ("offset", "arrival", "time", "timestamp", "ts", "at", "start", "elapsed")
"""With a unit behind: `offset_ms`."""

NO_NUMBER = "the time is no plain decimal number"
BEFORE_START = "the time lies before the start (or before 1970)"
TOO_LATE = "the time lies beyond what 64 bits of nanoseconds hold"
NO_CSV = "no CSV"
NO_NAMES = "its first line holds values, not the names of columns"
NO_NAMES_FIX = "give it a header line and one arrival a line"

_NAME = re.compile(r"(?:[A-Za-z_%][\w .()\[\]/%-]{0,63})?\Z")
_IS_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?")

Texts = Mapping[str, pa.Array]
Wrong = dict[int, str]


class CsvTraceReader:
    """CSV arrival traces; a line is a record."""

    name = "csv"
    is_log = True
    summary = "CSV traces of arrival times, with a template for the requests"
    unknown = "only when requests arrived: what they ask for comes from the options (GET / without them), no answers"

    def recognises(self, path: Path, head: bytes) -> bool:  # noqa: ARG002
        """By a header line with a column that is called as times are, and a time in the next line."""
        wrong: Wrong = {}
        try:
            lines = first_bytes(head).decode("utf-8", "replace").splitlines()
            body = [line for line in lines if line and not line.startswith("#")]
            delimiter = _delimiter(body[0])
            header, row = (
                next(csv.reader(body[:1], delimiter=delimiter)),
                next(csv.reader(body[1:2], delimiter=delimiter)),
            )
            column = _time_column(header)
            _times(pa.array([row[header.index(column)]]), _unit(column), dt.UTC, wrong)
        except (ValueError, IndexError, StopIteration, csv.Error):
            return False
        return not wrong

    def read(self, source: Source, rejects: Rejects) -> Iterator[pa.RecordBatch]:
        """See `Reader.read`."""
        headers: dict[str, Parse] = {name: str for name in source.options if name.startswith("header.")}
        known: dict[str, Parse] = {
            "time": str,
            "unit": _unit_name,
            "zone": zone_of,
            "delimiter": _one_character,
        }
        options = options_of(
            source, rejects, {**known, **dict.fromkeys(RequestTemplates.OPTIONS, str), **headers}
        )
        trace: _Trace | None = None
        for block in read_blocks(source.path, rejects) if options is not None else ():
            if trace is None:
                header = _header(block)
                if header is None:
                    continue
                try:
                    trace = _Trace.of(header, options or {})
                except ValueError as error:
                    rejects.broken(*error.args)
                    return
            yield from trace.batches(block, rejects)
        if trace is None and options is not None and not rejects.problems:
            rejects.broken("no header line", "give it a header line and one arrival a line")


@dataclass(frozen=True)
class _Header:
    line: int
    """Number of the header line in the file."""
    text: str


def _header(block: Block) -> _Header | None:
    """The first line that is neither blank nor a comment, if it ends in this block."""
    for number, line in enumerate(block.data.split(b"\n")[:-1], block.first):
        if line.strip() and not line.startswith(b"#"):
            return _Header(number, line.decode("utf-8", "replace"))
    return None


@dataclass(frozen=True)
class _Trace:
    """What the header line and the options say about every row."""

    header_line: int
    columns: tuple[str, ...]
    delimiter: str
    time: str
    unit: str
    zone: dt.tzinfo
    requests: RequestTemplates

    @classmethod
    def of(cls, header: _Header, options: Mapping[str, Any]) -> _Trace:
        """Raises ValueError with what is wrong and what to do."""
        delimiter = options.get("delimiter") or _delimiter(header.text)
        columns = tuple(name.strip() for name in next(csv.reader([header.text], delimiter=delimiter)))
        twice = [name for name in columns if columns.count(name) > 1]
        if twice and not _are_names(columns):
            raise ValueError(NO_NAMES, NO_NAMES_FIX)
        if twice:
            raise ValueError(f"two columns are called {twice[0]!r}", "give each column a name of its own")
        time = options.get("time") or _time_column(columns)
        if time not in columns and not _are_names(columns):
            raise ValueError(NO_NAMES, NO_NAMES_FIX)
        if time not in columns:
            raise ValueError(f"no column {time!r}", did_you_mean(time, columns))
        requests = RequestTemplates.of(options, columns)
        unit = options.get("unit") or _unit(time)
        return cls(header.line, columns, delimiter, time, unit, options.get("zone", dt.UTC), requests)

    def batches(self, block: Block, rejects: Rejects) -> Iterator[pa.RecordBatch]:
        """At most one."""
        wrong: Wrong = {}
        lines, texts = self._rows(block, wrong)
        wrong_rows: Wrong = {}
        times = _times(texts[self.time], self.unit, self.zone, wrong_rows)
        columns = self.requests.columns(texts, wrong_rows)
        batch = captured_batch(len(lines), {"at_ns": times, **columns})
        wrong |= {int(lines[row]): reason for row, reason in wrong_rows.items()}
        reject_all(block.first, wrong, rejects)
        batch = without(batch, wrong_rows)
        if batch.num_rows:
            yield batch

    def _rows(self, block: Block, wrong: Wrong) -> tuple[npt.NDArray[np.int64], Texts]:
        """The lines that have all columns, from 0, and their texts by column."""
        starts, ends = block.spans()
        first = max(self.header_line + 1 - block.first, 0)
        lines = np.flatnonzero(ends > starts)
        lines = lines[lines >= first]
        if len(lines) and block.is_cut(int(lines[-1])) and self._may_lack(block.data[starts[-1] : ends[-1]]):
            wrong[int(lines[-1])] = BROKE_OFF
            lines = lines[:-1]
        if len(lines) and lines[-1] - lines[0] + 1 == len(lines):
            texts = self._many(block.data[starts[lines[0]] : ends[lines[-1]] + 1], len(lines))
            if texts is not None:
                return lines, texts
        rows: list[list[str]] = []
        kept: list[int] = []
        for line in lines.tolist():
            try:
                rows.append(self._row(block.data[starts[line] : ends[line]]))
                kept.append(line)
            except ValueError as error:
                wrong[line] = str(error)
        by_column = list(zip(*rows, strict=True)) if rows else [()] * len(self.columns)
        texts = {name: pa.array(by_column[place], pa.string()) for place, name in enumerate(self.columns)}
        return np.array(kept, np.int64), texts

    def _may_lack(self, last: bytes) -> bool:
        """Whether the time, or a whole column, of a line that never ended may be cut off."""
        try:
            return len(self._row(last)) < len(self.columns) or self.columns[-1] == self.time
        except ValueError:
            return True

    def _many(self, data: bytes, count: int) -> Texts | None:
        """All at once, or None when each line must be looked at."""
        if b'"' in data or b"\0" in data:
            return None
        try:
            table = pcsv.read_csv(
                pa.BufferReader(data),
                pcsv.ReadOptions(use_threads=False, column_names=self.columns, block_size=len(data) + 1),
                pcsv.ParseOptions(delimiter=self.delimiter, quote_char=False),
                pcsv.ConvertOptions(
                    column_types=dict.fromkeys(self.columns, pa.string()), strings_can_be_null=False
                ),
            )
        except pa.ArrowInvalid:
            return None
        if table.num_rows != count:
            return None
        return {name: pa.concat_arrays(table.column(name).chunks) for name in self.columns}

    def _row(self, line: bytes) -> list[str]:
        """Raises ValueError with the reason."""
        if b"\0" in line:
            raise ValueError(NUL_BYTES)
        try:
            row = next(csv.reader([line.decode("utf-8")], delimiter=self.delimiter, strict=True))
        except UnicodeDecodeError:
            raise ValueError(NOT_UTF_8) from None
        except csv.Error:
            raise ValueError(NO_CSV) from None
        if len(row) != len(self.columns):
            raise ValueError(f"the header line has {len(self.columns)} columns, this line {len(row)}")
        return row


def _delimiter(header: str) -> str:
    """The one that the header line has most of."""
    return max(DELIMITERS, key=header.count)


def _are_names(columns: tuple[str, ...] | list[str]) -> bool:
    """Or a line of values, of which no message may tell any."""
    return all(_NAME.match(column) for column in columns)


def _time_column(columns: tuple[str, ...] | list[str]) -> str:
    """Raises ValueError with what to do."""
    for name in columns:
        begin, _, unit = name.strip().lower().rpartition("_")
        if name.strip().lower() in TIME_NAMES or (unit in NS_PER_UNIT and begin in OFFSET_NAMES):
            return name
    if not _are_names(columns):
        raise ValueError(NO_NAMES, NO_NAMES_FIX)
    raise ValueError(
        "no column is called as times are", f"name it: --option time=COLUMN; known: {', '.join(columns)}"
    )


def _unit(column: str) -> str:
    """By the end of the column's name; empty: it does not say."""
    unit = column.rpartition("_")[2]
    return unit if "_" in column and unit in NS_PER_UNIT else ""


def _unit_name(text: str) -> str:
    if text not in NS_PER_UNIT:
        raise ValueError(f"{text!r} is none of {', '.join(NS_PER_UNIT)}")
    return text


def _one_character(text: str) -> str:
    if len(text) != 1 or text in '"\r\n':
        raise ValueError("a delimiter is one character")
    return text


def _times(texts: pa.Array, unit: str, zone: dt.tzinfo, wrong: Wrong) -> npt.NDArray[np.int64]:
    """In nanoseconds, and by row why one is none."""
    column = encoded(texts)
    many = iso_times(column.dictionary, zone) if not unit else None
    if many is not None:
        return many[codes(column)]
    times: list[int] = []
    reasons: Wrong = {}
    for place, text in enumerate(column.dictionary.to_pylist()):
        try:
            times.append(_number(text, unit) if unit else _date(text, zone))
        except (NoTimeError, ValueError) as error:
            times.append(0)
            reasons[place] = str(error)
    places = codes(column)
    for row in np.flatnonzero(np.isin(places, list(reasons))).tolist():
        wrong.setdefault(row, reasons[int(places[row])])
    return np.array(times, np.int64)[places] if times else np.zeros(0, np.int64)


def _date(text: str, zone: dt.tzinfo) -> int:
    """Raises NoTimeError."""
    if _IS_NUMBER.fullmatch(text.strip()):
        raise NoTimeError(NO_UNIT)
    return iso_time(text, zone)


def _number(text: str, unit: str) -> int:
    """Raises ValueError."""
    try:
        number = Decimal(text.strip()) * NS_PER_UNIT[unit]
    except InvalidOperation:
        raise ValueError(NO_NUMBER) from None
    if not number.is_finite():
        raise ValueError(NO_NUMBER)
    if number < 0:
        raise ValueError(BEFORE_START)
    if number >= 2**63:
        raise ValueError(TOO_LATE)
    return int(number.to_integral_value())
