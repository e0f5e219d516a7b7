"""The processes of one crew on this machine, as the run's side sees them: the master and the local workers.

Takes how many workers and where the master is to listen; starts them, hands units to the master, hands each local
worker its share, and says how a unit ended. Never imports gevent or Locust.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.errors import EngineError
from harness.replay.crew.messages import new_token
from harness.replay.crew.orders import (
    Bound,
    Feeding,
    Gone,
    Joined,
    Line,
    MasterSetup,
    Unit,
    UnitOver,
    Wanted,
    WorkerSetup,
)
from harness.replay.crew.processes import LineProcess
from harness.replay.protocol import Order

MASTER = "harness.replay.crew.master"
WORKER = "harness.replay.crew.worker"
MEET_S = 10.0
"""How long a local worker may look for its master."""

LISTENS_NO_MORE_S = 2.0

ANYWHERE = frozenset({"*", "0.0.0.0", "::"})
"""Addresses to listen on that are none to connect to."""

REPORT_S = 4.0
"""How long after a unit's last moment the master may take to say how it ended."""


@dataclass(frozen=True)
class CrewSetup:
    """Who is in a crew. Others than `workers` of our own come from other machines, to `bind` (port 0: a free one), and
    know `token`. `told` hears what somebody at a terminal wants to know; `worker_module` is for tests."""

    workers: int
    expect_workers: int = 0
    bind: str = "127.0.0.1"
    port: int = 0
    token: str = field(default_factory=new_token)
    told: Callable[[str], None] = lambda _: None
    worker_module: str = WORKER

    @property
    def total(self) -> int:
        return self.workers + self.expect_workers


