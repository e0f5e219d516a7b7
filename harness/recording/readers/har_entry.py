"""One entry of a HAR file as an exchange.

Takes what `json` made of an entry, whatever an exporter wrote there, gives a `Row`, or an UnusableError or LeftOutError.

How the times are meant (HAR 1.2, "timings"): an entry begins when the browser wanted the request; waiting for a
connection comes first and counts. mitmproxy differs: its entries begin when the request came in, and the connection's
times, which lie before that, are added to `time` all the same. Its times are rounded to microseconds here, as its
start is, so that a flow file and the HAR made of it are the same recording (`mitm_flow.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.recording.captured import UNKNOWN_NS
from harness.recording.readers.clock import NoTimeError, iso_time
from harness.recording.readers.har_body import (
    answer_body,
    form_of,
    request_body,
    request_headers,
    response_headers,
)
from harness.recording.readers.har_values import mapping, number, pairs_in, text
from harness.recording.readers.http_values import (
    WEB_SOCKET,
    Pairs,
    error_of,
    first_of,
    has_no_body,
    head_bytes,
    lines_of,
    method_of,
    microseconds,
    target_of,
    version_of,
)
from harness.recording.readers.rows import LEAVE_OUT, LeftOutError, Row, UnusableError

CLIENT = "client-1"
"""A HAR file is one browser, or one client of an API."""

NO_ENTRY = "no entry of a HAR: it has no request"
NO_START = "startedDateTime is missing"
NO_STATUS = "the status is no number from 0 to 999"
FROM_CACHE = "answered from the browser's cache, and never sent"

_PHASES = ("blocked", "dns", "connect", "send", "wait", "receive")


@dataclass(frozen=True)
class Exporter:
    """Who wrote the file, as its `creator` says."""

    name: str

    @classmethod
    def of(cls, creator: Any) -> Exporter:
        return cls(str(mapping(creator).get("name", "")))

    @property
    def is_mitmproxy(self) -> bool:
        return self.name.lower().startswith("mitmproxy")

    def row(self, entry: Any) -> Row:
        """Raises UnusableError and LeftOutError."""
        members = mapping(entry)
        request, response = mapping(members.get("request")), mapping(members.get("response"))
        if not request:
            raise UnusableError(NO_ENTRY)
        if members.get("_webSocketMessages") or members.get("_resourceType") == "websocket":
            raise LeftOutError(WEB_SOCKET)
        if members.get("_fromCache"):
            raise LeftOutError(FROM_CACHE)
        method = method_of(text(request.get("method")))
        sent, got = request_headers(request), response_headers(response)
        scheme, host, path = target_of(text(request.get("url")), first_of(sent, "host"))
        status = _status(response)
        if status == 101 and first_of(got, "upgrade").lower() == "websocket":
            raise LeftOutError(WEB_SOCKET)
        body, described = request_body(request, sent, method, self.is_mitmproxy)
        answer: bytes | None = None
        if has_no_body(method, status):
            answer = b""
        elif status > 0:
            answer = answer_body(response, got, self.is_mitmproxy)
        http = version_of(text(request.get("httpVersion")), text(response.get("httpVersion")))
        path += _query(request, path)
        at_ns = _start(members)
        first_ns, answered_ns = self._times(members, at_ns) if status > 0 else (UNKNOWN_NS, UNKNOWN_NS)
        start, first = f"{method} {path} HTTP/1.1", f"HTTP/1.1 {status} {text(response.get('statusText'))}"
        return Row(
            at_ns=at_ns,
            method=method,
            path=path,
            client=CLIENT,
            scheme=scheme,
            host=host,
            http=http,
            connection=CLIENT,
            headers=lines_of(described),
            body=body,
            request_bytes=self._bytes(request, http, start, sent),
            first_byte_ns=first_ns,
            answered_ns=answered_ns,
            status=status,
            error=error_of(_why(members, response)) if status == 0 else "",
            answer_headers=lines_of(got),
            answer_body=answer,
            answer_bytes=self._bytes(response, http, first, got) if status > 0 else -1,
        )

    def _times(self, members: Mapping[str, Any], at_ns: int) -> tuple[int, int]:
        """`(first_byte_ns, answered_ns)`; UNKNOWN_NS for what the exporter did not say."""
        timings = mapping(members.get("timings"))
        phases = {name: number(timings.get(name)) for name in _PHASES}
        known = [value for value in phases.values() if value is not None]
        receive = phases["receive"]
        if self.is_mitmproxy:
            if receive is None or phases["wait"] is None:
                return UNKNOWN_NS, UNKNOWN_NS
            first_ns = at_ns + microseconds(((phases["send"] or 0.0) + phases["wait"]) * 1e3) * 1_000
            return first_ns, first_ns + microseconds(receive * 1e3) * 1_000
        total = number(members.get("time"))
        if not total:
            if not known:
                return UNKNOWN_NS, UNKNOWN_NS
            total = sum(known)
        answered_ns = at_ns + round(total * 1e6)
        first_ns = UNKNOWN_NS if receive is None else max(at_ns, answered_ns - round(receive * 1e6))
        return first_ns, answered_ns

    def _bytes(self, message: Mapping[str, Any], http: str, start: str, pairs: Pairs) -> int:
        """Head and body on the wire. mitmproxy's `headersSize` is none, so its HTTP/1 heads are counted here."""
        body, head = number(message.get("bodySize")), number(message.get("headersSize"))
        if self.is_mitmproxy:
            head = head_bytes(start, pairs) if http.startswith("1") else None
        return -1 if head is None or body is None else int(head + body)


def _start(members: Mapping[str, Any]) -> int:
    written = text(members.get("startedDateTime"))
    if not written:
        raise UnusableError(NO_START)
    try:
        return iso_time(written)
    except NoTimeError as error:
        raise UnusableError(f"startedDateTime: {error}", f"correct the time, or {LEAVE_OUT}") from None


def _status(response: Mapping[str, Any]) -> int:
    """-1 where there is none; 0 is HAR's way to say that no answer came."""
    written = response.get("status")
    if written is None or written == "":
        return -1
    status = number(written)
    if status is None or status != int(status) or status > 999:
        raise UnusableError(NO_STATUS)
    return int(status)


def _why(members: Mapping[str, Any], response: Mapping[str, Any]) -> str:
    return (
        text(response.get("_error"))
        or text(members.get("_error"))
        or text(response.get("statusText"))
        or "aborted"
    )


def _query(request: Mapping[str, Any], path: str) -> str:
    """The query, where an exporter wrote it into `queryString` alone."""
    if "?" in path or not request.get("queryString"):
        return ""
    return "?" + form_of(pairs_in(request.get("queryString")))
