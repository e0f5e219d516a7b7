"""A load generator of several processes, here and on other machines, with the surface of `ReplayChild`.

Takes a `ReplayJob`, gives a `CrewOutcome`: one row per exchange as from a lone child, times on this machine's clock, and
the figures of every worker. A worker or a master that dies, hangs or holds another recording raises `ReplayFailed` with
its name and with the rows as far as they were recorded. Never imports gevent or Locust.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from harness.replay.answer_table import ANSWERS
from harness.replay.crew.orders import Part, Rendering, Unit, UnitOver, WorkerFigures
from harness.replay.crew.sharding import worker_of
from harness.replay.crew.shares import Shares
from harness.replay.crew.staff import CrewSetup, Staff
from harness.replay.feeding import Feeder, ledger_of
from harness.replay.gathering import Gathering, Watch
from harness.replay.job import ReplayFailed, ReplayJob, ReplayOutcome
from harness.replay.protocol import FLUSH_S

SUMMED = frozenset(
    {
        "cpu_ms",
        "major_faults",
        "most_in_flight",
        "in_flight_limit",
        "in_flight_limit_hits",
        "connections_opened",
        "sent_bytes",
        "received_bytes",
        "requests_waited_for",
    }
)
"""Of `protocol.RESOURCES`, what several processes use together. Of the others the worst counts."""

LEAST = frozenset({"memory_limit_bytes", "in_flight_limit_first_ns"})
"""Of the others again, where the worst is the least; -1 stands for none."""


@dataclass(frozen=True)
class CrewOutcome(ReplayOutcome):
    """What became of a job, with what is known of each worker (`workers[k]` sent share k)."""

    workers: tuple[WorkerFigures, ...] = ()

    def detail(self) -> dict[str, Any]:
        """As of a lone child, and `workers`: for each its counts, lateness, clock and resources."""
        return {**super().detail(), "workers": [self._worker(k) for k in range(len(self.workers))]}

    def _worker(self, index: int) -> dict[str, Any]:
        figures = self.workers[index]
        mine = self._owners == index
        sent_ns, due_ns, answered_ns = (
            self._column(name)[mine] for name in ("sent_ns", "due_ns", "answered_ns")
        )
        late_ns = (sent_ns - due_ns)[sent_ns >= 0]
        if not len(late_ns):
            late_ns = np.zeros(1)
        return {
            "name": figures.name,
            "pid": figures.pid,
            "host": figures.host,
            "finished": figures.finished,
            "why": figures.why,
            "planned": int(mine.sum()),
            "sent": int((sent_ns >= 0).sum()),
            "answered": int((answered_ns >= 0).sum()),
            "lag_p50_ms": float(np.quantile(late_ns, 0.5)) / 1e6,
            "lag_p99_ms": float(np.quantile(late_ns, 0.99)) / 1e6,
            "lag_max_ms": float(late_ns.max()) / 1e6,
            "offset_ns": figures.offset_ns,
            "offset_uncertainty_ns": figures.offset_uncertainty_ns,
            "round_trip_ns": figures.round_trip_ns,
            "drift_ns": figures.drift_ns,
            "same_clock": figures.same_clock,
            **figures.resources,
        }

    @cached_property
    def _owners(self) -> Any:
        clients = self.ledger.column("client").to_pylist()
        seqs = self.ledger.column("seq").to_pylist()
        return np.array(
            [worker_of(client, seq, len(self.workers)) for client, seq in zip(clients, seqs, strict=True)],
            int,
        )


def together(resources: list[Mapping[str, float]]) -> dict[str, float]:
    """The resources of several processes as those of one; figures that are not known of any are left out."""
    joined: dict[str, float] = {}
    for name in dict.fromkeys(name for one in resources for name in one):
        known = [one[name] for one in resources if one.get(name, -1) >= 0]
        if not known:
            joined[name] = -1
        elif name in SUMMED:
            joined[name] = sum(known)
        else:
            joined[name] = min(known) if name in LEAST else max(known)
    return joined


class _Work:
    """One job under way: its feeder, its answers so far, and its files."""

    def __init__(
        self, number: int, job: ReplayJob, folder: Path, watch: Watch | None, setup: CrewSetup
    ) -> None:
        """Raises OSError."""
        stem = job.stem(number)
        self.job = job
        self.number = number
        self._folder, self._stem = folder, stem
        self._answers_file = folder / f"{stem}.answers"
        self.answers = Gathering(self._answers_file, watch)
        self.files = tuple(folder / f"{stem}.requests.{k}" for k in range(setup.workers))
        self.shares = Shares(setup.total)
        self.feeder = Feeder(self.files, job.exchanges, job.renderer(), self.shares.owner)

    def unit(self, part: Part | None) -> Unit:
        """What the master is told."""
        job = self.job
        order = job.order(self.number, "", str(self._answers_file))
        rendering = Rendering(
            job.seed, job.recording_digest, job.recording_from_ns, job.host_header, job.http1
        )
        return Unit(order, rendering, part, job.last_moment_ns)

    def outcome(self, arm: str, workers: tuple[WorkerFigures, ...], finished: bool) -> CrewOutcome:
        """Ends the handing over, and completes whatever was recorded to one row per exchange."""
        self.feeder.stop()
        answers = self.answers.table()
        resources = together([worker.resources for worker in workers])
        ledger = self.feeder.ledger()
        return CrewOutcome(
            arm, self.job, ledger, answers, resources, finished and self.answers.readable, workers
        )

    def remove(self, answers_too: bool) -> None:
        """Of a job that failed the answers stay, for whoever wants to know why."""
        self.feeder.stop()
        for path in self._folder.glob(f"{self._stem}.*"):
            if answers_too or path != self._answers_file:
                with contextlib.suppress(OSError):
                    path.unlink()


class ReplayCrew:
    """One arm's load generator of several processes. `work_dir` is its own folder."""

    def __init__(self, arm: str, work_dir: Path, setup: CrewSetup) -> None:
        self.arm = arm
        self._dir = work_dir
        self._setup = setup
        self._staff = Staff(arm, work_dir, setup)
        self._numbers = itertools.count(1)
        self._aborted = False

    @property
    def pid(self) -> int:
        """Of the master. Raises RuntimeError before `start`."""
        if not self._staff.pids:
            raise RuntimeError("the load generators were not started")
        return self._staff.pids[0]

    @property
    def pids(self) -> tuple[int, ...]:
        """Of the master and of the workers on this machine."""
        return self._staff.pids

    @property
    def port(self) -> int:
        """Where workers of other machines find the master."""
        return self._staff.port

    @property
    def stderr_path(self) -> Path:
        """What the master and its libraries printed."""
        return self._dir / "master.log"

    def start(self, within_s: float = 30.0, remote_within_s: float = 300.0) -> None:
        """Returns when all workers are there. Raises EngineError with the last words of those that are not."""
        self._staff.start(within_s, remote_within_s)

    def replay(self, job: ReplayJob, watch: Watch | None = None, part: Part | None = None) -> CrewOutcome:
        """Send the job's exchanges at their times; blocks until all are answered or have timed out.

        `part` tells workers of other machines which exchanges of their copy those are; without such workers it is not
        needed. Raises ReplayFailed, with everything that was recorded. May be called from several threads at once.
        """
        if part is None and self._setup.expect_workers:
            raise ValueError("workers of other machines must be told which part of the recording to read")
        number = next(self._numbers)
        try:
            work = _Work(number, job, self._dir, watch, self._setup)
        except OSError as error:
            nothing = CrewOutcome(
                self.arm, job, ledger_of(job.exchanges), ANSWERS.empty_table(), finished=False
            )
            raise ReplayFailed(
                f"its files could not be written: {error}", nothing, self.stderr_tail()
            ) from error
        finished = False
        try:
            outcome = self._carry_out(work, part)
            finished = True
            return outcome
        finally:
            work.remove(answers_too=finished)

    def abort(self) -> None:
        """Kill all processes, from any thread; a `replay` under way raises ReplayFailed at once."""
        self._aborted = True
        self._staff.kill()

    def close(self) -> None:
        """Dismiss all workers and end the processes. May be called again."""
        self._staff.close()

    def stderr_tail(self) -> str:
        """The end of what each process printed."""
        return self._staff.last_words()

    def _carry_out(self, work: _Work, part: Part | None) -> CrewOutcome:
        ended: list[UnitOver | str] = []
        asking = threading.Thread(
            target=lambda: ended.append(self._staff.replay(work.unit(part), work.files)), daemon=True
        )
        work.feeder.start()
        asking.start()
        while asking.is_alive():
            asking.join(FLUSH_S)
            work.answers.look()
        over = ended[0]
        if self._aborted:
            over = "it was stopped by the run"
        if isinstance(over, str):
            raise ReplayFailed(over, work.outcome(self.arm, (), False), self.stderr_tail())
        workers = over.workers
        outcome = work.outcome(self.arm, workers, not over.reason)
        reason = str(work.feeder.error or over.reason) or self._strayed(work, workers)
        if reason or not outcome.finished:
            failed = work.outcome(self.arm, workers, False)
            raise ReplayFailed(reason or "its answers could not be read", failed, self.stderr_tail())
        return outcome

    def _strayed(self, work: _Work, workers: tuple[WorkerFigures, ...]) -> str:
        """Workers of other machines that sent something else than their share; empty when there are none."""
        return "; ".join(
            f"{worker.name} (process {worker.pid} on {worker.host}) sent other requests than its share of the recording: "
            "it runs another release, or paces the recording otherwise"
            for index, worker in enumerate(workers)
            if index >= self._setup.workers and worker.requests != work.shares.digest(index)
        )
