"""Decision quality against labels that the graph never saw: AUC, approval rate, calibration.

The candidate may not be worse than the baseline by more than the margins, on the same applications. AUC is of ranks, so
a score on another scale is no difference by itself; calibration (Brier score) needs the score as a probability and takes
the scale of each side. Sources: Mann-Whitney; Brier 1950. Intervals: bootstrap over applications.
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
)
from harness.checks.decisions import Labelled, labelled, resampled
from harness.checks.statistics import Array, Estimate, Weights, auc, auc_draws, interval_of, weighted_mean
from harness.model.case import Case
from harness.model.findings import Finding, Interval, Outcome
from harness.model.history import History
from harness.model.plan import Arm


class DecisionQualityParameters(Parameters):
    score: str = Field(default="score", description="Path of the number that ranks the decision.")
    decision: str = "decision"
    approved: str = Field(default="approve", description="Value of the decision field that means yes.")
    degraded_field: str = "degraded"
    scale: float = Field(default=1.0, gt=0, description="The score that means certainty, in the baseline.")
    candidate_scale: float | None = Field(default=None, gt=0, description="The same in the candidate.")
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
        return tuple(f"{self.name}/{measure}" for measure in MEASURES)

    def judge(self, case: Case, parameters: DecisionQualityParameters, history: History) -> Iterable[Finding]:
        known = labelled(case, history, parameters.degraded_field)
        scores = {arm: numbers_of(known.rows.field(arm, parameters.score)) for arm in case.plan.arms}
        whole = np.all([np.isfinite(values) for values in scores.values()], axis=0)
        known = Labelled(
            known.rows.take(whole), known.labels[whole], {k: v[whole] for k, v in known.groups.items()}
        )
        scores = {arm: values[whole] for arm, values in scores.items()}
        approved = {
            arm: np.array(
                [value == parameters.approved for value in known.rows.field(arm, parameters.decision)], float
            )
            for arm in case.plan.arms
        }
        n = len(known.rows)
        weights = resampled(case, self.name, known.rows)
        enough = n >= case.policy.minimum_labelled and 0 < known.labels.sum() < n
        yield self._auc(case, parameters, known, scores, weights, enough)
        yield self._approval_rate(case, parameters, approved, weights, enough)
        yield self._calibration(case, parameters, known, scores, weights, enough)

    def _auc(
        self,
        case: Case,
        parameters: DecisionQualityParameters,
        known: Labelled,
        scores: dict[Arm, Array],
        weights: Weights,
        enough: bool,
    ) -> Finding:
        points = {
            arm: auc(values, known.labels) if enough else float("nan") for arm, values in scores.items()
        }
        draws = (
            {arm: auc_draws(values, known.labels, weights) for arm, values in scores.items()}
            if enough
            else {}
        )
        return self._compared(
            case, "auc", points, draws, parameters.auc_worse_by_at_most, -1, enough, len(known.rows),
            "The model ranks applications with an AUC of {value:.3f} ({baseline:.3f} in the baseline, 1 is perfect)",
        )  # fmt: skip

    def _approval_rate(
        self,
        case: Case,
        parameters: DecisionQualityParameters,
        approved: dict[Arm, Array],
        weights: Weights,
        enough: bool,
    ) -> Finding:
        points = {arm: float(values.mean()) if enough else float("nan") for arm, values in approved.items()}
        draws = {arm: weighted_mean(values, weights) for arm, values in approved.items()} if enough else {}
        n = len(next(iter(approved.values())))
        return self._compared(
            case, "approval_rate", points, draws, parameters.approval_rate_shift_at_most, 0, enough, n,
            "{value:.1%} of applications are approved, {baseline:.1%} in the baseline",
        )  # fmt: skip

    def _calibration(
        self,
        case: Case,
        parameters: DecisionQualityParameters,
        known: Labelled,
        scores: dict[Arm, Array],
        weights: Weights,
        enough: bool,
    ) -> Finding:
        scales = dict.fromkeys(scores, parameters.scale)
        scales[Arm.CANDIDATE] = parameters.candidate_scale or parameters.scale
        squares = {arm: (values / scales[arm] - known.labels) ** 2 for arm, values in scores.items()}
        points = {arm: float(values.mean()) if enough else float("nan") for arm, values in squares.items()}
        draws = {arm: weighted_mean(values, weights) for arm, values in squares.items()} if enough else {}
        return self._compared(
            case, "calibration", points, draws, parameters.brier_worse_by_at_most, 1, enough, len(known.rows),
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
        enough: bool,
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
        if not enough:
            least = case.policy.minimum_labelled
            sentence = (
                f"{measure} cannot be judged: {n} labelled decisions of both kinds, {least} are needed."
            )
            return Finding(outcome=Outcome.UNKNOWN, sentence=sentence, **common)
        confidence = case.policy.confidence
        own = {arm: interval_of(points[arm], draws[arm], confidence) for arm in points}
        change = interval_of(
            points[Arm.CANDIDATE] - points[Arm.BASELINE],
            draws[Arm.CANDIDATE] - draws[Arm.BASELINE],
            confidence,
        )
        limit = margin + abs(points[Arm.CONTROL] - points[Arm.BASELINE])
        outcome = judge_change(change, limit, worse)
        allowed = "a shift" if worse == 0 else "a change for the worse"
        number = percent(limit) if measure == "approval_rate" else f"{limit:.3f}"
        sentence = words.format(value=points[Arm.CANDIDATE], baseline=points[Arm.BASELINE])
        return Finding(
            outcome=outcome,
            sentence=f"{sentence}: {allowed} of at most {number} is allowed.",
            value=finite(points[Arm.CANDIDATE]),
            limit=finite(points[Arm.BASELINE] + (worse or 1) * limit),
            unit_of_measure="share" if measure == "approval_rate" else "",
            interval=Interval(low=own[Arm.CANDIDATE].low, high=own[Arm.CANDIDATE].high),
            baseline_value=finite(points[Arm.BASELINE]),
            control_value=finite(points[Arm.CONTROL]),
            details={
                "limit_is": "least" if worse < 0 else "most",
                "change": {"value": change.value, "low": change.low, "high": change.high, "limit": limit},
                "arms": {
                    arm.value: {"value": e.value, "low": e.low, "high": e.high, "n": n}
                    for arm, e in own.items()
                },
            },
            **common,
        )


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
