"""Thresholds of a replay: `p99 > 250ms`, `error_rate[/orders] > 1%`. The replay fails where one holds.

Takes texts, gives `Threshold`s or a message that says what is wrong with one; judges them by `Figures`. A measure:

| measure | of | written as |
|---|---|---|
| `p50`, `p99.9`, any quantile | latency from when a request was due | `250ms`, `1.5s`, `800us` |
| `max`, `mean` | the same | the same |
| `error_rate` | share of requests without an answer or with a server error | `1%`, `0.01` |
| `worse` | share of requests that succeeded when recorded (below 400) which do not now | the same |
| `rate` | requests sent a second | `200/s`, `200` |

After it, in brackets, the route that it is of; without, it is of all requests.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from harness.errors import DefinitionError, Location, Problem
from harness.replaying.figures import Figures
from harness.report import numbers
from harness.wording import did_you_mean

Kind = Literal["latency", "error_rate", "rate"]

_FORM = re.compile(r"^\s*([A-Za-z_][\w.]*)\s*(?:\[([^\]]*)\])?\s*(>=|<=|>|<)\s*([\d.]+)\s*(\S*)\s*$")
_HOLDS: Mapping[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_UNITS: Mapping[Kind, Mapping[str, float]] = {
    "latency": {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4},
    "error_rate": {"": 1.0, "%": 0.01},
    "rate": {"": 1.0, "/s": 1.0},
}
_EXAMPLES: Mapping[Kind, str] = {"latency": "250ms", "error_rate": "1%", "rate": "200/s"}
KNOWN = ("p50", "p90", "p95", "p99", "p99.9", "max", "mean", "error_rate", "worse", "rate")


@dataclass(frozen=True)
class Threshold:
    """`text` as written; `limit` in ms, as a share or a second. `route` empty: of all requests."""

    text: str
    measure: str
    route: str
    comparison: str
    limit: float

    @property
    def kind(self) -> Kind:
        return _kind(self.measure) or "latency"

    def value(self, figures: Figures) -> float | None:
        """None where there is nothing to measure."""
        row = figures.of(self.route)
        return None if row is None else row.value(self.measure)

    def holds(self, value: float) -> bool:
        """Whether a value exceeds it."""
        return _HOLDS[self.comparison](value, self.limit)


@dataclass(frozen=True)
class Judged:
    """A threshold with what was measured. `exceeded` None: there was nothing to measure."""

    threshold: Threshold
    value: float | None
    exceeded: bool | None

    @property
    def said(self) -> str:
        """What was measured, for people."""
        if self.value is None:
            return "not measured"
        if self.threshold.kind == "latency":
            return numbers.span_ms(self.value)
        if self.threshold.kind == "error_rate":
            return numbers.measure(self.value, "share")
        return f"{self.value:,.1f}/s"


def parse(texts: tuple[str, ...]) -> tuple[Threshold, ...]:
    """Raises DefinitionError with all that are wrong."""
    found: list[Threshold] = []
    problems: list[Problem] = []
    for text in texts:
        try:
            found.append(_parse(text))
        except ValueError as error:
            what, fix = error.args
            problems.append(Problem(Location("--fail-if"), what, fix))
    if problems:
        raise DefinitionError(problems)
    return tuple(found)


def _parse(text: str) -> Threshold:
    match = _FORM.match(text)
    if match is None:
        raise ValueError(
            f"{text!r} is no threshold", "write for example 'p99 > 250ms' or 'error_rate[/orders] > 1%'"
        )
    measure, route, comparison, digits, unit = match.groups()
    kind = _kind(measure)
    if kind is None:
        raise ValueError(f"{text!r}: unknown measure {measure!r}", did_you_mean(measure, KNOWN))
    if route == "":
        raise ValueError(
            f"{text!r} names no route", "name one as the recording has it, or leave the brackets out"
        )
    if unit not in _UNITS[kind]:
        units = ", ".join(unit for unit in _UNITS[kind] if unit)
        what = f"{text!r}: {unit!r} is no unit of {measure}" if unit else f"{text!r}: {digits} of what?"
        raise ValueError(what, f"known: {units}; write for example {_EXAMPLES[kind]}")
    try:
        limit = float(digits) * _UNITS[kind][unit]
    except ValueError:
        raise ValueError(
            f"{text!r}: {digits!r} is no number", f"write for example {_EXAMPLES[kind]}"
        ) from None
    return Threshold(" ".join(text.split()), measure, route or "", comparison, limit)


def _kind(measure: str) -> Kind | None:
    if measure == "worse":
        return "error_rate"
    if measure in ("error_rate", "rate"):
        return measure  # type: ignore[return-value]
    return "latency" if measure in ("max", "mean") or quantile_of(measure) is not None else None


def quantile_of(measure: str) -> float | None:
    """`p99.9` -> 0.999; None for what names no quantile."""
    match = re.fullmatch(r"p(\d{1,2}(?:\.\d+)?)", measure)
    return float(match[1]) / 100 if match else None


def judge(thresholds: tuple[Threshold, ...], figures: Figures) -> tuple[Judged, ...]:
    """Each with its value; one that is met or passed (`>`: greater) has been exceeded."""
    judged = []
    for threshold in thresholds:
        value = threshold.value(figures)
        exceeded = None if value is None else threshold.holds(value)
        judged.append(Judged(threshold, value, exceeded))
    return tuple(judged)
