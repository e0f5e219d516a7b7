"""The replay's own client in a closed loop: `python -m tests.benchmarks.closed_replay URL SECONDS WAY` prints requests a second.

32 requests are under way at any time. WAY `users`: each by a greenlet that waits for its answer, as a Locust user does;
`callbacks`: each sent by whatever ended the one before, which is what the client can do when nobody waits.
"""

from __future__ import annotations

import sys
import time

import gevent
from gevent.event import Event

from harness.replay.child.process import room, tidy_memory
from harness.replay.child.sending import Sending
from harness.replay.child.target import find_target
from harness.replay.child.user import ReplayClient, ReplayUser, make_environment
from harness.replay.frames import Request

USERS = 32
PAYLOAD = b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\naccept-encoding: identity\r\n\r\n"
REQUEST = Request(0, 0, "GET", b"", b"", b"/", PAYLOAD)


def sending() -> Sending:
    return Sending(REQUEST, time.monotonic_ns(), PAYLOAD, 65536)


class Counter:
    """Counts answers, and sends the next request where that is wanted, until the time is over."""

    def __init__(self, seconds: float, again: bool) -> None:
        self.end_ns = time.monotonic_ns() + int(seconds * 1e9)
        self.count = 0
        self.over = Event()
        self._again = again
        self.client: ReplayClient | None = None

    def __call__(self, done: Sending) -> None:
        if done.status_code != 200:
            raise SystemExit(f"no answer: {done.error or done.status_code}")
        self.count += 1
        if self._again and self.client is not None:
            if time.monotonic_ns() < self.end_ns:
                self.client.send(sending())
            else:
                self.over.set()


def main() -> None:
    """See the module's head."""
    url, seconds, way = sys.argv[1], float(sys.argv[2]), sys.argv[3]
    target = find_target(url, False, "")
    tidy_memory()
    counter = Counter(seconds, again=way == "callbacks")
    client = ReplayUser(make_environment(), target, 10**10, room(), counter).client
    counter.client = client
    if way == "callbacks":
        for _ in range(USERS):
            client.send(sending())
        counter.over.wait()
    else:

        def user() -> None:
            while time.monotonic_ns() < counter.end_ns:
                client.exchange(sending())

        gevent.joinall([gevent.spawn(user) for _ in range(USERS)])
    print(counter.count / seconds)


if __name__ == "__main__":
    main()
