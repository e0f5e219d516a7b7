"""The parent's side of the load generator: one child process per arm, alive for the whole run.

Takes a `ReplayJob` (the exchanges of one unit, where to send them and when it starts), gives a `ReplayOutcome` with
one row per exchange, whatever happened. A child that dies, hangs or is stopped raises `ReplayFailed`, which carries
the same rows as far as they were recorded: evidence is never lost to an exception. Never imports gevent or Locust.
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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

import harness
from harness.errors import EngineError
from harness.model.history import GENERATOR_DIED, Exchanges
from harness.model.quantities import Duration
from harness.model.recording import Exchange, Headers, request_id
from harness.replay.protocol import (
    Answer,
    Order,
    Reply,
    Request,
    decode_reply,
    encode,
    read_answers,
    write_requests,
)

LEAD_NS = 1_000_000_000
"""How long before a unit's start its job should reach the child, so that the first request is not late."""

GRACE = Duration.of_s(5)
"""How long after the last possible answer the child may still take to report."""

STDERR_TAIL_CHARS = 4_000
ENDING_S = 3.0
"""How long the child may take over each step of `close`: asked, then SIGTERM, then SIGKILL."""


@dataclass(frozen=True)
class ReplayJob:
    """One unit for one arm. `start_ns` and `origin_ns` are `time.monotonic_ns()` values; rows count from the origin."""

    unit: str
    turn: int
    exchanges: tuple[Exchange, ...]
    base_url: str
    seed: int
    recording_digest: str
    recording_from_ns: int
    length_ns: int
    start_ns: int
    origin_ns: int
    timeout: Duration
    grace: Duration = GRACE

    def due_ns(self, exchange: Exchange) -> int:
        """When the exchange is to be sent, on the monotonic clock."""
        return self.start_ns + exchange.at_ns - self.recording_from_ns

    @property
    def last_moment_ns(self) -> int:
        """After this the child counts as hung."""
        return self.start_ns + self.length_ns + self.timeout.ns + self.grace.ns


@dataclass(frozen=True)
class ReplayOutcome:
    """What became of a job. `finished` is False when the child failed; CPU time is the child's, user and system."""

    arm: str
    job: ReplayJob
    answers: Mapping[int, Answer]
    cpu_ns: int = 0
    wall_ns: int = 0
    most_in_flight: int = 0
    finished: bool = True

    @property
    def unit(self) -> str:
        return self.job.unit

    @property
    def turn(self) -> int:
        return self.job.turn

    @property
    def planned(self) -> int:
        return len(self.job.exchanges)

    @property
    def sent(self) -> int:
        return sum(answer.sent_ns >= 0 for answer in self.answers.values())

    @property
    def answered(self) -> int:
        return sum(answer.answered_ns >= 0 for answer in self.answers.values())

    def exchanges(self, phase: Callable[[int], str]) -> Exchanges:
        """One history row per exchange of the job; `phase` names the phase by scheduled time since the origin."""
        return Exchanges.from_rows(self._row(exchange, phase) for exchange in self.job.exchanges)

    def _row(self, exchange: Exchange, phase: Callable[[int], str]) -> Mapping[str, str | int]:
        job, answer = self.job, self.answers[exchange.seq]
        scheduled_ns = job.due_ns(exchange) - job.origin_ns
        return {
            "arm": self.arm,
            "unit": job.unit,
            "turn": job.turn,
            "phase": phase(scheduled_ns),
            "seq": exchange.seq,
            "request_id": request_id(job.seed, job.recording_digest, exchange.seq),
            "client": exchange.client,
            "key": exchange.key,
            "route": exchange.route,
            "scheduled_ns": scheduled_ns,
            "due_ns": scheduled_ns,
            "connected_ns": -1,
            "first_byte_ns": -1,
            "sent_bytes": -1,
            "received_bytes": -1,
            "body_digest": "",
            "sent_ns": answer.sent_ns - job.origin_ns if answer.sent_ns >= 0 else -1,
            "answered_ns": answer.answered_ns - job.origin_ns if answer.answered_ns >= 0 else -1,
            "status": answer.status,
            "error": answer.error,
            "body": answer.body,
        }

    def detail(self) -> dict[str, int | float | bool]:
        """Figures for the event of this replay: counts, how late requests went out (ms), CPU, most in flight."""
        due_ns = {exchange.seq: self.job.due_ns(exchange) for exchange in self.job.exchanges}
        late_ns = [a.sent_ns - due_ns[seq] for seq, a in self.answers.items() if a.sent_ns >= 0] or [0]
        return {
            "planned": self.planned,
            "sent": self.sent,
            "answered": self.answered,
            "finished": self.finished,
            "lag_p50_ms": float(np.quantile(late_ns, 0.5)) / 1e6,
            "lag_p99_ms": float(np.quantile(late_ns, 0.99)) / 1e6,
            "lag_max_ms": max(late_ns) / 1e6,
            "cpu_ms": self.cpu_ns / 1e6,
            "cpu_share": self.cpu_ns / self.wall_ns if self.wall_ns else 0.0,
            "most_in_flight": self.most_in_flight,
        }


