"""What a load generator is asked to do, and what became of it: one row per exchange, whatever happened.

A `ReplayOutcome` joins the ledger of what was to be sent with the answers that the child recorded; an exchange that left
no record was not sent. Evidence is never lost to an exception: `ReplayFailed` carries an outcome as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from harness.errors import EngineError
from harness.model.history import GENERATOR_DIED, Exchanges
from harness.model.quantities import Duration
from harness.model.recording import Exchange, request_id
from harness.recording.sessions.steps import Steps
from harness.replay.frames import Request
from harness.replay.protocol import Order
from harness.replay.rendering import Rendering

GRACE = Duration.of_s(5)
"""How long after the last possible answer the child may still take to report."""

NOT_SENT = "not sent"
_ANSWER_TIMES = ("sent_ns", "connected_ns", "first_byte_ns", "answered_ns")


@dataclass(frozen=True)
class ReplayJob:
    """One unit for one arm. `start_ns` and `origin_ns` are `time.monotonic_ns()` values; rows count from the origin.

    | option | meaning |
    |---|---|
    | `exchanges` | in order of time, seq unique; taken once, one by one, while the replay is under way |
    | `plan` | gives each exchange's steps, in order, where sessions are kept up (`SessionPlanner(...).plan`) |
    | `keeps_sessions` | clients still have what earlier such jobs of this generator gave them; one planner plans all of them |
    | `fields` | dotted paths of the JSON fields that are kept of each answer, and nothing else of it; empty: its text |
    | `host_header` | the target's own, or the one recorded |
    | `http1` | send what was HTTP/2, HTTP/3 or gRPC as HTTP/1.1, rather than refuse it |
    | `insecure`, `ca_file` | for https: take any certificate; PEM file of those that may sign one |
    """

    unit: str
    turn: int
    exchanges: Iterable[Exchange]
    base_url: str
    seed: int
    recording_digest: str
    recording_from_ns: int
    length_ns: int
    start_ns: int
    origin_ns: int
    timeout: Duration
    grace: Duration = GRACE
    plan: Callable[[Exchange], Steps] | None = None
    fields: tuple[str, ...] = ()
    host_header: Literal["target", "recorded"] = "target"
    http1: bool = False
    insecure: bool = False
    ca_file: str = ""
    keeps_sessions: bool = False

    @property
    def last_moment_ns(self) -> int:
        """After this the child counts as hung. Where sessions are kept up, requests may be sent a timeout past the end."""
        waits = 1 if self.plan is None else 2
        return self.start_ns + self.length_ns + waits * self.timeout.ns + self.grace.ns

    def stem(self, number: int) -> str:
        """What the files of this job are called, the generator's `number`th."""
        return f"{number:03}-{re.sub(r'[^A-Za-z0-9._-]', '-', self.unit)}"

    def order(self, number: int, requests_file: str, answers_file: str) -> Order:
        """What a child is told of it."""
        return Order(
            number,
            requests_file,
            answers_file,
            self.base_url,
            self.start_ns,
            self.length_ns,
            self.timeout.ns,
            self.fields,
            self.insecure,
            self.ca_file,
            self.keeps_sessions,
        )

    def renderer(self) -> Callable[[Exchange], Request]:
        """What turns this job's exchanges into requests, in order. It raises Unsendable."""
        rendering = Rendering(
            self.base_url,
            self.seed,
            self.recording_digest,
            self.recording_from_ns,
            self.host_header,
            self.http1,
        )
        plan = self.plan
        if plan is None:
            return rendering.request
        return lambda exchange: rendering.request(exchange, plan(exchange))


