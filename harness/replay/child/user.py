"""Locust's side of the load generator: a `User` whose client sends on connections of our own.

As Locust has it for clients of any protocol, the client reports each request to `environment.events.request`, where
Locust's statistics and anybody's listeners hear of it. (Locust's `FastHttpUser` takes a greenlet and some 110 us of CPU
for a request, several times what this client does.) Listeners are called in the event loop and must not block.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from gevent.event import Event
from locust.env import Environment
from locust.event import Events
from locust.user import User

from harness.replay.child.sending import Sending
from harness.replay.child.target import Target
from harness.replay.child.wire import Wire


class ReplayClient(Wire):
    """A wire that reports to Locust; `on_over` hears of a request first."""

    def __init__(
        self,
        environment: Environment,
        target: Target,
        timeout_ns: int,
        limit: int,
        on_over: Callable[[Sending], None] | None = None,
    ) -> None:
        super().__init__(target, timeout_ns, limit, self._report)
        self._fire = environment.events.request.fire
        self._listener = on_over
        self._blocked: dict[Sending, Event] = {}

    def exchange(self, sending: Sending) -> Sending:
        """Send and wait for the outcome, as a closed loop does; blocks this greenlet."""
        done = self._blocked[sending] = Event()
        self.send(sending)
        while not done.wait(self.timeout_ns / 1e9):
            self.expire(time.monotonic_ns())
        return sending

    def leave_out(self, sending: Sending, error: str, why: BaseException) -> None:
        """Not sent, for a reason of its client's."""
        sending.error, sending.exception = error, why
        self.on_over(sending)

    def _report(self, sending: Sending) -> None:
        if self._listener is not None:
            self._listener(sending)
        if self._blocked:
            done = self._blocked.pop(sending, None)
            if done is not None:
                done.set()
        request = sending.request
        name = request.route.decode("utf-8", errors="replace")
        ended_ns = sending.answered_ns if sending.answered_ns >= 0 else time.monotonic_ns()
        self._fire(
            request_type=request.method,
            name=name,
            response_time=(ended_ns - sending.due_ns) / 1e6,
            response_length=sending.body_bytes,
            response=sending,
            context={},
            exception=sending.exception,
        )  # type: ignore[no-untyped-call]


class ReplayUser(User):
    """One user sends the requests of all recorded clients: it is told what and when, and does nothing of its own."""

    abstract = True

    def __init__(
        self,
        environment: Environment,
        target: Target,
        timeout_ns: int,
        limit: int,
        on_over: Callable[[Sending], None] | None = None,
    ) -> None:
        super().__init__(environment)
        self.client = ReplayClient(environment, target, timeout_ns, limit, on_over)


def make_environment() -> Environment:
    """Without a runner, so without Locust's statistics: they cost time per request and round what they keep."""
    return Environment(user_classes=[ReplayUser], events=Events())  # type: ignore[no-untyped-call]
