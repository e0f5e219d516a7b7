"""Which applications a person looks at: those that are neither clearly good nor clearly hopeless."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReviewBand:
    """Scores from `lowest` up to, not including, `highest` go to the manual queue; on the model's scale of 0 to 1."""

    lowest: float
    highest: float

    def queue(self, score: float) -> str:
        return "manual" if self.lowest <= score < self.highest else "auto"
