"""One HTTP/1 message from its bytes on the wire, parsed by httptools (Node's llhttp).

Takes bytes, gives start line, headers and body without transfer encoding. h11, which is stricter, refuses requests
without `host`, and captures hold such.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httptools

from harness.recording.readers.http_values import TUNNEL, first_of, wire_pairs_of
from harness.recording.readers.rows import LeftOutError, UnusableError

NO_MESSAGE = "no HTTP message"
SEVERAL = "more than one HTTP message"
BREAKS_OFF = "its body breaks off: the capture lost the rest"
OTHER_PROTOCOL = "a request that changes to another protocol and goes on in it"
OTHER_ENCODING = "a transfer encoding other than chunked"


@dataclass(frozen=True)
class Message:
    """Method and target of a request, status of an answer. Not `complete`: more was announced than is there."""

    version: str
    headers: list[tuple[str, str]]
    body: bytes
    complete: bool
    method: str = ""
    target: str = ""
    status: int = 0


class _Parts:
    """What the parser calls back. Begins anew after an interim answer (100 Continue), which goes before the real one."""

    def __init__(self) -> None:
        self.parser: Any = None
        self.messages = 0
        self.target = bytearray()
        self._clear()

    def _clear(self) -> None:
        self.headers: list[tuple[str, str]] = []
        self.body: list[bytes] = []
        self.head_ended = False
        self.ended = False
        self.interim = False

    def on_message_begin(self) -> None:
        self.messages += not self.interim
        self._clear()

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.head_ended:  # later ones are trailers
            self.headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        self.head_ended = True
        if isinstance(self.parser, httptools.HttpResponseParser):
            self.interim = self.parser.get_status_code() in range(100, 200)

    def on_body(self, body: bytes) -> None:
        self.body.append(body)

    def on_message_complete(self) -> None:
        self.ended = True


def parse_request(data: bytes) -> Message:
    """Raises UnusableError, and LeftOutError for CONNECT."""
    parts = _Parts()
    parser = parts.parser = httptools.HttpRequestParser(parts)
    _feed(parts, _with_ascii_target(data))
    method = parser.get_method().decode("latin-1")
    if method == "CONNECT":
        raise LeftOutError(TUNNEL)
    headers = _headers(parts)
    return Message(
        version=parser.get_http_version(),
        headers=headers,
        body=b"".join(parts.body),
        complete=parts.ended,
        method=method,
        target=parts.target.decode("latin-1"),
    )


def parse_answer(data: bytes) -> Message:
    """Raises UnusableError. Interim answers (100 Continue) before the last one are passed over."""
    parts = _Parts()
    parser = parts.parser = httptools.HttpResponseParser(parts)
    _feed(parts, data)
    headers = _headers(parts)
    until_closed = not first_of(headers, "content-length") and not first_of(headers, "transfer-encoding")
    return Message(
        version=parser.get_http_version(),
        headers=headers,
        body=b"".join(parts.body),
        complete=parts.ended or until_closed,
        status=parser.get_status_code(),
    )


def _feed(parts: _Parts, data: bytes) -> None:
    try:
        parts.parser.feed_data(data)
    except httptools.HttpParserUpgrade as upgrade:
        if upgrade.args[0] < len(data) and not isinstance(parts.parser, httptools.HttpResponseParser):
            raise UnusableError(OTHER_PROTOCOL) from None
    except httptools.HttpParserError:
        raise UnusableError(NO_MESSAGE) from None
    if not parts.head_ended:
        raise UnusableError(f"{NO_MESSAGE}: its head breaks off" if parts.messages else NO_MESSAGE)
    if parts.messages > 1:
        raise UnusableError(SEVERAL)


def _with_ascii_target(data: bytes) -> bytes:
    """Clients send other bytes in the target, too, which the parser takes only percent-encoded."""
    line, _, _ = data.partition(b"\r\n")
    if line.isascii():
        return data
    return b"".join(b"%%%02X" % byte if byte > 0x7E else bytes((byte,)) for byte in line) + data[len(line) :]


def _headers(parts: _Parts) -> list[tuple[str, str]]:
    headers = wire_pairs_of(parts.headers)
    encoding = first_of(headers, "transfer-encoding").lower()
    if encoding not in ("", "chunked", "identity"):
        raise UnusableError(OTHER_ENCODING)
    return headers
