"""A finding's own chart: one row an arm (or group), its value with interval, and the limit as a line.

Takes a Finding, gives positions in pixels for `templates/arm_chart.svg.j2`; None when there is nothing to draw.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.model.findings import Finding
from harness.model.plan import Arm
from harness.report.axes import Axis, Tick
from harness.report.numbers import limit_side, measure

ROW_PX = 24.0
LEFT_PX = 150.0
RIGHT_PX = 400.0
WIDTH_PX = 500
TOP_PX = 20.0
NEVER_NEGATIVE = ("ms", "s", "share", "%", "ratio", "count", "requests", "x")


@dataclass(frozen=True)
class Mark:
    """One value: what it is called, where it is drawn, and how it reads. Positions in pixels."""

    name: str
    kind: str
    y: float
    x: float
    low_x: float | None
    high_x: float | None
    text: str


@dataclass(frozen=True)
class LimitLine:
    """The limit; `bad_from`..`bad_to` is the side on which a value fails (None: not known)."""

    x: float
    text: str
    bad_from: float | None
    bad_to: float | None


@dataclass(frozen=True)
class ArmChart:
    """Everything the template draws; `label` reads it aloud."""

    id: str
    label: str
    width: int
    height: int
    left: float
    right: float
    top: float
    bottom: float
    marks: tuple[Mark, ...]
    limit: LimitLine | None
    ticks: tuple[tuple[Tick, str], ...]


@dataclass(frozen=True)
class Value:
    """A number to draw, before it has a place."""

    name: str
    kind: str
    value: float
    low: float | None = None
    high: float | None = None


def arm_chart(finding: Finding, chart_id: str) -> ArmChart | None:
    """The chart of one finding."""
    values = list(_values(finding))
    if not values:
        return None
    numbers = [n for v in values for n in (v.value, v.low, v.high) if n is not None]
    if finding.limit is not None:
        numbers.append(finding.limit)
    unit = finding.unit_of_measure
    floor = 0.0 if unit in NEVER_NEGATIVE and min(numbers) >= 0 else None
    axis = Axis.around(numbers, LEFT_PX, RIGHT_PX, floor)
    bottom = TOP_PX + ROW_PX * len(values)
    marks = tuple(
        Mark(
            name=value.name,
            kind=value.kind,
            y=TOP_PX + ROW_PX * (row + 0.5),
            x=axis.px(value.value),
            low_x=None if value.low is None else axis.px(value.low),
            high_x=None if value.high is None else axis.px(value.high),
            text=measure(value.value, unit),
        )
        for row, value in enumerate(values)
    )
    said = "; ".join(f"{value.name} {measure(value.value, unit)}" for value in values)
    return ArmChart(
        id=chart_id,
        label=f"{said}; limit {measure(finding.limit, unit)}" if finding.limit is not None else said,
        width=WIDTH_PX,
        height=round(bottom + 24),
        left=LEFT_PX,
        right=RIGHT_PX,
        top=TOP_PX,
        bottom=bottom,
        marks=marks,
        limit=_limit_line(finding, axis),
        ticks=tuple((tick, measure(tick.value, unit)) for tick in axis.ticks(4)),
    )


def _limit_line(finding: Finding, axis: Axis) -> LimitLine | None:
    if finding.limit is None:
        return None
    x = axis.px(finding.limit)
    bad = {"most": (x, axis.last_px), "least": (axis.first_px, x)}.get(limit_side(finding), (None, None))
    return LimitLine(x, f"limit {measure(finding.limit, finding.unit_of_measure)}", *bad)


def _values(finding: Finding) -> Iterable[Value]:
    """Groups where the finding has them, else arms, else its own value beside baseline and control."""
    groups, arms = finding.details.get("groups"), finding.details.get("arms")
    if isinstance(groups, Mapping) and groups:
        yield from _group_values(groups)
        return
    if isinstance(arms, Mapping) and arms:
        known = [arm.value for arm in Arm if arm.value in arms]
        for name in [*known, *sorted(set(map(str, arms)) - set(known))]:
            yield from _value(name, name, arms[name])
        return
    if finding.value is None:
        return
    others = ((Arm.BASELINE.value, finding.baseline_value), (Arm.CONTROL.value, finding.control_value))
    compared = False
    for name, number in others:
        if number is not None:
            compared = True
            yield Value(name, name, number)
    low, high = (finding.interval.low, finding.interval.high) if finding.interval else (None, None)
    yield Value(
        Arm.CANDIDATE.value if compared else "measured", Arm.CANDIDATE.value, finding.value, low, high
    )


def _group_values(groups: Mapping[str, Any]) -> Iterable[Value]:
    """`{arm: {group: {value, n}}}`, or `{group: …}` when there is only one arm to speak of."""
    for name, inner in sorted(groups.items(), key=lambda item: _arm_order(item[0])):
        if not isinstance(inner, Mapping):
            yield from _value(str(name), Arm.CANDIDATE.value, {"value": inner})
        elif "value" in inner:
            yield from _value(str(name), Arm.CANDIDATE.value, inner)
        else:
            for group, value in sorted(inner.items()):
                yield from _value(f"{group}, {name}", str(name), value)


def _arm_order(name: str) -> tuple[int, str]:
    order = [arm.value for arm in Arm]
    return (order.index(name), "") if name in order else (len(order), name)


def _value(name: str, kind: str, given: object) -> Iterable[Value]:
    fields: Mapping[str, Any] = given if isinstance(given, Mapping) else {"value": given}
    value = _number(fields.get("value"))
    if value is None:
        return
    kind = kind if kind in {arm.value for arm in Arm} else Arm.CANDIDATE.value
    yield Value(name[:24], kind, value, _number(fields.get("low")), _number(fields.get("high")))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
