"""Findings and the verdict: what checks conclude and what follows from it.

The order of outcomes is the rule of the project: a failed finding makes the verdict NOT_READY, otherwise an unknown
one makes it UNKNOWN, and READY needs every planned finding to be there and to have passed.
"""

from __future__ import annotations

import enum
from typing import Any

from pydantic import Field

from harness.model.base import Definition


class Outcome(enum.StrEnum):
    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"


class Interval(Definition):
    """A confidence interval at the policy's confidence level, in the finding's unit of measure."""

    low: float
    high: float


class EvidencePointer(Definition):
    """Where in the bundle the evidence lies: a file, the rows that match `where`, and how many there are."""

    file: str
    where: dict[str, str] = Field(default_factory=dict)
    rows: int


class Finding(Definition):
    """One conclusion of one check. `sentence` is plain words for someone who knows neither code nor statistics."""

    id: str = Field(description="`check/subject/…`, unique within a report.")
    check: str
    outcome: Outcome
    subject: str = Field(description="The service, edge, entry, window or the run itself.")
    sentence: str
    phase: str = ""
    unit: str = ""
    value: float | None = None
    limit: float | None = None
    unit_of_measure: str = ""
    interval: Interval | None = None
    sample_size: int = 0
    baseline_value: float | None = None
    control_value: float | None = None
    evidence: tuple[EvidencePointer, ...] = ()
    rank: int = Field(
        default=50, description="Order of failed findings in the verdict's reasons; smaller comes first."
    )
    details: dict[str, Any] = Field(
        default_factory=dict, description="Further numbers for the report's charts."
    )


class VerdictWord(enum.StrEnum):
    READY = "READY"
    NOT_READY = "NOT_READY"
    UNKNOWN = "UNKNOWN"


class Verdict(Definition):
    """The answer. `sentence` is the first thing a person reads; `reasons` are the sentences that led to it."""

    verdict: VerdictWord
    sentence: str
    reasons: tuple[str, ...]
    counts: dict[Outcome, int]
