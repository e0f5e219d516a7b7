"""A trained model as plain numbers: read from JSON, scored without any library.

`model.json` holds the version, the scale (`score_max`), the operating point (`approve_at`), the terms, and one set of
weights per member of the ensemble. A term is a product of factors; a factor is a feature, or how far it lies above a
knot. The first member is the model itself; the others, trained on resampled applicants, say how sure it is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Factor:
    """A feature's value, or with `above` its excess over that knot (0 below it)."""

    feature: str
    above: float | None = None

    def value(self, features: Mapping[str, float]) -> float:
        value = float(features[self.feature])
        return value if self.above is None else max(0.0, value - self.above)


@dataclass(frozen=True)
class Weights:
    """Of one logistic regression: the intercept and one number a term."""

    intercept: float
    terms: tuple[float, ...]


@dataclass(frozen=True)
class Model:
    """See the module's head. Without further members the model gives no confidence."""

    version: str
    score_max: float
    approve_at: float
    terms: tuple[tuple[Factor, ...], ...]
    members: tuple[Weights, ...]

    def score(self, features: Mapping[str, float]) -> dict[str, Any]:
        """The answer of model-server. Raises KeyError for a missing feature, TypeError or ValueError for no number."""
        values = [math.prod(factor.value(features) for factor in term) for term in self.terms]
        chances = [chance_of_approval(weights, values) for weights in self.members]
        answer = {
            "model_version": self.version,
            "score": round(chances[0] * self.score_max, 4),
            "approve_at": self.approve_at,
        }
        if self.score_max != 1.0:
            answer["score_max"] = self.score_max
        if len(chances) > 1:
            answer["confidence"] = round(1.0 - (max(chances) - min(chances)), 4)
        return answer


def chance_of_approval(weights: Weights, values: list[float]) -> float:
    logit = weights.intercept + sum(map(float.__mul__, weights.terms, values))
    return 1.0 / (1.0 + math.exp(-min(max(logit, -30.0), 30.0)))


def read_model(path: Path) -> Model:
    """Raises OSError, KeyError or ValueError for a file that is no model."""
    content = json.loads(path.read_text("utf-8"))
    return Model(
        version=content["version"],
        score_max=content["score_max"],
        approve_at=content["approve_at"],
        terms=tuple(tuple(Factor(**factor) for factor in term) for term in content["terms"]),
        members=tuple(
            Weights(member["intercept"], tuple(float(weight) for weight in member["terms"]))
            for member in content["members"]
        ),
    )
