"""A closed loop over the replay's own client, as load generators commonly have it: each user waits for its answer.

`python -m tests.unit.closed_loop URL USERS RATE SECONDS` prints the latencies of all requests in ms, as a JSON list, each
from its sending; the users together send RATE requests a second as long as the target answers.
"""

from __future__ import annotations

import json
import sys
import time

import gevent

from harness.replay.child.sending import Sending
from harness.replay.child.target import find_target
from harness.replay.child.user import ReplayUser, make_environment
from harness.replay.frames import Request

PAYLOAD = b"GET /x HTTP/1.1\r\nhost: target\r\n\r\n"


def main() -> None:
    """See the module's head."""
    url, users, rate, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
    client = ReplayUser(make_environment(), find_target(url, False, ""), 10**10, 100).client
    request = Request(0, 0, "GET", b"", b"", b"/x", PAYLOAD)
    latencies_ms: list[float] = []
    print("ready", flush=True)
    start_s = float(sys.stdin.readline())

    def user(number: int) -> None:
        due_s = start_s + number / rate
        while due_s < start_s + seconds:
            gevent.sleep(max(due_s - time.monotonic(), 0))
            sending = client.exchange(Sending(request, time.monotonic_ns(), PAYLOAD, 65536))
            latencies_ms.append((sending.answered_ns - sending.sent_ns) / 1e6)
            due_s = max(due_s + users / rate, time.monotonic())

    gevent.joinall([gevent.spawn(user, number) for number in range(users)])
    print(json.dumps(latencies_ms))


if __name__ == "__main__":
    main()
