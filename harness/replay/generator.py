"""The parent's side of the load generator: one child process per arm, alive for the whole run.

Takes a `ReplayJob` (the exchanges of one unit, where to send them and when it starts), gives a `ReplayOutcome` with
one row per exchange, whatever happened. A child that dies, hangs or is stopped raises `ReplayFailed`, which carries
the same rows as far as they were recorded. Never imports gevent or Locust.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pyarrow as pa

import harness
from harness.errors import EngineError
from harness.replay.answer_table import ANSWERS, Answers, AnswersReader
from harness.replay.feeding import Feeder, ledger_of
from harness.replay.job import ReplayFailed, ReplayJob, ReplayOutcome
from harness.replay.protocol import FLUSH_S, Order, Reply, decode_reply, encode

__all__ = ["LEAD_NS", "ReplayChild", "ReplayFailed", "ReplayJob", "ReplayOutcome", "Watch"]

LEAD_NS = 1_000_000_000
"""How long before a unit's start its job should reach the child, so that the first request is not late."""

STDERR_TAIL_CHARS = 4_000
ENDING_S = 3.0
"""How long the child may take over each step of `close`: asked, then SIGTERM, then SIGKILL."""

Watch = Callable[[Answers], None]
"""Told about five times a second what came back since the last time; in the thread that called `replay`."""


class _Work:
    """One job under way: its feeder, its answers so far, and its files."""

    def __init__(self, number: int, job: ReplayJob, folder: Path, watch: Watch | None) -> None:
        """Raises OSError."""
        stem = f"{number:03}-{re.sub(r'[^A-Za-z0-9._-]', '-', job.unit)}"
        self.job = job
        self.number = number
        self._requests_file, self._answers_file = folder / f"{stem}.requests", folder / f"{stem}.answers"
        self._answers_file.touch()
        self.feeder = Feeder(self._requests_file, job.exchanges, job.renderer())
        self._reader = AnswersReader(self._answers_file)
        self._answers: list[pa.Table] = []
        self._watch = watch
        self.readable = True

    def order(self) -> Order:
        job = self.job
        return Order(
            self.number,
            str(self._requests_file),
            str(self._answers_file),
            job.base_url,
            job.start_ns,
            job.length_ns,
            job.timeout.ns,
            job.fields,
            job.insecure,
            job.ca_file,
            job.keeps_sessions,
        )

    def look(self) -> None:
        """Read what the child wrote since the last time, and tell whoever watches."""
        if not self.readable:
            return
        try:
            new = self._reader.more()
        except (OSError, ValueError):
            self.readable = False
            return
        if new.num_rows:
            self._answers.append(new)
            if self._watch is not None:
                self._watch(Answers(new.filter(new.column("over"))))

    def outcome(self, arm: str, reply: Reply | None) -> ReplayOutcome:
        """Ends the handing over, and completes whatever was recorded to one row per exchange."""
        self.feeder.stop()
        self.look()
        answers = pa.concat_tables(self._answers) if self._answers else ANSWERS.empty_table()
        finished = reply is not None and self.readable
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
                with self.stderr_path.open("ab") as stderr:
                    self._process = self._spawn(stderr)
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
        process = self._process
        if process is None:
            return
        with contextlib.suppress(OSError):
            if process.stdin is not None:
                process.stdin.close()
        for force in (process.terminate, process.kill, None):
            try:
                process.wait(timeout=ENDING_S)
                return
            except subprocess.TimeoutExpired:
                if force is not None:
                    force()

    def stderr_tail(self) -> str:
        """The end of what the child printed."""
        try:
            return self.stderr_path.read_text("utf-8", errors="replace")[-STDERR_TAIL_CHARS:].strip()
        except OSError:
            return ""

    def _spawn(self, stderr: IO[bytes]) -> subprocess.Popen[str]:
        """In a session of its own, so that a terminal's Ctrl-C reaches the parent alone.

        `-P` keeps the user's folder, and whatever files in it are called, out of the child's imports.
        """
        root = str(Path(harness.__file__).parent.parent)
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "harness.replay.child", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,
        )

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
                work.look()
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
        try:
            code = self._process.wait(timeout=ENDING_S)
        except subprocess.TimeoutExpired:
            return "it closed its output"
        return f"it was killed by signal {-code}" if code < 0 else f"it ended with exit code {code}"

    def _failed(self, why: str, work: _Work) -> ReplayFailed:
        return ReplayFailed(why, work.outcome(self.arm, None), self.stderr_tail())
