"""The crew's master: a process of its own with Locust's `MasterRunner`, started by `crew.ReplayCrew`.

Run as `python -m harness.replay.crew.master PARENT_PID`. Takes lines (see `orders`) on standard input and gives lines on
standard output; sends nothing to the target itself. It measures every worker's clock, tells all of them one absolute
start, and appends what they saw to the answers file of the unit, its times put on this machine's clock. A unit fails
as soon as one worker is lost: its process ended, its heartbeat stays away, or it is not done in time. The others are
then stopped, and what they had seen is kept as well.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import gevent
from gevent.event import Event
from gevent.fileobject import FileObjectPosix
from gevent.lock import RLock
from locust.env import Environment
from locust.event import Events
from locust.rpc import Message as LocustMessage
from locust.runners import STATE_MISSING, MasterRunner

from harness.replay.child.process import settle_in
from harness.replay.crew.blocks import shifted
from harness.replay.crew.clock import ClockOffset, Sample, clock_name
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
    Bound,
    Gone,
    Joined,
    Line,
    MasterSetup,
    Unit,
    UnitOver,
    decode_line,
    encode_line,
)
from harness.replay.crew.roster import Share, UnderWay, Worker, figures_of

FIRST_PINGS, UNIT_PINGS = 32, 12
"""Samples of a worker's clock when it joins, and before and after each unit."""

PING_GAP_S = 0.002
PING_WAIT_S = 0.5
"""How long the last sample may stay away before the rest has to do."""

IDLE_PING_S = 1.0
CHECK_S = 0.1
STOP_S = 2.0
"""How long the other workers of a unit that failed may take to hand over what they saw."""


class CrewRunner(MasterRunner):
    """Locust's master, deaf to whatever a crew does not use, and to workers that speak in another's name."""

    HEARD = frozenset({"client_ready", "client_stopped", "heartbeat", "quit", MESSAGE})

    def handle_message(self, client_id: str, msg: LocustMessage) -> None:
        if msg.type in self.HEARD and msg.node_id == client_id:
            super().handle_message(client_id, msg)


