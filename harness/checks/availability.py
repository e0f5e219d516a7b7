"""Availability: the share of requests that were answered without a server error.

For entries over exchanges, for services over the requests that left the edges into them. Two limits: a floor for the
candidate, and how much less than the baseline's it may be (the control's difference is added as noise floor). What the
baseline answers with success (2xx) the candidate may not refuse either: the same margin holds for the share of
successes. Intervals: Wilson for the share, Newcombe for the difference.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
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
    weighed,
    worst,
)
from harness.checks.slots import (
    Slot,
    gave_up,
    left_without_answer,
    service_requests,
    slot_pointer,
    slots,
)
from harness.checks.statistics import Estimate, arm_details, newcombe, wilson
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


@dataclass(frozen=True)
class _Counts:
    """Of one arm in one slot: answers without a server error, successes among them, and all requests."""

    answered: int
    succeeded: int
    n: int


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
        self, case: Case, parameters: AvailabilityParameters, slot: Slot, counts: dict[Arm, _Counts]
    ) -> Finding:
        confidence = case.policy.confidence
        shares = {arm: wilson(count.answered, count.n, confidence) for arm, count in counts.items()}
        candidate, baseline, control = shares[Arm.CANDIDATE], shares[Arm.BASELINE], shares[Arm.CONTROL]
        sizes = {arm: count.n for arm, count in counts.items()}
        least = case.policy.minimum_samples if slot.unit is None else case.policy.minimum_fault_samples
        if min(sizes.values()) < least:
            outcome = Outcome.UNKNOWN
            why = f"only {min(sizes.values())} requests in an arm, {least} are needed"
        else:
            outcome, why = _against_limits(parameters, slot, counts, shares, confidence)
        floor = parameters.floor(slot.phase)
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
                "arms": arm_details(shares, sizes),
            },
        )


def _against_limits(
    parameters: AvailabilityParameters,
    slot: Slot,
    counts: dict[Arm, _Counts],
    shares: dict[Arm, Estimate],
    confidence: float,
) -> tuple[Outcome, str]:
    """The worst of floor, answers and successes, and in words what was held against what."""
    floor, allowed = parameters.floor(slot.phase), parameters.margin(slot.phase)
    candidate, baseline = shares[Arm.CANDIDATE], shares[Arm.BASELINE]
    answers = _lost(counts, "answered", confidence)
    successes = _lost(counts, "succeeded", confidence)
    above_floor = outcome_against(candidate.low, candidate.high, floor, at_most=False)
    if above_floor is not Outcome.PASS and baseline.value < floor and answers.lost.value <= 0:
        above_floor = Outcome.UNKNOWN  # the baseline misses the floor as well: not the change's doing
    refused = successes.outcome(allowed)
    outcome = worst(above_floor, answers.outcome(allowed), refused)
    limit = allowed + answers.noise
    why = f"at least {percent(floor)} is wanted, and no more than {percent(limit)} below the baseline"
    if refused is not Outcome.PASS and successes.lost.value > answers.lost.value:
        why += f"; successes (2xx) among all are {percent(successes.lost.value)} fewer than in the baseline"
    return weighed(outcome, max(answers.noise, successes.noise), allowed, why)


@dataclass(frozen=True)
class _Lost:
    """The baseline's share minus the candidate's, and what baseline and control differ by."""

    lost: Estimate
    noise: float

    def outcome(self, allowed: float) -> Outcome:
        return outcome_against(self.lost.low, self.lost.high, allowed + self.noise, at_most=True)


def _lost(counts: dict[Arm, _Counts], what: Literal["answered", "succeeded"], confidence: float) -> _Lost:
    hits: dict[Arm, int] = {arm: getattr(count, what) for arm, count in counts.items()}
    n = {arm: count.n for arm, count in counts.items()}
    lost = newcombe(hits[Arm.BASELINE], n[Arm.BASELINE], hits[Arm.CANDIDATE], n[Arm.CANDIDATE], confidence)
    return _Lost(lost, abs(hits[Arm.BASELINE] / n[Arm.BASELINE] - hits[Arm.CONTROL] / n[Arm.CONTROL]))


def _count(frame: Frame, history: History, slot: Slot, arm: Arm) -> _Counts:
    if slot.kind == "entry":
        rows = history.exchanges.where(arm=arm.value, **slot.place())
        status, seen = rows.column("status"), np.ones(len(rows), dtype=bool)
    else:
        requests = service_requests(frame, history, slot, arm)
        status = requests.column("status")
        seen = ~left_without_answer(requests) | gave_up(frame, requests)
    answered = seen & (status >= 100) & (status < 500)
    succeeded = seen & (status >= 200) & (status < 300)
    return _Counts(int(answered.sum()), int(succeeded.sum()), int(seen.sum()))
