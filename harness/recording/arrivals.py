"""Reads arrival times: one column of a CSV file, ascending, in a unit that the column's name says.

Takes the file and what the recording's definition says about it, gives offsets in whole nanoseconds, and adds every
line that is wrong to the problems.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path

from harness.errors import Location
from harness.model.recording import Arrivals
from harness.recording.problems import Problems, did_you_mean, in_line


def read_arrivals(path: Path, arrivals: Arrivals, named_at: Location, problems: Problems) -> tuple[int, ...]:
    """Offsets in nanoseconds at the definition's speed. `named_at`: where the definition names the file and column."""
    text = _text(path, named_at, problems)
    if text is None:
        return ()
    lines = text.replace("\r\n", "\n").split("\n")
    rows = _rows(lines, path, problems)
    _, header = next(rows, (0, []))
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
    offsets: list[tuple[int, Decimal]] = []
    for number, row in rows:
        offset = _offset(row, place, len(header), path, number, lines[number - 1], problems)
        if offset is not None:
            _check_order(offsets, offset, path, number, lines[number - 1], problems)
            offsets.append((number, offset))
    if not offsets and not problems:
        problems.add(Location(str(path)), "no arrivals", "add one line per arrival after the header line")
    factor = Decimal(arrivals.column_unit_ns) / Decimal(str(arrivals.speed))
    return tuple(int((offset * factor).to_integral_value()) for _, offset in offsets)


def _text(path: Path, named_at: Location, problems: Problems) -> str | None:
    """The whole file. A last line without an end is what a copy that broke off leaves behind."""
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        problems.add(
            named_at, f"{path} cannot be read: {error.strerror or error}", "give the path of a CSV file"
        )
        return None
    except UnicodeDecodeError as error:
        problems.add(Location(str(path)), f"not UTF-8: {error.reason}", "save the file as UTF-8")
        return None
    if text and not text.endswith("\n"):
        number = text.count("\n") + 1
        problems.add(
            in_line(path, number, text.rpartition("\n")[2]),
            "the last line does not end",
            "the file was cut off: copy it again, or remove the last line (end it with a line break when it is whole)",
        )
        return None
    return text


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


def _offset(
    row: list[str], place: int, width: int, path: Path, number: int, line: str, problems: Problems
) -> Decimal | None:
    if len(row) != width:
        what = f"the header line has {width} columns, this line {len(row)}"
        problems.add(in_line(path, number, line), what, "complete or remove this line")
        return None
    try:
        offset = Decimal(row[place].strip())
    except InvalidOperation:
        offset = Decimal("NaN")
    if not offset.is_finite():
        where = in_line(path, number, line, row[place])
        problems.add(where, f"{row[place]!r} is no number", "write the offset as a plain decimal number")
        return None
    if offset < 0:
        where = in_line(path, number, line, row[place])
        problems.add(
            where, f"offset {row[place]} lies before the start", "count from the first arrival, which is 0"
        )
        return None
    return offset


def _check_order(
    offsets: list[tuple[int, Decimal]],
    offset: Decimal,
    path: Path,
    number: int,
    line: str,
    problems: Problems,
) -> None:
    if offsets and offset < offsets[-1][1]:
        before_number, before = offsets[-1]
        problems.add(
            in_line(path, number, line, str(offset)),
            f"out of order: {offset} comes after {before} in line {before_number}",
            "sort the file by this column, or correct the number",
        )
