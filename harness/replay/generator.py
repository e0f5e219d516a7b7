"""The parent's side of the load generator: one child process per arm, alive for the whole run.

Takes a `ReplayJob` (the exchanges of one unit, where to send them and when it starts), gives a `ReplayOutcome` with
one row per exchange, whatever happened. A child that dies, hangs or is stopped raises `ReplayFailed`, which carries
the same rows as far as they were recorded. Never imports gevent or Locust.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from harness.errors import EngineError
from harness.replay.answer_table import ANSWERS
from harness.replay.feeding import Feeder, ledger_of
from harness.replay.gathering import Gathering, Watch
from harness.replay.job import ReplayFailed, ReplayJob, ReplayOutcome
from harness.replay.protocol import FLUSH_S, Order, Reply, decode_reply, encode
from harness.replay.spawning import ENDING_S, end, how_it_ended, last_words, spawn

__all__ = ["LEAD_NS", "ReplayChild", "ReplayFailed", "ReplayJob", "ReplayOutcome", "Watch"]

LEAD_NS = 1_000_000_000
"""How long before a unit's start its job should reach the child, so that the first request is not late."""


class _Work:
    """One job under way: its feeder, its answers so far, and its files."""

    def __init__(self, number: int, job: ReplayJob, folder: Path, watch: Watch | None) -> None:
        """Raises OSError."""
        stem = job.stem(number)
        self.job = job
        self.number = number
        self._requests_file, self._answers_file = folder / f"{stem}.requests", folder / f"{stem}.answers"
        self.answers = Gathering(self._answers_file, watch)
        self.feeder = Feeder((self._requests_file,), job.exchanges, job.renderer())

    def order(self) -> Order:
        return self.job.order(self.number, str(self._requests_file), str(self._answers_file))

    def outcome(self, arm: str, reply: Reply | None) -> ReplayOutcome:
        """Ends the handing over, and completes whatever was recorded to one row per exchange."""
        self.feeder.stop()
        answers = self.answers.table()
        finished = reply is not None and self.answers.readable
        resources = reply.resources if reply is not None else {}
        return ReplayOutcome(arm, self.job, self.feeder.ledger(), answers, resources, finished)

    def remove(self, answers_too: bool) -> None:
        """Of a job that failed the answers stay, for whoever wants to know why."""
        self.feeder.stop()
        for path in (self._requests_file, self._answers_file)[: 2 if answers_too else 1]:
            with contextlib.suppress(OSError):
                path.unlink()


