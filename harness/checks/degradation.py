"""Degradation: how many answers were made with a fallback, against what the edge says it may cost.

An answer says so itself in a boolean field. During a fault the limit is the faulted edge's `quality_loss` (for a fault
on a service: the largest of the edges into it); in steady load the candidate may not degrade more than the baseline.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from harness.checks.base import (
    Frame,
    Parameters,
    finite,
    outcome_against,
    percent,
    percent_or_none,
    weighed,
)
from harness.checks.pairs import field_of, parse_body
from harness.checks.slots import Slot, slot_pointer, slots
from harness.checks.statistics import Estimate, arm_details, newcombe, wilson
from harness.model.case import Case
from harness.model.environment import Environment, Tolerance
from harness.model.findings import Finding, Interval, Outcome
from harness.model.history import History
from harness.model.plan import Arm, FaultWindow


class DegradationParameters(Parameters):
    field: str = Field(default="degraded", description="Path of the boolean in the answer.")
    worse_by_at_most: float = Field(
        default=0.02, ge=0, le=1, description="Above the baseline, in steady load."
    )


MOST_SILENT = 0.01
"""How much larger the candidate's share of answers without the field may be than the baseline's."""


@dataclass(frozen=True)
class _Said:
    """What the successful answers (2xx) of one arm in one slot say of themselves."""

    degraded: int
    normal: int
    silent: int

    @property
    def silent_share(self) -> float:
        return self.silent / max(1, self.degraded + self.normal + self.silent)


def faulted_tolerances(environment: Environment, window: FaultWindow) -> tuple[float, float]:
    """Quality loss (share) and recovery time (s) that the window's target claims; the most of the edges into a service."""
    if window.edge is not None:
        tolerances = [environment.edge(window.edge).tolerance]
    else:
        tolerances = [edge.tolerance for edge in environment.all_edges() if edge.callee == window.service]
        if not tolerances:  # nobody calls it, so nobody's answers may suffer
            return 0.0, Tolerance.model_fields["recovery"].default.s
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
            said = {arm: _said(history, slot, arm, parameters.field) for arm in case.plan.arms}
            yield self._finding(case, parameters, slot, said)

    def _finding(
        self, case: Case, parameters: DegradationParameters, slot: Slot, said: dict[Arm, _Said]
    ) -> Finding:
        confidence = case.policy.confidence
        counts = {arm: (item.degraded, item.degraded + item.normal) for arm, item in said.items()}
        shares = {arm: wilson(hits, n, confidence) for arm, (hits, n) in counts.items()}
        sizes = {arm: n for arm, (_, n) in counts.items()}
        least = case.policy.minimum_samples if slot.unit is None else case.policy.minimum_fault_samples
        limit, judged = self._limit(case, parameters, slot, counts, shares)
        if min(sizes.values()) < least:
            outcome = Outcome.UNKNOWN
            why = f"only {min(sizes.values())} answers say whether they are degraded, {least} are needed"
        elif said[Arm.CANDIDATE].silent_share > said[Arm.BASELINE].silent_share + MOST_SILENT:
            outcome = Outcome.UNKNOWN
            why = f"{said[Arm.CANDIDATE].silent} of the candidate's answers do not say whether they are degraded"
        else:
            outcome = outcome_against(judged.low, judged.high, limit, at_most=True)
            why = f"at most {percent(limit)} is allowed" + ("" if slot.unit else " above the baseline")
            noise = 0.0 if slot.unit else abs(shares[Arm.CONTROL].value - shares[Arm.BASELINE].value)
            outcome, why = weighed(outcome, noise, parameters.worse_by_at_most, why)
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
                "arms": arm_details(shares, sizes),
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
            share = shares[Arm.CANDIDATE]
            # One such answer is too many then, and no number of others could prove that none ever comes.
            if loss == 0:
                share = Estimate(share.value, share.value, share.value)
            return loss, share if loss < 1 else Estimate(1.0, 1.0, 1.0)
        more = newcombe(*counts[Arm.CANDIDATE], *counts[Arm.BASELINE], case.policy.confidence)
        noise = np.nan_to_num(abs(shares[Arm.CONTROL].value - shares[Arm.BASELINE].value))
        return parameters.worse_by_at_most + float(noise), more


def _said(history: History, slot: Slot, arm: Arm, field: str) -> _Said:
    rows = history.exchanges.where(arm=arm.value, **slot.place())
    status = rows.column("status")
    good = (status >= 200) & (status < 300)
    found = [field_of(parse_body(body), field) for body in rows.column("body")[good]]
    flags = [value for value in found if isinstance(value, bool)]
    return _Said(sum(flags), len(flags) - sum(flags), len(found) - len(flags))
