"""The process itself: `python -m harness.replay.child PARENT_PID`, started by `harness/replay/generator.py`.

Takes orders on standard input, gives replies on standard output (see `harness/replay/protocol.py`), until the input
ends. Importing Locust patches the whole process, which is why the parent never does.
"""

from __future__ import annotations

import os
import sys
from typing import IO

from gevent.fileobject import FileObjectPosix
from gevent.pool import Group
from locust.env import Environment

from harness.replay.child.process import settle_in, tidy_memory
from harness.replay.child.replay import Replay, heat
from harness.replay.child.sessions import Memory
from harness.replay.child.user import make_environment
from harness.replay.protocol import Order, Reply, decode_order, encode


class Orders:
    """Takes orders as they come and runs each in a greenlet: a unit's tail and the next one's head may overlap."""

    def __init__(self, environment: Environment, most_in_flight: int, replies: IO[str]) -> None:
        self._environment = environment
        self._most_in_flight = most_in_flight
        self._replies = replies
        self._running = Group()
        self._memory = Memory()

    def say(self, reply: Reply) -> None:
        self._replies.write(encode(reply))
        self._replies.flush()

    def take(self, line: str) -> None:
        """Start one order. Raises ValueError or TypeError for a line that is none."""
        order = decode_order(line)
        if not len(self._running):
            tidy_memory()
        self._running.spawn(self._carry_out, order)

    def _carry_out(self, order: Order) -> None:
        try:
            reply = Replay(self._environment, order, self._most_in_flight, self._memory).run()
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent must hear of it
            reply = Reply(order.number, "failed", reason=f"{type(error).__name__}: {error}")
        self.say(reply)


def main() -> None:
    """Orders in, replies out, until standard input ends."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not look like a reply
    most_in_flight = settle_in(int(sys.argv[1]))
    environment = make_environment()
    heat(environment)
    orders = Orders(environment, most_in_flight, replies)
    orders.say(Reply(0, "ready"))
    for line in FileObjectPosix(os.dup(0), "rb"):
        orders.take(line.decode("utf-8"))


if __name__ == "__main__":
    main()
