"""The requests of one order as a stream of binary frames: the parent writes it, the child reads it.

A frame holds one request, rendered to the very bytes that go out, so that the child has nothing left to do at its due
time. Only where values of live answers go in (`RequestSteps`) does it hold templates. Frames are in order of time; the
last one ends the stream, and may say why there is no more. Stands on the standard library alone.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from harness.recording.sessions.steps import Slot, Take, Template

_HEAD = struct.Struct("<IqqBBHHHI")
"""Bytes that follow the first field, seq, offset, flags, lengths of method, client, connection, route and steps."""

_AFTER_LENGTH = _HEAD.size - 4
_END_SEQ = -1

CLOSE = 1
"""Flag: the connection is not used again after this request."""

MOST_FRAME_BYTES = 256 * 2**20
"""A longer request is refused: neither side could hold a few of them."""


@dataclass(frozen=True, slots=True)
class RequestSteps:
    """What a request takes from live answers and gives to later ones. Head and body are templates, or empty where no
    value goes in; the head then lacks `content-length` and the empty line at its end. `waits_for`, `think_ns` and `needs`:
    see `Steps`."""

    head: Template = ()
    body: Template = ()
    takes: tuple[Take, ...] = ()
    waits_for: int = -1
    think_ns: int = 0
    needs: tuple[int, ...] = ()


class Request(NamedTuple):
    """One request. `offset_ns` counts from the unit's start; `payload` is head and body as sent, empty where `steps` has
    a `head`. (A tuple: made quicker than a dataclass.)"""

    seq: int
    offset_ns: int
    method: str
    client: bytes
    connection: bytes
    route: bytes
    payload: bytes
    close: bool = False
    steps: RequestSteps | None = None


def pack(request: Request) -> bytes:
    """One frame. Raises ValueError for a request that no frame holds."""
    method = request.method.encode("ascii")
    client, connection, route = request.client[:65535], request.connection[:65535], request.route[:65535]
    steps = b"" if request.steps is None else _steps_text(request.steps)
    length = _AFTER_LENGTH + sum(map(len, (method, client, connection, route, steps, request.payload)))
    if length > MOST_FRAME_BYTES:
        raise ValueError(f"request {request.seq} has {length} bytes, {MOST_FRAME_BYTES} is the most")
    head = _HEAD.pack(
        length,
        request.seq,
        request.offset_ns,
        CLOSE if request.close else 0,
        len(method),
        len(client),
        len(connection),
        len(route),
        len(steps),
    )
    return b"".join((head, method, client, connection, route, steps, request.payload))


def pack_end(reason: str = "") -> bytes:
    """The last frame. With a reason, the order failed: what was to follow could not be given."""
    text = reason.encode("utf-8", errors="replace")
    return _HEAD.pack(_AFTER_LENGTH + len(text), _END_SEQ, 0, 0, 0, 0, 0, 0, 0) + text


class FrameReader:
    """Takes bytes as they come (`feed`), gives whole requests (`take`). `ended` is true after the last frame.

    What is fed and not taken yet is `pending` bytes; whoever feeds stops while that is much.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = 0
        self._methods: dict[bytes, str] = {}
        self.ended = False
        self.failure = ""

    @property
    def pending(self) -> int:
        return len(self._buffer) - self._at

    def feed(self, data: bytes) -> None:
        if self._at > 2**20 or self._at == len(self._buffer):
            del self._buffer[: self._at]
            self._at = 0
        self._buffer += data

    def has_frame(self) -> bool:
        """Whether a whole frame is there. Raises ValueError for one that cannot be."""
        pending = self.pending
        if pending < 4:
            return False
        length = int.from_bytes(self._buffer[self._at : self._at + 4], "little")
        if not _AFTER_LENGTH <= length <= MOST_FRAME_BYTES:
            raise ValueError(f"a frame of {length} bytes")
        return pending >= 4 + length

    def take(self, most: int) -> Iterator[Request]:
        """At most so many whole requests. Raises ValueError for bytes that `pack` did not write."""
        for _ in range(most):
            if self.ended or not self.has_frame():
                return
            request = self._next()
            if request is None:
                self.ended = True
                return
            yield request

    def _next(self) -> Request | None:
        buffer, at = self._buffer, self._at
        length, seq, offset_ns, flags, methods, clients, connections, routes, steps = _HEAD.unpack_from(
            buffer, at
        )
        start, end = at + _HEAD.size, at + 4 + length
        self._at = end
        if seq == _END_SEQ:
            self.failure = buffer[start:end].decode("utf-8", errors="replace")
            return None
        rest = bytes(memoryview(buffer)[start:end])
        client = methods + clients
        connection = client + connections
        route = connection + routes
        payload = route + steps
        return Request(
            seq,
            offset_ns,
            rest[:methods].decode("ascii"),
            rest[methods:client],
            rest[client:connection],
            rest[connection:route],
            rest[payload:],
            bool(flags & CLOSE),
            _steps(rest[route:payload]) if steps else None,
        )


def _steps_text(steps: RequestSteps) -> bytes:
    fields = [
        _template_out(steps.head),
        _template_out(steps.body),
        [[take.slot, take.source, take.path] for take in steps.takes],
        steps.waits_for,
        steps.think_ns,
        steps.needs,
    ]
    return json.dumps(fields, separators=(",", ":")).encode("ascii")


def _steps(text: bytes) -> RequestSteps:
    head, body, takes, waits_for, think_ns, needs = json.loads(text)
    return RequestSteps(
        _template_in(head),
        _template_in(body),
        tuple(Take(*take) for take in takes),
        waits_for,
        think_ns,
        tuple(needs),
    )


def _template_out(template: Template) -> list[Any]:
    """Literals as text whose characters are their bytes, slots as lists."""
    return [
        part.decode("latin-1") if isinstance(part, bytes) else [part.number, part.encoding, part.otherwise]
        for part in template
    ]


def _template_in(parts: list[Any]) -> Template:
    return tuple(part.encode("latin-1") if isinstance(part, str) else Slot(*part) for part in parts)
