"""Access logs of Apache and nginx, combined and common, also with the virtual host first or further fields at the end.

Takes a file, gives captured batches. Lines of which every byte is where it usually is are taken apart many at once: a
few passes over a block find quotes, spaces and line ends, and Arrow cuts the texts out between them. All other lines
(escapes, names with spaces, times with fractions, rubbish) go one by one through `access_log_line.parse_line`.

Options: `fields=NAME,…` says what follows the usual fields (`trailing.py`); `spread=even` spreads the requests of one
second evenly over it, in the order of the file (`spread.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from harness.recording.readers.access_log_line import MOST_BYTES, LogLine, NoLineError, parse_line
from harness.recording.readers.bad_lines import BROKE_OFF, reject_all, without
from harness.recording.readers.base import Rejects, Source
from harness.recording.readers.clock import LOG_TIME_BYTES, log_times
from harness.recording.readers.columns import (
    Positions,
    captured_batch,
    encoded,
    header_column,
    in_order,
    texts,
    through,
)
from harness.recording.readers.lines import Block, first_bytes, read_blocks
from harness.recording.readers.options import options_of
from harness.recording.readers.request_line import split_requests
from harness.recording.readers.spread import spread_evenly
from harness.recording.readers.trailing import Trailing

QUOTE, SPACE, BACKSLASH, OPEN, CLOSE, DASH, LINE_FEED = (ord(byte) for byte in '" \\[]-\n')
SIZE_DIGITS = len(str(MOST_BYTES)) - 1

_LOOKS = re.compile(rb'^\S+ .{1,300}\[[^\[\]\n]{1,80}\] "', re.MULTILINE)

Mask = npt.NDArray[np.bool_]


class AccessLogReader:
    """Access logs; a line is a record."""

    name = "access-log"
    is_log = True
    summary = "combined and common access logs of Apache and nginx"
    unknown = (
        "times are to the second (requests of one second keep its beginning; spread=even spreads them), no time of the "
        "answer unless fields= names one, no headers but referer and user agent, no bodies"
    )

    def recognises(self, path: Path, head: bytes) -> bool:  # noqa: ARG002
        """By a time in brackets before a quote; the name of the file says nothing."""
        text = first_bytes(head)
        return not text.lstrip().startswith((b"{", b"[{")) and _LOOKS.search(text) is not None

    def read(self, source: Source, rejects: Rejects) -> Iterator[pa.RecordBatch]:
        """See `Reader.read`."""
        options = options_of(source, rejects, {"fields": Trailing.parse, "spread": spread_choice})
        if options is None:
            return iter(())
        trailing = options.get("fields") or Trailing(())

        def batches(to: Rejects) -> Iterator[pa.RecordBatch]:
            for block in read_blocks(source.path, to):
                yield from _batches(block, trailing, to)

        if options.get("spread"):
            return spread_evenly(batches, rejects, trailing.written)
        return batches(rejects)


def spread_choice(text: str) -> bool:
    """The option `spread`. Raises ValueError."""
    if text not in ("even", "no"):
        raise ValueError(f"{text!r} is neither 'even' nor 'no'")
    return text == "even"


def _batches(block: Block, trailing: Trailing, rejects: Rejects) -> Iterator[pa.RecordBatch]:
    rows, wrong = _rows(block)
    batch, wrong_rows = _captured(rows, trailing)
    wrong |= {int(rows.lines[row]): reason for row, reason in wrong_rows.items()}
    reject_all(block.first, wrong, rejects)
    batch = without(batch, wrong_rows)
    if batch.num_rows:
        yield batch


@dataclass(frozen=True)
class Rows:
    """The fields of many lines; `lines` are their numbers within the block, from 0."""

    lines: Positions
    host: pa.Array
    client: pa.Array
    request: pa.Array
    referer: pa.Array
    agent: pa.Array
    tail: pa.Array
    time_ns: npt.NDArray[np.int64]
    status: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]


def _rows(block: Block) -> tuple[Rows, dict[int, str]]:
    """The lines of a block, and by line why the others are none. Blank lines are neither."""
    starts, ends = block.spans()
    wrong: dict[int, str] = {}
    last = len(starts) - 1
    if block.is_cut(last) and block.data[ends[last] - 1] != QUOTE:
        # It may look whole all the same: then the size, or the field at its end, lacks digits.
        wrong[last] = BROKE_OFF
        block = Block(block.data[: starts[last]], block.first)
        starts, ends = block.spans()
    rows = _Usual(block, starts, ends).rows()
    rest = ends > starts
    rest[rows.lines] = False
    slow: list[int] = []
    parsed: list[LogLine] = []
    for line in np.flatnonzero(rest).tolist():
        try:
            parsed.append(parse_line(block.data[starts[line] : ends[line]]))
            slow.append(line)
        except NoLineError as error:
            wrong[line] = str(error)
    return _together(rows, slow, parsed), wrong


def _together(rows: Rows, slow: list[int], parsed: list[LogLine]) -> Rows:
    if not slow:
        return rows
    lines = np.concatenate([rows.lines, np.array(slow, np.int64)])
    order = np.argsort(lines, kind="stable")

    def text(name: str) -> pa.Array:
        rest = pa.array([getattr(line, name) for line in parsed], pa.string())
        return in_order([getattr(rows, name), rest], order)

    def number(name: str) -> npt.NDArray[np.int64]:
        rest = np.array([getattr(line, name) for line in parsed], np.int64)
        joined: npt.NDArray[np.int64] = np.concatenate([getattr(rows, name), rest])[order]
        return joined

    return Rows(
        lines=lines[order],
        host=text("host"),
        client=text("client"),
        request=text("request"),
        referer=text("referer"),
        agent=text("agent"),
        tail=text("tail"),
        time_ns=number("time_ns"),
        status=number("status"),
        size=number("size"),
    )


class _Usual:
    """The lines of a block that are as usual, byte for byte; everything is an array with one element a line."""

    def __init__(self, block: Block, starts: Positions, ends: Positions) -> None:
        self._data = block.data
        self._bytes = block.bytes_array()
        self._quotes = np.flatnonzero(self._bytes == QUOTE)
        self._spaces = np.flatnonzero(self._bytes == SPACE)
        self._lines = self._likely(starts, ends)
        self._starts, self._ends = starts[self._lines], ends[self._lines]

    def _likely(self, starts: Positions, ends: Positions) -> Positions:
        """Lines without escapes, control characters and characters beyond ASCII, with as many quotes as usual."""
        data = self._bytes
        odd = np.flatnonzero((((data - np.uint8(SPACE)) > 0x5E) & (data != LINE_FEED)) | (data == BACKSLASH))
        first = np.searchsorted(self._quotes, starts)
        count = np.diff(first, append=len(self._quotes))
        likely = (count == 2) | (count >= 6)
        likely[np.searchsorted(ends, odd)] = False
        return np.flatnonzero(likely)

    def rows(self) -> Rows:
        """Narrowed down step by step; each step keeps the lines that are as usual up to there."""
        first = np.searchsorted(self._quotes, self._starts)
        begin = self._quotes[first]
        # `[` and the time and `] ` before the first quote, and something before that.
        time_at = begin - 2 - LOG_TIME_BYTES
        right = time_at - 3 >= self._starts
        for place, byte in (
            (-1, SPACE),
            (-2, CLOSE),
            (-3 - LOG_TIME_BYTES, OPEN),
            (-4 - LOG_TIME_BYTES, SPACE),
        ):
            right &= self._bytes[begin + place] == byte
        time_ns, is_time = log_times(self._bytes, np.maximum(time_at, 0))
        right &= is_time
        host_end, client, client_end, is_who = self._who(time_at - 2)
        stop = self._quotes[first + 1]
        status, size, size_end, are_numbers = self._numbers(stop)
        referer, agent, tail, are_agents = self._agents(first, size_end)
        kept = right & is_who & are_numbers & are_agents

        def cut(starts: Positions, ends: Positions) -> pa.Array:
            return texts(self._data, starts[kept], ends[kept])

        return Rows(
            self._lines[kept],
            cut(self._starts, host_end),
            cut(client, client_end),
            cut(begin + 1, stop),
            cut(*referer),
            cut(*agent),
            cut(tail, self._ends),
            time_ns[kept],
            status[kept],
            size[kept],
        )

    def _who(self, before_time: Positions) -> tuple[Positions, Positions, Positions, Mask]:
        """`(host_end, client, client_end, right)`; the host begins with the line and is empty where there is none."""
        first = np.searchsorted(self._spaces, self._starts)
        words = np.searchsorted(self._spaces, before_time) - first + 1
        space = [self._spaces[np.minimum(first + place, len(self._spaces) - 1)] for place in range(3)]
        dashes = [
            (after - before == 2) & (self._bytes[before + 1] == DASH)
            for before, after in ((space[0], space[1]), (space[1], space[2]))
        ]
        with_host = (words == 4) & ~dashes[0] & dashes[1]
        client = np.where(with_host, space[0] + 1, self._starts)
        client_end = np.where(with_host, space[1], space[0])
        host_end = np.where(with_host, space[0], self._starts)
        return host_end, client, client_end, ((words == 3) | with_host) & (client_end > client)

    def _numbers(
        self, stop: Positions
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Positions, Mask]:
        """`(status, size, size_end, right)`, from where the request's closing quote stands."""
        space = np.searchsorted(self._spaces, stop + 6)
        size_end = np.minimum(np.append(self._spaces, len(self._bytes))[space], self._ends)
        right = (stop + 6 < size_end) & (self._at(stop + 1) == SPACE) & (self._at(stop + 5) == SPACE)
        status, is_status = self._integer(stop + 2, stop + 5)
        right &= is_status & ((status == 0) | ((status >= 100) & (status <= 599)))
        size, is_size = self._integer(stop + 6, size_end)
        none = (size_end - stop == 7) & (self._at(stop + 6) == DASH)
        return status, np.where(none, 0, size), size_end, right & (is_size | none)

    def _integer(self, start: Positions, end: Positions) -> tuple[npt.NDArray[np.int64], Mask]:
        value = np.zeros(len(start), np.int64)
        right = end - start <= SIZE_DIGITS
        longest = int((end - start)[right].max(initial=0))
        for place in range(longest):
            digit = self._at(start + place) - np.uint8(ord("0"))
            within = start + place < end
            value = np.where(within, value * 10 + digit, value)
            right &= ~within | (digit <= 9)
        return value, right

    def _agents(
        self, first: Positions, size_end: Positions
    ) -> tuple[tuple[Positions, Positions], tuple[Positions, Positions], Positions, Mask]:
        """`(referer, agent, tail, right)`: where each begins and ends; a common log has neither."""
        common = np.append(first[1:], len(self._quotes)) - first == 2
        quote = [self._quotes[np.minimum(first + place, len(self._quotes) - 1)] for place in range(2, 6)]
        right = (quote[0] == size_end + 1) & (quote[2] == quote[1] + 2) & (self._at(quote[1] + 1) == SPACE)
        right &= (quote[3] + 1 == self._ends) | (self._at(quote[3] + 1) == SPACE)
        begins = [np.where(common, size_end, quote[place] + 1) for place in (0, 2)]
        stops = [np.where(common, size_end, quote[place]) for place in (1, 3)]
        tail = np.where(common, size_end, quote[3] + 1)
        return (begins[0], stops[0]), (begins[1], stops[1]), tail, common | right

    def _at(self, places: Positions) -> npt.NDArray[np.uint8]:
        """The bytes there; past the end, the last one, a line feed."""
        return self._bytes[np.minimum(places, len(self._bytes) - 1)]


