"""Locust as its users have it, for comparison: `FastHttpUser`, gevent's sleep, the collector on, its statistics kept.

`python -m tests.benchmarks.plain_locust closed URL SECONDS` prints requests a second with 32 users in a closed loop;
`... open URL COLLECTOR` reads offsets in ns from standard input, one a line, sends request k to /k at its own time (an
absolute one, with one greenlet a request) and prints when that began, in ns of the wall clock.
"""

from __future__ import annotations

import gc
import sys
import time

import gevent
from gevent.pool import Group
from locust import FastHttpUser, task
from locust.env import Environment

USERS = 32
LEAD_S = 1.0


class Closed(FastHttpUser):
    """The next request as soon as the last one is answered."""

    @task
    def ask(self) -> None:
        self.client.get("/")


class Open(FastHttpUser):
    """One session for all, with room for as many as are under way."""

    concurrency = 4096


def closed(url: str, seconds: float) -> None:
    environment = Environment(user_classes=[Closed], host=url)
    runner = environment.create_local_runner()
    runner.start(USERS, spawn_rate=1000)
    gevent.sleep(1)
    before, started_s = environment.stats.total.num_requests, time.monotonic()
    gevent.sleep(seconds)
    done = environment.stats.total.num_requests - before
    print(done / (time.monotonic() - started_s))
    runner.quit()


def opened(url: str, collector: bool) -> None:
    offsets_ns = [int(line) for line in sys.stdin]
    environment = Environment(user_classes=[Open], host=url)
    environment.create_local_runner()
    Open.host = url
    client = Open(environment).client
    client.get("/warm")
    if not collector:
        gc.collect()
        gc.freeze()
        gc.disable()
    start_ns = time.monotonic_ns() + int(LEAD_S * 1e9)
    wall_ns = time.time_ns() - time.monotonic_ns() + start_ns
    sendings = Group()
    for k, offset_ns in enumerate(offsets_ns):
        while (left_ns := start_ns + offset_ns - time.monotonic_ns()) > 0:
            gevent.sleep(left_ns / 1e9)
        sendings.spawn(client.get, f"/{k}", name="/")
    sendings.join()
    print(wall_ns)


if __name__ == "__main__":
    if sys.argv[1] == "closed":
        closed(sys.argv[2], float(sys.argv[3]))
    else:
        opened(sys.argv[2], sys.argv[3] == "collector")
