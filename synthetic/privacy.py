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
or slightly moved (must exceed them). What distance alone cannot show: arXiv 2505.01524.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree
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
MOST_TIES = 16
"""So many equally near source rows share a vote."""
MOST_QUERIES = 50_000
"""Rows of a larger table are measured by a random draw of so many; references are never subsampled."""
Z95 = 1.959963984540054


@dataclass(frozen=True)
class Scaling:
    """One scaling for all comparisons: ranks within the whole source; `levels[k]` > 0 marks a category."""

    columns: tuple[Floats, ...]
    levels: tuple[int, ...]

    @classmethod
    def of(cls, source: Floats, levels: tuple[int, ...]) -> Scaling:
        """From all source rows, fitted and kept."""
        return cls(tuple(np.sort(column[~np.isnan(column)]) for column in source.T), levels)

    def apply(self, rows: Floats) -> Floats:
        """Coordinates: a number's middle rank in 0..1, a level's corner; a missing value is a coordinate of its own."""
        coordinates: list[Floats] = []
        for values, known, levels in zip(rows.T, self.columns, self.levels, strict=True):
            missing = np.isnan(values)
            if levels:
                corners = np.eye(levels)[np.where(missing, 0, values).astype(int)]
                coordinates.extend(np.where(missing[:, None], 0.0, corners / np.sqrt(2)).T)
            else:
                below = np.searchsorted(known, values, "left") + np.searchsorted(known, values, "right")
                coordinates.append(np.where(missing, 0.5, below / (2 * max(len(known), 1))))
            coordinates.append(missing.astype(float))
        return np.column_stack(coordinates)


@dataclass(frozen=True)
class _Reference:
    """Source rows to be near to. Equal rows are one point with the number of fitted and of kept rows at it."""

    points: Floats
    fitted: Floats
    kept: Floats

    @classmethod
    def of(cls, fitted: Floats, kept: Floats) -> _Reference:
        points, place = np.unique(np.vstack([fitted, kept]), axis=0, return_inverse=True)
        place = place.reshape(-1)
        return cls(
            points,
            np.bincount(place[: len(fitted)], minlength=len(points)).astype(float),
            np.bincount(place[len(fitted) :], minlength=len(points)).astype(float),
        )


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
    verbatim = _with_copies(synthetic, learnt, rng)
    near = _with_copies(synthetic, _moved(learnt, levels, rng), rng)
    matches = float(equal_rows(rows, source).mean())
    return PrivacyEvidence(
        rows=len(rows),
        fitted_rows=len(learnt),
        kept_rows=len(kept),
        variables=source.shape[1],
        exact_matches=Measure.of(matches, matches, matches, limits.most_exact_matches),
        kept_rows_equal_to_fitted_rows=float(equal_rows(source[~fitted], source[fitted]).mean()),
        copied_share=_copied_share(synthetic, learnt, kept, limits),
        membership_auc=_membership_auc(synthetic, learnt, kept, limits),
        controls=(
            Control(
                name="kept rows as if synthetic",
                must_pass=True,
                copied_share=_copied_share(kept, learnt, kept, limits, itself_left_out=True),
                membership_auc=_membership_auc(kept, learnt, kept, limits, itself_left_out=True),
            ),
            *(
                Control(
                    name=name,
                    must_pass=False,
                    copied_share=_copied_share(copies, learnt, kept, limits),
                    membership_auc=_membership_auc(copies, learnt, kept, limits),
                )
                for name, copies in (
                    (f"{CONTROL_COPIES:.0%} verbatim copies", verbatim),
                    (f"{CONTROL_COPIES:.0%} near copies", near),
                )
            ),
        ),
    )


def _with_copies(synthetic: Floats, copies: Floats, rng: np.random.Generator) -> Floats:
    """A fifth of the rows replaced by rows of `copies`."""
    count = round(CONTROL_COPIES * len(synthetic))
    mixed = synthetic.copy()
    mixed[rng.choice(len(mixed), count, replace=False)] = copies[rng.integers(0, len(copies), count)]
    return mixed


def _moved(rows: Floats, levels: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Every number a little off, by a normal of `MOVED_BY` ranks; levels as they are."""
    numbers = np.concatenate([np.append(np.zeros(count) if count else np.ones(1), 0.0) for count in levels])
    moved: Floats = rows + rng.normal(0.0, MOVED_BY, rows.shape) * numbers
    return moved


def _copied_share(
    synthetic: Floats, fitted: Floats, kept: Floats, limits: PrivacyLimits, itself_left_out: bool = False
) -> Measure:
    """Copies that would explain the excess of nearest rows that are fitted ones.

    `itself_left_out`: the synthetic rows are the kept rows, and none counts as its own neighbour.
    """
    reference = _Reference.of(fitted, kept)
    ties = min(MOST_TIES + 1, len(reference.points))
    distance, index = cKDTree(reference.points).query(synthetic, k=ties, workers=1)
    distance, index = distance.reshape(len(synthetic), -1), index.reshape(len(synthetic), -1)
    learnt, held = reference.fitted[index], reference.kept[index]
    if itself_left_out:
        held = held - (distance == 0)
    there = (learnt + held) > 0
    nearest = np.where(there, distance, np.inf).min(axis=1, keepdims=True)
    weights = ((distance <= nearest * (1 + 1e-9) + 1e-12) & there) * (learnt + held)
    weights /= weights.sum(axis=1, keepdims=True)
    share = float((weights * learnt / np.maximum(learnt + held, 1)).sum() / len(synthetic))
    return _measure_of_share(
        share, weights, index, reference, len(fitted), len(kept) - itself_left_out, limits
    )


def _measure_of_share(
    share: float,
    weights: Floats,
    index: npt.NDArray[np.int_],
    reference: _Reference,
    fitted: int,
    kept: int,
    limits: PrivacyLimits,
) -> Measure:
    """From the share of nearest rows that are fitted to the share of copies, with its 95 % interval."""
    votes = np.bincount(index.ravel(), weights.ravel(), minlength=len(reference.points)) / len(weights)
    at_point = np.maximum(reference.fitted + reference.kept, 1)
    total = fitted + kept
    expected = fitted / total
    squares = float((votes**2 / at_point).sum())
    error = float(np.sqrt(expected * (1 - expected) * total / (total - 1) * max(squares - 1 / total, 0.0)))
    copied, spread = (share - expected) / (1 - expected), Z95 * error / (1 - expected)
    return Measure.of(copied, copied - spread, copied + spread, limits.most_copied_share)


def _membership_auc(
    synthetic: Floats, fitted: Floats, kept: Floats, limits: PrivacyLimits, itself_left_out: bool = False
) -> Measure:
    """How well being near to a synthetic row tells a fitted row from a kept one."""
    tree = cKDTree(synthetic)
    near_fitted = tree.query(fitted, k=1)[0]
    near_kept = tree.query(kept, k=2)[0][:, 1] if itself_left_out else tree.query(kept, k=1)[0]
    m, n = len(fitted), len(kept)
    ranks = rankdata(-np.concatenate([near_fitted, near_kept]))
    auc = float((ranks[:m].sum() - m * (m + 1) / 2) / (m * n))
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = (auc * (1 - auc) + (m - 1) * (q1 - auc**2) + (n - 1) * (q2 - auc**2)) / (m * n)
    spread = Z95 * float(np.sqrt(max(variance, 0.0)))
    return Measure.of(auc, auc - spread, auc + spread, limits.most_membership_auc)
