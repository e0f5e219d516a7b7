"""Decision quality against labels that the graph never saw: AUC, approval rate, calibration.

The candidate may not be worse than the baseline by more than the margins, on the same applications. AUC is of ranks, so
a score on another scale is no difference by itself; calibration (Brier score) needs the score as a probability and
divides it by the top of its scale, which each answer may name. Sources: Mann-Whitney; Brier 1950. Intervals: bootstrap
over applications.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from pydantic import Field

from harness.checks.base import (
    EXCHANGES_FILE,
    LABELS_FILE,
    Frame,
    Parameters,
    finite,
    outcome_against,
    percent,
    pointer,
    weighed,
)
from harness.checks.decisions import Labelled, labelled, missing_numbers, resampled
from harness.checks.statistics import (
    Array,
    Estimate,
    Weights,
    arm_details,
    auc,
    auc_draws,
    interval_of,
    weighted_mean,
)
from harness.model.case import Case
from harness.model.findings import Finding, Interval, Outcome
from harness.model.history import History
from harness.model.plan import Arm


class DecisionQualityParameters(Parameters):
    score: str = Field(default="score", description="Path of the number that ranks the decision.")
    decision: str = "decision"
    approved: str = Field(default="approve", description="Value of the decision field that means yes.")
    degraded_field: str = "degraded"
    scale: float = Field(default=1.0, gt=0, description="The score that means certainty.")
    scale_field: str | None = Field(
        default=None,
        description="Path of a number in the answer that says so instead; an answer without it has `scale`.",
    )
    auc_worse_by_at_most: float = Field(default=0.03, ge=0)
    approval_rate_shift_at_most: float = Field(default=0.08, ge=0)
    brier_worse_by_at_most: float = Field(default=0.03, ge=0)


MEASURES = ("auc", "approval_rate", "calibration")


class DecisionQuality:
    """See the module's head."""

    name = "decision_quality"
    summary = "AUC, approval rate and calibration against labels kept outside the graph"
    parameters = DecisionQualityParameters

    def expect(self, frame: Frame, parameters: DecisionQualityParameters) -> tuple[str, ...]:
        return tuple(f"{self.name}/{measure}" for measure in MEASURES) if frame.has_labels else ()

    def judge(self, case: Case, parameters: DecisionQualityParameters, history: History) -> Iterable[Finding]:
        known = labelled(case, history, parameters.degraded_field)
        scores = {arm: numbers_of(known.rows.field(arm, parameters.score)) for arm in case.plan.arms}
        missing = missing_numbers(scores[Arm.CANDIDATE], scores[Arm.BASELINE])
        whole = np.all([np.isfinite(values) for values in scores.values()], axis=0)
        known = known.take(whole)
        scores = {arm: values[whole] for arm, values in scores.items()}
        approved = {
            arm: np.array(
                [value == parameters.approved for value in known.rows.field(arm, parameters.decision)], float
            )
            for arm in case.plan.arms
        }
        weights = resampled(case, known.rows)
        why_not = _too_few(case, known) or known.left_out
        if not why_not and missing:
            why_not = f"{missing} of the candidate's answers hold no number in `{parameters.score}`"
        yield self._auc(case, known, scores, weights, why_not, parameters)
        yield self._approval_rate(case, approved, weights, why_not, parameters)
        yield self._calibration(case, known, scores, weights, why_not, parameters)

    def _auc(
        self,
        case: Case,
        known: Labelled,
        scores: dict[Arm, Array],
        weights: Weights,
        why_not: str,
        parameters: DecisionQualityParameters,
    ) -> Finding:
        if not why_not and np.ptp(scores[Arm.BASELINE]) == 0:
            why_not = f"`{parameters.score}` is the same in all of the baseline's answers and ranks nothing"
        points, draws = {}, {}
        if not why_not:
            points = {arm: auc(values, known.labels) for arm, values in scores.items()}
            draws = {arm: auc_draws(values, known.labels, weights) for arm, values in scores.items()}
        return self._compared(
            case, "auc", points, draws, parameters.auc_worse_by_at_most, -1, why_not, len(known.rows),
            "The model ranks applications with an AUC of {value:.3f} ({baseline:.3f} in the baseline, 1 is perfect)",
        )  # fmt: skip

    def _approval_rate(
        self,
        case: Case,
        approved: dict[Arm, Array],
        weights: Weights,
        why_not: str,
        parameters: DecisionQualityParameters,
    ) -> Finding:
        n = len(next(iter(approved.values())))
        if not why_not and not any(values.any() for values in approved.values()):
            why_not = f"no arm ever answered {parameters.approved!r} in `{parameters.decision}`; are they spelled right?"
        points, draws = _means({} if why_not else approved, weights)
        return self._compared(
            case, "approval_rate", points, draws, parameters.approval_rate_shift_at_most, 0, why_not, n,
            "{value:.1%} of applications are approved, {baseline:.1%} in the baseline",
        )  # fmt: skip

    def _calibration(
        self,
        case: Case,
        known: Labelled,
        scores: dict[Arm, Array],
        weights: Weights,
        why_not: str,
        parameters: DecisionQualityParameters,
    ) -> Finding:
        chances = {arm: values / _scales(known, arm, parameters) for arm, values in scores.items()}
        for arm, values in chances.items():
            unscaled = int((~np.isfinite(values)).sum())
            if not why_not and unscaled:
                why_not = f"{unscaled} answers of {arm} name no scale above 0 in `{parameters.scale_field}`"
        if not why_not and not ((chances[Arm.BASELINE] >= 0) & (chances[Arm.BASELINE] <= 1)).all():
            why_not = (
                f"the baseline's scores lie between {chances[Arm.BASELINE].min():g} and "
                f"{chances[Arm.BASELINE].max():g} of their scale, which are no probabilities; give `scale` or `scale_field`"
            )
        squares = {arm: (values - known.labels) ** 2 for arm, values in chances.items()}
        points, draws = _means({} if why_not else squares, weights)
        return self._compared(
            case, "calibration", points, draws, parameters.brier_worse_by_at_most, 1, why_not, len(known.rows),
            "The score, read as a probability, is off by a Brier score of {value:.3f} ({baseline:.3f} in the baseline, "
            "0 is perfect)",
        )  # fmt: skip

    def _compared(
        self,
        case: Case,
        measure: str,
        points: dict[Arm, float],
        draws: dict[Arm, Array],
        margin: float,
        worse: int,
        why_not: str,
        n: int,
        words: str,
    ) -> Finding:
        """`worse` is the sign of a change for the worse; 0 means that any shift counts."""
        common: dict[str, Any] = {
            "id": f"{self.name}/{measure}",
            "check": self.name,
            "subject": case.plan.entry,
            "sample_size": n,
            "evidence": (pointer(EXCHANGES_FILE, n), pointer(LABELS_FILE, n)),
            "rank": 12,
        }
        if why_not:
            sentence = f"{measure.replace('_', ' ').capitalize()} cannot be judged: {why_not}."
            return Finding(outcome=Outcome.UNKNOWN, sentence=sentence, **common)
        confidence = case.policy.confidence
        own = {arm: interval_of(points[arm], draws[arm], confidence) for arm in points}
        change = interval_of(
            points[Arm.CANDIDATE] - points[Arm.BASELINE],
            draws[Arm.CANDIDATE] - draws[Arm.BASELINE],
            confidence,
        )
        noise = abs(points[Arm.CONTROL] - points[Arm.BASELINE])
        limit = margin + noise
        allowed = "a shift" if worse == 0 else "a change for the worse"
        number = percent(limit) if measure == "approval_rate" else f"{limit:.3f}"
        outcome, sentence = weighed(
            judge_change(change, limit, worse),
            noise,
            margin,
            f"{words.format(value=points[Arm.CANDIDATE], baseline=points[Arm.BASELINE])}: "
            f"{allowed} of at most {number} is allowed",
        )
        return Finding(
            outcome=outcome,
            sentence=f"{sentence}.",
            value=finite(points[Arm.CANDIDATE]),
            limit=finite(points[Arm.BASELINE] + (worse or 1) * limit),
            unit_of_measure="share" if measure == "approval_rate" else "",
            interval=Interval(low=own[Arm.CANDIDATE].low, high=own[Arm.CANDIDATE].high),
            baseline_value=finite(points[Arm.BASELINE]),
            control_value=finite(points[Arm.CONTROL]),
            details={
                "limit_is": "least" if worse < 0 else "most",
                "change": {"value": change.value, "low": change.low, "high": change.high, "limit": limit},
                "arms": arm_details(own, dict.fromkeys(own, n)),
            },
            **common,
        )


