"""The run on one line of time: what each arm ran when, and when its faults were on.

Takes a Bundle, gives lanes in pixels for `templates/timeline.svg.j2`. Times come from the events and exchanges that
really happened; a planned unit that never started is listed as missing.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.model.history import EventKind, History
from harness.model.plan import Plan
from harness.report.axes import Axis, Tick
from harness.report.latency_chart import fault_times, unit_zero_ns
from harness.report.layout import Bundle
from harness.report.numbers import plain, seconds

WIDTH_PX = 1000
LEFT_PX, RIGHT_PX, TOP_PX, LANE_PX = 84.0, 990.0, 8.0, 34.0


@dataclass(frozen=True)
class Stretch:
    """One arm's turn at one unit; `fault_from_px` None: no fault was on."""

    number: int
    x: float
    width: float
    fault_from_px: float | None
    fault_width: float
    label: str


@dataclass(frozen=True)
class Lane:
    """One arm from left to right."""

    arm: str
    y: float
    stretches: tuple[Stretch, ...]


@dataclass(frozen=True)
class TimelineView:
    """Everything the template draws; `missing` names what was planned and never started."""

    width: int
    height: float
    left: float
    right: float
    bottom: float
    lanes: tuple[Lane, ...]
    ticks: tuple[tuple[Tick, str], ...]
    missing: tuple[str, ...]
    length: str
    label: str


def timeline_view(bundle: Bundle) -> TimelineView | None:
    """The timeline; None when nothing ever started."""
    plan, history = bundle.case.plan, bundle.history
    zeros = {
        (arm.value, unit.name): zero
        for arm in plan.arms
        for unit in plan.units
        if (zero := unit_zero_ns(history, arm.value, unit.name)) is not None
    }
    if not zeros:
        return None
    origin_ns = min(zeros.values())
    end_ns = max(_end_ns(history, plan, arm, unit, zero) for (arm, unit), zero in zeros.items())
    axis = Axis(0.0, max((end_ns - origin_ns) / 1e9, 0.1), LEFT_PX, RIGHT_PX)
    lanes = tuple(
        Lane(
            arm.value,
            TOP_PX + LANE_PX * row,
            tuple(
                _stretch(bundle, arm.value, unit.name, number, zeros[arm.value, unit.name] - origin_ns, axis)
                for number, unit in enumerate(plan.units, start=1)
                if (arm.value, unit.name) in zeros
            ),
        )
        for row, arm in enumerate(plan.arms)
    )
    bottom = TOP_PX + LANE_PX * len(lanes)
    order = sorted(zeros, key=lambda key: zeros[key])
    return TimelineView(
        width=WIDTH_PX,
        height=bottom + 24,
        left=LEFT_PX,
        right=RIGHT_PX,
        bottom=bottom,
        lanes=lanes,
        ticks=tuple((tick, f"{plain(tick.value)} s") for tick in axis.ticks(10)),
        missing=tuple(
            f"{unit.name} on {arm.value}"
            for unit in plan.units
            for arm in plan.arms
            if (arm.value, unit.name) not in zeros
        ),
        length=seconds(end_ns - origin_ns),
        label="Order of turns: " + ", ".join(f"{unit} on {arm}" for arm, unit in order),
    )


def _end_ns(history: History, plan: Plan, arm: str, unit: str, zero_ns: int) -> int:
    for event in history.events_of(EventKind.UNIT_FINISHED, arm=arm, unit=unit):
        return event.at_ns
    return zero_ns + plan.unit(unit).length_ns


def _stretch(bundle: Bundle, arm: str, unit: str, number: int, zero_ns: int, axis: Axis) -> Stretch:
    plan, history = bundle.case.plan, bundle.history
    started_ns = unit_zero_ns(history, arm, unit) or 0
    length_ns = _end_ns(history, plan, arm, unit, started_ns) - started_ns
    x = axis.px(zero_ns / 1e9)
    width = max(round(axis.px((zero_ns + length_ns) / 1e9) - x, 1), 1.0)
    times = fault_times(history, arm, unit)
    window = plan.unit(unit).window
    said = f"{arm}, unit {number} {unit}: from {seconds(zero_ns)}, {seconds(length_ns)} long"
    if times is None or window is None:
        return Stretch(number, x, width, None, 0.0, said)
    fault_x = axis.px((zero_ns + times.applied_ns) / 1e9)
    fault_width = max(round(axis.px((zero_ns + times.healed_ns) / 1e9) - fault_x, 1), 1.0)
    on = f"; {window.fault.replace('_', ' ')} on {window.target} for {seconds(times.healed_ns - times.applied_ns)}"
    return Stretch(number, x, width, fault_x, fault_width, said + on)
