"""What came back: latency, errors and rates of a replay, overall and by route, from the raw times of every request.

Takes rows of exchanges, gives numbers; nothing is rounded. Latency counts from when a request was due, so that a target
that froze is charged for all who had to wait (no coordinated omission). A request that was sent and never answered counts
with the whole time limit, as in the check `latency`: left out, a target would look the faster the more it drops.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from harness.model.history import GENERATOR_DIED, Exchanges
from harness.model.quantities import Duration

QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999)


@dataclass(frozen=True)
class RouteFigures:
    """Of one route (empty: of all). `worse` and `good`: how many of those sent succeeded when recorded and do not now, and
    how many succeeded when recorded. `latency_ms` ascending; of a request without an answer it is the time limit."""

    route: str
    requests: int
    sent: int
    answered: int
    errors: int
    worse: int
    good: int
    seconds: float
    latency_ms: npt.NDArray[np.float64]

    def value(self, measure: str) -> float | None:
        """A measure by the name that thresholds use; None where there is nothing to measure."""
        if measure == "rate":
            return self.sent / self.seconds if self.seconds else None
        if measure == "error_rate":
            return self.errors / self.sent if self.sent else None
        if measure == "worse":
            return self.worse / self.good if self.good else None
        if not self.answered:
            return None
        if measure == "max":
            return float(self.latency_ms[-1])
        if measure == "mean":
            return float(self.latency_ms.mean())
        return float(np.quantile(self.latency_ms, float(measure.removeprefix("p")) / 100))

    def values(self) -> dict[str, Any]:
        """For JSON."""
        measures = ("p50", "p90", "p95", "p99", "p99.9", "max", "mean")
        return {
            "route": self.route,
            "requests": self.requests,
            "sent": self.sent,
            "answered": self.answered,
            "errors": self.errors,
            "error_rate": self.value("error_rate"),
            "worse": self.value("worse"),
            "rate": self.value("rate"),
            "latency_ms": {measure: self.value(measure) for measure in measures},
        }


@dataclass(frozen=True)
class Figures:
    """Overall, by route (the busiest first), by status and by reason why there was no answer.

    `worse` counts requests that succeeded when recorded and do not now; None where the recording has no answers.
    """

    overall: RouteFigures
    routes: tuple[RouteFigures, ...]
    statuses: Mapping[int, int]
    errors: Mapping[str, int]
    worse: int | None

    def of(self, route: str) -> RouteFigures | None:
        if not route:
            return self.overall
        return next((item for item in self.routes if item.route == route), None)


def figures(rows: Exchanges, timeout: Duration) -> Figures:
    """`timeout`: how long each waited."""
    sent_ns, status = rows.column("sent_ns"), rows.column("status")
    sent = sent_ns >= 0
    latency_ms = rows.latency_ms()
    answered = ~np.isnan(latency_ms)
    given_up = sent & ~answered & np.asarray(pc.not_equal(rows.table.column("error"), GENERATOR_DIED))
    waited_ms = np.where(given_up, timeout.ms, latency_ms)
    failed = sent & ~rows.ok()
    good, worse = rows.worse()
    seconds = _seconds(rows)
    encoded = rows.table.column("route").combine_chunks().dictionary_encode()
    routes, codes = encoded.dictionary.to_pylist(), np.asarray(encoded.indices)

    def of(name: str, chosen: Any) -> RouteFigures:
        known = waited_ms[chosen]
        return RouteFigures(
            route=name,
            requests=int(chosen.sum()),
            sent=int(sent[chosen].sum()),
            answered=int(answered[chosen].sum()),
            errors=int(failed[chosen].sum()),
            worse=int(worse[chosen].sum()),
            good=int(good[chosen].sum()),
            seconds=seconds,
            latency_ms=np.sort(known[~np.isnan(known)]),
        )

    by_route = [of(name, codes == code) for code, name in enumerate(routes)]
    counted = Counter(status[status > 0].tolist())
    why = Counter(rows.table.filter(pc.not_equal(rows.table.column("error"), "")).column("error").to_pylist())
    return Figures(
        overall=of("", np.ones(len(rows), bool)),
        routes=tuple(sorted(by_route, key=lambda item: (-item.requests, item.route))),
        statuses=dict(sorted(counted.items())),
        errors=dict(why.most_common()),
        worse=int(worse.sum()) if bool((rows.column("recorded_status") >= 100).any()) else None,
    )


def _seconds(rows: Exchanges) -> float:
    """From the first request that was due to the end of the last second in which one was sent."""
    sent_ns = rows.column("sent_ns")
    sent_ns = sent_ns[sent_ns >= 0]
    if not len(sent_ns):
        return 0.0
    return max(float(sent_ns.max() - rows.column("due_ns").min()) / 1e9, 1.0)
