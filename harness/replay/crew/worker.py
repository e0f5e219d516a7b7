"""One worker of a crew: a process with Locust's `WorkerRunner` that sends its share of every unit.

Run as `python -m harness.replay.crew.worker FEEDER_PID`, here or on another machine, by whoever hands it the requests
(see `orders`). Carries out an order with the very code of a lone generator (`harness.replay.child`), and hands what it
saw to its master in chunks while it sends. Locust's statistics see none of it: requests are reported to an environment
of their own. Ends with its feeder, with its master, and when either dismisses it.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import gevent
from gevent.event import AsyncResult
from gevent.fileobject import FileObjectPosix
from gevent.lock import RLock
from locust.env import Environment
from locust.event import Events
from locust.rpc import Message as LocustMessage
from locust.runners import WorkerRunner

from harness.replay.child.process import settle_in, tidy_memory
from harness.replay.child.replay import Replay, heat, make_environment
from harness.replay.child.sessions import Memory
from harness.replay.crew.blocks import whole
from harness.replay.crew.clock import clock_name
from harness.replay.crew.messages import (
    MESSAGE,
    VERSION,
    Answers,
    Assign,
    Bye,
    Finished,
    Hello,
    Message,
    Ping,
    Pong,
    Refused,
    Stop,
    Unsealed,
    Welcome,
    conversation,
    new_nonce,
)
from harness.replay.crew.orders import (
    Ended,
    Fed,
    Feeding,
    Line,
    ShareOver,
    Unfed,
    Wanted,
    Welcomed,
    WorkerSetup,
    decode_line,
    encode_line,
)
from harness.replay.protocol import FLUSH_S, Order, Reply

CHUNK_BYTES = 4 * 2**20
"""Most bytes of answers in one message."""

STRANDED_S = 6.0
"""A master that was silent for so long is gone: it asks for the clock every second."""

FED_WITHIN_S = 5.0
"""How long after its last answer a share may wait to hear the digest of its requests."""


class CrewWorkerRunner(WorkerRunner):
    """Locust's worker, deaf to whatever a crew does not use: its users and their classes are not to be commanded."""

    HEARD = frozenset({"ack", "heartbeat", "quit", "reconnect", MESSAGE})

    def handle_message(self, msg: LocustMessage) -> None:
        if msg.type in self.HEARD:
            super().handle_message(msg)


class Share:
    """One order under way: sends it, and hands over what it saw."""

    def __init__(self, worker: Worker, order: Order) -> None:
        self._worker = worker
        self._order = order
        self._rest = b""
        self.replay = worker.make_replay(order)
        self._answers = Path(order.answers_file).open("rb", buffering=0)  # noqa: SIM115 - closed by `run`

    def run(self) -> Reply:
        """Blocks until the share is over; gives what is to be replied."""
        handing_over = gevent.spawn(self._hand_over_forever)
        try:
            reply = self.replay.run()
        except Exception as error:  # noqa: BLE001 - whatever it is, the master must hear of it
            reply = Reply(self._order.number, "failed", f"{type(error).__name__}: {error}")
        finally:
            handing_over.kill()
        try:
            self._hand_over()
        except (OSError, ValueError) as error:
            reply = replace(reply, kind="failed", reason=f"its answers could not be read: {error}")
        self._answers.close()
        return reply

    def _hand_over_forever(self) -> None:
        while True:
            gevent.sleep(FLUSH_S)
            self._hand_over()

    def _hand_over(self) -> None:
        """What came into the answers file since the last time. Raises OSError, ValueError."""
        while data := self._answers.read(CHUNK_BYTES):
            data = self._rest + data
            length = whole(data)
            self._rest = data[length:]
            if length:
                self._worker.send(Answers(self._order.number), data[:length])


