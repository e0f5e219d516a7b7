"""Reads GoReplay files: captured HTTP messages as they were on the wire, each request's answer somewhere after it.

Takes one file (also compressed), gives batches of `CAPTURED`. A record is a line `TYPE ID TIME LATENCY`, the message,
and three monkeys; TYPE is 1 (request), 2 (answer) or 3 (answer of a replay, left out). Requests and answers are paired
by ID within `MOST_WAITING` records, whichever comes first. What the times mean changed (see `_Answer.times`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from harness.recording.captured import UNKNOWN_NS
from harness.recording.readers.bad_lines import LEFT_OUT
from harness.recording.readers.base import RECORD_LIMIT_BYTES, Rejects, Source
from harness.recording.readers.codings import decoded
from harness.recording.readers.files import CUT_FIX, EMPTY, EMPTY_FIX, TOO_LONG, Opened, opened
from harness.recording.readers.http_message import BREAKS_OFF, Message, parse_answer, parse_request
from harness.recording.readers.http_values import WEB_SOCKET, first_of, has_no_body, host_of, lines_of
from harness.recording.readers.lines import first_bytes
from harness.recording.readers.options import options_of
from harness.recording.readers.request_line import NoRequestError, request_from
from harness.recording.readers.rows import LEAVE_OUT, LeftOutError, Row, Rows, UnusableError

SEPARATOR = "\n🐵🙈🙉\n".encode()
CHUNK_BYTES = 2**20
MOST_WAITING = 20_000
MOST_WAITING_BYTES = 32 * 2**20
"""Messages that wait for their other half; beyond this the oldest go on without it."""

NO_RECORD = "no record of GoReplay: its first line is not TYPE ID TIME"
OTHER_TYPE = "a type that is none of 1, 2 and 3"
CUT_OFF = "the file was cut off within this record"
ALONE = "an answer whose request is not near it"
REPLAYED = "a replayed answer (type 3)"

_META = re.compile(rb"([0-9]) ([^ \n]+) (-?[0-9]{1,19})(?: (-?[0-9]{1,19}))?[ \r]*")
_LOOKS = re.compile(rb"[123] [0-9A-Za-z_-]+ -?[0-9]+(?: -?[0-9]+)?\r?\n(?:[A-Z]+ |HTTP/)")
_SINCE_EPOCH_NS = 10**16
"""Less than this is how long an answer took, not when it came."""


class GoReplayReader:
    """GoReplay's `--output-file`."""

    name = "goreplay"
    is_log = False
    summary = "GoReplay files (--output-file), with or without answers"
    unknown = "clients and connections, and answers unless they were tracked"

    def recognises(self, path: Path, head: bytes) -> bool:  # noqa: ARG002 - part of what a reader is
        return _LOOKS.match(first_bytes(head)) is not None

    def read(self, source: Source, rejects: Rejects) -> Iterator[pa.RecordBatch]:
        if options_of(source, rejects, {}) is None:
            return
        rows, pairs = Rows(), _Pairs(rejects)
        with opened(source.path) as file:
            for number, record, whole in _records(file, rejects):
                for row in pairs.of(number, record, whole):
                    rows.add(row)
                if rows.full:
                    yield from rows.batch()
            for row in pairs.rest():
                rows.add(row)
        yield from rows.batch()


def _records(file: Opened, rejects: Rejects) -> Iterator[tuple[int, bytes, bool]]:
    """`(number, record, whole)`; the last one may lack its separator."""
    held, number, too_long = bytearray(), 1, False
    searched = 0
    while chunk := file.read(CHUNK_BYTES):
        held += chunk
        begin = 0
        while (end := held.find(SEPARATOR, max(begin, searched))) >= 0:
            if too_long:
                rejects.bad(number, TOO_LONG, LEAVE_OUT)
            else:
                yield number, bytes(held[begin:end]), True
            begin, number, too_long = end + len(SEPARATOR), number + 1, False
        del held[:begin]
        if len(held) > RECORD_LIMIT_BYTES or too_long:
            too_long = True
            del held[: -len(SEPARATOR)]
        searched = max(0, len(held) - len(SEPARATOR))
    last = bytes(held).removesuffix(SEPARATOR.rstrip(b"\n"))
    if too_long:
        rejects.bad(number, TOO_LONG, LEAVE_OUT)
    elif last.strip():
        yield number, last, len(last) < len(held)
    elif number == 1:
        rejects.broken(EMPTY, EMPTY_FIX)
    if file.broke_off and not last.strip():
        rejects.bad(number, CUT_OFF, CUT_FIX)


@dataclass(frozen=True)
class _Request:
    number: int
    at_ns: int
    modern: bool
    """Whether its line has a latency of its own, as GoReplay has written since 1.3."""
    row: Row
    wire_bytes: int


@dataclass(frozen=True)
class _Answer:
    number: int
    time_ns: int
    latency_ns: int | None
    message: Message
    wire_bytes: int

    def times(self, request: _Request) -> tuple[int, int]:
        """`(first_byte_ns, answered_ns)`.

        Since 1.3 TIME is the message's first packet and LATENCY runs from there to its last one. Before, LATENCY ran
        from the request to the end of the answer, and before 1.0 TIME was that span, and there was no LATENCY.
        """
        if self.time_ns < _SINCE_EPOCH_NS:
            return UNKNOWN_NS, request.at_ns + self.time_ns if self.time_ns >= 0 else UNKNOWN_NS
        first_ns = self.time_ns if self.time_ns > request.at_ns else UNKNOWN_NS
        if self.latency_ns is None or self.latency_ns < 0:
            return first_ns, UNKNOWN_NS
        return first_ns, (self.time_ns if request.modern else request.at_ns) + self.latency_ns


