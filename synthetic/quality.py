"""Is the dataset like its source where it matters: marginals, correlations, and how well a model predicts the label.

Takes source and synthetic rows of the same variables, gives aggregates. The model is a ridge-penalised logistic
regression on scaled variables and their squares, small enough to be told apart from nothing and good enough to notice
when the dependence of the label on the other variables was lost.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from synthetic.evidence import LabelQuality, TableQuality
from synthetic.privacy import Scaling

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

RIDGE = 1.0
NEWTON_STEPS = 30


def table_quality(names: Sequence[str], source: Floats, fitted: Flags, rows: Floats) -> TableQuality:
    """Marginals against the kept rows (the fitted ones would flatter), correlations against all."""
    distances = [_largest_gap(a, b) for a, b in zip(source[~fitted].T, rows.T, strict=True)]
    error = np.abs(_rank_correlation(source) - _rank_correlation(rows))
    pairs = error[np.triu_indices(len(names), 1)] if len(names) > 1 else np.zeros(1)
    return TableQuality(
        largest_marginal_distance=round(max(distances), 6),
        worst_marginal=names[int(np.argmax(distances))],
        largest_correlation_error=round(float(pairs.max()), 6),
        mean_correlation_error=round(float(pairs.mean()), 6),
    )


def label_quality(
    source: Floats,
    source_label: Floats,
    fitted: Flags,
    rows: Floats,
    row_label: Floats,
    levels: tuple[int, ...],
) -> LabelQuality:
    """Variables are the shown ones, without label and groups."""
    scaling = Scaling.of(source, levels)
    real, made = _features(scaling.apply(source)), _features(scaling.apply(rows))
    from_source = _logistic(real[fitted], source_label[fitted])
    from_synthetic = _logistic(made, row_label)
    return LabelQuality(
        source_on_kept=_auc(real[~fitted] @ from_source, source_label[~fitted]),
        source_on_synthetic=_auc(made @ from_source, row_label),
        synthetic_on_kept=_auc(real[~fitted] @ from_synthetic, source_label[~fitted]),
        label_rate_source=round(float(source_label.mean()), 6),
        label_rate_synthetic=round(float(row_label.mean()), 6),
    )


def _largest_gap(a: Floats, b: Floats) -> float:
    """Largest distance between two empirical distribution functions; missing values count as lowest."""
    a, b = (np.sort(np.nan_to_num(x, nan=-np.inf)) for x in (a, b))
    at = np.concatenate([a, b])
    gap = np.searchsorted(a, at, "right") / len(a) - np.searchsorted(b, at, "right") / len(b)
    return float(np.abs(gap).max())


def _rank_correlation(rows: Floats) -> Floats:
    """Spearman's, missing values as the middle rank; 0 for what never varies."""
    ranks = np.column_stack([rankdata(column, nan_policy="omit") for column in rows.T])
    centred = ranks - np.nanmean(ranks, axis=0)
    centred = np.nan_to_num(centred, nan=0.0)
    spread = np.sqrt((centred**2).sum(axis=0))
    scale = np.outer(spread, spread)
    products = centred.T @ centred
    result: Floats = np.divide(products, scale, out=np.zeros_like(products), where=scale > 0)
    return result


def _features(scaled: Floats) -> Floats:
    """A constant, the coordinates around their middle, and their squares."""
    around = scaled - 0.5
    return np.column_stack([np.ones(len(scaled)), around, around**2])


def _logistic(features: Floats, label: Floats) -> Floats:
    """Coefficients of the penalised fit by Newton's method."""
    penalty = RIDGE * np.eye(features.shape[1])
    penalty[0, 0] = 1e-6
    coefficients = np.zeros(features.shape[1])
    for _ in range(NEWTON_STEPS):
        probability = 1 / (1 + np.exp(-np.clip(features @ coefficients, -30, 30)))
        weight = probability * (1 - probability)
        gradient = features.T @ (label - probability) - penalty @ coefficients
        step = np.linalg.solve(features.T @ (features * weight[:, None]) + penalty, gradient)
        coefficients = coefficients + step
        if np.abs(step).max() < 1e-8:
            break
    return coefficients


def _auc(score: Floats, label: Floats) -> float:
    """Probability that a random 1 scores above a random 0 (Mann-Whitney); 0.5 when one of them is absent."""
    ones = label == 1
    m, n = int(ones.sum()), int((~ones).sum())
    if m == 0 or n == 0:
        return 0.5
    return round(float((rankdata(score)[ones].sum() - m * (m + 1) / 2) / (m * n)), 6)
