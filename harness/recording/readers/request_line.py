"""The request line: method, target and version of HTTP, out of one text or out of many at once.

Takes what logs call the request (`GET /a?b HTTP/1.1`), gives the columns of captured batches, and says why a text is no
request. A target's bytes that no request line may carry are percent-encoded: whoever answered read them the same way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from harness.recording.readers.bad_lines import TUNNEL, WHOLE_SERVER
from harness.recording.readers.columns import (
    Positions,
    codes,
    constant,
    encoded,
    in_order,
    texts,
    through,
)

NO_REQUEST = "no request: the connection ended, or was refused, before one was read"
NO_HTTP = "the request is no HTTP (TLS sent to a plain port, or rubbish)"
OTHER_VERSION = "a version of HTTP that is none of 1.0, 1.1, 2 and 3"
NO_TARGET = "the request names no path"

VERSIONS = {"1.0": "1.0", "1.1": "1.1", "2.0": "2", "2": "2", "3.0": "3", "3": "3", "": ""}

PARTS = ("method", "path", "http", "scheme", "host")
"""The columns of captured batches that a request line fills."""

SPACE, SLASH = ord(" "), ord("/")
_HTTP = b"HTTP/"

_METHOD = re.compile(r"[A-Z]{1,16}")
_LINE = re.compile(r"(?P<method>[^ ]+) (?P<target>.*?)(?: HTTP/(?P<version>[0-9.]+))?", re.DOTALL)
_ABSOLUTE = re.compile(
    r"(?P<scheme>https?)://(?P<host>[^/?#\s@]+)(?P<path>[/?#].*)?", re.IGNORECASE | re.DOTALL
)
_UNSENDABLE = re.compile(r"[^\x21-\x7e]")


class NoRequestError(ValueError):
    """Why a text is no request; the message names no part of it."""


@dataclass(frozen=True)
class Request:
    """One request line's parts, as the columns of captured batches have them."""

    method: str
    path: str
    http: str = ""
    scheme: str = ""
    host: str = ""


@dataclass(frozen=True)
class Requests:
    """Many of them, one a row. `wrong` says of some rows why there is no request."""

    columns: dict[str, pa.DictionaryArray]
    wrong: dict[int, str]


def request_of(line: str) -> Request:
    """One request line; characters above 127 stand for bytes (Latin-1). Raises NoRequestError."""
    if line in ("", "-"):
        raise NoRequestError(NO_REQUEST)
    found = _LINE.fullmatch(line)
    if found is None or (found["version"] is None and " " in found["target"]):
        raise NoRequestError(NO_HTTP)
    return request_from(found["method"], found["target"], found["version"] or "")


def request_from(method: str, target: str, version: str = "", host: str = "", scheme: str = "") -> Request:
    """A request whose parts the source names one by one. Raises NoRequestError."""
    if not _METHOD.fullmatch(method):
        raise NoRequestError(NO_HTTP)
    if method == "CONNECT":
        raise NoRequestError(TUNNEL)
    if version not in VERSIONS:
        raise NoRequestError(OTHER_VERSION)
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is not None:
        scheme, host = absolute["scheme"].lower(), absolute["host"].lower()
        target = absolute["path"] or "/"
        target = target if target.startswith("/") else "/" + target
    elif target == "*" and method == "OPTIONS":
        raise NoRequestError(WHOLE_SERVER)
    elif not target.startswith("/"):
        raise NoRequestError(NO_TARGET if not target else NO_HTTP)
    return Request(method, sendable(target), VERSIONS[version], scheme, host)


def sendable(target: str) -> str:
    """Percent-encoded where a request line could not carry it; characters above 255 as UTF-8."""

    def encoded_(found: re.Match[str]) -> str:
        character = found.group()
        raw = character.encode("latin-1" if ord(character) < 256 else "utf-8")
        return "".join(f"%{byte:02X}" for byte in raw)

    return _UNSENDABLE.sub(encoded_, target)


