"""The statistics that checks share: intervals for shares and block-bootstrap intervals for paired statistics.

Everything is vectorised over resamples: a resample is a row of weights (how often each block was drawn), so pairs stay
pairs across arms. Sources: Wilson 1927 (score interval); Newcombe 1998 (difference of shares, method 10); Künsch 1989
(block bootstrap); Efron 1979 (percentile interval).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.checks.base import finite
from harness.model.plan import Arm

Array = npt.NDArray[np.float64]
Weights = npt.NDArray[np.float64]
CHUNK = 500
"""Resamples handled at once, which bounds memory to CHUNK x samples."""
MINIMUM_BLOCKS = 4
"""With fewer blocks to draw from, resamples hardly differ and their interval looks far narrower than it is."""
MOST_LOST_DRAWS = 0.05
"""Share of resamples that may leave a statistic undefined before its interval says nothing."""


@dataclass(frozen=True)
class Estimate:
    """A value with its interval."""

    value: float
    low: float
    high: float


def arm_details(estimates: Mapping[Arm, Estimate], sizes: Mapping[Arm, int]) -> dict[str, dict[str, Any]]:
    """Each arm's estimate and sample size, as a finding's details carry them for the report's charts."""
    return {
        arm.value: {"value": finite(e.value), "low": e.low, "high": e.high, "n": sizes[arm]}
        for arm, e in estimates.items()
    }


def wilson(hits: int, n: int, confidence: float) -> Estimate:
    """Share `hits / n` with Wilson's score interval; (nan, 0, 1) without samples."""
    if n == 0:
        return Estimate(float("nan"), 0.0, 1.0)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, whole = hits / n, n + z * z
    centre = (hits + z * z / 2) / whole
    spread = z / whole * math.sqrt(n * share * (1 - share) + z * z / 4)
    return Estimate(share, 0.0 if hits == 0 else centre - spread, 1.0 if hits == n else centre + spread)


def newcombe(hits_a: int, n_a: int, hits_b: int, n_b: int, confidence: float) -> Estimate:
    """Share a minus share b with Newcombe's hybrid score interval."""
    a, b = wilson(hits_a, n_a, confidence), wilson(hits_b, n_b, confidence)
    if n_a == 0 or n_b == 0:
        return Estimate(float("nan"), -1.0, 1.0)
    difference = a.value - b.value
    low = difference - float(np.hypot(a.value - a.low, b.high - b.value))
    high = difference + float(np.hypot(a.high - a.value, b.value - b.low))
    return Estimate(difference, low, high)


def block_weights(blocks: npt.NDArray[np.int64], resamples: int, rng: np.random.Generator) -> Weights:
    """How often each sample counts in each resample, shape (resamples, n): whole blocks are drawn with replacement."""
    _, index = np.unique(blocks, return_inverse=True)
    count = int(index.max()) + 1
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=resamples)
    weights: Weights = drawn[:, index].astype(np.float64)
    return weights


def weighted_quantile(values: Array, weights: Weights, q: float) -> Array:
    """Quantile of `values` under each row of `weights`, shape (resamples,); NaN where a row is empty."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    found = np.full(len(weights), np.nan)
    for start in range(0, len(weights), CHUNK):
        cumulated = np.cumsum(weights[start : start + CHUNK, order], axis=1)
        total = cumulated[:, -1]
        position = np.argmax(cumulated >= q * total[:, None], axis=1)
        found[start : start + CHUNK] = np.where(total > 0, ordered[position], np.nan)
    return found


def weighted_mean(values: Array, weights: Weights) -> Array:
    """Mean of `values` under each row of `weights`."""
    total = weights.sum(axis=1)
    with np.errstate(invalid="ignore"):
        mean: Array = np.where(total > 0, weights @ values / total, np.nan)
    return mean


def interval_of(value: float, draws: Array, confidence: float) -> Estimate:
    """Percentile interval from the statistic's draws; unbounded when the value or too many draws are not finite."""
    known = draws[np.isfinite(draws)]
    if not np.isfinite(value) or len(known) == 0 or len(known) < (1 - MOST_LOST_DRAWS) * len(draws):
        return Estimate(value, float("-inf"), float("inf"))
    tail = (1 - confidence) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return Estimate(value, float(low), float(high))


def auc(scores: Array, labels: npt.NDArray[np.bool_]) -> float:
    """Area under the ROC curve by ranks (Mann-Whitney), ties counted half; NaN without both classes."""
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    _, which, ties = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(ties) - (ties - 1) / 2)[which]
    return float((ranks[labels].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def auc_draws(scores: Array, labels: npt.NDArray[np.bool_], weights: Weights) -> Array:
    """AUC under each row of weights: weighted pairs ranked right, ties half."""
    order = np.argsort(scores, kind="stable")
    ordered, positive = scores[order], labels[order]
    _, tie = np.unique(ordered, return_inverse=True)
    starts = np.flatnonzero(np.r_[True, np.diff(tie) > 0])
    found = np.empty(len(weights))
    for start in range(0, len(weights), CHUNK):
        part = weights[start : start + CHUNK, order]
        ups = np.add.reduceat(part * positive, starts, axis=1)
        downs = np.add.reduceat(part * ~positive, starts, axis=1)
        below = np.cumsum(downs, axis=1) - downs
        right = (ups * (below + 0.5 * downs)).sum(axis=1)
        pairs = ups.sum(axis=1) * downs.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            found[start : start + CHUNK] = np.where(pairs > 0, right / pairs, np.nan)
    return found
