"""The rate card: from a score to the yearly rate. Each release of pricing-service carries its own card as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RateCard:
    """`base_percent` for a perfect score, up to `spread_percent` more for the worst one, minus a discount.

    Cards since 3.3.0 give up to `confidence_discount_percent` off where the model says how sure it is. Cards since
    3.4.0 ask the model for the top of its scale (`scale_from_model`); older ones take it to be 1.
    """

    version: str
    base_percent: float
    spread_percent: float
    lowest_percent: float
    highest_percent: float
    confidence_discount_percent: float = 0.0
    scale_from_model: bool = False

    def rate_percent(self, model: Mapping[str, Any]) -> float:
        """The yearly rate for a model's answer: `score`, and where the model gives them `confidence`, `score_max`."""
        top = float(model.get("score_max", 1.0)) if self.scale_from_model else 1.0
        rate = self.base_percent + self.spread_percent * (1.0 - float(model["score"]) / top)
        rate -= self.confidence_discount_percent * float(model.get("confidence", 0.0))
        return round(min(max(rate, self.lowest_percent), self.highest_percent), 3)


def read_rate_card(path: Path) -> RateCard:
    return RateCard(**json.loads(path.read_text("utf-8")))