def _too_few(case: Case, known: Labelled) -> str:
    """Why there is not enough truth to judge by; empty when there is."""
    n, good = len(known.rows), int(known.labels.sum())
    least, least_of_a_kind = case.policy.minimum_labelled, case.policy.minimum_group
    if n < least:
        return f"{n} labelled decisions, {least} are needed"
    if min(good, n - good) < least_of_a_kind:
        return f"of {n} labelled decisions {good} are good and {n - good} bad, {least_of_a_kind} of each are needed"
    return ""


def _means(columns: dict[Arm, Array], weights: Weights) -> tuple[dict[Arm, float], dict[Arm, Array]]:
    """Mean of each arm's column, and its draws."""
    return (
        {arm: float(values.mean()) for arm, values in columns.items()},
        {arm: weighted_mean(values, weights) for arm, values in columns.items()},
    )


def _scales(known: Labelled, arm: Arm, parameters: DecisionQualityParameters) -> Array:
    """Top of the scale of each answer's score; NaN where the answer names one that cannot be."""
    if parameters.scale_field is None:
        return np.full(len(known.rows), parameters.scale)
    named = known.rows.field(arm, parameters.scale_field)
    scales = numbers_of([parameters.scale if value is None else value for value in named])
    return np.where(scales > 0, scales, np.nan)


def judge_change(change: Estimate, limit: float, worse: int) -> Outcome:
    if worse > 0:
        return outcome_against(change.low, change.high, limit, at_most=True)
    if worse < 0:
        return outcome_against(-change.high, -change.low, limit, at_most=True)
    if change.low >= -limit and change.high <= limit:
        return Outcome.PASS
    return Outcome.FAIL if change.low > limit or change.high < -limit else Outcome.UNKNOWN


def numbers_of(values: list[Any]) -> Array:
    """Numbers as floats, anything else as NaN."""
    return np.array(
        [float(v) if isinstance(v, int | float) and not isinstance(v, bool) else np.nan for v in values],
        dtype=float,
    )