class ReplayFailed(EngineError):  # noqa: N818 - a sentence: the replay failed
    """The child died, hung, was stopped or gave up. `outcome` holds what was recorded; the rest is "not sent"."""

    def __init__(self, why: str, outcome: ReplayOutcome, stderr_tail: str) -> None:
        super().__init__(
            f"the load generator of arm {outcome.arm} failed in unit {outcome.unit}: {why}",
            "its last words:\n" + stderr_tail if stderr_tail else "it left no message",
        )
        self.why = why
        self.outcome = outcome
        self.stderr_tail = stderr_tail


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

    def replay(self, job: ReplayJob) -> ReplayOutcome:
        """Send the job's exchanges at their times; blocks until all are answered or have timed out.

        Raises ReplayFailed, with everything that was recorded. May be called from several threads at once.
        """
        number = next(self._numbers)
        stem = f"{number:03}-{re.sub(r'[^A-Za-z0-9._-]', '-', job.unit)}"
        requests_file, answers_file = self._dir / f"{stem}.requests", self._dir / f"{stem}.answers"
        try:
            write_requests(requests_file, (_request(job, exchange) for exchange in job.exchanges))
            answers_file.touch()
        except OSError as error:
            raise self._failed(f"its files could not be written: {error}", job, answers_file) from error
        order = Order(
            number,
            str(requests_file),
            str(answers_file),
            job.base_url,
            job.start_ns,
            job.length_ns,
            job.timeout.ns,
        )
        with self._awaiting(number) as replies:
            reply = self._ask(order, replies, job, answers_file)
        if reply.kind != "done":
            raise self._failed(reply.reason, job, answers_file)
        outcome = self._outcome(job, answers_file, reply)
        with contextlib.suppress(OSError):
            requests_file.unlink()
            answers_file.unlink()
        return outcome

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

    def _ask(
        self, order: Order, replies: queue.SimpleQueue[Reply | None], job: ReplayJob, answers_file: Path
    ) -> Reply:
        """Give the order and wait for its reply, no longer than the job can take."""
        process = self._process
        if process is None or process.stdin is None:
            raise self._failed("it was never started", job, answers_file)
        try:
            with self._lock:
                process.stdin.write(encode(order))
                process.stdin.flush()
            reply = replies.get(timeout=max(job.last_moment_ns - time.monotonic_ns(), 0) / 1e9)
        except (OSError, ValueError):
            reply = None
        except queue.Empty:
            self.abort_hung()
            limit_s = (job.last_moment_ns - job.start_ns) / 1e9
            raise self._failed(
                f"no word within {limit_s:g} s of the unit's start", job, answers_file
            ) from None
        if reply is None:
            raise self._failed(self._how_it_ended(), job, answers_file)
        return reply

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

    def _failed(self, why: str, job: ReplayJob, answers_file: Path) -> ReplayFailed:
        return ReplayFailed(why, self._outcome(job, answers_file, None), self.stderr_tail())

    def _outcome(self, job: ReplayJob, answers_file: Path, reply: Reply | None) -> ReplayOutcome:
        """Whatever the answers file holds, completed to one answer per exchange."""
        try:
            answers, sent = read_answers(answers_file)
        except (OSError, ValueError):
            answers, sent, reply = {}, {}, None
        whole: dict[int, Answer] = {}
        for exchange in job.exchanges:
            seq = exchange.seq
            lost = Answer(seq, sent.get(seq, -1), -1, 0, GENERATOR_DIED if seq in sent else "not sent", "")
            whole[seq] = answers.get(seq, lost)
        if reply is None:
            return ReplayOutcome(self.arm, job, whole, finished=False)
        return ReplayOutcome(self.arm, job, whole, reply.cpu_ns, reply.wall_ns, reply.most_in_flight)


def _request(job: ReplayJob, exchange: Exchange) -> Request:
    headers = joined(exchange.headers)
    headers["x-request-id"] = request_id(job.seed, job.recording_digest, exchange.seq)
    offset_ns = exchange.at_ns - job.recording_from_ns
    return Request(
        exchange.seq, offset_ns, exchange.method, exchange.path, exchange.route, headers, exchange.body
    )


def joined(headers: Headers) -> dict[str, str]:
    """Repeated headers joined as RFC 9110 (5.3) allows; cookies with a semicolon."""
    values: dict[str, str] = {}
    for name, value in headers:
        between = "; " if name == "cookie" else ", "
        values[name] = f"{values[name]}{between}{value}" if name in values else value
    return values
