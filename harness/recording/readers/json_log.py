"""JSON access logs, one object a line: nginx, Envoy, ECS, HAProxy, Caddy, Traefik, and others whose members are named.

Takes a file, gives captured batches. Arrow's JSON parser reads whole blocks with a schema of just the members that are
needed; a block that it refuses (or whose lines it might have counted otherwise) is read line by line, so that each bad
record is told by its number. Which member says what: `json_fields.py`; what the columns then become: `json_columns.py`.

Options: `time=PATH[:UNIT]`, `duration=PATH:UNIT`, `client=PATH`, `request=PATH` or `method=PATH` and `target=PATH`, and
so on for query, protocol, host, scheme, status, bytes, request_bytes; `header.NAME=PATH`; `written=start|end`: whether
the time is the request's or the answer's; `zone=NAME` for times that name none; `spread=even` as for access logs.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.json as pj

from harness.recording.readers.access_log import spread_choice
from harness.recording.readers.bad_lines import BROKE_OFF, NO_JSON, NOT_UTF_8, NUL_BYTES, reject_all, without
from harness.recording.readers.base import Rejects, Source
from harness.recording.readers.clock import zone_of
from harness.recording.readers.json_columns import (
    Values,
    captured,
    values_of_records,
    values_of_table,
    wanted,
)
from harness.recording.readers.json_fields import ROLES, Layout, layout_of, member_option
from harness.recording.readers.lines import Block, first_bytes, read_blocks
from harness.recording.readers.options import Parse, options_of
from harness.recording.readers.spread import spread_evenly

SAMPLE_RECORDS = 100
_BEFORE_OBJECT = re.compile(rb"^[^{\n]+(?=\{)", re.MULTILINE)
OPEN, CLOSE = ord("{"), ord("}")


class NoRecordError(ValueError):
    """Why a line is no record; the message names no part of it."""


class JsonLogReader:
    """JSON access logs; a line is a record."""

    name = "json-log"
    is_log = True
    summary = "JSON access logs of nginx, Envoy, ECS, HAProxy, Caddy, Traefik and others, one object a line"
    unknown = (
        "no bodies, no headers but those that are logged and known (header.NAME= names more); of times without a "
        "fraction only the second (spread=even spreads its requests), the time of the answer only where a duration is "
        "logged"
    )

    def recognises(self, path: FilePath, head: bytes) -> bool:  # noqa: ARG002
        """By first lines that are objects, of which one says when it was and what was requested."""
        records = _first_records(first_bytes(head))
        try:
            layout_of(records, {}, {}, "")
        except ValueError:
            return False
        return True

    def read(self, source: Source, rejects: Rejects) -> Iterator[pa.RecordBatch]:
        """See `Reader.read`."""
        headers = {name: member_option("header") for name in source.options if name.startswith("header.")}
        known: dict[str, Parse] = {role: member_option(role) for role in ROLES}
        known |= {"written": _written, "zone": zone_of, "spread": spread_choice, **headers}
        options = options_of(source, rejects, known)
        if options is None:
            return iter(())
        layout = _layout(source.path, options, rejects)
        if layout is None:
            return iter(())
        zone = options.get("zone", dt.UTC)

        def batches(to: Rejects) -> Iterator[pa.RecordBatch]:
            for block in read_blocks(source.path, to):
                yield from _batches(block, layout, zone, to)

        if options.get("spread"):
            ends = layout.written == "end" and "duration" in layout.members
            return spread_evenly(batches, rejects, "answered_ns" if ends else "at_ns")
        return batches(rejects)


def _written(text: str) -> str:
    if text not in ("start", "end"):
        raise ValueError(f"{text!r} is neither 'start' nor 'end'")
    return text


def _layout(path: FilePath, options: dict[str, Any], rejects: Rejects) -> Layout | None:
    """From the first records that are some; None when that was said to be impossible."""
    first = next(read_blocks(path, Rejects(path, skip=True)), None)
    if first is None:
        for _ in read_blocks(path, rejects):
            pass  # says why there is nothing
        return None
    records = _first_records(first.data)
    members = {role: options[role] for role in ROLES if role in options}
    headers = {name.removeprefix("header."): text for name, text in options.items() if "." in name}
    try:
        if not records:
            raise ValueError("there is no JSON object among the first lines")
        return layout_of(records, members, headers, options.get("written", ""))
    except ValueError as error:
        rejects.broken(str(error), "add --option NAME=VALUE for each, or name the right format with --format")
        return None


def _first_records(data: bytes) -> list[dict[str, Any]]:
    """The first ones that are some; servers also log that they started."""
    records: list[dict[str, Any]] = []
    for line in _whole_objects(data).splitlines()[: 10 * SAMPLE_RECORDS]:
        try:
            records.append(_record(line))
        except NoRecordError:
            continue
        if len(records) == SAMPLE_RECORDS:
            break
    return records


def _batches(block: Block, layout: Layout, zone: dt.tzinfo, rejects: Rejects) -> Iterator[pa.RecordBatch]:
    wrong: dict[int, str] = {}
    values = _many(block, layout)
    if values is None:
        values = _one_by_one(block, layout, wrong)
    batch, wrong_rows = captured(values, layout, zone)
    wrong |= {int(values.lines[row]): reason for row, reason in wrong_rows.items()}
    reject_all(block.first, wrong, rejects)
    batch = without(batch, wrong_rows)
    if batch.num_rows:
        yield batch


def _whole_objects(data: bytes) -> bytes:
    """The lines without what stands before their object (syslog puts host and program there)."""
    return data if data.startswith(b"{") else _BEFORE_OBJECT.sub(b"", data)


def _many(block: Block, layout: Layout) -> Values | None:
    """All records at once, or None when each line must be looked at."""
    data = _whole_objects(block.data)
    lines = Block(data, 1)
    starts, ends = lines.spans()
    number = np.flatnonzero(ends > starts)
    text = lines.bytes_array()
    if (text[starts[number]] != OPEN).any() or (text[ends[number] - 1] != CLOSE).any():
        return None
    try:
        table = pj.read_json(
            pa.BufferReader(data),
            read_options=pj.ReadOptions(use_threads=False, block_size=len(data) + 1),
            parse_options=pj.ParseOptions(explicit_schema=wanted(layout), unexpected_field_behavior="ignore"),
        )
        table.validate(full=True)
    except pa.ArrowInvalid:
        return None
    if table.num_rows != len(number):
        return None
    return values_of_table(table, layout, number)


def _one_by_one(block: Block, layout: Layout, wrong: dict[int, str]) -> Values:
    starts, ends = block.spans()
    lines: list[int] = []
    records: list[dict[str, Any]] = []
    for line in np.flatnonzero(ends > starts).tolist():
        try:
            records.append(_record(_whole_objects(block.data[starts[line] : ends[line]])))
            lines.append(line)
        except NoRecordError as error:
            wrong[line] = BROKE_OFF if block.is_cut(line) else str(error)
    return values_of_records(records, layout, np.array(lines, np.int64), wrong)


def _record(line: bytes) -> dict[str, Any]:
    """Numbers keep all their digits. Raises NoRecordError."""
    if b"\0" in line:
        raise NoRecordError(NUL_BYTES)
    try:
        record = json.loads(line.decode("utf-8"), parse_float=Decimal)
    except UnicodeDecodeError:
        raise NoRecordError(NOT_UTF_8) from None
    except (ValueError, RecursionError):
        raise NoRecordError(NO_JSON) from None
    if not isinstance(record, dict):
        raise NoRecordError(NO_JSON)
    return record