class Worker:
    """See the module's head."""

    def __init__(
        self, setup: WorkerSetup, environment: Environment, most_in_flight: int, says: IO[str]
    ) -> None:
        self._setup = setup
        self._environment = environment
        self._most_in_flight = most_in_flight
        self._says = says
        self._speaking = RLock()
        self._shares: dict[int, Share] = {}
        self._assigned: dict[int, AsyncResult] = {}
        """Orders that are not over, each with the digest of its requests once they were all handed over."""
        self._memory = Memory()
        self._nonce = new_nonce()
        self._joined = False
        self._heard_s = time.monotonic()
        self._runner: Any = None

    def say(self, line: Line) -> None:
        with self._speaking:
            self._says.write(encode_line(line))
            self._says.flush()

    def end(self, reason: str = "") -> None:
        """Say the last word and be gone, whatever is under way."""
        self.say(Ended(reason))
        os._exit(1 if reason else 0)

    def make_replay(self, order: Order) -> Replay:
        """The order, to be run; memory is tidied first where nothing is being sent."""
        if not self._shares:
            tidy_memory()
        return Replay(self._environment, order, self._most_in_flight, self._memory)

    def send(self, message: Message, blocks: bytes = b"") -> None:
        """To the master."""
        self._runner.send_message(MESSAGE, self._seal.close(message, blocks))

    def join(self) -> None:
        """Find the master and greet it; returns when it answered. Ends the process when it does not in time."""
        setup = self._setup
        of_its_own = Environment(user_classes=[], events=Events())  # type: ignore[no-untyped-call]
        where = f"{setup.host}:{setup.port}"
        try:
            with gevent.Timeout(setup.within_s):
                self._runner = of_its_own.runner = CrewWorkerRunner(of_its_own, setup.host, setup.port)
        except (gevent.Timeout, ConnectionError):
            self.end(f"no master answered on {where} within {setup.within_s:g} s")
        self._seal = conversation(setup.token, self._runner.client_id, at_master=False)
        self._runner.register_message(MESSAGE, self._hear)
        hello = Hello(
            VERSION, setup.name, os.getpid(), socket.gethostname(), clock_name(), setup.recording, self._nonce
        )
        self._heard_s = time.monotonic()
        self.send(hello)
        gevent.spawn(self._watch_master)

    def _watch_master(self) -> None:
        while True:
            gevent.sleep(0.25)
            silent_s = time.monotonic() - self._heard_s
            if silent_s > STRANDED_S and not self._joined:
                self.end("the master does not know this worker's token (or is no master of a replay)")
            elif silent_s > STRANDED_S:
                self.end(f"the master was silent for {silent_s:.0f} s")

    def _hear(self, environment: Environment, msg: LocustMessage, **_: Any) -> None:  # noqa: ARG002 - as Locust calls
        came_ns = time.monotonic_ns()
        try:
            message, _blocks = self._seal.open(msg.data)
        except Unsealed as why:
            print(f"a message to this worker was left out: {why}", file=sys.stderr, flush=True)
            return
        self._heard_s = time.monotonic()
        match message:
            case Ping():
                self.send(Pong(message.asked_ns, came_ns, time.monotonic_ns()))
            case Welcome():
                self._seal.join(self._nonce, message.nonce)
                self._joined = True
                self.say(Welcomed())
            case Refused():
                self.end(f"the master refused this worker: {message.why}")
            case Assign():
                self._assigned[message.order.number] = AsyncResult()
                self.say(Wanted(**vars(message)))
            case Stop():
                self._stop(message.number)
            case Bye():
                self.end()

    def _stop(self, number: int) -> None:
        if number in self._shares:
            self._shares[number].replay.stop()
        elif number in self._assigned:
            self._over(Reply(number, "failed", "stopped before it began"), "")

    def take(self, line: Line) -> None:
        """One line of the feeder."""
        match line:
            case Feeding():
                if line.order.number in self._assigned:
                    gevent.spawn(self._carry_out, line.order)
            case Fed() if line.number in self._assigned:
                self._assigned[line.number].set(line.requests)
            case Unfed() if line.number in self._assigned:
                self._over(Reply(line.number, "failed", line.why), "")

    def _carry_out(self, order: Order) -> None:
        try:
            share = Share(self, order)
        except (OSError, ValueError) as error:
            self._over(Reply(order.number, "failed", f"{type(error).__name__}: {error}"), "")
            return
        self._shares[order.number] = share
        reply = share.run()
        del self._shares[order.number]
        digest = ""
        if reply.kind == "done" and self._setup.recording:
            digest = self._assigned[order.number].wait(timeout=FED_WITHIN_S) or ""
        self._over(reply, digest)

    def _over(self, reply: Reply, requests: str) -> None:
        if reply.number in self._assigned:
            del self._assigned[reply.number]
            self.send(Finished(reply.number, reply, requests))
            self.say(ShareOver(reply.number, reply.reason))


def main() -> None:
    """Lines in, lines out, until standard input ends or the master says good-bye."""
    says = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not look like a line of ours
    most_in_flight = settle_in(int(sys.argv[1]))
    environment = make_environment()
    heat(environment)
    lines = FileObjectPosix(os.dup(0), "rb")
    setup = decode_line(lines.readline().decode("utf-8"))
    if not isinstance(setup, WorkerSetup):
        raise TypeError(f"{setup} is no set-up of a worker")
    worker = Worker(setup, environment, most_in_flight, says)
    gevent.spawn(worker.join).link_exception(lambda failed: worker.end(repr(failed.exception)))
    for line in lines:
        worker.take(decode_line(line.decode("utf-8")))
    os._exit(0)


if __name__ == "__main__":
    main()
