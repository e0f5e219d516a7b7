"""Fairness by protected attribute: approval-rate ratio and equal-opportunity difference of every group.

The reference of an attribute is its largest group. Approval-rate ratio: a group's approval rate over the reference's
(the "four-fifths rule", 29 CFR 1607.4(D), looks at this number). Equal-opportunity difference: difference of approval
rates among those who should be approved (Hardt, Price, Srebro 2016). The candidate may not be worse than the baseline by
more than the margins; `ratio_at_least` adds an absolute floor. Intervals: bootstrap over applications.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from harness.checks.base import (
    EXCHANGES_FILE,
    LABELS_FILE,
    Frame,
    Parameters,
    finite,
    outcome_against,
    pointer,
    weighed,
    worst,
)
from harness.checks.decisions import Labelled, labelled, resampled
from harness.checks.statistics import Array, Weights, arm_details, interval_of, weighted_mean
from harness.model.case import Case
from harness.model.findings import Finding, Interval, Outcome
from harness.model.history import History
from harness.model.plan import Arm

Mask = npt.NDArray[np.bool_]


class FairnessParameters(Parameters):
    attributes: tuple[str, ...] = Field(
        min_length=1, description="Protected attributes of the labels, such as race."
    )
    decision: str = "decision"
    approved: str = "approve"
    degraded_field: str = "degraded"
    ratio_worse_by_at_most: float = Field(default=0.15, ge=0)
    opportunity_worse_by_at_most: float = Field(default=0.15, ge=0)
    ratio_at_least: float | None = Field(default=None, gt=0, le=1)


class Fairness:
    """See the module's head. One finding an attribute and measure, about the group that is worst off."""

    name = "fairness"
    summary = (
        "approval-rate ratio and equal-opportunity difference by protected group, against the baseline's"
    )
    parameters = FairnessParameters

    def expect(self, frame: Frame, parameters: FairnessParameters) -> tuple[str, ...]:
        if not frame.has_labels:
            return ()
        return tuple(
            f"{self.name}/{measure}/{attribute}"
            for attribute in parameters.attributes
            for measure in ("approval_ratio", "equal_opportunity")
        )

    def judge(self, case: Case, parameters: FairnessParameters, history: History) -> Iterable[Finding]:
        known = labelled(case, history, parameters.degraded_field)
        approved = {
            arm: np.array(
                [value == parameters.approved for value in known.rows.field(arm, parameters.decision)], float
            )
            for arm in case.plan.arms
        }
        weights = resampled(case, known.rows)
        for attribute in parameters.attributes:
            for measure in ("approval_ratio", "equal_opportunity"):
                yield self._finding(case, parameters, known, approved, weights, attribute, measure)

    def _finding(
        self,
        case: Case,
        parameters: FairnessParameters,
        known: Labelled,
        approved: dict[Arm, Array],
        weights: Weights,
        attribute: str,
        measure: str,
    ) -> Finding:
        n = len(known.rows)
        common: dict[str, Any] = {
            "id": f"{self.name}/{measure}/{attribute}",
            "check": self.name,
            "subject": attribute,
            "sample_size": n,
            "evidence": (pointer(EXCHANGES_FILE, n), pointer(LABELS_FILE, n)),
            "rank": 11,
        }
        groups = known.groups.get(attribute, np.array([], dtype=str))
        considered = known.labels if measure == "equal_opportunity" else np.ones(n, dtype=bool)
        names, counts = np.unique(groups[considered] if len(groups) else groups, return_counts=True)
        least = case.policy.minimum_group
        small = [
            f"{name or 'no value'} ({count})"
            for name, count in zip(names, counts, strict=True)
            if count < least
        ]
        why_not = known.left_out
        if small:
            why_not = f"too few decisions for {', '.join(small)}, {least} are needed"
        elif len(names) < 2:
            why_not = "fewer than two groups were seen"
        elif not any(values.any() for values in approved.values()):
            why_not = f"no arm ever answered {parameters.approved!r} in `{parameters.decision}`; are they spelled right?"
        if why_not:
            sentence = f"Fairness by {attribute} ({measure.replace('_', ' ')}) cannot be judged: {why_not}."
            return Finding(outcome=Outcome.UNKNOWN, sentence=sentence, **common)
        reference = str(names[np.argmax(counts)])
        results = [
            self._group(
                case,
                parameters,
                measure,
                approved,
                weights,
                considered,
                groups == reference,
                groups == name,
                str(name),
            )
            for name in names
            if name != reference
        ]
        judged = min(results, key=lambda item: (_SEVERITY[item["outcome"]], item["change"].value))
        own = judged["own"]
        word = "approval-rate ratio" if measure == "approval_ratio" else "equal-opportunity difference"
        return Finding(
            outcome=worst(*(item["outcome"] for item in results)),
            sentence=(
                f"The {word} of {judged['group']} against {reference} ({attribute}) is {_two(own[Arm.CANDIDATE].value)}, "
                f"{_two(own[Arm.BASELINE].value)} in the baseline: it may be lower by at most {_two(judged['margin'])}"
                + (f" and not below {parameters.ratio_at_least:g}" if judged["floor"] else "")
                + f"{judged['why']}."
            ),
            value=finite(own[Arm.CANDIDATE].value),
            limit=finite(own[Arm.BASELINE].value - judged["margin"]),
            unit_of_measure="ratio" if measure == "approval_ratio" else "",
            interval=Interval(low=own[Arm.CANDIDATE].low, high=own[Arm.CANDIDATE].high),
            baseline_value=finite(own[Arm.BASELINE].value),
            control_value=finite(own[Arm.CONTROL].value),
            details={
                "limit_is": "least",
                "arms": arm_details(own, dict.fromkeys(own, n)),
                "groups": {
                    arm.value: {
                        item["group"]: {"value": item["own"][arm].value, "n": item["n"]} for item in results
                    }
                    for arm in own
                },
            },
            **common,
        )

    def _group(
        self,
        case: Case,
        parameters: FairnessParameters,
        measure: str,
        approved: dict[Arm, Array],
        weights: Weights,
        considered: Mask,
        reference: Mask,
        group: Mask,
        name: str,
    ) -> dict[str, Any]:
        points, draws = {}, {}
        ones = np.ones((1, len(considered)))
        for arm, values in approved.items():
            statistic = _ratio if measure == "approval_ratio" else _difference
            points[arm] = float(statistic(values, ones, group & considered, reference & considered)[0])
            draws[arm] = statistic(values, weights, group & considered, reference & considered)
        confidence = case.policy.confidence
        own = {arm: interval_of(points[arm], draws[arm], confidence) for arm in points}
        change = interval_of(
            points[Arm.CANDIDATE] - points[Arm.BASELINE],
            draws[Arm.CANDIDATE] - draws[Arm.BASELINE],
            confidence,
        )
        allowed = (
            parameters.ratio_worse_by_at_most
            if measure == "approval_ratio"
            else parameters.opportunity_worse_by_at_most
        )
        noise = abs(points[Arm.CONTROL] - points[Arm.BASELINE])
        margin = allowed + noise
        outcome = outcome_against(change.low, change.high, -margin, at_most=False)
        floor = parameters.ratio_at_least if measure == "approval_ratio" else None
        if floor is not None:
            outcome = worst(
                outcome, outcome_against(own[Arm.CANDIDATE].low, own[Arm.CANDIDATE].high, floor, False)
            )
        outcome, why = weighed(outcome, noise, allowed, "")
        n = int((group & considered).sum())
        return {
            "group": name, "outcome": outcome, "own": own, "change": change, "margin": margin, "why": why, "n": n,
            "floor": floor is not None,
        }  # fmt: skip


_SEVERITY = {Outcome.FAIL: 0, Outcome.UNKNOWN: 1, Outcome.PASS: 2}


def _two(value: float) -> str:
    """For sentences; a ratio to nobody has no value."""
    return f"{value:.2f}" if np.isfinite(value) else "undefined"


def _ratio(values: Array, weights: Weights, group: Mask, reference: Mask) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio: Array = weighted_mean(values[group], weights[:, group]) / weighted_mean(
            values[reference], weights[:, reference]
        )
    return ratio


def _difference(values: Array, weights: Weights, group: Mask, reference: Mask) -> Array:
    difference: Array = weighted_mean(values[group], weights[:, group]) - weighted_mean(
        values[reference], weights[:, reference]
    )
    return difference
