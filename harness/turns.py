"""Runs the turns of a plan on arms that are up: replay ∥ fault window ∥ witness, all on one clock.

Takes the plan, the arms' stacks and generators, and writes everything that happens into the recorder. A generator that
dies, a fault that cannot be applied or healed, a sample that cannot be taken: each is an event, so that the verdict
is UNKNOWN with the reason, and the run goes on to its orderly end. Whatever was applied is healed on every way out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from harness.environment.journal import Journal
from harness.environment.stack import ArmStack
from harness.errors import Interrupted, ReadinessError
from harness.faults import Applied, FaultContext, make_fault
from harness.model.history import EventKind, Moment
from harness.model.plan import Arm, FaultWindow, Plan, Turn
from harness.model.recording import Traffic
from harness.recorder import Recorder, Spans, Stamp
from harness.recording.sessions.steps import Steps
from harness.replay.crew.crew import ReplayCrew
from harness.replay.generator import LEAD_NS, ReplayChild, ReplayFailed, ReplayJob, ReplayOutcome
from harness.witness import Witness

GAP_NS = 300_000_000
"""Quiet time between two turns, for answers still under way."""
TICK_S = 1.0
LEAST_STOOD = 0.75
"""Share of its planned time that a fault must have been on: a shorter one is another fault than the one asked for."""


@dataclass(frozen=True)
class RunningArm:
    """One arm with its generator."""

    stack: ArmStack
    child: ReplayChild | ReplayCrew


@dataclass
class TurnRunner:
    """See the module's head. `steps`, by seq, where sessions are kept up: clients keep what earlier units gave them.
    `stop` ends every wait early; the turn under way is healed and left."""

    plan: Plan
    recording: Traffic
    arms: Mapping[Arm, RunningArm]
    recorder: Recorder
    journal: Journal
    progress: Callable[[str], None]
    steps: Mapping[int, Steps] | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Every turn, each dispatched while the one before it ends, so that no arm waits for a generator's start."""
        workers = 2 * len(self.plan.arms) + 2
        start_ns = self.recorder.now_ns() + LEAD_NS
        turns: list[Future[None]] = []
        with ThreadPoolExecutor(max_workers=2 * workers) as pool:
            try:
                for turn in self.plan.turns:
                    self._sleep_until(start_ns - LEAD_NS)
                    self._announce(turn)
                    stamps = [Stamp(arm, self.plan.unit(turn.unit), turn) for arm in turn.arms]
                    turns += [pool.submit(self._run_unit, stamp, start_ns, pool) for stamp in stamps]
                    for done in [future for future in turns if future.done()]:
                        done.result()
                    start_ns += self.plan.unit(turn.unit).length_ns + GAP_NS
                for future in turns:
                    future.result()
            except BaseException:
                self.stop.set()
                for running in self.arms.values():
                    running.child.abort()
                raise

    def _announce(self, turn: Turn) -> None:
        unit = self.plan.unit(turn.unit)
        what = (
            unit.name if unit.window is None else f"{unit.name} ({unit.window.fault} on {unit.window.target})"
        )
        arms = " + ".join(turn.arms)
        self.progress(
            f"turn {turn.turn + 1}/{len(self.plan.turns)}: {what}, {arms}, {unit.exchanges} requests"
        )

    def _run_unit(self, stamp: Stamp, start_ns: int, pool: ThreadPoolExecutor) -> None:
        """One arm's unit: the generator in one thread, the window and the witness in this one."""
        spans = self.recorder.unit_started(stamp, start_ns)
        replay = pool.submit(self._replay, stamp, spans)
        try:
            self._drive(stamp, spans)
        finally:
            replay.result()
        self.recorder.event(EventKind.UNIT_FINISHED, stamp)

    def _replay(self, stamp: Stamp, spans: Spans) -> None:
        unit, arm = stamp.unit, self.arms[stamp.arm]
        entry, steps = self.plan.entry, self.steps
        job = ReplayJob(
            unit=unit.name,
            turn=stamp.turn.turn,
            exchanges=self.recording.slice(unit.first_seq, unit.stop_seq),
            base_url=arm.stack.entry_url(entry),
            seed=self.plan.seed,
            recording_digest=self.plan.recording_digest,
            recording_from_ns=unit.recording_from_ns,
            length_ns=unit.length_ns,
            start_ns=spans.started_ns + self.recorder.origin_ns,
            origin_ns=self.recorder.origin_ns,
            timeout=arm.stack.environment.entry_edge(entry).tolerance.timeout,
            plan=None if steps is None else lambda exchange: steps[exchange.seq],
            keeps_sessions=steps is not None,
        )
        try:
            outcome = arm.child.replay(job)
            self.recorder.event(EventKind.REPLAY, stamp, **_figures(outcome))
        except ReplayFailed as failed:
            outcome = failed.outcome
            workers = _figures(outcome).get("workers", [])
            self.recorder.event(
                EventKind.REPLAY_FAILED, stamp, error=failed.why, stderr=failed.stderr_tail, workers=workers
            )
            self.progress(f"{stamp.arm}: the load generator failed in {unit.name}: {failed.why}")
        self.recorder.exchanges(outcome.exchanges(lambda at_ns: spans.phase(at_ns, unit).value))

    def _drive(self, stamp: Stamp, spans: Spans) -> None:
        """The fault window of a unit, or none, with the witness watching throughout."""
        stack = self.arms[stamp.arm].stack
        witness = Witness(stack.plane)
        start_ns = spans.started_ns
        self._sleep_until(start_ns)
        self._containers(stamp)
        self._sample(stamp, witness, Moment.UNIT_STARTED)
        window = stamp.unit.window
        if window is not None:
            self._window(stamp, spans, witness, window)
        self._tick_until(stamp, witness, start_ns + stamp.unit.length_ns)
        self._sample(stamp, witness, Moment.UNIT_FINISHED)
        self._containers(stamp)

    def _window(self, stamp: Stamp, spans: Spans, witness: Witness, window: FaultWindow) -> None:
        stack = self.arms[stamp.arm].stack
        self._probe(stamp, witness, window, "before")
        self._sleep_until(spans.started_ns + window.start_ns)
        self._sample(stamp, witness, Moment.BEFORE_FAULT)
        name = f"{stamp.arm} {window.name}"
        self.journal.starting("fault", name)
        spans.applying_ns = self.recorder.event(EventKind.FAULT_APPLYING, stamp, window.name).at_ns
        applied: Applied | None = None
        try:
            context = FaultContext(
                plane=stack.plane,
                driver=stack.driver,
                container=stack.container(window.service) if window.service else None,
                window=window,
                seed=self.plan.seed,
            )
            applied = make_fault(window.fault).apply(context)
            event = self.recorder.event(
                EventKind.FAULT_APPLIED, stamp, window.name, hits=dict(applied.hits())
            )
            spans.applied_ns = event.at_ns
            self._sample(stamp, witness, Moment.FAULT_APPLIED)
            if window.service:
                self._containers(stamp, faulted=window.service)
            self._probe(stamp, witness, window, "during")
            self._tick_until(stamp, witness, spans.started_ns + window.stop_ns)
            self._sample(stamp, witness, Moment.BEFORE_HEAL)
        except ReadinessError as error:
            self.recorder.event(EventKind.FAULT_FAILED, stamp, window.name, error=str(error))
            if isinstance(error, Interrupted):
                raise
        finally:
            self._heal(stamp, spans, window, applied)
        self._kept_time(stamp, spans, window)
        self._sample(stamp, witness, Moment.HEALED)
        self._probe(stamp, witness, window, "after")
        if window.service:
            self._containers(stamp, faulted=window.service)

    def _heal(self, stamp: Stamp, spans: Spans, window: FaultWindow, applied: Applied | None) -> None:
        if applied is None:
            return
        spans.healing_ns = self.recorder.event(EventKind.FAULT_HEALING, stamp, window.name).at_ns
        try:
            try:
                hits = dict(applied.hits())
            finally:  # what cannot be counted any more must be healed all the same
                applied.heal()
            healed = applied.is_healed()
        except ReadinessError as error:
            self.recorder.event(EventKind.FAULT_FAILED, stamp, window.name, error=f"not healed: {error}")
            return
        event = self.recorder.event(EventKind.FAULT_HEALED, stamp, window.name, hits=hits, healed=healed)
        spans.healed_ns = event.at_ns
        if healed:
            self.journal.undone("fault", f"{stamp.arm} {window.name}")

    def _kept_time(self, stamp: Stamp, spans: Spans, window: FaultWindow) -> None:
        """A fault that was on for far less than planned, or into the next unit, is a hole in the evidence."""
        if spans.applied_ns < 0 or spans.healed_ns < 0:
            return  # said already
        stood_s, planned_s = (
            (spans.healing_ns - spans.applied_ns) / 1e9,
            (window.stop_ns - window.start_ns) / 1e9,
        )
        if stood_s < LEAST_STOOD * planned_s:
            error = f"{window.fault} on {window.target} was on for {stood_s:.1f} s of the planned {planned_s:.1f} s"
            self.recorder.event(EventKind.HARNESS, stamp, window.name, error=error)
        late_s = (spans.healed_ns - spans.started_ns - stamp.unit.length_ns) / 1e9
        if late_s > 0:
            error = f"{window.fault} on {window.target} was healed {late_s:.1f} s after the end of its unit"
            self.recorder.event(EventKind.HARNESS, stamp, window.name, error=error)

    def _probe(self, stamp: Stamp, witness: Witness, window: FaultWindow, moment: str) -> None:
        """What the edge does to a stream right now; only edges can be probed."""
        if window.edge is None:
            return
        try:
            result = witness.probe(window.edge)
        except ReadinessError as error:
            self.recorder.event(
                EventKind.HARNESS, stamp, window.name, error=f"probe {moment} failed: {error}"
            )
            return
        self.recorder.event(
            EventKind.PROBE, stamp, window.name, moment=moment, edge=window.edge, **result.detail()
        )

    def _sample(self, stamp: Stamp, witness: Witness, moment: Moment) -> None:
        try:
            self.recorder.witness(stamp, moment.value, witness.sample())
        except ReadinessError as error:
            self.recorder.event(EventKind.HARNESS, stamp, error=f"witness sample {moment} failed: {error}")

    def _containers(self, stamp: Stamp, faulted: str | None = None) -> None:
        """State of the arm's containers; while a container fault is on, of the faulted one alone."""
        stack = self.arms[stamp.arm].stack
        for service in [faulted] if faulted else list(stack.services):
            status = stack.driver.status(stack.container(service))
            self.recorder.event(
                EventKind.CONTAINER,
                stamp,
                service,
                state=status.state,
                exit_code=status.exit_code,
                oom_killed=status.oom_killed,
                started_at=status.started_at,
                expected=faulted is not None,
            )

    def _tick_until(self, stamp: Stamp, witness: Witness, at_ns: int) -> None:
        """Sample once a second until then."""
        while self.recorder.now_ns() + TICK_S * 1.5e9 < at_ns:
            self._sleep_until(self.recorder.now_ns() + int(TICK_S * 1e9))
            self._sample(stamp, witness, Moment.TICK)
        self._sleep_until(at_ns)

    def _sleep_until(self, at_ns: int) -> None:
        """Until `at_ns` since the origin, or until the run is asked to stop (then raises Interrupted)."""
        while not self.stop.is_set():
            left_s = (at_ns - self.recorder.now_ns()) / 1e9
            if left_s <= 0:
                return
            self.stop.wait(min(left_s, 0.5))
        raise Interrupted("the run was asked to stop")


def _figures(outcome: ReplayOutcome) -> dict[str, Any]:
    """What the load generator says of itself, for the event of its replay."""
    return dict(outcome.detail())
