"""How the shape of the load that was sent differs from the load that was due: rates, mix, bursts, gaps, order.

Takes sorted times in nanoseconds, one array a stretch of load (a turn), so that nothing is measured across the gaps
between turns; gives plain numbers. Numpy alone: no file, no clock, no scipy. Times are integers throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.int64]

SECOND_NS = 1_000_000_000
PHASES = (0.0, 0.5)
"""Where bins begin, as shares of their width: a burst at the border of two bins is in one bin of the other phase."""
MANY_SHARED = 0.1
"""Share of requests due at the very moment of another from which a coarse clock is the likelier reason than chance."""
SMOOTH = 1.0
"""Index of dispersion of chance (Poisson) arrivals. Below it load is smoother than chance, and how much is no matter."""


@dataclass(frozen=True)
class Stretch:
    """Requests of one arm and turn: when they were due and when those that were sent went out, both ascending."""

    due_ns: Times
    sent_ns: Times

    @classmethod
    def of(cls, due_ns: Times, sent_ns: Times) -> Stretch:
        """From a row each; `sent_ns` below 0 where nothing was sent."""
        return cls(np.sort(due_ns), np.sort(sent_ns[sent_ns >= 0]))


@dataclass(frozen=True)
class WorstSecond:
    """The second in which the achieved rate was furthest from the rate that was due.

    `difference` is achieved minus due; `relative` its size as a share of what was due in that second or, where that is
    more, of the mean second. `beyond` is the part of it that requests late by no more than the slack do not explain.
    """

    due: int
    sent: int
    relative: float
    beyond: float

    @property
    def difference(self) -> int:
        return self.sent - self.due


def worst_second(stretches: Sequence[Stretch], slack_ns: int) -> WorstSecond | None:
    """Over all seconds of all stretches, each counted from its first due request; None where nothing was due.

    A request that is due 2 ms before a second ends and sent 3 ms late is sent in the next one. So the count of a second
    is held against what lateness up to `slack_ns` makes of it: at least those due `slack_ns` before its end, at most
    those due `slack_ns` before its beginning as well.
    """
    seconds = sum(_seconds(stretch) for stretch in stretches)
    total = sum(len(stretch.due_ns) for stretch in stretches)
    if not total:
        return None
    mean = total / seconds
    worst: WorstSecond | None = None
    for stretch in stretches:
        if not len(stretch.due_ns):
            continue
        edges = stretch.due_ns[0] + SECOND_NS * np.arange(_seconds(stretch) + 1, dtype=np.int64)
        due_by = np.searchsorted(stretch.due_ns, edges)
        sent_by = np.searchsorted(stretch.sent_ns, edges)
        surely_by = np.searchsorted(stretch.due_ns, edges - slack_ns)
        due, sent = np.diff(due_by), np.diff(sent_by)
        most, least = due_by[1:] - surely_by[:-1], np.maximum(surely_by[1:] - due_by[:-1], 0)
        beyond = np.maximum(np.maximum(sent - most, least - sent), 0)
        against = np.maximum(due, max(mean, 1.0))
        place = int(np.lexsort((np.abs(sent - due) / against, beyond / against))[-1])
        found = WorstSecond(
            due=int(due[place]),
            sent=int(sent[place]),
            relative=float(abs(sent - due)[place] / against[place]),
            beyond=float(beyond[place] / against[place]),
        )
        if worst is None or (found.beyond, found.relative) > (worst.beyond, worst.relative):
            worst = found
    return worst


def _seconds(stretch: Stretch) -> int:
    if not len(stretch.due_ns):
        return 0
    last = max(stretch.due_ns[-1], stretch.sent_ns[-1] if len(stretch.sent_ns) else 0)
    return int((last - stretch.due_ns[0]) // SECOND_NS) + 1


@dataclass(frozen=True)
class Burstiness:
    """Index of dispersion (variance of counts over their mean) of what was due and of what was sent, at one width."""

    due: float
    sent: float

    @property
    def ratio(self) -> float:
        """Sent over due, both raised to that of chance arrivals, so that evenly spaced load is not divided by zero."""
        return max(self.sent, SMOOTH) / max(self.due, SMOOTH)

    @property
    def factor(self) -> float:
        """The ratio, or one over it: how much burstier or smoother, 1 for the same."""
        return max(self.ratio, 1 / self.ratio)


def burstiness(stretches: Sequence[Stretch], width_ns: int) -> Burstiness:
    """At bins of this width; the mean over `PHASES` of where they begin. 0 where nothing was due or sent."""
    due, sent = [], []
    for phase in PHASES:
        lead_ns = int(phase * width_ns)
        due.append(_dispersion(stretches, width_ns, lead_ns, of_sent=False))
        sent.append(_dispersion(stretches, width_ns, lead_ns, of_sent=True))
    return Burstiness(float(np.mean(due)), float(np.mean(sent)))


def _dispersion(stretches: Sequence[Stretch], width_ns: int, lead_ns: int, of_sent: bool) -> float:
    """Over whole bins between the first and the last due request; occupied ones alone are counted out, so that a quiet
    day costs no memory."""
    bins, total, squares = 0, 0, 0.0
    for stretch in stretches:
        if not len(stretch.due_ns):
            continue
        first = stretch.due_ns[0] + lead_ns
        whole = max(int((stretch.due_ns[-1] - first) // width_ns), 0)
        times = stretch.sent_ns if of_sent else stretch.due_ns
        inside = times[np.searchsorted(times, first) : np.searchsorted(times, first + whole * width_ns)]
        counts = _counts(inside - first, width_ns)
        bins += whole
        total += int(counts.sum())
        squares += float((counts.astype(float) ** 2).sum())
    if not total:
        return 0.0
    mean = total / bins
    return float((squares / bins - mean**2) / mean)


def coarser_than(stretches: Sequence[Stretch], width_ns: int) -> bool:
    """Whether the recording's clock does not tell times apart that are closer than this: many requests share one, and
    no two that differ are closer. A log in whole seconds says nothing of bursts within a second."""
    gaps = np.concatenate([np.diff(stretch.due_ns) for stretch in stretches] or [np.zeros(0, np.int64)])
    apart = gaps[gaps > 0]
    shared = len(gaps) - len(apart)
    return bool(shared > MANY_SHARED * len(gaps) and (not len(apart) or apart.min() >= width_ns))


def _counts(ascending_ns: Times, width_ns: int) -> npt.NDArray[np.int64]:
    """How many times fall into each occupied bin."""
    if not len(ascending_ns):
        return np.zeros(0, np.int64)
    bins = ascending_ns // width_ns
    starts = np.flatnonzero(np.concatenate(([True], bins[1:] != bins[:-1])))
    return np.diff(np.concatenate((starts, [len(bins)])))


def gap_distance(stretches: Sequence[Stretch], slack_ns: int = 0) -> float:
    """Kolmogorov-Smirnov distance between the gaps that were due and the gaps that were sent, 0 (same) to 1.

    With a slack, gaps that differ by no more than it count as the same: evenly spaced load has one gap only, and any
    jitter at all puts half of its gaps below it. NaN where there are no two requests on either side.
    """
    due = np.sort(np.concatenate([np.diff(stretch.due_ns) for stretch in stretches] or [np.zeros(0)]))
    sent = np.sort(np.concatenate([np.diff(stretch.sent_ns) for stretch in stretches] or [np.zeros(0)]))
    if not len(due) or not len(sent):
        return float("nan")
    return max(_sooner(sent, due, slack_ns), _sooner(due, sent, slack_ns), 0.0)


def _sooner(one: Any, other: Any, slack_ns: int) -> float:
    """By how much the distribution of `one` at most exceeds that of `other`, read `slack_ns` further on."""
    own = np.searchsorted(one, one, side="right") / len(one)
    others = np.searchsorted(other, one + slack_ns, side="right") / len(other)
    return float((own - others).max())


def mix_distance(due: Sequence[int], sent: Sequence[int]) -> float:
    """Total variation distance between two counts by route: the share of requests that went to another route, 0 to 1."""
    total_due, total_sent = sum(due), sum(sent)
    if not total_due or not total_sent:
        return float("nan")
    return float(
        sum(abs(one / total_due - other / total_sent) for one, other in zip(due, sent, strict=True)) / 2
    )


def order_violations(owners: Times, due_ns: Times, seqs: Times, sent_ns: Times) -> int:
    """Requests that went out before one of the same owner that was due sooner (and was next to it)."""
    order = np.lexsort((seqs, due_ns, owners))
    order = order[sent_ns[order] >= 0]
    same = np.diff(owners[order]) == 0
    return int((same & (np.diff(sent_ns[order]) < 0)).sum())