@dataclass(frozen=True)
class ReplayOutcome:
    """What became of a job. `finished` is False when the child failed; `resources`: see `protocol.RESOURCES`.

    `ledger` has the rows of `feeding.LEDGER`, `answers` those of `answer_table.ANSWERS`.
    """

    arm: str
    job: ReplayJob
    ledger: pa.Table
    answers: pa.Table
    resources: Mapping[str, float] = field(default_factory=dict)
    finished: bool = True

    @property
    def unit(self) -> str:
        return self.job.unit

    @property
    def turn(self) -> int:
        return self.job.turn

    @property
    def planned(self) -> int:
        return int(self.ledger.num_rows)

    @property
    def sent(self) -> int:
        return int((self._column("sent_ns") >= 0).sum())

    @property
    def answered(self) -> int:
        return int((self._column("answered_ns") >= 0).sum())

    @property
    def most_in_flight(self) -> int:
        return int(self.resources.get("most_in_flight", 0))

    def exchanges(self, phase: Callable[[int], str]) -> Exchanges:
        """One history row per exchange of the job; `phase` names the phase by scheduled time since the origin."""
        job, ledger = self.job, self.ledger
        rows = self.planned
        scheduled_ns = self._scheduled_ns() - job.origin_ns
        columns: dict[str, Any] = {
            "arm": pa.repeat(self.arm, rows),
            "unit": pa.repeat(job.unit, rows),
            "turn": pa.repeat(job.turn, rows),
            "phase": pa.array([phase(at_ns) for at_ns in scheduled_ns.tolist()], pa.string()),
            "request_id": pa.array(
                [request_id(job.seed, job.recording_digest, seq) for seq in ledger.column("seq").to_pylist()],
                pa.string(),
            ),
            "scheduled_ns": pa.array(scheduled_ns),
            "due_ns": pa.array(self._column("due_ns") - job.origin_ns),
        }
        for name in ("seq", "client", "key", "route", "recorded_status"):
            columns[name] = ledger.column(name)
        for name in _ANSWER_TIMES:
            at_ns = self._column(name)
            columns[name] = pa.array(np.where(at_ns >= 0, at_ns - job.origin_ns, -1))
        for name in ("status", "error", "sent_bytes", "received_bytes", "body", "body_digest"):
            columns[name] = self._joined.column(name)
        return Exchanges(pa.table({name: columns[name] for name in Exchanges.schema.names}))

    def detail(self) -> dict[str, int | float | bool]:
        """Figures for the event of this replay: counts, how late requests went out (ms), and the resources."""
        sent_ns = self._column("sent_ns")
        late_ns = (sent_ns - self._column("due_ns"))[sent_ns >= 0]
        if not len(late_ns):
            late_ns = np.zeros(1, np.int64)
        return {
            "planned": self.planned,
            "sent": self.sent,
            "answered": self.answered,
            "finished": self.finished,
            "lag_p50_ms": float(np.quantile(late_ns, 0.5)) / 1e6,
            "lag_p99_ms": float(np.quantile(late_ns, 0.99)) / 1e6,
            "lag_max_ms": float(late_ns.max()) / 1e6,
            **self.resources,
        }

    def _scheduled_ns(self) -> npt.NDArray[np.int64]:
        at_ns: npt.NDArray[np.int64] = self.ledger.column("at_ns").to_numpy()
        return at_ns - self.job.recording_from_ns + self.job.start_ns

    def _column(self, name: str) -> npt.NDArray[np.int64]:
        column: npt.NDArray[np.int64] = self._joined.column(name).to_numpy()
        return column

    @cached_property
    def _joined(self) -> pa.Table:
        """The last record of each exchange in the ledger, and what is true of one that left none."""
        seqs = self.answers.column("seq").to_numpy()
        over = self.answers.column("over").to_numpy()
        order = np.lexsort((over, seqs))
        last = order[np.append(np.diff(seqs[order]) != 0, True)] if len(order) else order
        wanted = self.ledger.column("seq").to_numpy()
        place = np.searchsorted(seqs[last], wanted)
        found = np.zeros(len(wanted), bool)
        if len(last):
            inside = place < len(last)
            found[inside] = seqs[last][place[inside]] == wanted[inside]
        indices = np.zeros(len(wanted), np.int64)
        indices[found] = last[place[found]]
        rows = self.answers.take(pa.array(indices, mask=~found))
        under_way = pc.equal(rows.column("over"), pa.scalar(False))
        error = pc.if_else(under_way, GENERATOR_DIED, rows.column("error"))
        filled: dict[str, Any] = {
            "due_ns": pc.coalesce(rows.column("due_ns"), pa.array(self._scheduled_ns())),
            "error": pc.fill_null(error, NOT_SENT),
            "status": pc.fill_null(rows.column("status"), 0),
            "body": pc.fill_null(rows.column("body"), ""),
            "body_digest": pc.fill_null(rows.column("body_digest"), ""),
        }
        for name in (*_ANSWER_TIMES, "sent_bytes", "received_bytes"):
            filled[name] = pc.fill_null(rows.column(name), -1)
        return pa.table(filled)


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
