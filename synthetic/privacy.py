"""Privacy evidence: are synthetic rows nearer to the source rows they were fitted on than chance would have it?

Takes shown variables of source rows (fitted and kept ones) and of synthetic rows, gives aggregates alone: measures with
limits and 95 % intervals, and beside them the same measures on controls whose answer is known, so that the power to
notice copies stands next to the score.

* exact matches: share of rows that equal a source row in every shown variable.
* copied share: each synthetic row has a nearest source row. Had the fit learnt nothing about single rows, that one
  would be a fitted row as often as there are fitted rows among all; the excess, divided by the share of kept rows, is
  the share of verbatim copies that would explain it. Distances: one scaling for all (ranks within the whole source, 0
  or 1 between different levels), no subsampling, equally near rows share the vote. Which rows were fitted was drawn at
  random, so the standard error follows from that draw alone (Cochran 1977, sampling without replacement).
* membership AUC: how well nearness to the synthetic rows tells fitted from kept source rows (0.5: not at all); interval
  after Hanley and McNeil (1982).

Controls: kept rows as if synthetic (must stay within the limits); a fifth of the rows replaced by fitted rows, verbatim
or slightly moved (must exceed one of them). What distance alone cannot show: arXiv 2505.01524.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from harness.model.dataset import PrivacyLimits
from synthetic.evidence import Control, Measure, PrivacyEvidence
from synthetic.rows import equal_rows, stream

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

CONTROL_COPIES = 0.2
"""Share of rows that a control replaces by copies of fitted rows."""
MOVED_BY = 0.01
"""How far the near copies are moved, as a share of all ranks."""
MOST_QUERIES = 20_000
"""Rows of a larger table are measured by a random draw of so many; source rows are never subsampled."""
MOST_DISTANCES = 4_000_000
"""Distances held at once, 32 MB of them. All are computed: in so many dimensions a tree saves nothing."""
SAME_SQUARE = 1e-9
"""Squared distances that differ by less are equal: the rest is rounding."""
KEPT = "kept rows as if synthetic"
VERBATIM = f"{CONTROL_COPIES:.0%} verbatim copies"
NEAR = f"{CONTROL_COPIES:.0%} near copies"
Z95 = 1.959963984540054


@dataclass(frozen=True)
class Scaling:
    """One scaling for all comparisons: ranks within the whole source; `levels[k]` > 0 marks a category."""

    columns: tuple[Floats, ...]
    levels: tuple[int, ...]
    missing: tuple[bool, ...]

    @classmethod
    def of(cls, source: Floats, levels: tuple[int, ...]) -> Scaling:
        """From all source rows, fitted and kept."""
        known = tuple(np.sort(column[~np.isnan(column)]) for column in source.T)
        return cls(known, levels, tuple(len(column) < len(source) for column in known))

    def numeric(self) -> Floats:
        """1 for a coordinate that is a number's rank, 0 for the others."""
        parts = [
            np.append(np.zeros(levels) if levels else np.ones(1), np.zeros(int(missing)))
            for levels, missing in zip(self.levels, self.missing, strict=True)
        ]
        return np.concatenate(parts)

    def apply(self, rows: Floats) -> Floats:
        """Coordinates: a number's middle rank in 0..1, a level's corner; a missing value is a coordinate of its own."""
        coordinates: list[Floats] = []
        for values, known, levels, missed in zip(
            rows.T, self.columns, self.levels, self.missing, strict=True
        ):
            missing = np.isnan(values)
            if levels:
                corners = np.eye(levels)[np.where(missing, 0, values).astype(int)]
                coordinates.extend(np.where(missing[:, None], 0.0, corners / np.sqrt(2)).T)
            else:
                below = np.searchsorted(known, values, "left") + np.searchsorted(known, values, "right")
                coordinates.append(np.where(missing, 0.5, below / (2 * max(len(known), 1))))
            if missed:
                coordinates.append(missing.astype(float))
        return np.column_stack(coordinates)


