"""One line of an access log, taken apart with care: what the fast path of `access_log.py` does not know for certain.

Takes the bytes of a line, gives its fields with the server's escapes undone, or says why it is no line of a log. This
is the reference: where the fast path reads a line, it must read the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.recording.readers.bad_lines import NOT_UTF_8, NUL_BYTES
from harness.recording.readers.clock import NoTimeError, log_time

NO_TIME = "no time in brackets before the request"
NO_START = "less than address, identity and user before the time"
NO_END_OF_REQUEST = "the request's closing quote is missing"
NO_STATUS = "the status is no number of three digits"
STATUS_RANGE = "the status is out of range (100 to 599)"
NO_SIZE = "the size of the answer is no number"
NO_END = "the line breaks off within a quoted field"
NO_SPACE = "after the size or a quoted field there is no space"
CONTROL = "a header holds control characters"

MOST_BYTES = 10**15
"""A size with more digits than this has is no size."""

_QUOTED = rb'"((?:[^"\\]++|\\.)*+)"'
_BEGIN = re.compile(rb"(?P<before>.{1,4000}?) \[(?P<time>[^\[\]]{0,80})\] \"", re.DOTALL)
_REST_OF_QUOTED = re.compile(rb'((?:[^"\\]++|\\.)*+)"', re.DOTALL)
_NUMBERS = re.compile(rb" ([^ ]+) ([^ ]+)")
_AGENTS = re.compile(rb" " + _QUOTED + rb" " + _QUOTED, re.DOTALL)
_ESCAPE = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_ESCAPED = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"v": b"\v", b"b": b"\b", b'"': b'"', b"\\": b"\\"}
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class NoLineError(ValueError):
    """Why a line is none of an access log; the message names no part of it."""


@dataclass(frozen=True)
class LogLine:
    """The fields of one line. Texts that came over the wire have one character a byte (Latin-1)."""

    host: str
    client: str
    time_ns: int
    request: str
    status: int
    size: int
    referer: str
    agent: str
    tail: str
    """What follows, such as ` 0.003`; begins with a space where there is any."""


def parse_line(line: bytes) -> LogLine:
    """Raises NoLineError."""
    if b"\0" in line:
        raise NoLineError(NUL_BYTES)
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        raise NoLineError(NOT_UTF_8) from None
    begin = _BEGIN.match(line)
    if begin is None:
        raise NoLineError(NO_TIME)
    host, client = _who(begin["before"].decode("utf-8"))
    time_ns = _time(begin["time"].decode("utf-8"))
    request = _REST_OF_QUOTED.match(line, begin.end())
    if request is None:
        raise NoLineError(NO_END_OF_REQUEST)
    numbers = _NUMBERS.match(line, request.end())
    if numbers is None:
        raise NoLineError(NO_STATUS)
    status, size = status_of(numbers[1]), size_of(numbers[2])
    referer, agent, end = _referer_and_agent(line, numbers.end())
    tail = line[end:]
    if tail and not tail.startswith(b" "):
        raise NoLineError(NO_SPACE)
    return LogLine(
        host, client, time_ns, unescaped(request[1]), status, size, referer, agent, tail.decode("utf-8")
    )


def _who(before: str) -> tuple[str, str]:
    """`(host, client)` from `client identity user` or `host client identity user`; a user's name may hold spaces."""
    words = before.split(" ")
    if len(words) >= 4 and words[1] != "-" and words[2] == "-":
        host, words = words[0].lower(), words[1:]
    else:
        host = ""
    if len(words) < 3 or not words[0]:
        raise NoLineError(NO_START)
    return host, words[0]


def _time(text: str) -> int:
    try:
        return log_time(text)
    except NoTimeError as error:
        raise NoLineError(str(error)) from error


def status_of(text: bytes) -> int:
    """As captured batches have it: -1 for `-`, 0 for 000 (no answer was sent). Raises NoLineError."""
    if text == b"-":
        return -1
    if len(text) != 3 or not text.isdigit():
        raise NoLineError(NO_STATUS)
    status = int(text)
    if status and not 100 <= status <= 599:
        raise NoLineError(STATUS_RANGE)
    return status


def size_of(text: bytes) -> int:
    """`-` is how Apache writes none. Raises NoLineError."""
    if text == b"-":
        return 0
    if not text.isdigit() or len(text) >= len(str(MOST_BYTES)):
        raise NoLineError(NO_SIZE)
    return int(text)


def _referer_and_agent(line: bytes, at: int) -> tuple[str, str, int]:
    """`(referer, agent, end)`; a common log has neither."""
    found = _AGENTS.match(line, at)
    if found is not None:
        referer, agent = unescaped(found[1]), unescaped(found[2])
        if _CONTROL.search(referer) or _CONTROL.search(agent):
            raise NoLineError(CONTROL)
        return referer, agent, found.end()
    if line.startswith(b' "', at) and not _whole(line[at:]):
        raise NoLineError(NO_END)
    return "-", "-", at


def _whole(tail: bytes) -> bool:
    """Whether every quoted field in it ends."""
    return re.fullmatch(rb'(?: (?:"(?:[^"\\]++|\\.)*+"|[^ "][^ ]*+|))*+', tail, re.DOTALL) is not None


def unescaped(text: bytes) -> str:
    """The bytes that a server wrote as `\\x22`, `\\"`, `\\n`, …; one character a byte."""
    if b"\\" in text:
        text = _ESCAPE.sub(_meant, text)
    return text.decode("latin-1")


def _meant(found: re.Match[bytes]) -> bytes:
    if found[1] is not None:
        return bytes([int(found[1], 16)])
    return _ESCAPED.get(found[2], found[0])