def _captured(rows: Rows, trailing: Trailing) -> tuple[pa.RecordBatch, dict[int, str]]:
    """The rows as captured batches have them, and by row why there was no request."""
    requests = split_requests(rows.request)
    columns: dict[str, pa.Array | npt.NDArray[np.generic]] = dict(requests.columns)
    wrong = dict(requests.wrong)
    columns["host"] = _host(requests.columns["host"], rows.host)
    columns["client"] = encoded(rows.client)
    columns["at_ns"], columns["status"], columns["answer_bytes"] = rows.time_ns, rows.status, rows.size
    headers = [("referer", encoded(rows.referer)), ("user-agent", encoded(rows.agent))]
    headers += trailing.into(columns, rows.tail, wrong)
    columns["headers"] = header_column(headers)
    return captured_batch(len(rows.lines), columns), wrong


def _host(of_target: pa.DictionaryArray, of_line: pa.Array) -> pa.DictionaryArray:
    """The target's own where it names one, else the virtual host at the line's beginning."""
    named = encoded(of_line)
    if named.dictionary.to_pylist() in ([], [""]):
        return of_target
    named = through(named, pc.utf8_lower(named.dictionary))
    if of_target.dictionary.to_pylist() in ([], [""]):
        return named
    target = of_target.dictionary_decode()
    return encoded(pc.if_else(pc.equal(target, ""), named.dictionary_decode(), target))
