"""One variable's distribution, told without telling any single source value.

Takes the fitted values of a variable, gives a `Marginal`: pieces of probability that are either an atom (one value that
at least `fewest` rows share) or a stretch over which at least `fewest` rows lie, drawn evenly. A value that fewer rows
share is never given out as such: extremes are smoothed over the rows next to them, rare categories are left out.

`scores` and `hermite` are what the copula needs to turn the correlation of observed scores into the correlation of the
latent normals behind them; see `synthetic/copula.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

HERMITE_TERMS = 80
"""Terms of the expansion; the remainder is below 1e-3 for latent correlations up to 0.95, also for binaries."""
MOST_PIECES = 1000
"""A continuous variable has no more stretches than this, however long the sample."""


@dataclass(frozen=True)
class Marginal:
    """Pieces in rising order: `probability`, and the values `low` to `high` that each stands for (equal: an atom).

    `scores` is the mean of the latent normal over each piece, `hermite[k-1]` the coefficient of the k-th normalised
    Hermite polynomial of the score as a function of the latent.
    """

    probability: Floats
    low: Floats
    high: Floats
    scores: Floats
    hermite: Floats

    def quantiles(self, latent: Floats) -> Floats:
        """Values for latent standard normals, of the same shape."""
        edges = np.concatenate(([0.0], np.cumsum(self.probability)))
        grade = ndtr(latent)
        piece = np.clip(np.searchsorted(edges, grade, side="right") - 1, 0, len(self.low) - 1)
        share = np.clip((grade - edges[piece]) / self.probability[piece], 0.0, 1.0)
        values: Floats = self.low[piece] + share * (self.high[piece] - self.low[piece])
        return values

    @property
    def score_variance(self) -> float:
        return float(self.probability @ self.scores**2)


@dataclass(frozen=True)
class _Piece:
    """Rows and values of a piece; `first` and `stop` index the sorted distinct values that fall into it."""

    rows: int
    low: float
    high: float
    first: int
    stop: int


def fit_marginal(values: Floats, fewest: int, atoms_only: bool) -> tuple[Marginal, Floats] | None:
    """The marginal, and the score of each row (NaN where it has no value or one that is left out).

    `values` may hold NaN (no value). `atoms_only` for categories and booleans: nothing lies between two of them.
    None when no piece has enough rows.
    """
    present = ~np.isnan(values)
    distinct, counts = np.unique(values[present], return_counts=True)
    least = max(fewest, int(np.ceil(present.sum() / MOST_PIECES)))
    pieces = list(_pieces(distinct, counts, fewest, least, atoms_only))
    if not pieces:
        return None
    rows = np.array([piece.rows for piece in pieces], dtype=float)
    marginal = _marginal(
        rows / rows.sum(), np.array([p.low for p in pieces]), np.array([p.high for p in pieces])
    )
    score_of_distinct = np.full(len(distinct), np.nan)
    for piece, score in zip(pieces, marginal.scores, strict=True):
        score_of_distinct[piece.first : piece.stop] = score
    scores = np.full(len(values), np.nan)
    scores[present] = score_of_distinct[np.searchsorted(distinct, values[present])]
    return marginal, scores


def _pieces(distinct: Floats, counts: Ints, fewest: int, least: int, atoms_only: bool) -> Iterator[_Piece]:
    """Atoms, and between them the runs of rarer values cut into stretches."""
    index = 0
    while index < len(distinct):
        if counts[index] >= fewest:
            yield _Piece(int(counts[index]), float(distinct[index]), float(distinct[index]), index, index + 1)
            index += 1
            continue
        stop = index
        while stop < len(distinct) and counts[stop] < fewest:
            stop += 1
        if not atoms_only:
            yield from _stretches(
                distinct, counts, index, stop, least if stop - index > 1 else fewest, fewest
            )
        index = stop


def _stretches(
    distinct: Floats, counts: Ints, first: int, stop: int, least: int, fewest: int
) -> Iterator[_Piece]:
    """Cut the run `first:stop` of rare values into stretches of at least `least` rows each.

    A run of fewer than `fewest` rows is spread between the values beside it, or left out where one side is open.
    """
    rows = int(counts[first:stop].sum())
    if rows < fewest:
        if first > 0 and stop < len(distinct):
            yield _Piece(rows, float(distinct[first - 1]), float(distinct[stop]), first, stop)
        return
    start = first
    while start < stop:
        end, held = start, 0
        while end < stop and held < least:
            held += int(counts[end])
            end += 1
        if int(counts[end:stop].sum()) < least:
            end = stop
        held = int(counts[start:end].sum())
        mean = float(distinct[start:end] @ counts[start:end]) / held
        low = (distinct[start - 1] + distinct[start]) / 2 if start > 0 else np.nan
        high = (distinct[end - 1] + distinct[end]) / 2 if end < len(distinct) else np.nan
        # An open end goes as far beyond the mean as the closed one: the extreme itself stays untold.
        if np.isnan(low) and np.isnan(high):
            low, high = float(distinct[start:end].min()), float(distinct[start:end].max())
            low, high = mean - (high - low) / 2, mean + (high - low) / 2
        elif np.isnan(low):
            low = 2 * mean - high
        elif np.isnan(high):
            high = 2 * mean - low
        yield _Piece(held, float(low), float(high), start, end)
        start = end


def _marginal(probability: Floats, low: Floats, high: Floats) -> Marginal:
    """Scores in closed form: the mean of a standard normal between two of its quantiles a, b is (φ(a) - φ(b)) / p.

    Coefficients likewise, from ∫ He_k φ = -He_(k-1) φ (Abramowitz and Stegun 22.13).
    """
    edges = ndtri(np.concatenate(([0.0], np.cumsum(probability)[:-1], [1.0])))
    inside = np.where(np.isfinite(edges), edges, 0.0)
    density = np.where(np.isfinite(edges), np.exp(-(inside**2) / 2) / np.sqrt(2 * np.pi), 0.0)
    scores = (density[:-1] - density[1:]) / probability
    hermite = np.empty(HERMITE_TERMS)
    before, polynomial = np.zeros_like(inside), np.ones_like(inside)
    for k in range(1, HERMITE_TERMS + 1):
        weighted = polynomial * density
        hermite[k - 1] = (scores * (weighted[:-1] - weighted[1:])).sum() / np.sqrt(k)
        before, polynomial = polynomial, (inside * polynomial - np.sqrt(k - 1) * before) / np.sqrt(k)
    return Marginal(probability, low, high, scores, hermite)
