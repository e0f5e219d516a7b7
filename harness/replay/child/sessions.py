"""Which request is due next, and when: the schedule, and what waits for live answers.

Takes requests in the order of the recording and what became of each. A client's requests keep their order: while one
waits for an answer, those behind it wait too. A request that waits is due at max(scheduled, answer + think time); one
held up behind it not before that one. A request that needs a value which no live answer gave *falls out*, as does one that
would have to wait past the last moment (the unit's end and one timeout).
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Mapping
from typing import Protocol

from harness.recording.sessions.live import fill, take
from harness.replay.frames import Request, RequestSteps

REMEMBERED = 2**18
"""Ends of exchanges that are kept for those who wait for them; who waits for an older one has waited long enough."""

_LENGTH_METHODS = frozenset({"POST", "PUT", "PATCH"})


class Coming(Protocol):
    """Requests in order of time, as they come (`requests.Requests`)."""

    @property
    def head(self) -> Request | None:
        """The next one; None while none is there."""

    @property
    def ended(self) -> bool:
        """No request is left, and none will come."""

    def advance(self) -> None:
        """Drop the head, which must be there."""


class Over(Protocol):
    """A request with what became of it (`sending.Sending`)."""

    request: Request
    status_code: int
    headers: list[tuple[str, str]]
    body: bytes


class Memory:
    """What clients have of live answers, by client and slot, and when exchanges were over: it outlives an order.

    A unit that begins in the middle of a client's session finds in it what the units before it gave.
    """

    def __init__(self) -> None:
        self.values: dict[bytes, dict[int, str]] = {}
        self._over_ns: dict[int, int] = {}

    def over(self, seq: int, at_ns: int) -> None:
        self._over_ns[seq] = at_ns
        if len(self._over_ns) > REMEMBERED:
            del self._over_ns[next(iter(self._over_ns))]

    def over_ns(self, seq: int) -> int | None:
        """When that exchange was over; None: it is not, never was sent, or was so long ago that nobody waits for it."""
        return self._over_ns.get(seq)


class _Client:
    """Values of its live answers, and requests that wait, in order; the first one is in the heap or waits for an answer."""

    __slots__ = ("held", "values")

    def __init__(self, values: dict[int, str]) -> None:
        self.values = values
        self.held: deque[Request] = deque()


class Schedule:
    """Times are monotonic. `pop` gives what `next_due_ns` announced."""

    def __init__(self, requests: Coming, start_ns: int, last_ns: int, memory: Memory) -> None:
        self._requests = requests
        self._start_ns = start_ns
        self._last_ns = last_ns
        self._clients: dict[bytes, _Client] = {}
        self._delayed: list[tuple[int, int, int, _Client]] = []
        self._under_way: set[int] = set()
        self._waiting: dict[int, _Client] = {}
        self._memory = memory
        self._held = 0

    @property
    def finished(self) -> bool:
        """Nothing is left to be sent."""
        return not self._held and self._requests.ended

    def next_due_ns(self) -> int:
        """When `pop` is to be called; 0 while that is not known (something must happen first)."""
        head = self._requests.head
        due_ns = 0 if head is None else self._start_ns + head.offset_ns
        if self._delayed and (head is None or self._delayed[0][0] <= due_ns):
            return self._delayed[0][0]
        return due_ns

    def pop(self) -> tuple[Request, int] | None:
        """The next request and when it was due. None: it must wait, look again."""
        head = self._requests.head
        if self._delayed and (head is None or self._delayed[0][0] <= self._start_ns + head.offset_ns):
            return self._pop_delayed()
        assert head is not None
        self._requests.advance()
        steps = head.steps
        if steps is None and not self._held:
            return head, self._start_ns + head.offset_ns
        return self._admit(head)

    def too_late(self, due_ns: int) -> bool:
        """The last moment has passed by then: whoever waits that long falls out."""
        return due_ns > self._last_ns

    def payload(self, request: Request) -> bytes:
        """What goes out. Raises KeyError when a value is missing that a live answer should have given."""
        steps = request.steps
        if steps is None or not steps.head:
            return request.payload
        return rendered(request.method, steps, self._clients[request.client].values)

    def over(self, sending: Over, now_ns: int) -> bool:
        """This request is over, whatever came of it. Its values are taken, and who waits for it gets its due time
        (then True)."""
        request = sending.request
        steps = request.steps
        if steps is None:
            return False
        client = self._clients[request.client]
        if steps.takes and sending.status_code:
            client.values.update(take(steps.takes, sending.status_code, sending.headers, sending.body))
        self._under_way.discard(request.seq)
        self._memory.over(request.seq, now_ns)
        waiting = self._waiting.pop(request.seq, None)
        if waiting is not None:
            self._wait_on(waiting)
        return waiting is not None

    def _admit(self, request: Request) -> tuple[Request, int] | None:
        """A request whose scheduled time has come: now, or when what it waits for is there."""
        steps = request.steps
        client = self._clients.get(request.client)
        scheduled_ns = self._start_ns + request.offset_ns
        if client is None:
            if steps is None:
                return request, scheduled_ns
            values = self._memory.values.setdefault(request.client, {})
            client = self._clients[request.client] = _Client(values)
        if not client.held and self._missing(request) is None:
            due_ns = self._due_ns(request)
            if due_ns <= scheduled_ns:
                self._set_out(request)
                return request, scheduled_ns
            client.held.append(request)
            self._delay(client, due_ns)
        else:
            client.held.append(request)
            if len(client.held) == 1:
                self._wait_on(client)
        self._held += 1
        return None

    def _pop_delayed(self) -> tuple[Request, int]:
        _, _, due_ns, client = heapq.heappop(self._delayed)
        request = client.held.popleft()
        self._held -= 1
        self._set_out(request)
        if client.held:
            self._wait_on(client, due_ns)
        return request, due_ns

    def _wait_on(self, client: _Client, not_before_ns: int = 0) -> None:
        """The first request that the client holds waits for an answer that is under way, or else for its due time."""
        first = client.held[0]
        missing = self._missing(first)
        if missing is not None:
            self._waiting[missing] = client
        else:
            self._delay(client, max(not_before_ns, self._due_ns(first)))

    def _missing(self, request: Request) -> int | None:
        """An exchange that this request carries something of and that is still under way; None: there is none."""
        steps = request.steps
        if steps is None:
            return None
        return next((seq for seq in (steps.waits_for, *steps.needs) if seq in self._under_way), None)

    def _due_ns(self, request: Request) -> int:
        """When it was scheduled, or a think time after the answer that it waits for, or when the last one it needs came."""
        due_ns = self._start_ns + request.offset_ns
        steps = request.steps
        if steps is None:
            return due_ns
        for seq, think_ns in ((steps.waits_for, steps.think_ns), *((seq, 0) for seq in steps.needs)):
            over_ns = self._memory.over_ns(seq)
            if over_ns is not None:
                due_ns = max(due_ns, over_ns + think_ns)
        return due_ns

    def _delay(self, client: _Client, due_ns: int) -> None:
        """The first that the client holds is due then; one that will be too late is dealt with at once."""
        look_ns = self._start_ns if self.too_late(due_ns) else due_ns
        heapq.heappush(self._delayed, (look_ns, client.held[0].seq, due_ns, client))

    def _set_out(self, request: Request) -> None:
        if request.steps is not None:
            self._under_way.add(request.seq)


def rendered(method: str, steps: RequestSteps, values: Mapping[int, str]) -> bytes:
    """Head and body with live values in their places. Raises KeyError when one is missing."""
    head, body = fill(steps.head, values), fill(steps.body, values)
    if body or method in _LENGTH_METHODS:
        head += b"content-length: %d\r\n" % len(body)
    return b"%b\r\n%b" % (head, body)
