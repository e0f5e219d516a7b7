"""Reads arrival times: one column of a CSV file, offsets in a unit that the column's name says, or dates with times.

Takes the file and what the recording's definition says about it, gives offsets in whole nanoseconds in ascending order,
and adds every line that is wrong to the problems.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from harness.errors import Location
from harness.model.arrivals import Arrivals
from harness.recording.problems import Problems, did_you_mean, in_line
from harness.recording.readers.clock import NoTimeError, iso_time


@dataclass(frozen=True)
class _Arrival:
    line: int
    text: str
    """As written."""
    time: Decimal
    """In the column's unit from the start, or in nanoseconds since 1970."""


def read_arrivals(path: Path, arrivals: Arrivals, named_at: Location, problems: Problems) -> tuple[int, ...]:
    """Offsets in nanoseconds at the definition's speed. `named_at`: where the definition names the file and column."""
    text = _text(path, named_at, problems)
    if text is None:
        return ()
    lines = text.replace("\r\n", "\n").split("\n")
    rows = _rows(lines, path, problems)
    header_line, header = next(rows, (0, []))
    if arrivals.column not in header:
        what = f"no column {arrivals.column!r} in {path.name}" if header else f"{path.name} is empty"
        fix = (
            did_you_mean(arrivals.column, header)
            if header
            else "give it a header line and one arrival a line"
        )
        problems.add(named_at, what, fix)
        return ()
    place = header.index(arrivals.column)
    if _is_cut(lines, header_line, header, place):
        problems.add(
            in_line(path, len(lines), lines[-1]),
            "the last line does not end",
            "the file was cut off: copy it again, or remove the last line (end it with a line break when it is whole)",
        )
        return ()
    found: list[_Arrival] = []
    for number, row in rows:
        arrival = _arrival(row, place, len(header), arrivals, path, number, lines[number - 1], problems)
        if arrival is not None:
            if arrivals.order == "ascending":
                _check_order(found, arrival, path, lines[number - 1], problems)
            found.append(arrival)
    if not found and not problems:
        problems.add(Location(str(path)), "no arrivals", "add one line per arrival after the header line")
    return _offsets_ns(found, arrivals)


def _offsets_ns(found: list[_Arrival], arrivals: Arrivals) -> tuple[int, ...]:
    times = sorted(arrival.time for arrival in found)
    speed = Decimal(str(arrivals.speed))
    if arrivals.times == "offsets":
        factor, start = Decimal(arrivals.column_unit_ns) / speed, Decimal(0)
    else:
        factor, start = 1 / speed, times[0] if times else Decimal(0)
    return tuple(int(((time - start) * factor).to_integral_value()) for time in times)


def _text(path: Path, named_at: Location, problems: Problems) -> str | None:
    """The whole file."""
    try:
        return path.read_text("utf-8-sig")
    except OSError as error:
        problems.add(
            named_at, f"{path} cannot be read: {error.strerror or error}", "give the path of a CSV file"
        )
    except UnicodeDecodeError as error:
        problems.add(Location(str(path)), f"not UTF-8: {error.reason}", "save the file as UTF-8")
    return None


def _is_cut(lines: list[str], header_line: int, header: list[str], place: int) -> bool:
    """Whether the time in the last line may lack its end, as in a copy that broke off.

    Traces that end without a line break are common; a time that another column follows is whole all the same.
    """
    if not lines[-1]:
        return False
    try:
        last = next(csv.reader(lines[-1:]))
    except csv.Error:
        return True
    return len(lines) == header_line or len(last) < len(header) or place == len(header) - 1


def _rows(lines: list[str], path: Path, problems: Problems) -> Iterator[tuple[int, list[str]]]:
    """Rows with their line numbers; blank lines and comments at the head (a licence, say) are left out."""
    head = itertools.takewhile(lambda line: not line.strip() or line.startswith("#"), lines)
    skipped = sum(1 for _ in head)
    reader = csv.reader(lines[skipped:])
    try:
        for row in reader:
            if row:
                yield skipped + reader.line_num, row
    except csv.Error as error:
        number = skipped + reader.line_num
        problems.add(Location(str(path), number), f"no CSV: {error}", "correct this line")


def _arrival(
    row: list[str],
    place: int,
    width: int,
    arrivals: Arrivals,
    path: Path,
    number: int,
    line: str,
    problems: Problems,
) -> _Arrival | None:
    if len(row) != width:
        what = f"the header line has {width} columns, this line {len(row)}"
        problems.add(in_line(path, number, line), what, "complete or remove this line")
        return None
    text = row[place].strip()
    try:
        return _Arrival(number, text, _date(text) if arrivals.times == "absolute" else _offset(text))
    except _WrongError as error:
        problems.add(in_line(path, number, line, row[place]), *error.args)
        return None


class _WrongError(Exception):
    """What is wrong with a time, and what to do."""


def _offset(text: str) -> Decimal:
    """Raises _WrongError."""
    try:
        offset = Decimal(text)
    except InvalidOperation:
        offset = Decimal("NaN")
    if not offset.is_finite():
        raise _WrongError(f"{text!r} is no number", "write the offset as a plain decimal number")
    if offset < 0:
        raise _WrongError(f"offset {text} lies before the start", "count from the first arrival, which is 0")
    return offset


def _date(text: str) -> Decimal:
    """Nanoseconds since 1970. Raises _WrongError."""
    try:
        return Decimal(iso_time(text))
    except NoTimeError as error:
        fix = (
            "write date and time as 2026-03-01T12:00:00.123456789+01:00; UTC is meant where no zone is named"
        )
        raise _WrongError(f"{text!r}: {error}", fix) from error


def _check_order(found: list[_Arrival], arrival: _Arrival, path: Path, line: str, problems: Problems) -> None:
    if found and arrival.time < found[-1].time:
        before = found[-1]
        problems.add(
            in_line(path, arrival.line, line, arrival.text),
            f"out of order: {arrival.text} comes after {before.text} in line {before.line}",
            "sort the file by this column, correct the time, or say `order: any` under `arrivals:`",
        )
