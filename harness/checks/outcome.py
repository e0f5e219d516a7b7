"""Outcome: what one service makes of the same requests, as it shows in one field of the answer.

A share (`equals:`) or a mean of a number (`statistic: mean`), candidate against baseline on requests that both answered
well and without a fallback, beside control against baseline. This is where a consumer that misreads a changed field is
caught: nothing fails, nothing is slow, and yet the service decides something else. Interval: bootstrap over requests.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from harness.checks.base import EXCHANGES_FILE, Frame, Parameters, finite, percent, pointer, weighed
from harness.checks.decision_quality import judge_change, numbers_of
from harness.checks.decisions import missing_numbers, resampled, undegraded
from harness.checks.statistics import Array, arm_details, interval_of, weighted_mean
from harness.model.case import Case
from harness.model.findings import Finding, Interval, Outcome
from harness.model.history import History
from harness.model.plan import Arm


class OutcomeParameters(Parameters):
    service: str = Field(description="The service that decides this.")
    field: str = Field(description="Path of the field in the answer.")
    equals: str | bool | None = Field(
        default=None, description="Count the share of answers with this value …"
    )
    statistic: Literal["mean"] | None = Field(default=None, description="… or take the mean of a number.")
    max_shift: float = Field(
        ge=0, description="Most difference from the baseline: a share (0.05 is five points), or a number."
    )
    says: str = Field(description="What is counted, in words: `of applications go to manual review`.")
    degraded_field: str = "degraded"

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.equals is None) == (self.statistic is None):
            raise ValueError("give either `equals` or `statistic: mean`; one of them says what is measured")
        return self


class OutcomeShift:
    """See the module's head."""

    name = "outcome"
    summary = "what one service makes of the same requests, by a field of the answer, against the baseline"
    parameters = OutcomeParameters

    def expect(self, frame: Frame, parameters: OutcomeParameters) -> tuple[str, ...]:
        return (f"{self.name}/{parameters.service}/{parameters.field}",)

    def judge(self, case: Case, parameters: OutcomeParameters, history: History) -> Iterable[Finding]:
        comparable = undegraded(case, history, parameters.degraded_field)
        rows = comparable.rows
        found = {arm: rows.field(arm, parameters.field) for arm in case.plan.arms}
        values = {arm: _values(fields, parameters) for arm, fields in found.items()}
        why_not = comparable.why_not() or _why_not(values, parameters)
        whole = np.all([np.isfinite(column) for column in values.values()], axis=0)
        values = {arm: column[whole] for arm, column in values.items()}
        finding_id = f"{self.name}/{parameters.service}/{parameters.field}"
        n = int(whole.sum())
        common: dict[str, Any] = {
            "id": finding_id,
            "check": self.name,
            "subject": parameters.service,
            "sample_size": n,
            "evidence": (pointer(EXCHANGES_FILE, n),),
            "rank": 5,
        }
        if n < case.policy.minimum_samples:
            sentence = (
                f"{parameters.service}: {parameters.field} cannot be judged by {n} answers that all arms gave, "
                f"{case.policy.minimum_samples} are needed."
            )
            yield Finding(outcome=Outcome.UNKNOWN, sentence=sentence, **common)
            return
        if why_not:
            sentence = f"{parameters.service}: {parameters.field} cannot be judged: {why_not}."
            yield Finding(outcome=Outcome.UNKNOWN, sentence=sentence, **common)
            return
        weights = resampled(case, rows.take(whole))
        confidence = case.policy.confidence
        draws = {arm: weighted_mean(column, weights) for arm, column in values.items()}
        own = {
            arm: interval_of(float(column.mean()), draws[arm], confidence) for arm, column in values.items()
        }
        shift = interval_of(
            own[Arm.CANDIDATE].value - own[Arm.BASELINE].value,
            draws[Arm.CANDIDATE] - draws[Arm.BASELINE],
            confidence,
        )
        noise = abs(own[Arm.CONTROL].value - own[Arm.BASELINE].value)
        limit = parameters.max_shift + noise
        share = parameters.equals is not None
        word = percent if share else "{:.3g}".format
        outcome, sentence = weighed(
            judge_change(shift, limit, worse=0),
            noise,
            parameters.max_shift,
            f"{parameters.service}: {word(own[Arm.CANDIDATE].value)} {parameters.says}, "
            f"{word(own[Arm.BASELINE].value)} in the baseline; a shift of at most {word(limit)} is allowed",
        )
        yield Finding(
            outcome=outcome,
            sentence=f"{sentence}.",
            value=finite(own[Arm.CANDIDATE].value),
            limit=finite(own[Arm.BASELINE].value + (limit if shift.value >= 0 else -limit)),
            unit_of_measure="share" if share else "",
            interval=Interval(low=own[Arm.CANDIDATE].low, high=own[Arm.CANDIDATE].high),
            baseline_value=finite(own[Arm.BASELINE].value),
            control_value=finite(own[Arm.CONTROL].value),
            details={
                "limit_is": "most" if shift.value >= 0 else "least",
                "shift": {"value": shift.value, "low": shift.low, "high": shift.high, "limit": limit},
                "arms": arm_details(own, dict.fromkeys(own, n)),
            },
            **common,
        )


def _why_not(values: dict[Arm, Array], parameters: OutcomeParameters) -> str:
    """Why these answers say nothing, though there are enough of them; empty when they do."""
    if parameters.statistic is not None:
        missing = missing_numbers(values[Arm.CANDIDATE], values[Arm.BASELINE])
        return f"{missing} of the candidate's answers hold no number there" if missing else ""
    if not any(column.any() for column in values.values()):
        return f"no arm ever answered {parameters.equals!r} there; are field and value spelled right?"
    return ""


def _values(found: list[Any], parameters: OutcomeParameters) -> Array:
    if parameters.statistic is not None:
        return numbers_of(found)
    # A field that is not there counts as another value: a consumer that stopped answering must show.
    return np.array([value == parameters.equals for value in found], dtype=float)