def privacy_evidence(
    source: Floats, fitted: Flags, rows: Floats, levels: tuple[int, ...], limits: PrivacyLimits, seed: int
) -> PrivacyEvidence:
    """Measures and controls for one table. `source`, `rows`: rows x shown variables; `fitted` marks rows of `source`.

    `levels[k]` is the number of levels of a category, 0 for a number.
    """
    rng = stream(seed, "privacy")
    scaling = Scaling.of(source, levels)
    everything = scaling.apply(source)
    learnt, kept = everything[fitted], everything[~fitted]
    measured = rows if len(rows) <= MOST_QUERIES else rows[rng.choice(len(rows), MOST_QUERIES, replace=False)]
    synthetic = scaling.apply(measured)
    copied_share, membership_auc = _measures(synthetic, everything, fitted, limits)
    controls = [
        _control(KEPT, True, _measures(kept, everything, fitted, limits, own=np.flatnonzero(~fitted)))
    ]
    for name, copies in ((VERBATIM, learnt), (NEAR, _moved(learnt, scaling, rng))):
        mixed = _with_copies(synthetic, copies, rng)
        controls.append(_control(name, False, _measures(mixed, everything, fitted, limits)))
    matches = float(equal_rows(rows, source).mean())
    return PrivacyEvidence(
        rows=len(rows),
        fitted_rows=len(learnt),
        kept_rows=len(kept),
        variables=source.shape[1],
        exact_matches=Measure.of(matches, matches, matches, limits.most_exact_matches),
        kept_rows_equal_to_fitted_rows=round(float(equal_rows(source[~fitted], source[fitted]).mean()), 6),
        copied_share=copied_share,
        membership_auc=membership_auc,
        controls=tuple(controls),
    )


def _control(name: str, must_pass: bool, measures: tuple[Measure, Measure]) -> Control:
    return Control(name=name, must_pass=must_pass, copied_share=measures[0], membership_auc=measures[1])


def _with_copies(synthetic: Floats, copies: Floats, rng: np.random.Generator) -> Floats:
    """A fifth of the rows replaced by rows of `copies`."""
    count = round(CONTROL_COPIES * len(synthetic))
    mixed = synthetic.copy()
    mixed[rng.choice(len(mixed), count, replace=False)] = copies[rng.integers(0, len(copies), count)]
    return mixed


def _moved(rows: Floats, scaling: Scaling, rng: np.random.Generator) -> Floats:
    """Every number a little off, by a normal of `MOVED_BY` ranks; levels as they are."""
    moved: Floats = rows + rng.normal(0.0, MOVED_BY, rows.shape) * scaling.numeric()
    return moved


def _measures(
    synthetic: Floats,
    source: Floats,
    fitted: Flags,
    limits: PrivacyLimits,
    own: npt.NDArray[np.int_] | None = None,
) -> tuple[Measure, Measure]:
    """Copied share and membership AUC. `own[k]` is the source row that synthetic row k is, and no neighbour of."""
    votes = np.zeros(len(source))
    nearest = np.full(len(source), np.inf)
    lengths = (source**2).sum(axis=1)
    step = max(MOST_DISTANCES // len(source), 1)
    for start in range(0, len(synthetic), step):
        chunk = synthetic[start : start + step]
        squares = np.maximum((chunk**2).sum(axis=1)[:, None] + lengths - 2 * chunk @ source.T, 0.0)
        if own is not None:
            squares[np.arange(len(chunk)), own[start : start + step]] = np.inf
        row, column = np.nonzero(squares <= squares.min(axis=1, keepdims=True) + SAME_SQUARE)
        votes += np.bincount(column, 1 / np.bincount(row)[row], minlength=len(source))
        np.minimum(nearest, squares.min(axis=0), out=nearest)
    neighbours = len(source) - (own is not None)
    copied = _copied_share(votes / len(synthetic), fitted, neighbours, limits.most_copied_share)
    return copied, _membership_auc(np.round(nearest, 9), fitted, limits.most_membership_auc)


def _copied_share(votes: Floats, fitted: Flags, neighbours: int, limit: float) -> Measure:
    """From the votes that each source row got (they sum to 1) to the share of copies that would explain them.

    `neighbours` is the number of source rows among which each synthetic row had its nearest.
    """
    expected = fitted.sum() / neighbours
    excess = votes[fitted].sum() - expected
    luck = neighbours / (neighbours - 1) * max(float(votes @ votes) - 1 / neighbours, 0.0)
    spread = Z95 * np.sqrt(expected * (1 - expected) * luck)
    value, low, high = (float(x / (1 - expected)) for x in (excess, excess - spread, excess + spread))
    return Measure.of(value, low, high, limit)


def _membership_auc(nearest: Floats, fitted: Flags, limit: float) -> Measure:
    """How well a source row's squared distance to the nearest synthetic row tells a fitted row from a kept one."""
    m, n = int(fitted.sum()), int((~fitted).sum())
    auc = float((rankdata(-nearest)[fitted].sum() - m * (m + 1) / 2) / (m * n))
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = (auc * (1 - auc) + (m - 1) * (q1 - auc**2) + (n - 1) * (q2 - auc**2)) / (m * n)
    spread = Z95 * float(np.sqrt(max(variance, 0.0)))
    return Measure.of(auc, auc - spread, auc + spread, limit)
