"""Reads NDJSON of our own, the plain format (`harness/model/recording_lines.py`), line by line.

Takes one file (also compressed), gives batches of `CAPTURED` whose times are the offsets that the lines give; what they
count from stands in the first line (`harness/recording/plain.py`). That module reads the same format for people who write
it, and shows them their lines; this one reads what may be private, and shows nothing of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from harness.model.recording import Exchange
from harness.model.recording_lines import FORMAT, ExchangeLine, RecordingHeader
from harness.recording.captured import header_lines
from harness.recording.problems import did_you_mean
from harness.recording.readers.base import Rejects, Source
from harness.recording.readers.files import CUT_FIX
from harness.recording.readers.lines import first_bytes, read_blocks
from harness.recording.readers.options import options_of
from harness.recording.readers.rows import LEAVE_OUT, Row, Rows

NOT_ENDED = "the last line does not end"
NO_HEADER = "the first line does not say the format"
HEADER_FIX = (
    f'start the file with {{"format": {FORMAT}, "recording": "name", "source": "where from", '
    '"attribution": "whose"}'
)
OTHER_FORMAT = f"its first line says another format than 1 to {FORMAT}"
OTHER_FIX = "correct it; if a newer readiness wrote it, import it with that one"
HALF = "a text holds half a character"
CORRECT = f"correct it, or {LEAVE_OUT}"

_KNOWN = [field.alias or name for name, field in ExchangeLine.model_fields.items()]
_WRONG = {
    "path": "path: no path; it starts with / and holds printable ASCII",
    "headers": "headers: one that cannot be sent, or that the generator sets",
    "": "more than one body, or one that no bytes stand for",
    "answer": "answer: more than one body, or one that no bytes stand for",
}


class NdjsonReader:
    """Recordings as lines."""

    name = "ndjson"
    is_log = False
    summary = "NDJSON of our own, formats 1 and 2 (harness/recording/README.md)"
    unknown = "what its lines leave out; in format 1 all answers and hosts"

    def recognises(self, path: Path, head: bytes) -> bool:  # noqa: ARG002 - part of what a reader is
        line = first_bytes(head).lstrip().partition(b"\n")[0]
        if not line.startswith(b"{"):
            return False
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            return False
        return "format" in document and "recording" in document

    def read(self, source: Source, rejects: Rejects) -> Iterator[pa.RecordBatch]:
        if options_of(source, rejects, {}) is None:
            return
        rows, header, records = Rows(), None, 0
        for line, text, ended in _lines(source.path, rejects):
            if header is None:
                header = _header(text, rejects)
                if header is None:
                    return
                continue
            records += 1
            if not ended:
                rejects.bad(records, NOT_ENDED, CUT_FIX, line)
                continue
            row = _row(text, records, line, rejects)
            if row is not None:
                rows.add(row)
            if rows.full:
                yield from rows.batch()
        yield from rows.batch()
        promised = header.exchanges if header is not None else None
        if promised is not None and records < promised:
            rejects.bad(
                records + 1, f"the file was cut off: its first line promises {promised} records", CUT_FIX
            )


def _lines(path: Path, rejects: Rejects) -> Iterator[tuple[int, bytes, bool]]:
    """`(number, text, ended)` of each line that is not blank."""
    for block in read_blocks(path, rejects):
        lines = block.data.split(b"\n")[:-1]
        for place, text in enumerate(lines):
            if text.strip():
                yield block.first + place, text, block.ended or place < len(lines) - 1


def _header(text: bytes, rejects: Rejects) -> RecordingHeader | None:
    try:
        return RecordingHeader.model_validate_json(text)
    except ValidationError as error:
        for detail in error.errors(include_input=False, include_context=False, include_url=False):
            key = str(detail["loc"][0]) if detail["loc"] else ""
            if key == "format" and detail["type"] == "literal_error":
                rejects.broken(OTHER_FORMAT, OTHER_FIX)
                break
            if key in ("", "format"):
                rejects.broken(NO_HEADER, HEADER_FIX)
                break
            rejects.broken(f"the first line: {key}: {detail['msg'].lower()}", HEADER_FIX)
        return None


def _row(text: bytes, record: int, line: int, rejects: Rejects) -> Row | None:
    try:
        said = ExchangeLine.model_validate_json(text)
        return _of(said.exchange(), said.body_known)
    except ValidationError as error:
        by_key = {_key(detail): detail for detail in reversed(error.errors(include_input=False))}
        for key, detail in reversed(by_key.items()):
            what, fix = _in_words(key, detail, text)
            rejects.bad(record, what, fix, line)
            if rejects.skip:
                break  # it is one record, whatever is wrong with it
    except UnicodeEncodeError:
        rejects.bad(record, HALF, CORRECT, line)
    return None


def _of(exchange: Exchange, body_known: bool) -> Row:
    answer = exchange.answer
    row = Row(
        at_ns=exchange.at_ns,
        method=exchange.method,
        path=exchange.path,
        client=exchange.client,
        key=exchange.key,
        scheme=exchange.scheme,
        host=exchange.host,
        route=exchange.route,
        http=exchange.http,
        connection=exchange.connection,
        headers=header_lines(list(exchange.headers)),
        body=exchange.body if body_known else None,
        request_bytes=exchange.size_bytes,
        first_byte_ns=answer.first_byte_ns,
        answered_ns=answer.answered_ns,
        status=answer.status,
        error=answer.error,
        answer_headers=header_lines(list(answer.headers)),
        answer_body=answer.body,
        answer_bytes=answer.size_bytes,
    )
    for value in (row.client, row.key, row.route, row.error, row.answer_headers):
        value.encode("utf-8")
    return row


def _key(detail: ErrorDetails) -> str:
    names = [str(part) for part in detail["loc"] if isinstance(part, str)]
    return ".".join(names[:2]) if names[:1] == ["answer"] else "".join(names[:1])


def _in_words(key: str, detail: ErrorDetails, text: bytes) -> tuple[str, str]:
    """What is wrong and what to do, without a word of the line."""
    match detail["type"]:
        case "json_invalid":
            try:
                text.decode("utf-8")
            except UnicodeDecodeError:
                return "not UTF-8", f"save the file as UTF-8, or {LEAVE_OUT}"
            if "surrogate" in detail["msg"]:
                return HALF, CORRECT
            return "no JSON object", f"write one JSON object a line, or {LEAVE_OUT}"
        case "extra_forbidden":
            return "a key that is not known", f"{did_you_mean(key, _KNOWN)} (or {LEAVE_OUT})"
        case "missing":
            return f"key {key!r} is missing", CORRECT
        case "value_error":
            return _WRONG.get(key, f"{key}: a value that it cannot have"), CORRECT
    return (f"{key}: a value that it cannot have" if key else "no JSON object"), CORRECT
