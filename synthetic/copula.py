"""The joint distribution: a Gaussian copula over variables of any kind.

Takes marginals and the fitted rows' scores, gives a `JointModel` from which rows are drawn: the marginals, and between
them the correlations of latent normals. For discrete variables the correlation of what is observed is weaker than the
latent one (two binaries, a binary and a number …), and by how much depends on both marginals. With the Hermite
coefficients a, b of the two scores, latent correlation ρ makes the scores correlate by Σ aₖ bₖ ρᵏ, which rises with ρ
and is inverted by bisection: the polychoric idea for every pair alike (Cario and Nelson 1997, "NORTA").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthetic.marginals import HERMITE_TERMS, Marginal

Floats = npt.NDArray[np.float64]

MOST_CORRELATED = 0.98
"""Latent correlations are kept below this in absolute value: nothing follows from another variable for certain."""
LEAST_EIGENVALUE = 1e-3
LATENT_DECIMALS = 9
"""Latents are rounded, so that the last bits of one machine's linear algebra do not show in the rows."""


@dataclass(frozen=True)
class JointModel:
    """Named marginals and the correlation matrix of their latents, in the same order."""

    names: tuple[str, ...]
    marginals: tuple[Marginal, ...]
    correlation: Floats

    def draw(
        self, rng: np.random.Generator, rows: int, wanted: Sequence[str], given: Sequence[str], latent: Floats
    ) -> Floats:
        """Latents of the `wanted` variables, one row each of `rows`, given those of others (`latent`: rows x given)."""
        own = [self.names.index(name) for name in wanted]
        known = [self.names.index(name) for name in given]
        covariance = self.correlation[np.ix_(own, own)]
        mean = np.zeros((rows, len(own)))
        if known:
            across = self.correlation[np.ix_(own, known)]
            weights = np.linalg.solve(self.correlation[np.ix_(known, known)], across.T)
            mean = latent @ weights
            covariance = covariance - across @ weights
        root = np.linalg.cholesky(covariance + 1e-12 * np.eye(len(own)))
        drawn: Floats = np.round(mean + rng.standard_normal((rows, len(own))) @ root.T, LATENT_DECIMALS)
        return drawn

    def values(self, name: str, latent: Floats) -> Floats:
        """Values of one variable for its latents."""
        return self.marginals[self.names.index(name)].quantiles(latent)


def latent_correlation(marginals: Sequence[Marginal], scores: Floats) -> Floats:
    """Correlation matrix of the latents behind `scores` (rows x variables, NaN where there is none)."""
    observed = _observed_correlation(scores, ~np.isnan(scores))
    coefficients = np.array([marginal.hermite for marginal in marginals])
    spread = np.sqrt([max(marginal.score_variance, 1e-12) for marginal in marginals])
    coefficients = coefficients / spread[:, None]
    low = np.full(observed.shape, -MOST_CORRELATED)
    high = -low
    for _ in range(50):
        middle = (low + high) / 2
        rises = _score_correlation(coefficients, middle) < observed
        low, high = np.where(rises, middle, low), np.where(rises, high, middle)
    latent = (low + high) / 2
    np.fill_diagonal(latent, 1.0)
    return _nearest_correlation(latent)


def _score_correlation(coefficients: Floats, latent: Floats) -> Floats:
    """Σ aₖ bₖ ρᵏ for every pair, by Horner's scheme."""
    total = np.zeros_like(latent)
    for k in range(HERMITE_TERMS - 1, -1, -1):
        total = latent * (total + np.outer(coefficients[:, k], coefficients[:, k]))
    return total


def _observed_correlation(scores: Floats, present: npt.NDArray[np.bool_]) -> Floats:
    """Pairwise over the rows in which both have a value; 0 where one of them never varies."""
    mask = present.astype(float)
    count = np.maximum(present.sum(axis=0), 1)
    mean = np.where(present, scores, 0.0).sum(axis=0) / count
    centred = np.where(present, scores - mean, 0.0)
    products = centred.T @ centred
    squares = (centred**2).T @ mask
    scale = np.sqrt(squares * squares.T)
    observed: Floats = np.divide(products, scale, out=np.zeros_like(products), where=scale > 0)
    return observed


def _nearest_correlation(matrix: Floats) -> Floats:
    """A positive definite correlation matrix close to `matrix`: eigenvalues lifted, diagonal set back to 1."""
    eigenvalues, vectors = np.linalg.eigh(matrix)
    lifted = (vectors * np.maximum(eigenvalues, LEAST_EIGENVALUE)) @ vectors.T
    scale = np.sqrt(np.diag(lifted))
    result: Floats = np.round(lifted / np.outer(scale, scale), LATENT_DECIMALS)
    return result
