"""From a recorded exchange to the bytes that are sent: on the parent's side and ahead of time.

Takes an exchange and, where its client's session is kept up, its steps; gives the child's request. Headers go out as
recorded, in their order; those that frame the request are set here. The recorded host is not sent unless asked for, so
that what was recorded elsewhere meets the target as the target's own traffic.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from harness.model.recording import Exchange, request_id
from harness.recording.sessions.steps import Slot, Steps, Template
from harness.replay.frames import Request, RequestSteps

FRAMING = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "x-request-id",
    }
)
"""Headers that are set for each request, or hold for one connection alone (RFC 9110, 7.6.1)."""

LENGTH_METHODS = frozenset({"POST", "PUT", "PATCH"})
"""Say how long their body is even where it is empty (RFC 9110, 8.6)."""

NEWER = {"2": "HTTP/2", "3": "HTTP/3"}


class Unsendable(ValueError):  # noqa: N818 - what the exchange is
    """An exchange that cannot be sent as recorded."""


@dataclass(frozen=True)
class Rendering:
    """How one job's exchanges become requests. `http1`: send what was HTTP/2 or HTTP/3 as HTTP/1.1."""

    base_url: str
    seed: int
    recording_digest: str
    from_ns: int = 0
    host_header: Literal["target", "recorded"] = "target"
    http1: bool = False
    _host: bytes = field(init=False)
    _prefix: bytes = field(init=False)

    def __post_init__(self) -> None:
        url = urlsplit(self.base_url)
        object.__setattr__(
            self,
            "_host",
            url.netloc.rpartition("@")[2].encode("idna" if not url.netloc.isascii() else "ascii"),
        )
        object.__setattr__(self, "_prefix", url.path.rstrip("/").encode("ascii"))

    def request(self, exchange: Exchange, steps: Steps | None = None) -> Request:
        """The request to send. Raises Unsendable."""
        why = unsendable(exchange, self.http1)
        if why:
            raise Unsendable(why)
        path: Template = (exchange.path.encode("latin-1"),)
        headers: Iterable[tuple[str, Template]] = (
            (name, (value.encode("latin-1", errors="replace"),)) for name, value in exchange.headers
        )
        body: Template = (exchange.body,)
        if steps is not None:
            path, headers, body = steps.path, steps.headers, steps.body
        close = exchange.http == "1.0"
        head = self._head(exchange, path, headers, close)
        has_slots = any(isinstance(part, Slot) for part in (*head, *body))
        payload = b"" if has_slots else _whole(exchange.method, _literal(head), _literal(body))
        return Request(
            exchange.seq,
            exchange.at_ns - self.from_ns,
            exchange.method,
            exchange.client.encode("utf-8"),
            exchange.connection.encode("utf-8"),
            exchange.route.encode("utf-8"),
            payload,
            close,
            None if steps is None else _request_steps(steps, head if has_slots else (), body),
        )

    def _head(
        self, exchange: Exchange, path: Template, headers: Iterable[tuple[str, Template]], close: bool
    ) -> Template:
        """Everything before `content-length`, as a template."""
        host = self._host
        if self.host_header == "recorded" and exchange.host:
            host = exchange.host.encode("latin-1")
        version = b"HTTP/1.0" if close else b"HTTP/1.1"
        parts: list[bytes | Slot] = [exchange.method.encode("ascii"), b" ", self._prefix, *path]
        parts += [b" ", version, b"\r\nhost: ", host, b"\r\n"]
        cookies: list[bytes | Slot] = []
        encodings = upgrade = False
        for name, value in headers:
            if name in FRAMING:
                continue
            if name == "cookie":  # HTTP/2 may split it, HTTP/1.1 has one (RFC 9113, 8.2.3)
                cookies += [b"; ", *value] if cookies else value
                continue
            encodings = encodings or name == "accept-encoding"
            upgrade = upgrade or name == "upgrade"
            parts += [name.encode("ascii"), b": ", *value, b"\r\n"]
        if cookies:
            parts += [b"cookie: ", *cookies, b"\r\n"]
        if not encodings:  # nothing said would mean that any will do
            parts.append(b"accept-encoding: identity\r\n")
        if close or upgrade:
            parts.append(b"connection: close\r\n" if close else b"connection: upgrade\r\n")
        identity = request_id(self.seed, self.recording_digest, exchange.seq)
        parts.append(b"x-request-id: %b\r\n" % identity.encode("ascii"))
        return _merged(parts)


def unsendable(exchange: Exchange, http1: bool) -> str:
    """Why this exchange cannot be sent as recorded, and what to do; empty when it can."""
    if http1:
        return ""
    number = exchange.seq + 1
    kind = next((value for name, value in exchange.headers if name == "content-type"), "")
    if kind.startswith("application/grpc") and not kind.startswith("application/grpc-web"):
        return f"exchange {number} is gRPC, which is not replayed; {_REMEDY}"
    if exchange.http in NEWER:
        return f"exchange {number} was recorded over {NEWER[exchange.http]}, which is not replayed; {_REMEDY}"
    return ""


_REMEDY = "import the recording with --http1 to have all of it sent as HTTP/1.1"


def _whole(method: str, head: bytes, body: bytes) -> bytes:
    if body or method in LENGTH_METHODS:
        return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)
    return b"%b\r\n" % head


def _literal(template: Template) -> bytes:
    return b"".join(part for part in template if isinstance(part, bytes))


def _merged(parts: list[bytes | Slot]) -> Template:
    """Neighbouring literals as one."""
    merged: list[bytes | Slot] = []
    literals: list[bytes] = []
    for part in parts:
        if isinstance(part, bytes):
            literals.append(part)
        else:
            merged += [b"".join(literals), part]
            literals = []
    merged.append(b"".join(literals))
    return tuple(merged)


def _request_steps(steps: Steps, head: Template, body: Template) -> RequestSteps:
    return RequestSteps(head, body if head else (), steps.takes, steps.waits_for, steps.think_ns, steps.needs)
