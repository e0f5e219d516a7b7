"""Carries a replay out: opens everything, refuses what cannot go well, sends, and says what it found.

Takes a `ReplayRequest`, gives a `ReplayResult`. Everything that is wrong with the request is said before anything is sent
(DefinitionError); Ctrl-C ends the sending in order, and what was sent until then is reported.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from harness.checks.fidelity import because, sent_words
from harness.checks.fidelity_parts import measure
from harness.model.fidelity import Fidelity
from harness.model.history import GENERATOR_DIED, Exchanges
from harness.model.plan import Phase
from harness.progress import Progress
from harness.replay.generator import LEAD_NS, ReplayFailed, ReplayJob, ReplayOutcome, Watch
from harness.replaying.figures import Figures, figures
from harness.replaying.generators import Generator, generator_of
from harness.replaying.live import LiveFigures, Snapshot
from harness.replaying.output import Output
from harness.replaying.preparation import Prepared, prepare
from harness.replaying.request import ReplayRequest
from harness.replaying.result import Played, ReplayResult, Standing
from harness.replaying.thresholds import Judged, judge

LOOK_S = 0.2
LOST_NS = 400_000_000
"""How far back a generator that is stopped may take what it saw with it, twice `protocol.FLUSH_S`."""
KEEP_NOTHING = ("no field",)
"""Where no field was asked for nothing of an answer's body is kept: bodies would fill memory, and may be private."""


def replay(
    request: ReplayRequest, progress: Progress, watch: Callable[[Snapshot], None] = lambda _: None
) -> ReplayResult:
    """`watch` is told about five times a second how it goes. Raises DefinitionError, EngineError."""
    prepared = prepare(request, progress)
    output = Output.at(request.out)
    progress.stage(_announcement(prepared))
    started_at = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    with _stop_on_signals() as stop, tempfile.TemporaryDirectory(prefix="readiness-replay-") as folder:
        sent = _Sending(prepared, Path(folder), stop, progress).run(watch)
    result = _result(prepared, sent, started_at)
    return output.written(result, sent.rows)


def _announcement(prepared: Prepared) -> str:
    traffic, where = prepared.traffic, ", ".join(prepared.targets.urls)
    kept = ", sessions kept up" if prepared.rules is not None else ""
    return (
        f"{traffic.name}: {traffic.count:,} requests over {traffic.length_ns / 1e9:.1f} s to {where}"
        f"{kept}, seed {prepared.request.seed}"
    )


@dataclass(frozen=True)
class _Sent:
    """What the generators left."""

    rows: Exchanges
    details: tuple[Mapping[str, Any], ...]
    failures: tuple[str, ...]
    interrupted: bool


@dataclass
class _Sending:
    """Sends a prepared replay: one job a target, by one generator."""

    prepared: Prepared
    folder: Path
    stop: threading.Event
    progress: Progress
    _outcomes: list[ReplayOutcome] = field(default_factory=list)
    _failures: list[str] = field(default_factory=list)
    _crashes: list[BaseException] = field(default_factory=list)

    def run(self, watch: Callable[[Snapshot], None]) -> _Sent:
        """Blocks until all is answered or has timed out, or `stop` is set."""
        prepared = self.prepared
        generator = generator_of(prepared, self.folder / "generator", self.progress)
        try:
            generator.start()
            if self.stop.is_set():
                return self._sent(0, interrupted=True)
            start_ns = time.monotonic_ns() + LEAD_NS
            live = LiveFigures(prepared.offsets_ns, prepared.traffic.length_ns, start_ns)
            jobs = [self._job(url, start_ns) for url in prepared.targets.urls]
            threads = [
                threading.Thread(target=self._replay, args=(generator, job, live.take), daemon=True)
                for job in jobs
            ]
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads) and not self.stop.wait(LOOK_S):
                watch(live.snapshot(time.monotonic_ns()))
            stopped_ns = time.monotonic_ns() - start_ns
            interrupted = self.stop.is_set() and any(thread.is_alive() for thread in threads)
            if interrupted:
                generator.abort()
            for thread in threads:
                thread.join()
            watch(live.snapshot(time.monotonic_ns()))
        finally:
            generator.close()
        return self._sent(stopped_ns, interrupted)

    def _job(self, url: str, start_ns: int) -> ReplayJob:
        prepared, request = self.prepared, self.prepared.request
        return ReplayJob(
            unit="replay",
            turn=0,
            exchanges=prepared.exchanges(url),
            base_url=url,
            seed=request.seed,
            recording_digest=prepared.traffic.digest,
            recording_from_ns=0,
            length_ns=prepared.traffic.length_ns,
            start_ns=start_ns,
            origin_ns=start_ns,
            timeout=request.timeout,
            plan=prepared.planner(),
            fields=request.fields or KEEP_NOTHING,
            http1=request.http1,
            insecure=request.insecure,
            ca_file=str(request.ca_file or ""),
        )

    def _replay(self, generator: Generator, job: ReplayJob, watch: Watch) -> None:
        """In a thread of its own."""
        try:
            self._outcomes.append(generator.replay(job, watch))
        except ReplayFailed as failed:
            self._outcomes.append(failed.outcome)
            self._failures.append(failed.why)
            if not self.stop.is_set():
                self.progress.note(f"the load generator failed: {failed.why}\n{failed.stderr_tail}".rstrip())
        except BaseException as error:  # noqa: BLE001 - said in the thread that waits
            self._crashes.append(error)

    def _sent(self, stopped_ns: int, interrupted: bool) -> _Sent:
        if self._crashes:
            raise self._crashes[0]
        tables = [outcome.exchanges(lambda _: Phase.STEADY.value).table for outcome in self._outcomes]
        table = pa.concat_tables(tables).sort_by("seq") if tables else Exchanges.empty().table
        if not self.prepared.request.fields:
            place = table.schema.get_field_index("body")
            table = table.set_column(
                place, table.schema.field(place), pa.array([""] * len(table), pa.string())
            )
        if interrupted:
            table = _until(table, stopped_ns)
        details = tuple(outcome.detail() for outcome in self._outcomes)
        failures = () if interrupted else tuple(self._failures)
        return _Sent(Exchanges(table), details, failures, interrupted)


