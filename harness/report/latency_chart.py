"""Latency over time of one unit, one line an arm, with the stretch of the fault shaded.

Takes the unit and the History, gives positions in pixels for `templates/latency_chart.svg.j2`. Requests are put in
bins of time, so that a chart stays a few kilobytes whatever the load: the line is each bin's median, the thin line its
slowest answer, a cross a bin in which requests failed. Times are counted from the unit's own start, because arms may
have run it one after another.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from harness.model.history import Array, EventKind, Exchanges, History
from harness.model.plan import Plan, Unit
from harness.report.axes import Axis, Tick
from harness.report.numbers import count, measure, plain, seconds

WIDTH_PX, HEIGHT_PX = 1000, 222
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 60.0, 990.0, 30.0, 186.0
BINS = 72
LOG_FROM = 30.0
"""Ratio of slowest to fastest from which the axis is logarithmic."""


@dataclass(frozen=True)
class ArmLine:
    """One arm: the medians as unbroken stretches of `x,y` points, the slowest likewise, and where requests failed."""

    arm: str
    medians: tuple[str, ...]
    slowest: tuple[str, ...]
    failures: tuple[tuple[float, float, str], ...]
    strip_y: float


@dataclass(frozen=True)
class Shade:
    """The stretch in which the fault was on; widest over the arms."""

    from_px: float
    to_px: float
    label: str


@dataclass(frozen=True)
class LatencyChart:
    """Everything the template draws; `label` reads it aloud."""

    id: str
    label: str
    width: int
    height: int
    left: float
    right: float
    top: float
    bottom: float
    warmup_px: float
    shade: Shade | None
    lines: tuple[ArmLine, ...]
    x_ticks: tuple[tuple[Tick, str], ...]
    y_ticks: tuple[tuple[Tick, str], ...]
    log: bool


@dataclass(frozen=True)
class _Series:
    """One arm's unit: seconds since its start, latency in ms (NaN: no answer) and whether it was answered well."""

    arm: str
    at_s: Array
    latency_ms: Array
    ok: Array


@dataclass(frozen=True)
class FaultTimes:
    """When an arm's fault was on, nanoseconds since the unit's start."""

    applied_ns: int
    healed_ns: int


def unit_zero_ns(history: History, arm: str, unit: str) -> int | None:
    """When an arm began a unit, nanoseconds since the run's origin; None when it never did."""
    for event in history.events_of(EventKind.UNIT_STARTED, arm=arm, unit=unit):
        zero = event.detail.get("zero_ns", event.at_ns)
        return int(zero) if isinstance(zero, int) else event.at_ns
    scheduled = history.exchanges.where(arm=arm, unit=unit).column("scheduled_ns")
    return int(scheduled.min()) if len(scheduled) else None


def fault_times(history: History, arm: str, unit: str) -> FaultTimes | None:
    """From the events of the run; None when it was never applied; one that was never healed lasts to its last event."""
    zero_ns = unit_zero_ns(history, arm, unit)
    applied = history.events_of(EventKind.FAULT_APPLIED, arm=arm, unit=unit)
    if zero_ns is None or not applied:
        return None
    ends = history.events_of(
        EventKind.FAULT_HEALED, EventKind.FAULT_FAILED, EventKind.UNIT_FINISHED, arm=arm, unit=unit
    )
    last_ns = next((event.at_ns for event in ends if event.at_ns >= applied[0].at_ns), applied[0].at_ns)
    return FaultTimes(applied[0].at_ns - zero_ns, last_ns - zero_ns)


def latency_chart(plan: Plan, unit: Unit, history: History, chart_id: str) -> LatencyChart | None:
    """The chart of one unit; None when no arm sent anything in it."""
    series = [found for arm in plan.arms if (found := _series(history, arm.value, unit.name)) is not None]
    answered = (
        np.concatenate([s.latency_ms[~np.isnan(s.latency_ms)] for s in series]) if series else np.empty(0)
    )
    if not series:
        return None
    length_s = unit.length_ns / 1e9
    x_axis = Axis(0.0, length_s, LEFT_PX, RIGHT_PX)
    y_axis = _latency_axis(answered)
    times = {arm.value: fault_times(history, arm.value, unit.name) for arm in plan.arms}
    shade = _shade(unit, [t for t in times.values() if t is not None], x_axis)
    return LatencyChart(
        id=chart_id,
        label=_label(unit, series, times),
        width=WIDTH_PX,
        height=HEIGHT_PX,
        left=LEFT_PX,
        right=RIGHT_PX,
        top=TOP_PX,
        bottom=BOTTOM_PX,
        warmup_px=x_axis.px(unit.warmup_ns / 1e9),
        shade=shade,
        lines=tuple(_line(s, row, length_s, x_axis, y_axis) for row, s in enumerate(series)),
        x_ticks=tuple((tick, f"{plain(tick.value)} s") for tick in x_axis.ticks(12)),
        y_ticks=tuple((tick, measure(tick.value, "ms")) for tick in y_axis.ticks(4)),
        log=y_axis.log,
    )


