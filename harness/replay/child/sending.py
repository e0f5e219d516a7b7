"""One request on its way, what became of it, and the words for why there was no answer."""

from __future__ import annotations

import errno
import ssl
import zlib
from typing import TYPE_CHECKING

import brotli  # type: ignore[import-untyped]
from geventhttpclient.response import HTTPParseError

from harness.replay.frames import Request

if TYPE_CHECKING:
    from harness.replay.child.connection import Connection

NOT_SENT = "not sent"
MOST_PARSED_BYTES = 8 * 2**20
"""How much of a body is kept for whoever takes fields or values of it."""


class Sending:
    """One request on its way, and what became of it. Times are monotonic; -1: did not happen (yet).

    Locust's listeners get it as `response`.
    """

    __slots__ = (
        "answered_ns",
        "body",
        "body_bytes",
        "connected_ns",
        "connection",
        "deadline_ns",
        "digest",
        "due_ns",
        "error",
        "exception",
        "first_byte_ns",
        "headers",
        "keep_bytes",
        "noted",
        "payload",
        "received_bytes",
        "request",
        "sent_bytes",
        "sent_ns",
        "status_code",
    )

    def __init__(self, request: Request, due_ns: int, payload: bytes, keep_bytes: int) -> None:
        self.request = request
        self.due_ns = due_ns
        self.payload = payload
        self.keep_bytes = keep_bytes
        self.connection: Connection | None = None
        self.sent_ns = self.connected_ns = self.first_byte_ns = self.answered_ns = -1
        self.deadline_ns = 0
        self.sent_bytes = self.received_bytes = 0
        self.status_code = 0
        self.headers: list[tuple[str, str]] = []
        self.body = b""
        self.body_bytes = 0
        self.digest = b""
        self.error = ""
        self.exception: BaseException | None = None
        self.noted = False


def error_class(error: BaseException, connected: bool) -> str:
    """Why there was no answer, in one or two words."""
    if isinstance(error, TimeoutError):
        return "timeout" if connected else "connect timeout"
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, ConnectionClosed):
        return "closed"
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return "reset"
    if isinstance(error, ssl.SSLError):
        return f"tls: {getattr(error, 'verify_message', '') or error.reason or error}"[:200]
    if isinstance(error, OSError) and error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return "unreachable"
    if isinstance(error, HTTPParseError | zlib.error | brotli.error):
        return "bad answer"
    return f"other: {type(error).__name__}: {error}"[:200]


class ConnectionClosed(ConnectionResetError):  # noqa: N818 - what happened
    """The other side closed the connection before the first byte of an answer."""


class InFlightLimit(Exception):  # noqa: N818 - what was reached
    """So many requests are under way already."""