class Master:
    """See the module's head. `say` hands a line to the run's side."""

    def __init__(self, setup: MasterSetup, replies: IO[str]) -> None:
        self._setup = setup
        self._replies = replies
        self._speaking = RLock()
        self._workers: dict[str, Worker] = {}
        self._units: dict[int, UnderWay] = {}
        self._last_pong: dict[str, Event] = {}
        environment = Environment(user_classes=[], events=Events())  # type: ignore[no-untyped-call]
        self._runner = environment.runner = CrewRunner(environment, setup.bind, setup.port)
        self._runner.register_message(MESSAGE, self._hear)
        self._pinging = gevent.spawn(self._ping_forever)

    @property
    def port(self) -> int:
        """Where workers find it."""
        return int(self._runner.server.port)

    def say(self, line: Line) -> None:
        with self._speaking:
            self._replies.write(encode_line(line))
            self._replies.flush()

    def take(self, line: Line) -> None:
        """One line of the run's side."""
        if isinstance(line, Unit):
            gevent.spawn(self._carry_out, line)
        elif isinstance(line, Gone):
            for worker in self._workers.values():
                if worker.hello.name == line.name:
                    self._lose(worker, line.why)

    def dismiss(self) -> None:
        """Tell all workers that it is over, and give the messages time to leave."""
        for worker in self._workers.values():
            self._send(worker, Bye())
        self._runner.greenlet.kill()  # before its socket goes, which its listener would call broken
        self._runner.server.close(linger=1_000)  # type: ignore[no-untyped-call]

    # What workers say

    def _hear(self, environment: Environment, msg: LocustMessage, **_: Any) -> None:  # noqa: ARG002 - as Locust calls
        heard_ns = time.monotonic_ns()
        worker = self._workers.get(msg.node_id)
        try:
            if worker is None:
                self._greet(msg.node_id, msg.data)
                return
            message, blocks = worker.seal.open(msg.data)
        except Unsealed as why:
            print(f"a message of {msg.node_id} was left out: {why}", file=sys.stderr, flush=True)
            return
        if isinstance(message, Pong):
            worker.clock.add(Sample(message.asked_ns, message.came_ns, message.replied_ns, heard_ns))
            self._last_pong[msg.node_id].set()
        elif isinstance(message, Answers):
            self._keep(worker, message.number, blocks)
        elif isinstance(message, Finished) and message.number in self._units:
            under_way = self._units[message.number]
            under_way.shares[worker.node_id].finished = message
            under_way.changed.set()

    def _greet(self, node_id: str, data: object) -> None:
        """A worker's first word. Raises Unsealed for anybody without the token."""
        seal = conversation(self._setup.token, node_id, at_master=True)
        hello, _ = seal.open(data)
        if not isinstance(hello, Hello):
            raise Unsealed("it does not begin with a greeting")
        why = self._unfit(hello)
        if why:
            self._runner.send_message(MESSAGE, seal.close(Refused(why)), node_id)
            return
        nonce = new_nonce()
        self._runner.send_message(MESSAGE, seal.close(Welcome(nonce)), node_id)
        seal.join(hello.nonce, nonce)
        mine = clock_name()
        worker = Worker(node_id, hello, seal, ClockOffset(same_clock=bool(mine) and hello.clock == mine))
        self._last_pong[node_id] = Event()
        self._workers[node_id] = worker
        gevent.spawn(self._join, worker)

    def _unfit(self, hello: Hello) -> str:
        if hello.version != VERSION:
            return f"it speaks version {hello.version} of the crew's messages and the master {VERSION}; use one release"
        if len(self._workers) >= self._setup.expected:
            return f"all {self._setup.expected} workers of the crew are there already"
        if any(worker.hello.name == hello.name for worker in self._workers.values()):
            return f"there is a worker called {hello.name} already"
        return ""

    def _join(self, worker: Worker) -> None:
        self._measure([worker], FIRST_PINGS)
        worker.clock.settle()
        missing = self._setup.expected - len(self._workers)
        self.say(Joined(worker.hello.name, worker.hello.pid, worker.hello.host, missing))

    def _keep(self, worker: Worker, number: int, blocks: bytes) -> None:
        """Append what a worker saw to its unit's file."""
        under_way = self._units.get(number)
        if under_way is None or worker.lost:
            return
        try:
            under_way.file.write(shifted(blocks, worker.clock.correction_ns))
        except OSError as error:
            under_way.trouble = under_way.trouble or f"answers could not be kept: {error}"
            under_way.changed.set()

    # What is asked of workers

    def _send(self, worker: Worker, message: Message) -> None:
        self._runner.send_message(MESSAGE, worker.seal.close(message), worker.node_id)

    def _measure(self, workers: list[Worker], pings: int) -> None:
        """Sample their clocks, all at once."""
        for _ in range(pings):
            for worker in workers:
                self._last_pong[worker.node_id].clear()
                self._send(worker, Ping(time.monotonic_ns()))
            gevent.sleep(PING_GAP_S)
        until = time.monotonic() + PING_WAIT_S
        for worker in workers:
            self._last_pong[worker.node_id].wait(max(until - time.monotonic(), 0))

    def _ping_forever(self) -> None:
        """So that drift is followed, and that a worker notices when its master is gone."""
        while True:
            gevent.sleep(IDLE_PING_S)
            for worker in list(self._workers.values()):
                if not worker.lost:
                    self._send(worker, Ping(time.monotonic_ns()))

    def _carry_out(self, unit: Unit) -> None:
        # Workers of this machine first: the run's side knows the files of share k by that.
        workers = sorted(
            self._workers.values(), key=lambda worker: (bool(worker.hello.recording), worker.hello.name)
        )
        answers = Path(unit.order.answers_file).open("ab", buffering=0)  # noqa: SIM115 - closed below
        under_way = UnderWay(unit, {worker.node_id: Share(worker) for worker in workers}, answers)
        self._units[under_way.number] = under_way
        try:
            reason = self._unready(unit, workers)
            if not reason:
                self._assign(unit, workers)
                reason = self._wait(under_way)
            if reason:
                self._stop_rest(under_way)
            self._measure([worker for worker in workers if not worker.lost], UNIT_PINGS)
        except Exception as error:  # noqa: BLE001 - whatever it is, the run must hear of it
            reason = f"{type(error).__name__}: {error}"
        finally:
            del self._units[under_way.number]
            answers.close()
        figures = tuple(figures_of(share) for share in under_way.shares.values())
        self.say(UnitOver(under_way.number, reason, figures))

    def _unready(self, unit: Unit, workers: list[Worker]) -> str:
        """Why this unit cannot begin; empty when it can."""
        wanted = unit.part.recording if unit.part is not None else "none that lies elsewhere"
        for worker in workers:
            self._look_after(worker)
        troubles = [f"{worker} was lost before: {worker.lost}" for worker in workers if worker.lost]
        troubles += [
            f"{worker} holds another recording, {worker.hello.recording}; this run replays {wanted}"
            for worker in workers
            if worker.hello.recording not in ("", wanted)
        ]
        if len(workers) < self._setup.expected:
            troubles.append(f"{len(workers)} of {self._setup.expected} workers are there")
        return "; ".join(troubles)

    def _assign(self, unit: Unit, workers: list[Worker]) -> None:
        self._measure(workers, UNIT_PINGS)
        for index, worker in enumerate(workers):
            order = replace(unit.order, start_ns=unit.order.start_ns + worker.clock.correction_ns)
            self._send(worker, Assign(index, len(workers), order, unit.rendering, unit.part))

    def _wait(self, under_way: UnderWay) -> str:
        """Until all shares are over (empty) or the unit has failed (why)."""
        while not under_way.over():
            under_way.changed.wait(CHECK_S)
            under_way.changed.clear()
            for share in under_way.shares.values():
                self._look_after(share.worker)
                if share.worker.lost and share.finished is None:
                    return f"{share.worker} {share.worker.lost}"
                if share.finished is not None and share.finished.reply.kind != "done":
                    return f"{share.worker} gave up: {share.finished.reply.reason}"
            if under_way.trouble:
                return under_way.trouble
            if time.monotonic_ns() > under_way.unit.last_moment_ns:
                late = [share.worker for share in under_way.shares.values() if share.finished is None]
                for worker in late:
                    self._lose(worker, "did not finish in time")
                return f"{', '.join(map(str, late))} did not finish in time"
        return ""

    def _stop_rest(self, under_way: UnderWay) -> None:
        """End the shares of workers that are still there, and take in what they saw."""
        until = time.monotonic() + STOP_S
        rest = [
            share for share in under_way.shares.values() if share.finished is None and not share.worker.lost
        ]
        for share in rest:
            share.stopped = True
            self._send(share.worker, Stop(under_way.number))
        while any(share.finished is None for share in rest) and time.monotonic() < until:
            under_way.changed.wait(CHECK_S)
            under_way.changed.clear()

    def _look_after(self, worker: Worker) -> None:
        """Note when Locust has not heard of a worker for too long, or has heard that it quit."""
        node = self._runner.clients.get(worker.node_id)
        if node is None:
            self._lose(worker, "quit")
        elif node.state == STATE_MISSING:
            self._lose(
                worker, "sent no heartbeat for some seconds: it hangs, is starved, or cannot be reached"
            )

    def _lose(self, worker: Worker, why: str) -> None:
        if not worker.lost:
            worker.lost = why
            self._send(worker, Bye())  # should it come back: it is of no use to this crew any more
            for under_way in self._units.values():
                under_way.changed.set()


def main() -> None:
    """Lines in, lines out, until standard input ends."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not look like a line of ours
    settle_in(int(sys.argv[1]))
    lines = FileObjectPosix(os.dup(0), "rb")
    setup = decode_line(lines.readline().decode("utf-8"))
    if not isinstance(setup, MasterSetup):
        raise TypeError(f"{setup} is no set-up of a master")
    master = Master(setup, replies)
    master.say(Bound(master.port))
    for line in lines:
        master.take(decode_line(line.decode("utf-8")))
    master.dismiss()


if __name__ == "__main__":
    main()
