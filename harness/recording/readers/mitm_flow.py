"""One exchange that mitmproxy saw as an exchange of the recording: the same row as from the HAR that mitmproxy makes of it.

Takes a frame of `mitmdump.py`, gives a `Row`, or an UnusableError or LeftOutError. What is decided so that both agree:

* times are whole microseconds, the start as `datetime` rounds it, the others as microseconds after it;
* host and path are those of the URL that mitmproxy shows: the `host` header or `:authority`, else the address;
* clients are the addresses of peers, without ports, in order of first appearance (a HAR has one client);
* bytes on the wire are counted for HTTP/1 alone, heads as they would be written, chunks without their framing.

They part where a HAR cannot follow: bodies of requests with a content encoding (a HAR shows them without), exchanges of
several clients, and bodies that were streamed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from harness.recording.captured import UNKNOWN_NS
from harness.recording.mitmdump import Frame
from harness.recording.readers.codings import decoded
from harness.recording.readers.http_values import (
    WEB_SOCKET,
    error_of,
    first_of,
    has_no_body,
    head_bytes,
    lines_of,
    method_of,
    microseconds,
    target_of,
    version_of,
    wire_pairs_of,
)
from harness.recording.readers.rows import LeftOutError, Row

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)


class Clients:
    """Names for peers, in order of first appearance."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def name(self, peer: str) -> str:
        return self._names.setdefault(peer, f"client-{len(self._names) + 1}")


def row_of(frame: Frame, clients: Clients) -> Row:
    """Raises UnusableError and LeftOutError."""
    head = frame.head
    if head["web_socket"]:
        raise LeftOutError(WEB_SOCKET)
    method = method_of(head["method"])
    scheme, host, path = target_of(head["url"], head["host"])
    sent = wire_pairs_of(head["headers"])
    client = clients.name(head["peer"])
    http = version_of(head["http"])
    at_us = (dt.datetime.fromtimestamp(head["start_s"], dt.UTC) - _EPOCH) // _MICROSECOND
    return Row(
        at_ns=at_us * 1_000,
        method=method,
        path=path,
        client=client,
        scheme=scheme,
        host=host,
        http=http,
        connection=client,
        headers=lines_of(sent),
        body=frame.request,
        request_bytes=_bytes(http, f"{method} {path} HTTP/1.1", sent, frame.request),
        **_answer(head, frame.answer, method, http, at_us),
    )


def _answer(
    head: Mapping[str, Any], body: bytes | None, method: str, http: str, at_us: int
) -> dict[str, Any]:
    """The columns of the answer."""
    answer = head["answer"]
    if answer is None:
        return {
            "status": -1 if head["error"] is None else 0,
            "error": error_of(head["error"]) if head["error"] else "",
        }
    status, got = int(answer["status"]), wire_pairs_of(answer["headers"])
    if has_no_body(method, status):
        meant: bytes | None = b""
    else:
        meant = decoded(body, first_of(got, "content-encoding")) if body is not None else None
    first_ns = answered_ns = UNKNOWN_NS
    if answer["start_s"]:
        first_ns = at_us * 1_000 + _since(head["start_s"], answer["start_s"])
        if answer["end_s"]:
            answered_ns = first_ns + _since(answer["start_s"], answer["end_s"])
    return {
        "status": status,
        "first_byte_ns": first_ns,
        "answered_ns": answered_ns,
        "answer_headers": lines_of(got),
        "answer_body": meant,
        "answer_bytes": _bytes(http, f"HTTP/1.1 {status} {answer['reason']}", got, body),
    }


def _since(begin_s: float, end_s: float) -> int:
    """Nanoseconds, of whole microseconds."""
    return max(0, microseconds((end_s - begin_s) * 1e6) * 1_000)


def _bytes(http: str, start: str, pairs: list[tuple[str, str]], body: bytes | None) -> int:
    return head_bytes(start, pairs) + len(body) if http.startswith("1") and body is not None else -1