class Staff:
    """See the module's head. `replay` may be called from several threads at once."""

    def __init__(self, arm: str, work_dir: Path, setup: CrewSetup) -> None:
        self._arm = arm
        self._dir = work_dir
        self._setup = setup
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._master: LineProcess | None = None
        self._workers: dict[str, LineProcess] = {}
        self._bound = 0
        self._missing = setup.total
        self._ended = ""
        self._units: dict[int, _Pending] = {}
        self._closing = False

    @property
    def pids(self) -> tuple[int, ...]:
        """Of the master and of the local workers, in order of their names."""
        processes = ([self._master] if self._master else []) + list(self._workers.values())
        return tuple(process.pid for process in processes)

    @property
    def port(self) -> int:
        """Where the master listens; 0 before `start`."""
        return self._bound

    def start(self, within_s: float, remote_within_s: float) -> None:
        """Returns when every worker is there and its clock was measured. Raises EngineError with the last words."""
        setup = self._setup
        try:
            self._dir.mkdir(parents=True, exist_ok=True)
            self._master = LineProcess(MASTER, self._log("master"), self._heard, self._master_ended)
            self._tell_master(MasterSetup(setup.bind, setup.port, setup.token, setup.total))
            for index in range(setup.workers):
                self._start_worker(f"worker-{index + 1}")
            self._await(lambda: self._bound > 0, within_s, "the master was not ready")
            near = "127.0.0.1" if setup.bind in ANYWHERE else setup.bind
            for name, worker in self._workers.items():
                worker.say(WorkerSetup(near, self._bound, setup.token, name, "", MEET_S))
            if setup.expect_workers:
                where = f"{setup.bind} port {self._bound}"
                setup.told(
                    f"{self._arm}: waiting for workers of other machines ({setup.expect_workers}) on {where}"
                )
            limit_s = max(within_s, remote_within_s) if setup.expect_workers else within_s
            self._await(lambda: self._missing == 0, limit_s, "not all workers were there")
        except (OSError, ValueError) as error:
            self.close()
            raise EngineError(
                f"cannot start the load generators of arm {self._arm}: {error}",
                self.last_words() or "make room there, or try again",
            ) from error
        except BaseException:  # also Ctrl-C while waiting for workers of other machines
            self.close()
            raise

    def replay(self, unit: Unit, shares: tuple[Path, ...]) -> UnitOver | str:
        """One unit, to its end; `shares[k]` is the FIFO of local worker k. Gives why, where the master cannot say it."""
        number = unit.order.number
        pending = _Pending(unit.order, shares)
        with self._lock:
            if self._master is None:
                return "the load generators were never started"
            if self._ended:
                return self._ended
            self._units[number] = pending
        try:
            self._tell_master(unit)
            left_s = max(unit.last_moment_ns - time.monotonic_ns(), 0) / 1e9
            return pending.over.get(timeout=left_s + REPORT_S)
        except (OSError, ValueError):
            return pending.why(self._ended)
        except queue.Empty:
            self.kill()
            return "the master said nothing"
        finally:
            with self._lock:
                del self._units[number]

    def kill(self) -> None:
        """All processes at once, from any thread; units under way end."""
        for process in self._all():
            process.kill()

    def close(self) -> None:
        """Dismiss the workers, then end what is left. May be called again."""
        self._closing = True
        if self._master is not None:
            self._master.close()
        for worker in self._workers.values():
            worker.release()
        for worker in self._workers.values():
            worker.close()

    def last_words(self) -> str:
        """What the processes printed last, each under its name."""
        words = [(process.log.stem, process.last_words()) for process in self._all()]
        return "\n".join(f"{name}: {said}" for name, said in words if said)

    def _all(self) -> list[LineProcess]:
        return ([self._master] if self._master else []) + list(self._workers.values())

    def _log(self, name: str) -> Path:
        return self._dir / f"{name}.log"

    def _start_worker(self, name: str) -> None:
        self._workers[name] = LineProcess(
            self._setup.worker_module,
            self._log(name),
            lambda line: self._worker_heard(name, line),
            lambda how: self._worker_ended(name, how),
        )

    def _await(self, happened: Callable[[], bool], within_s: float, otherwise: str) -> None:
        with self._changed:
            if self._changed.wait_for(lambda: bool(self._ended) or happened(), within_s) and not self._ended:
                return
            why = self._ended or f"{otherwise} within {within_s:g} s ({self._missing} are missing)"
        raise EngineError(
            f"the load generators of arm {self._arm} did not start: {why}",
            self.last_words() or "they left no message; see whether the machine is short of CPU or memory",
        )

    def _tell_master(self, line: Line) -> None:
        assert self._master is not None
        self._master.say(line)

    def _heard(self, line: Line) -> None:
        """Of the master."""
        with self._changed:
            match line:
                case Bound():
                    self._bound = line.port
                case Joined():
                    self._missing = line.missing
                    if line.name not in self._workers:
                        missing = (
                            f"workers still missing: {line.missing}"
                            if line.missing
                            else "all workers are there"
                        )
                        self._setup.told(f"{self._arm}: {line.name} has joined; {missing}")
                case UnitOver() if line.number in self._units:
                    self._units[line.number].over.put(line)
            self._changed.notify_all()

    def _worker_heard(self, name: str, line: Line) -> None:
        if not isinstance(line, Wanted):
            return
        with self._lock:
            pending = self._units.get(line.order.number)
        if pending is not None:
            order = pending.files(line.order, line.worker)
            with contextlib.suppress(OSError, ValueError):
                self._workers[name].say(Feeding(order))

    def _worker_ended(self, name: str, how: str) -> None:
        if self._closing or self._master is None:
            return
        with self._changed:
            if not self._bound or self._missing:
                self._end(f"{name} {how}")
        with contextlib.suppress(OSError, ValueError):
            self._tell_master(Gone(name, how))

    def _master_ended(self, how: str) -> None:
        with self._changed:
            self._end(f"the master {how}")

    def _end(self, why: str) -> None:
        """Nothing more can be replayed; with the lock."""
        self._ended = self._ended or why
        for pending in self._units.values():
            pending.over.put(self._ended)
        self._changed.notify_all()


@dataclass
class _Pending:
    """A unit that the master has not reported yet."""

    order: Order
    shares: tuple[Path, ...]
    over: queue.SimpleQueue[UnitOver | str] = field(default_factory=queue.SimpleQueue)

    def why(self, known: str) -> str | UnitOver:
        """How it ended, when the master could not be told: soon known, for its output ends as well."""
        try:
            return known or self.over.get(timeout=LISTENS_NO_MORE_S)
        except queue.Empty:
            return "the master listens no more"

    def files(self, order: Order, worker: int) -> Order:
        """The order with the files of this local worker; it keeps what it sees in one until its master has it."""
        answers = f"{self.order.answers_file}.{worker}"
        return replace(order, requests_file=str(self.shares[worker]), answers_file=answers)