class ReplayChild:
    """One arm's load generator. `work_dir` is its own folder; files of a unit are removed when it went well."""

    def __init__(self, arm: str, work_dir: Path) -> None:
        self.arm = arm
        self._dir = work_dir
        self._process: subprocess.Popen[str] | None = None
        self._numbers = itertools.count(1)
        self._replies: dict[int, queue.SimpleQueue[Reply | None]] = {}
        self._lock = threading.Lock()
        self._ended = False
        self._aborted = False

    @property
    def pid(self) -> int:
        """Of the child. Raises RuntimeError before `start`."""
        if self._process is None:
            raise RuntimeError("the load generator was not started")
        return self._process.pid

    @property
    def stderr_path(self) -> Path:
        """What the child and its libraries printed."""
        return self._dir / "generator.log"

    def start(self, within_s: float = 30.0) -> None:
        """Returns when the child has imported everything and is ready. Raises EngineError with its last words."""
        with self._awaiting(0) as replies:
            try:
                self._dir.mkdir(parents=True, exist_ok=True)
                self._process = spawn("harness.replay.child", self.stderr_path)
            except OSError as error:
                raise EngineError(
                    f"cannot start the load generator of arm {self.arm}: {error}",
                    "make room there, or try again",
                ) from error
            threading.Thread(target=self._listen, name=f"generator-{self.arm}", daemon=True).start()
            try:
                reply = replies.get(timeout=within_s)
            except queue.Empty:
                reply = None
        if reply is None:
            self.close()
            raise EngineError(
                f"the load generator of arm {self.arm} was not ready within {within_s:g} s",
                self.stderr_tail() or "it left no message; see whether the machine is short of CPU or memory",
            )

    def replay(self, job: ReplayJob, watch: Watch | None = None) -> ReplayOutcome:
        """Send the job's exchanges at their times; blocks until all are answered or have timed out.

        Raises ReplayFailed, with everything that was recorded. May be called from several threads at once.
        """
        number = next(self._numbers)
        try:
            work = _Work(number, job, self._dir, watch)
        except OSError as error:
            nothing = ReplayOutcome(
                self.arm, job, ledger_of(job.exchanges), ANSWERS.empty_table(), finished=False
            )
            raise ReplayFailed(
                f"its files could not be written: {error}", nothing, self.stderr_tail()
            ) from error
        finished = False
        try:
            with self._awaiting(number) as replies:
                reply = self._ask(work, replies)
            if reply.kind != "done":
                raise self._failed(str(work.feeder.error or reply.reason), work)
            outcome = work.outcome(self.arm, reply)
            if not outcome.finished:
                raise self._failed("its answers could not be read", work)
            finished = True
            return outcome
        finally:
            work.remove(answers_too=finished)

    def abort(self) -> None:
        """Kill the child, from any thread; a `replay` under way raises ReplayFailed at once."""
        self._aborted = True
        if self._process is not None and self._process.poll() is None:
            self._process.kill()

    def close(self) -> None:
        """End the child: asked, then SIGTERM, then SIGKILL. May be called again."""
        if self._process is not None:
            end(self._process)

    def stderr_tail(self) -> str:
        """The end of what the child printed."""
        return last_words(self.stderr_path)

    @contextlib.contextmanager
    def _awaiting(self, number: int) -> Iterator[queue.SimpleQueue[Reply | None]]:
        """A queue that gets the reply of this number, or None when the child ends (also when it has ended before)."""
        replies: queue.SimpleQueue[Reply | None] = queue.SimpleQueue()
        with self._lock:
            self._replies[number] = replies
            if self._ended:
                replies.put(None)
        try:
            yield replies
        finally:
            with self._lock:
                del self._replies[number]

    def _listen(self) -> None:
        """In a thread: hand each reply to whoever waits for it; at the end tell all."""
        assert self._process is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError, ValueError, TypeError):
            for line in self._process.stdout:
                reply = decode_reply(line)
                with self._lock:
                    if reply.number in self._replies:
                        self._replies[reply.number].put(reply)
        with self._lock:
            self._ended = True
            for waiting in self._replies.values():
                waiting.put(None)

    def _ask(self, work: _Work, replies: queue.SimpleQueue[Reply | None]) -> Reply:
        """Give the order, hand over its requests and wait for the reply, no longer than the job can take."""
        process, job = self._process, work.job
        if process is None or process.stdin is None:
            raise self._failed("it was never started", work)
        try:
            with self._lock:
                process.stdin.write(encode(work.order()))
                process.stdin.flush()
        except (OSError, ValueError):
            raise self._failed(self._how_it_ended(), work) from None
        work.feeder.start()
        while (left_s := (job.last_moment_ns - time.monotonic_ns()) / 1e9) > 0:
            try:
                reply = replies.get(timeout=min(left_s, FLUSH_S))
            except queue.Empty:
                work.answers.look()
                continue
            if reply is None:
                raise self._failed(self._how_it_ended(), work)
            return reply
        self.abort_hung()
        limit_s = (job.last_moment_ns - job.start_ns) / 1e9
        raise self._failed(f"no word within {limit_s:g} s of the unit's start", work)

    def abort_hung(self) -> None:
        """Kill a child that does not answer, and see it gone before its files are read."""
        if self._process is not None:
            self._process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=ENDING_S)

    def _how_it_ended(self) -> str:
        if self._aborted:
            return "it was stopped by the run"
        if self._process is None:
            return "it was never started"
        return f"it {how_it_ended(self._process)}"

    def _failed(self, why: str, work: _Work) -> ReplayFailed:
        return ReplayFailed(why, work.outcome(self.arm, None), self.stderr_tail())