def _series(history: History, arm: str, unit: str) -> _Series | None:
    rows: Exchanges = history.exchanges.where(arm=arm, unit=unit)
    zero_ns = unit_zero_ns(history, arm, unit)
    if not len(rows) or zero_ns is None:
        return None
    return _Series(arm, (rows.column("scheduled_ns") - zero_ns) / 1e9, rows.latency_ms(), rows.ok())


def _latency_axis(answered_ms: Array) -> Axis:
    """From just under the fastest to just over the slowest answer."""
    if not len(answered_ms):
        return Axis(0.0, 1.0, BOTTOM_PX, TOP_PX)
    low, high = max(float(answered_ms.min()), 0.1), max(float(answered_ms.max()), 0.2)
    if high / low < LOG_FROM:
        return Axis(0.0, high * 1.08, BOTTOM_PX, TOP_PX)
    return Axis(low / 1.3, high * 1.3, BOTTOM_PX, TOP_PX, log=True)


def _shade(unit: Unit, times: list[FaultTimes], axis: Axis) -> Shade | None:
    if unit.window is None or not times:
        return None
    first_ns, last_ns = min(t.applied_ns for t in times), max(t.healed_ns for t in times)
    label = f"{unit.window.fault.replace('_', ' ')}, {seconds(last_ns - first_ns)}"
    return Shade(axis.px(first_ns / 1e9), axis.px(last_ns / 1e9), label)


def _line(series: _Series, row: int, length_s: float, x_axis: Axis, y_axis: Axis) -> ArmLine:
    bins = np.clip((series.at_s / length_s * BINS).astype(int), 0, BINS - 1)
    medians: list[tuple[float, float] | None] = []
    slowest: list[tuple[float, float] | None] = []
    failures = []
    strip_y = TOP_PX - 6.0 - 7.0 * row
    for index in range(BINS):
        inside = bins == index
        answered = series.latency_ms[inside & ~np.isnan(series.latency_ms)]
        x = x_axis.px((index + 0.5) * length_s / BINS)
        medians.append((x, y_axis.px(float(np.median(answered)))) if len(answered) else None)
        slowest.append((x, y_axis.px(float(answered.max()))) if len(answered) else None)
        failed = int(np.count_nonzero(inside & ~series.ok))
        if failed:
            failures.append((x, strip_y, f"{count(failed, 'request')} failed, {series.arm}"))
    return ArmLine(series.arm, _stretches(medians), _stretches(slowest), tuple(failures), strip_y)


def _stretches(points: Iterable[tuple[float, float] | None]) -> tuple[str, ...]:
    """`x,y x,y …` for each run of bins that hold something; an empty bin breaks the line."""
    found: list[list[str]] = [[]]
    for point in points:
        if point is not None:
            found[-1].append(f"{point[0]},{point[1]}")
        elif found[-1]:
            found.append([])
    return tuple(" ".join(stretch) for stretch in found if stretch)


def _label(unit: Unit, series: list[_Series], times: dict[str, FaultTimes | None]) -> str:
    """The chart in words: per arm the median before, during and after the fault."""
    said = []
    for one in series:
        known = ~np.isnan(one.latency_ms)
        fault = times.get(one.arm)
        if fault is None:
            said.append(f"{one.arm}: {_middle(one.latency_ms[known])}")
            continue
        before, after = one.at_s * 1e9 < fault.applied_ns, one.at_s * 1e9 >= fault.healed_ns
        parts = [
            f"{word} {_middle(one.latency_ms[known & mask])}"
            for word, mask in (("before", before), ("during", ~before & ~after), ("after", after))
        ]
        said.append(
            f"{one.arm}: {', '.join(parts)}, {count(int(np.count_nonzero(~one.ok)), 'request')} failed"
        )
    return f"Latency over time in {unit.name}. Median latency: {'; '.join(said)}"


def _middle(latency_ms: Array) -> str:
    return measure(float(np.median(latency_ms)), "ms") if len(latency_ms) else "no answer"
