"""Writes the History while a run is under way: one clock, append-only, safe to use from several threads.

Takes events, exchange rows, witness rows and edge-request rows as they come, gives a `History` at the end. The phase
of every row is decided here, from the times at which a fault really was applied and healed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from harness.model.history import (
    EdgeRequests,
    Event,
    EventKind,
    Exchanges,
    History,
    Labels,
    WitnessSamples,
)
from harness.model.plan import Arm, Phase, Turn, Unit

Row = Mapping[str, Any]

UNDER_WAY_NS = 500_000_000
"""What began this shortly before a fault may still be under way when it strikes: it belongs to neither side."""
AFTERWARDS_NS = 300_000_000
"""What a service still asks of another this soon after a unit's end belongs to the unit; later it belongs to none."""


@dataclass
class Spans:
    """When one arm's unit started and when its fault was applied and healed; -1 until it happened."""

    started_ns: int
    applying_ns: int = -1
    applied_ns: int = -1
    healing_ns: int = -1
    healed_ns: int = -1

    def phase(self, at_ns: int, unit: Unit) -> Phase:
        """Phase of something scheduled or begun at `at_ns`."""
        if at_ns < self.started_ns + unit.warmup_ns:
            return Phase.WARMUP
        if unit.window is None or self.applying_ns < 0 or at_ns < self.applying_ns - UNDER_WAY_NS:
            return Phase.STEADY
        if self.applied_ns < 0 or at_ns < self.applied_ns:
            return Phase.SWITCHING
        if self.healing_ns < 0 or at_ns < self.healing_ns:
            return Phase.FAULT
        if self.healed_ns < 0 or at_ns < self.healed_ns:
            return Phase.SWITCHING
        return Phase.RECOVERY


@dataclass(frozen=True)
class Stamp:
    """Which arm, unit and turn something belongs to."""

    arm: Arm
    unit: Unit
    turn: Turn

    def columns(self) -> dict[str, Any]:
        return {"arm": self.arm.value, "unit": self.unit.name, "turn": self.turn.turn}


@dataclass
class Recorder:
    """See the module's head. Origin: `origin_ns` on the monotonic clock, `origin_wall_ns` since the Unix epoch."""

    origin_ns: int = field(default_factory=time.monotonic_ns)
    origin_wall_ns: int = field(default_factory=time.time_ns)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _events: list[Event] = field(default_factory=list)
    _exchanges: list[Exchanges] = field(default_factory=list)
    _witness: list[Row] = field(default_factory=list)
    _edge_requests: list[Row] = field(default_factory=list)
    _spans: dict[tuple[Arm, int], tuple[Stamp, Spans]] = field(default_factory=dict)

    def now_ns(self) -> int:
        """Nanoseconds since the run's origin."""
        return time.monotonic_ns() - self.origin_ns

    def wall_drift_ns(self) -> int:
        """How far the wall clock, which the planes' logs go by, has moved against the run's own since the origin."""
        return time.time_ns() - self.origin_wall_ns - self.now_ns()

    def event(
        self,
        kind: EventKind,
        stamp: Stamp | None = None,
        subject: str = "",
        arm: Arm | None = None,
        **detail: Any,
    ) -> Event:
        """Record that something happened now."""
        place = stamp.columns() if stamp is not None else {"arm": arm.value if arm else ""}
        event = Event(at_ns=self.now_ns(), kind=kind, subject=subject, detail=detail, **place)
        with self._lock:
            self._events.append(event)
        return event

    def unit_started(self, stamp: Stamp, started_ns: int) -> Spans:
        """The unit's zero is `started_ns` since the origin (a moment ahead, so that every arm is ready)."""
        spans = Spans(started_ns)
        with self._lock:
            self._spans[stamp.arm, stamp.turn.turn] = (stamp, spans)
        self.event(EventKind.UNIT_STARTED, stamp, zero_ns=started_ns)
        return spans

    def exchanges(self, rows: Exchanges) -> None:
        """What a generator recorded of one arm's unit; times are relative to the origin already."""
        with self._lock:
            self._exchanges.append(rows)

    def witness(self, stamp: Stamp, moment: str, rows: Sequence[Row]) -> None:
        """Rows of `WitnessSamples` taken now."""
        at_ns = self.now_ns()
        with self._lock:
            self._witness.extend({**row, **stamp.columns(), "at_ns": at_ns, "moment": moment} for row in rows)

    def edge_requests(self, arm: Arm, rows: Sequence[Row]) -> None:
        """Rows of `EdgeRequests` with `at_wall_ns` since the epoch; unit, turn and phase by time.

        Requests between units (health checks through the plane are none of them; late answers are) keep unit "".
        """
        spans = sorted(
            ((stamp, span) for (owner, _), (stamp, span) in self._spans.items() if owner is arm),
            key=lambda item: item[1].started_ns,
        )
        for row in rows:
            at_ns = row["at_wall_ns"] - self.origin_wall_ns
            found = [(stamp, span) for stamp, span in spans if span.started_ns <= at_ns]
            place: dict[str, Any] = {"arm": arm.value, "unit": "", "turn": -1}
            phase = Phase.WARMUP
            if found and at_ns <= found[-1][1].started_ns + found[-1][0].unit.length_ns + AFTERWARDS_NS:
                stamp, span = found[-1]
                place, phase = stamp.columns(), span.phase(at_ns, stamp.unit)
            columns = {name: value for name, value in row.items() if name != "at_wall_ns"}
            self._edge_requests.append({**columns, **place, "at_ns": at_ns, "phase": phase.value})

    def history(self, labels: Labels | None) -> History:
        """Everything so far, in a stable order."""
        return History(
            exchanges=Exchanges(_stacked(self._exchanges)),
            edge_requests=EdgeRequests.from_rows(
                sorted(
                    self._edge_requests,
                    key=lambda row: (row["at_ns"], row["arm"], row["edge"], row["request_id"]),
                )
            ),
            witness=WitnessSamples.from_rows(self._witness),
            events=tuple(sorted(self._events, key=lambda event: event.at_ns)),
            labels=labels if labels is not None else Labels.empty(),
        )


def _stacked(parts: Sequence[Exchanges]) -> pa.Table:
    """All parts in order of turn, arm and sequence number."""
    if not parts:
        return Exchanges.empty().table
    order = [("turn", "ascending"), ("arm", "ascending"), ("seq", "ascending")]
    return pa.concat_tables([part.table for part in parts]).sort_by(order)
