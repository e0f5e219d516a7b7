"""What a replay that is under way looks like right now: for the live view, in bounded memory.

Takes answers as they come and the recording's times, gives `Snapshot`s. Figures of the last seconds are exact; those of
all of the replay come from a histogram with steps of one per cent, which only the live view uses: the result is computed
from raw values.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

RECENT_NS = 5_000_000_000
UNDER_WAY_NS = 400_000_000
"""How long an answer may take from the sending process to here: counts are held against what was due that long ago."""
STEP = 1.01
LEAST_MS = 1e-3
STEPS = 2400
"""From a microsecond to some seven hours."""

_EDGES_MS = LEAST_MS * STEP ** np.arange(STEPS)


class Columns(Protocol):
    """Answers as the generator hands them over."""

    def column(self, name: str) -> Any: ...


@dataclass(frozen=True)
class Spread:
    """Quantiles in ms; None where nothing was measured."""

    p50: float | None = None
    p90: float | None = None
    p99: float | None = None
    most: float | None = None


@dataclass(frozen=True)
class Snapshot:
    """`at_ns` since the first moment of the replay, negative before it. Rates are of the last seconds, per second."""

    at_ns: int
    length_ns: int
    total: int
    due: int
    over: int
    failed: int
    rate_due: float
    rate_over: float
    lag: Spread
    latency: Spread
    latency_overall: Spread
    errors: Mapping[str, int]

    @property
    def in_flight(self) -> int:
        """Due a moment ago, and not over as far as is known."""
        return max(self.due - self.over, 0)


@dataclass(frozen=True)
class _Some:
    """Answers that were over together; those that were sent, and those that came."""

    sent_ns: npt.NDArray[np.int64]
    answered_ns: npt.NDArray[np.int64]
    lag_ms: npt.NDArray[np.float64]
    latency_ms: npt.NDArray[np.float64]

    @property
    def last_ns(self) -> int:
        return int(max(self.sent_ns.max(initial=0), self.answered_ns.max(initial=0)))


class LiveFigures:
    """`take` and `snapshot` may be called from several threads. Times are those of `time.monotonic_ns()`."""

    def __init__(self, offsets_ns: npt.NDArray[np.int64], length_ns: int, start_ns: int) -> None:
        self._offsets_ns = offsets_ns
        self._length_ns = length_ns
        self._start_ns = start_ns
        self._lock = threading.Lock()
        self._recent: deque[_Some] = deque()
        self._histogram = np.zeros(STEPS + 1, np.int64)
        self._most_ms = -1.0
        self._over = self._failed = 0
        self._errors: Counter[str] = Counter()

    def take(self, answers: Columns) -> None:
        """Rows that are over."""
        due, sent, answered = (answers.column(name) for name in ("due_ns", "sent_ns", "answered_ns"))
        status, error = answers.column("status"), answers.column("error")
        there = answered >= 0
        latency_ms = ((answered - due) / 1e6)[there]
        some = _Some(sent[sent >= 0], answered[there], ((sent - due) / 1e6)[sent >= 0], latency_ms)
        bad = status >= 500
        with self._lock:
            self._recent.append(some)
            self._histogram += np.bincount(np.searchsorted(_EDGES_MS, latency_ms), minlength=STEPS + 1)
            self._most_ms = max(self._most_ms, float(latency_ms.max(initial=-1.0)))
            self._over += len(status)
            self._failed += int(bad.sum()) + int((error != "").sum())
            self._errors.update(text.partition(":")[0] for text in error[error != ""].tolist())
            self._errors.update(f"status {number}" for number in status[bad].tolist())

    def snapshot(self, now_ns: int) -> Snapshot:
        at_ns = now_ns - self._start_ns
        since_ns = now_ns - RECENT_NS - UNDER_WAY_NS
        with self._lock:
            while self._recent and self._recent[0].last_ns < since_ns:
                self._recent.popleft()
            recent = tuple(self._recent)
            histogram, over, failed = self._histogram.copy(), self._over, self._failed
            most_ms, errors = self._most_ms, dict(self._errors.most_common())
        known_ns = at_ns - UNDER_WAY_NS
        span_ns = max(min(RECENT_NS, known_ns), 1)
        before, due = (int(k) for k in np.searchsorted(self._offsets_ns, [known_ns - span_ns, known_ns]))
        from_ns, until_ns = (self._start_ns + t for t in (known_ns - span_ns, known_ns))
        lately = sum(
            int(((t >= from_ns) & (t < until_ns)).sum()) for t in (some.answered_ns for some in recent)
        )
        return Snapshot(
            at_ns=at_ns,
            length_ns=self._length_ns,
            total=len(self._offsets_ns),
            due=due,
            over=over,
            failed=failed,
            rate_due=(due - before) / (span_ns / 1e9) if known_ns > 0 else 0.0,
            rate_over=lately / (span_ns / 1e9) if known_ns > 0 else 0.0,
            lag=_spread([some.lag_ms[some.sent_ns >= since_ns] for some in recent]),
            latency=_spread([some.latency_ms[some.answered_ns >= since_ns] for some in recent]),
            latency_overall=_of_histogram(histogram, most_ms),
            errors=errors,
        )


def _spread(parts: list[npt.NDArray[np.float64]]) -> Spread:
    values = np.concatenate(parts) if parts else np.zeros(0)
    if not len(values):
        return Spread()
    p50, p90, p99 = (float(value) for value in np.quantile(values, [0.5, 0.9, 0.99]))
    return Spread(p50, p90, p99, float(values.max()))


def _of_histogram(histogram: npt.NDArray[np.int64], most_ms: float) -> Spread:
    total = int(histogram.sum())
    if not total:
        return Spread()
    summed = np.cumsum(histogram)
    places = np.searchsorted(summed, [share * total for share in (0.5, 0.9, 0.99)])
    p50, p90, p99 = (min(float(_EDGES_MS[min(int(k), STEPS - 1)]), most_ms) for k in places)
    return Spread(p50, p90, p99, most_ms)
