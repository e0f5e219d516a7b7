"""Availability: the share of requests that were answered without a server error.

For entries over exchanges, for services over the requests that left the edges into them. Two limits: a floor for the
candidate, and how much less than the baseline's it may be (the control's difference is added as noise floor).
Intervals: Wilson for the share, Newcombe for the difference.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
from pydantic import Field

from harness.checks.base import (
    Frame,
    Parameters,
    finite,
    outcome_against,
    percent,
    percent_or_none,
    worst,
)
from harness.checks.slots import Slot, service_requests, slot_pointer, slots
from harness.checks.statistics import newcombe, wilson
from harness.model.case import Case
from harness.model.findings import Finding, Interval, Outcome
from harness.model.history import History
from harness.model.plan import Arm


class AvailabilityParameters(Parameters):
    of: tuple[Literal["entries", "services"], ...] = ("entries", "services")
    phases: tuple[Literal["steady", "fault", "recovery"], ...] = ("steady", "fault", "recovery")
    at_least: float = Field(default=0.98, gt=0, le=1, description="Floor in steady load.")
    at_least_in_fault: float = Field(default=0.9, ge=0, le=1)
    at_least_in_recovery: float = Field(default=0.9, ge=0, le=1)
    worse_by_at_most: float = Field(
        default=0.02, ge=0, le=1, description="Below the baseline, in steady load."
    )
    worse_by_at_most_under_fault: float = Field(
        default=0.1, ge=0, le=1, description="Forty answers an arm can decide this much, and no less."
    )

    def floor(self, phase: str) -> float:
        floors = {"fault": self.at_least_in_fault, "recovery": self.at_least_in_recovery}
        return floors.get(phase, self.at_least)

    def margin(self, phase: str) -> float:
        return self.worse_by_at_most if phase == "steady" else self.worse_by_at_most_under_fault


class Availability:
    """See the module's head."""

    name = "availability"
    summary = "share of requests answered without a server error, by entry and service, in every phase"
    parameters = AvailabilityParameters

    def expect(self, frame: Frame, parameters: AvailabilityParameters) -> tuple[str, ...]:
        return tuple(f"{self.name}/{slot.id}" for slot in slots(frame, parameters.of, parameters.phases))

    def judge(self, case: Case, parameters: AvailabilityParameters, history: History) -> Iterable[Finding]:
        frame = Frame.of(case)
        for slot in slots(frame, parameters.of, parameters.phases):
            counts = {arm: _count(frame, history, slot, arm) for arm in case.plan.arms}
            yield self._finding(case, parameters, slot, counts)

    def _finding(
        self, case: Case, parameters: AvailabilityParameters, slot: Slot, counts: dict[Arm, tuple[int, int]]
    ) -> Finding:
        confidence = case.policy.confidence
        shares = {arm: wilson(ok, n, confidence) for arm, (ok, n) in counts.items()}
        candidate, baseline, control = shares[Arm.CANDIDATE], shares[Arm.BASELINE], shares[Arm.CONTROL]
        sizes = {arm: n for arm, (_, n) in counts.items()}
        least = case.policy.minimum_samples if slot.unit is None else case.policy.minimum_fault_samples
        floor = parameters.floor(slot.phase)
        if min(sizes.values()) < least:
            outcome, why = (
                Outcome.UNKNOWN,
                f"only {min(sizes.values())} requests in an arm, {least} are needed",
            )
        else:
            lost = newcombe(*counts[Arm.BASELINE], *counts[Arm.CANDIDATE], confidence)
            margin = parameters.margin(slot.phase) + abs(baseline.value - control.value)
            against_floor = outcome_against(candidate.low, candidate.high, floor, at_most=False)
            if against_floor is not Outcome.PASS and baseline.value < floor and lost.value <= 0:
                against_floor = (
                    Outcome.UNKNOWN
                )  # the baseline misses the floor as well: not the change's doing
            outcome = worst(against_floor, outcome_against(lost.low, lost.high, margin, at_most=True))
            why = (
                f"at least {percent(floor)} is wanted, and no more than {percent(margin)} below the baseline"
            )
        return Finding(
            id=f"{self.name}/{slot.id}",
            check=self.name,
            outcome=outcome,
            subject=slot.subject,
            phase=slot.phase,
            unit=slot.unit_name,
            sentence=(
                f"{slot.subject} answered {percent_or_none(candidate.value)} of requests {slot.when}, "
                f"the baseline {percent_or_none(baseline.value)}: {why}."
            ),
            value=finite(candidate.value),
            limit=floor,
            unit_of_measure="share",
            interval=Interval(low=candidate.low, high=candidate.high),
            sample_size=sizes[Arm.CANDIDATE],
            baseline_value=finite(baseline.value),
            control_value=finite(control.value),
            evidence=(slot_pointer(slot, sizes[Arm.CANDIDATE]),),
            rank=20 if slot.kind == "entry" else 25,
            details={
                "limit_is": "least",
                "arms": {
                    arm.value: {"value": finite(e.value), "low": e.low, "high": e.high, "n": sizes[arm]}
                    for arm, e in shares.items()
                },
            },
        )


def _count(frame: Frame, history: History, slot: Slot, arm: Arm) -> tuple[int, int]:
    """Good answers and all requests of an arm in a slot."""
    if slot.kind == "entry":
        rows = history.exchanges.where(arm=arm.value, **slot.place())
        return int(rows.ok().sum()), len(rows)
    requests = service_requests(frame, history, slot, arm)
    status = requests.column("status")
    # A caller that went away first (HAProxy's session state begins with C) leaves no answer to judge.
    left = np.array([text.startswith("C") for text in requests.column("termination")], dtype=bool)
    seen = (status > 0) | ~left
    good = (status >= 100) & (status < 500)
    return int((good & seen).sum()), int(seen.sum())