class _Pairs:
    """Makes exchanges of messages; holds those that wait for their other half."""

    def __init__(self, rejects: Rejects) -> None:
        self._rejects = rejects
        self._requests: dict[bytes, _Request] = {}
        self._answers: dict[bytes, _Answer] = {}
        self._gone: dict[bytes, None] = {}
        self._bytes = 0

    def of(self, number: int, record: bytes, whole: bool) -> Iterator[Row]:
        try:
            yield from self._take(number, record)
        except UnusableError as error:
            self._rejects.bad(number, error.what if whole else CUT_OFF, error.fix if whole else CUT_FIX)
        except LeftOutError as error:
            self._rejects.left_out(error.reason)

    def rest(self) -> Iterator[Row]:
        """Requests without an answer."""
        for request in self._requests.values():
            yield request.row
        for _ in self._answers:
            self._rejects.left_out(ALONE)

    def _take(self, number: int, record: bytes) -> Iterator[Row]:
        line, _, payload = record.partition(b"\n")
        meta = _META.fullmatch(line)
        if meta is None:
            raise UnusableError(NO_RECORD)
        kind, name, time_ns = meta[1], meta[2], int(meta[3])
        latency_ns = int(meta[4]) if meta[4] is not None else None
        if kind == b"1":
            if name in self._requests:
                yield self._alone(name)
            self._gone[name] = None  # so that the answer of one that cannot be used goes with it
            request = _request(number, time_ns, latency_ns, payload)
            del self._gone[name]
            if name in self._answers:
                yield from self._joined(request, self._free_answer(name))
            else:
                self._requests[name] = request
                self._bytes += request.wire_bytes
        elif kind == b"2" and name in self._gone:
            del self._gone[name]
        elif kind == b"2":
            answer = _Answer(number, time_ns, latency_ns, parse_answer(payload), len(payload))
            if name in self._requests:
                waiting = self._requests.pop(name)
                self._bytes -= waiting.wire_bytes
                yield from self._joined(waiting, answer)
            else:
                self._answers[name] = answer
                self._bytes += answer.wire_bytes
        elif kind == b"3":
            raise LeftOutError(REPLAYED)
        else:
            raise UnusableError(OTHER_TYPE)
        while len(self._requests) > MOST_WAITING or (self._requests and self._bytes > MOST_WAITING_BYTES):
            yield self._alone(next(iter(self._requests)))
        if len(self._gone) > MOST_WAITING:
            del self._gone[next(iter(self._gone))]
        while len(self._answers) > MOST_WAITING or (self._answers and self._bytes > MOST_WAITING_BYTES):
            self._free_answer(next(iter(self._answers)))
            self._rejects.left_out(ALONE)

    def _alone(self, name: bytes) -> Row:
        request = self._requests.pop(name)
        self._bytes -= request.wire_bytes
        return request.row

    def _free_answer(self, name: bytes) -> _Answer:
        answer = self._answers.pop(name)
        self._bytes -= answer.wire_bytes
        return answer

    def _joined(self, request: _Request, answer: _Answer) -> Iterator[Row]:
        try:
            yield _exchange(request, answer)
        except UnusableError as error:
            self._rejects.bad(answer.number, error.what, error.fix)
        except LeftOutError as error:
            self._rejects.left_out(error.reason)


def _request(number: int, at_ns: int, latency_ns: int | None, payload: bytes) -> _Request:
    message = parse_request(payload)
    if not message.complete:
        raise UnusableError(BREAKS_OFF)
    if first_of(message.headers, "upgrade").lower() == "websocket":
        raise LeftOutError(WEB_SOCKET)
    try:
        parts = request_from(message.method, message.target, message.version, scheme="http")
    except NoRequestError as error:
        if str(error) in LEFT_OUT:
            raise LeftOutError(str(error)) from None
        raise UnusableError(str(error)) from None
    host = parts.host or first_of(message.headers, "host")  # none: HTTP/1.0, and tools that leave it out
    row = Row(
        at_ns=at_ns,
        method=parts.method,
        path=parts.path,
        scheme=parts.scheme,
        host=host_of(parts.scheme, host) if host else "",
        http=parts.http,
        headers=lines_of(message.headers),
        body=message.body,
        request_bytes=len(payload),
    )
    return _Request(number, at_ns, latency_ns is not None and latency_ns >= 0, row, len(payload))


def _exchange(request: _Request, answer: _Answer) -> Row:
    message = answer.message
    empty = has_no_body(request.row.method, message.status)
    if not (message.complete or empty):
        raise UnusableError(BREAKS_OFF)
    first_ns, answered_ns = answer.times(request)
    body = b"" if empty else decoded(message.body, first_of(message.headers, "content-encoding"))
    return replace(
        request.row,
        first_byte_ns=first_ns,
        answered_ns=answered_ns,
        status=message.status,
        answer_headers=lines_of(message.headers),
        answer_body=body,
        answer_bytes=answer.wire_bytes,
    )