def _until(table: pa.Table, stopped_ns: int) -> pa.Table:
    """What was due before the replay was stopped, without what was under way and what went down with the generator."""
    due = pc.less(table.column("due_ns"), stopped_ns - LOST_NS)
    return table.filter(pc.and_(due, pc.not_equal(table.column("error"), GENERATOR_DIED)))


def _result(prepared: Prepared, sent: _Sent, started_at: str) -> ReplayResult:
    request, traffic = prepared.request, prepared.traffic
    failures = [f"the load generator failed: {why}" for why in sent.failures]
    if len(sent.rows) != traffic.count and not sent.interrupted:
        failures.append(f"{len(sent.rows)} of {traffic.count} requests of the recording are on record")
    fidelity = measure(sent.rows, sent.details, prepared.policy, prepared.who, failures, "the load generator")
    found = figures(sent.rows, request.timeout)
    judged = judge(prepared.thresholds, found)
    standing, reasons = _standing(fidelity, judged, found, sent.interrupted)
    return ReplayResult(
        request=request,
        played=Played(
            name=traffic.name,
            digest=prepared.recording.digest,
            attribution=traffic.attribution,
            paced_digest=traffic.digest,
            count=traffic.count,
            length_ns=traffic.length_ns,
            shifts_ns=prepared.shifts_ns,
            halved_clients=prepared.halved_clients,
            sessions=prepared.rules is not None,
        ),
        targets=prepared.targets.by_host,
        standing=standing,
        reasons=reasons,
        interrupted=sent.interrupted,
        fidelity=fidelity,
        figures=found,
        thresholds=judged,
        policy=prepared.policy,
        generators=sent.details,
        started_at=started_at,
    )


def _standing(
    fidelity: Fidelity, judged: Sequence[Judged], found: Figures, interrupted: bool
) -> tuple[Standing, tuple[str, ...]]:
    """What is not known comes before what was exceeded: thresholds mean nothing where the load was another."""
    unknown = []
    if interrupted:
        unknown.append("The replay was interrupted; these figures are of what was sent until then.")
    elif not fidelity.faithful:
        unknown += [f"{said[:1].upper()}{said[1:]}." for said in (*fidelity.problems, because(fidelity))]
    if not found.overall.answered:
        unknown.append("No request was answered, so nothing is known about the target.")
    unmeasured = [item.threshold.text for item in judged if item.exceeded is None]
    unknown += [
        f"There was nothing to measure for {text!r}: no such route, or no answer." for text in unmeasured
    ]
    exceeded = [f"{item.threshold.text}: it is {item.said}." for item in judged if item.exceeded]
    worse = (_worse(found),) if found.worse else ()
    if unknown:
        return Standing.UNKNOWN, (*unknown, *exceeded, *worse)
    if exceeded:
        return Standing.EXCEEDED, (*exceeded, *worse)
    left = f"{100 * fidelity.score:.0f} % of the tightest limit on fidelity is left"
    held = f"; no threshold of {len(judged)} is exceeded" if judged else ""
    return Standing.WITHIN, (f"{sent_words(fidelity)} were sent as recorded ({left}){held}.", *worse)


def _worse(found: Figures) -> str:
    """An answer below 500 is no error; one that turns away what it took when recorded is to be seen all the same."""
    return (
        f"{found.worse} of {found.overall.sent} requests that were sent succeeded when recorded and did not now: "
        "see whether the target is the right one, and whether sessions begin in what is replayed."
    )


@contextlib.contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    """Within: Ctrl-C and SIGTERM set the event and raise nothing. Only the main thread of a process receives them."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {
        number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
