"""Numbers as people read them: with their unit, few digits, and the same text everywhere (page, JUnit, terminal)."""

from __future__ import annotations

import math

from harness.model.findings import Finding

NO_VALUE = "—"
_SPACE = "\N{NO-BREAK SPACE}"
_BYTE_UNITS = ("B", "kB", "MB", "GB", "TB")


def plain(value: float) -> str:
    """Three significant digits, whole from 100 on, thousands apart: 0.0123, 1.5, 12.3, 1,234."""
    if not math.isfinite(value):
        return NO_VALUE
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 100 or (size >= 1 and value == int(value)):
        return f"{value:,.0f}"
    decimals = min(max(2 - math.floor(math.log10(size)), 0), 6)
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def measure(value: float | None, unit: str) -> str:
    """A value with its unit of measure; a `share` (0..1) as per cent."""
    if value is None:
        return NO_VALUE
    if unit == "share":
        return f"{percent(value)}{_SPACE}%"
    return f"{plain(value)}{_SPACE}{unit}" if unit else plain(value)


def percent(share: float) -> str:
    """Per cent, one decimal; more where it is nearly all or nearly nothing, so that 0.9996 is not shown as 100."""
    value = share * 100
    away = min(abs(value), abs(100 - value))
    decimals = 1 if away == 0 else min(max(1, 1 - math.floor(math.log10(away))), 6)
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".")


def interval(finding: Finding) -> str:
    """`low to high` in the finding's unit."""
    if finding.interval is None:
        return NO_VALUE
    low, high = (
        measure(value, finding.unit_of_measure) for value in (finding.interval.low, finding.interval.high)
    )
    return f"{low} to {high}"


def limit(finding: Finding) -> str:
    """The limit with the side it is on, where the finding says so."""
    if finding.limit is None:
        return NO_VALUE
    side = {"most": "at most ", "least": "at least "}.get(limit_side(finding), "")
    return side + measure(finding.limit, finding.unit_of_measure)


def limit_side(finding: Finding) -> str:
    """`most`, `least` or empty: which side of the limit is good."""
    side = finding.details.get("limit_is")
    return side if side in ("most", "least") else ""


def seconds(span_ns: float) -> str:
    """A span: `350 ms`, `12.3 s` or `4 min 5 s`."""
    span_s = span_ns / 1e9
    if abs(span_s) < 1:
        return measure(span_s * 1000, "ms")
    if abs(span_s) < 120:
        return measure(round(span_s, 1), "s")
    minutes, left_s = divmod(round(span_s), 60)
    return f"{minutes}{_SPACE}min {left_s}{_SPACE}s"


def span_ms(value_ms: float | None) -> str:
    """A time: `0.42 ms`, `1.53 s`; a dash where there is none."""
    if value_ms is None:
        return NO_VALUE
    return measure(value_ms, "ms") if abs(value_ms) < 1000 else measure(value_ms / 1000, "s")


def count(number: int, one: str, many: str = "") -> str:
    """`1 request`, `1,204 requests`."""
    return f"{number:,}{_SPACE}{one if number == 1 else many or one + 's'}"


def size(size_bytes: int) -> str:
    """`812 B`, `1.2 MB`."""
    value = float(size_bytes)
    for unit in _BYTE_UNITS:
        if value < 1000 or unit == _BYTE_UNITS[-1]:
            return measure(value, unit)
        value /= 1000
    return NO_VALUE


def words(name: str) -> str:
    """`retry_amplification` -> `retry amplification`."""
    return name.replace("_", " ")
