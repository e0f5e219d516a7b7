"""How far another process's monotonic clock is from ours, from the times of messages that went there and back.

Takes `Sample`s, gives an offset and how uncertain it is. Each sample bounds the offset: the answer was written after
the question came and before it arrived (Cristian's method, as NTP has it). Bounds of several samples are intersected,
each widened by what two clocks may drift apart meanwhile, so that one quick round trip among many slow ones decides.
Stands on the standard library alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

MOST_DRIFT = 200e-6
"""Seconds a second by which two machines' clocks may drift apart; quartz is some ten times better."""


@dataclass(frozen=True)
class Sample:
    """One round trip, in ns: asked and heard on our clock, came and replied on theirs."""

    asked_ns: int
    came_ns: int
    replied_ns: int
    heard_ns: int

    @property
    def round_trip_ns(self) -> int:
        """Time on the way, both ways."""
        return (self.heard_ns - self.asked_ns) - (self.replied_ns - self.came_ns)


@dataclass(frozen=True)
class Offset:
    """Their clock minus ours: between `low_ns` and `high_ns` at the time `at_ns` of our clock."""

    low_ns: int
    high_ns: int
    at_ns: int

    @property
    def offset_ns(self) -> int:
        """The middle of what is possible."""
        return (self.low_ns + self.high_ns) // 2

    @property
    def uncertainty_ns(self) -> int:
        """How far the truth may be from `offset_ns`, either way."""
        return (self.high_ns - self.low_ns + 1) // 2


@dataclass
class ClockOffset:
    """What the samples so far say. `same_clock`: both sides read the same clock, so that a measured 0 is exactly 0."""

    same_clock: bool = False
    samples: int = 0
    first: Offset | None = None
    now: Offset | None = None
    best_round_trip_ns: int = field(default=-1)

    def add(self, sample: Sample) -> None:
        """Take one sample into account; one that contradicts all before it (a clock was set) starts anew."""
        if sample.round_trip_ns < 0:
            return  # no message arrives before it was sent: a clock jumped meanwhile
        self.samples += 1
        if self.best_round_trip_ns < 0 or sample.round_trip_ns < self.best_round_trip_ns:
            self.best_round_trip_ns = sample.round_trip_ns
        low, high = sample.replied_ns - sample.heard_ns, sample.came_ns - sample.asked_ns
        if self.now is not None:
            apart_ns = int(abs(sample.heard_ns - self.now.at_ns) * MOST_DRIFT)
            narrower = max(low, self.now.low_ns - apart_ns), min(high, self.now.high_ns + apart_ns)
            if narrower[0] <= narrower[1]:
                low, high = narrower
        self.now = Offset(low, high, sample.heard_ns)

    def settle(self) -> Offset:
        """Hold on to what is known now, as what later drift is measured from. Raises ValueError without samples."""
        if self.now is None:
            raise ValueError("the clock was never measured")
        self.first = self.now
        return self.now

    @property
    def correction_ns(self) -> int:
        """To be taken from their times to have ours; 0 where both read one clock and the samples do not deny it."""
        if self.now is None or (self.same_clock and self.now.low_ns <= 0 <= self.now.high_ns):
            return 0
        return self.now.offset_ns

    @property
    def drift_ns(self) -> int:
        """How much the offset moved since `settle`."""
        if self.now is None or self.first is None:
            return 0
        return self.now.offset_ns - self.first.offset_ns


def clock_name() -> str:
    """Names the monotonic clock that this process reads: the machine's boot, and the namespace that may shift it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot} {Path('/proc/self/ns/time').readlink()}"
    except OSError:
        return ""
