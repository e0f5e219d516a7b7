"""How faithful a replay was: one part a measure, each held against the limit that the policy has for it.

Computed by `harness/checks/fidelity_parts.py` from a History, kept in findings' details, shown by the report and by
`readiness replay`. Nothing here computes or does I/O.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.model.base import Definition

CLIENT_FELL_OUT = "client fell out"
"""Error of a request that was not sent because it needs a value of an answer that never came, or failed."""

FURTHEST_BEYOND = 1000.0
"""The most that `use` says; what is measured against a limit of nothing has no other end."""


class FidelityPart(Definition):
    """One measure. `due` and `sent` are what was compared, where two numbers were."""

    name: str
    words: str = Field(description="What is measured, in plain words.")
    value: float | None = Field(description="None: not known, or nothing to measure.")
    limit: float | None = Field(default=None, description="The most that is allowed; None: shown only.")
    unit: Literal["ms", "share", "×", "requests", ""] = ""
    due: float | None = None
    sent: float | None = None
    use: float | None = Field(
        default=None, description="Share of the limit that is used up, 1 at the limit; None: not judged."
    )
    note: str = Field(default="", description="Why it was not judged, or what it rests on.")

    @property
    def good(self) -> bool:
        """Within its limit, or not judged."""
        return self.use is None or self.use <= 1


class Fidelity(Definition):
    """All parts of one replay. `problems` are sentences without end, the first ones the weightiest."""

    requests: int
    sent: int
    parts: tuple[FidelityPart, ...]
    problems: tuple[str, ...] = ()
    shortages: tuple[str, ...] = Field(
        default=(), description="Which resources ran short, as far as the generators' figures show it."
    )

    @property
    def score(self) -> float:
        """What is left of the limit that was used up most: 1 for a perfect replay, 0 for one at a limit or beyond."""
        worst = max((part.use for part in self.parts if part.use is not None), default=FURTHEST_BEYOND)
        return min(max(1 - worst, 0.0), 0.0 if self.problems else 1.0)

    @property
    def faithful(self) -> bool:
        return not self.problems and all(part.good for part in self.parts)

    def part(self, name: str) -> FidelityPart:
        """Raises KeyError for a measure that there is not."""
        return {part.name: part for part in self.parts}[name]