def split_requests(lines: pa.Array) -> Requests:
    """The parts of many request lines, each distinct one looked at once."""
    column = encoded(lines)
    distinct = column.dictionary
    plain, found = _split_plain(distinct)
    parts: list[Request] = []
    reasons: dict[int, str] = {}
    others = np.flatnonzero(~plain)
    for place in others.tolist():
        try:
            parts.append(request_of(distinct[place].as_py()))
        except NoRequestError as error:
            reasons[place] = str(error)
            parts.append(Request("", ""))
    order = np.argsort(np.concatenate([np.flatnonzero(plain), others]), kind="stable")
    columns = {}
    for name in PARTS:
        rest = pa.array([getattr(part, name) for part in parts], pa.string())
        columns[name] = through(column, in_order([found[name], rest], order))
    return Requests(columns, _rows_of(column, reasons))


def _split_plain(lines: pa.StringArray) -> tuple[npt.NDArray[np.bool_], dict[str, pa.StringArray]]:
    """Which lines are `METHOD /target` or `METHOD /target HTTP/version` beyond doubt, and their parts."""
    data, starts, ends = _bytes_of(lines)
    spaces = np.flatnonzero(data == SPACE)
    first = np.searchsorted(spaces, starts)
    count = np.searchsorted(spaces, ends) - first
    odd = np.flatnonzero((data - np.uint8(0x20)) > 0x5E)
    plain = ((count == 1) | (count == 2)) & (np.searchsorted(odd, starts) == np.searchsorted(odd, ends))
    begin, stop, first, count = starts[plain], ends[plain], first[plain], count[plain]
    target = spaces[first] + 1
    after = np.where(count == 2, spaces[np.minimum(first + 1, len(spaces) - 1)], stop)
    version = np.where(count == 2, np.minimum(after + 1 + len(_HTTP), stop), stop)
    right = (target < after) & (data[np.minimum(target, len(data) - 1)] == SLASH)
    right &= (count == 1) | _says(data, after + 1, stop, _HTTP)
    buffer = pa.py_buffer(data)
    method, http = (encoded(texts(buffer, *span)) for span in ((begin, target - 1), (version, stop)))
    methods = np.array([_sent_again(name) for name in method.dictionary.to_pylist()], bool)
    versions = np.array([name in VERSIONS for name in http.dictionary.to_pylist()], bool)
    right &= _by_code(methods, method) & _by_code(versions, http)
    plain[np.flatnonzero(plain)[~right]] = False
    kept = pa.array(right)
    known = pa.array([VERSIONS.get(name, "") for name in http.dictionary.to_pylist()], pa.string())
    empty = constant("", int(right.sum())).dictionary_decode()
    return plain, {
        "method": method.dictionary_decode().filter(kept),
        "path": texts(buffer, target[right], after[right]),
        "http": through(http, known).dictionary_decode().filter(kept),
        "scheme": empty,
        "host": empty,
    }


def _sent_again(method: str) -> bool:
    return _METHOD.fullmatch(method) is not None and method != "CONNECT"


def _bytes_of(lines: pa.StringArray) -> tuple[npt.NDArray[np.uint8], Positions, Positions]:
    """`(data, starts, ends)`; `data` ends with a byte that belongs to no line, so that every end can be looked at."""
    offsets = np.frombuffer(lines.buffers()[1], np.int32)[lines.offset : lines.offset + len(lines) + 1]
    text = lines.buffers()[2]
    first, last = (int(offsets[0]), int(offsets[-1])) if len(lines) else (0, 0)
    data = np.zeros(last - first + 1, np.uint8)
    if text is not None:
        data[:-1] = np.frombuffer(text, np.uint8)[first:last]
    places = offsets.astype(np.int64) - first
    return data, places[:-1], places[1:]


def _says(data: npt.NDArray[np.uint8], at: Positions, stop: Positions, word: bytes) -> npt.NDArray[np.bool_]:
    """Whether `word` stands at each place, before `stop`."""
    right = at + len(word) <= stop
    for place, byte in enumerate(word):
        right &= data[np.minimum(at + place, len(data) - 1)] == byte
    return right


def _by_code(flags: npt.NDArray[np.bool_], column: pa.DictionaryArray) -> npt.NDArray[np.bool_]:
    return flags[codes(column)] if len(flags) else np.zeros(len(column), bool)


def _rows_of(column: pa.DictionaryArray, reasons: dict[int, str]) -> dict[int, str]:
    """The reasons of distinct texts as reasons of rows."""
    if not reasons:
        return {}
    places = codes(column)
    rows = np.flatnonzero(np.isin(places, list(reasons)))
    return {int(row): reasons[int(places[row])] for row in rows}
