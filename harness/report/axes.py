"""Scales for charts: from values to pixels, with round ticks. Pure arithmetic; pixels are rounded to a tenth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Tick:
    """One mark on an axis: where (pixels) and what it stands for."""

    at: float
    value: float


@dataclass(frozen=True)
class Axis:
    """Maps `low..high` to `first_px..last_px`; logarithmic when `log`."""

    low: float
    high: float
    first_px: float
    last_px: float
    log: bool = False

    def px(self, value: float) -> float:
        """The pixel, kept within the axis."""
        low, high, at = (self._scaled(number) for number in (self.low, self.high, value))
        share = min(max((at - low) / (high - low), 0.0), 1.0)
        return round(self.first_px + share * (self.last_px - self.first_px), 1)

    def _scaled(self, value: float) -> float:
        return math.log10(max(value, 1e-9)) if self.log else value

    def ticks(self, most: int = 5) -> tuple[Tick, ...]:
        """Round values inside the axis, at most about `most` of them."""
        values = _log_ticks(self.low, self.high) if self.log else _linear_ticks(self.low, self.high, most)
        return tuple(Tick(self.px(value), value) for value in values)

    @classmethod
    def around(
        cls, values: Sequence[float], first_px: float, last_px: float, floor: float | None = None
    ) -> Axis:
        """A linear axis that holds all values with some air; never below `floor`."""
        low, high = min(values), max(values)
        air = (high - low) * 0.12 or abs(high) * 0.1 or 1.0
        bottom = low - air if floor is None else max(low - air, floor)
        return cls(bottom, high + air, first_px, last_px)


def _linear_ticks(low: float, high: float, most: int) -> list[float]:
    rough = (high - low) / max(most, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 3) if math.log10(high / low) < 3 else (1,)
    values = (10.0**power * factor for power in decades for factor in factors)
    return [value for value in values if low <= value <= high]
