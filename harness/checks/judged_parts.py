"""Collects the measures of a replay's fidelity: each held against its limit, with a sentence where it is beyond."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from harness.model.fidelity import FURTHEST_BEYOND, FidelityPart


@dataclass
class Parts:
    """Collects parts, and a sentence for each that is beyond its limit."""

    found: list[FidelityPart] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(
        self,
        name: str,
        words: str,
        value: float | None,
        limit: float | None,
        problem: str,
        *,
        use: float | None = None,
        note: str = "",
        **more: Any,
    ) -> None:
        """`use` is value over limit unless given; a value of None is shown and not judged."""
        if use is None and value is not None and limit is not None:
            use = value / limit if limit else (FURTHEST_BEYOND if value > 0 else 0.0)
        if use is not None:
            use = min(max(use, 0.0), FURTHEST_BEYOND)
        self.found.append(
            FidelityPart(name=name, words=words, value=value, limit=limit, use=use, note=note, **more)
        )
        if use is not None and use > 1:
            self.problems.append(problem)


def said_ms(value: float | None) -> str:
    """A time for a sentence."""
    return "an unknown time" if value is None else f"{value:.0f} ms"
