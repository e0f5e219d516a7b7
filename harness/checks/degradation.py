"""Degradation: how many answers were made with a fallback, against what the edge says it may cost.

An answer says so itself in a boolean field. During a fault the limit is the faulted edge's `quality_loss` (for a fault
on a service: the largest of the edges into it); in steady load the candidate may not degrade more than the baseline.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from pydantic import Field

from harness.checks.base import Frame, Parameters, finite, outcome_against, percent, percent_or_none
from harness.checks.pairs import field_of, parse_body
from harness.checks.slots import Slot, slot_pointer, slots
from harness.checks.statistics import Estimate, newcombe, wilson
from harness.model.case import Case
from harness.model.environment import Environment
from harness.model.findings import Finding, Interval, Outcome
from harness.model.history import History
from harness.model.plan import Arm, FaultWindow


class DegradationParameters(Parameters):
    field: str = Field(default="degraded", description="Path of the boolean in the answer.")
    worse_by_at_most: float = Field(
        default=0.02, ge=0, le=1, description="Above the baseline, in steady load."
    )


def faulted_tolerances(environment: Environment, window: FaultWindow) -> tuple[float, float]:
    """Quality loss (share) and recovery time (s) that the window's target claims; the most of the edges into a service."""
    if window.edge is not None:
        tolerances = [environment.edge(window.edge).tolerance]
    else:
        tolerances = [edge.tolerance for edge in environment.all_edges() if edge.callee == window.service]
    return max(item.quality_loss for item in tolerances), max(item.recovery.s for item in tolerances)


class Degradation:
    """See the module's head."""

    name = "degradation"
    summary = "share of answers made with a fallback, against the tolerance of the faulted edge"
    parameters = DegradationParameters

    def expect(self, frame: Frame, parameters: DegradationParameters) -> tuple[str, ...]:
        return tuple(f"{self.name}/{slot.id}" for slot in slots(frame, ("entries",), ("steady", "fault")))

    def judge(self, case: Case, parameters: DegradationParameters, history: History) -> Iterable[Finding]:
        for slot in slots(Frame.of(case), ("entries",), ("steady", "fault")):
            counts = {arm: _degraded(history, slot, arm, parameters.field) for arm in case.plan.arms}
            yield self._finding(case, parameters, slot, counts)

    def _finding(
        self, case: Case, parameters: DegradationParameters, slot: Slot, counts: dict[Arm, tuple[int, int]]
    ) -> Finding:
        confidence = case.policy.confidence
        shares = {arm: wilson(hits, n, confidence) for arm, (hits, n) in counts.items()}
        sizes = {arm: n for arm, (_, n) in counts.items()}
        least = case.policy.minimum_samples if slot.unit is None else case.policy.minimum_fault_samples
        limit, judged = self._limit(case, parameters, slot, counts, shares)
        if min(sizes.values()) < least:
            outcome = Outcome.UNKNOWN
            why = f"only {min(sizes.values())} answers say whether they are degraded, {least} are needed"
        else:
            outcome = outcome_against(judged.low, judged.high, limit, at_most=True)
            why = f"at most {percent(limit)} is allowed" + ("" if slot.unit else " above the baseline")
        return Finding(
            id=f"{self.name}/{slot.id}",
            check=self.name,
            outcome=outcome,
            subject=slot.subject,
            phase=slot.phase,
            unit=slot.unit_name,
            sentence=(
                f"{percent_or_none(shares[Arm.CANDIDATE].value)} of {slot.subject}'s answers {slot.when} were made "
                f"with a fallback, {percent_or_none(shares[Arm.BASELINE].value)} in the baseline: {why}."
            ),
            value=finite(shares[Arm.CANDIDATE].value),
            limit=limit,
            unit_of_measure="share",
            interval=Interval(low=shares[Arm.CANDIDATE].low, high=shares[Arm.CANDIDATE].high),
            sample_size=sizes[Arm.CANDIDATE],
            baseline_value=finite(shares[Arm.BASELINE].value),
            control_value=finite(shares[Arm.CONTROL].value),
            evidence=(slot_pointer(slot, sizes[Arm.CANDIDATE]),),
            rank=28,
            details={
                "limit_is": "most",
                "arms": {
                    arm.value: {"value": finite(e.value), "low": e.low, "high": e.high, "n": sizes[arm]}
                    for arm, e in shares.items()
                },
            },
        )

    def _limit(
        self,
        case: Case,
        parameters: DegradationParameters,
        slot: Slot,
        counts: dict[Arm, tuple[int, int]],
        shares: dict[Arm, Estimate],
    ) -> tuple[float, Estimate]:
        """The limit, and what is held against it: the share itself under a fault, the difference in steady load."""
        if slot.unit is not None and slot.unit.window is not None:
            loss, _ = faulted_tolerances(case.environment, slot.unit.window)
            return loss, shares[Arm.CANDIDATE] if loss < 1 else Estimate(1.0, 1.0, 1.0)
        more = newcombe(*counts[Arm.CANDIDATE], *counts[Arm.BASELINE], case.policy.confidence)
        noise = np.nan_to_num(abs(shares[Arm.CONTROL].value - shares[Arm.BASELINE].value))
        return parameters.worse_by_at_most + float(noise), more


def _degraded(history: History, slot: Slot, arm: Arm, field: str) -> tuple[int, int]:
    """Degraded answers and good answers that say either."""
    rows = history.exchanges.where(arm=arm.value, **slot.place())
    said = [field_of(parse_body(body), field) for body in rows.column("body")[rows.ok()]]
    flags = [value for value in said if isinstance(value, bool)]
    return sum(flags), len(flags)
