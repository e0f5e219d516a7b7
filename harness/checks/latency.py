"""Latency quantiles, candidate against baseline under the same requests, beside control against baseline.

Entries are measured by the generator from the scheduled time (so waiting counts), paired by request; a request that
failed counts with the client's whole time limit. Services are measured on the edges into them. Two limits: an absolute
one where given (`at_most`), and how much slower than the baseline the candidate may be: a ratio or a floor in
milliseconds, whichever is more, plus what the control differs by. Intervals: block bootstrap.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from harness.checks.base import Frame, Parameters, finite, generator, outcome_against, weighed, worst
from harness.checks.pairs import pair
from harness.checks.slots import Slot, gave_up, service_requests, slot_pointer, slots
from harness.checks.statistics import (
    MINIMUM_BLOCKS,
    Array,
    Weights,
    arm_details,
    block_weights,
    interval_of,
    weighted_quantile,
)
from harness.model.case import Case
from harness.model.findings import Finding, Interval, Outcome
from harness.model.history import History
from harness.model.plan import Arm
from harness.model.quantities import Duration

Quantile = Annotated[float, Field(gt=0, lt=1)]


class LatencyParameters(Parameters):
    of: tuple[Literal["entries", "services"], ...] = ("entries", "services")
    phases: tuple[Literal["steady", "fault", "recovery"], ...] = ("steady", "fault", "recovery")
    quantiles: tuple[Quantile, ...] = Field(
        default=(0.5, 0.95),
        min_length=1,
        description="Between 0 and 1: 0.95 is the time that 95 % stay below.",
    )
    service_quantiles_under_fault: tuple[Quantile, ...] = (0.5,)
    at_most: Duration | None = Field(
        default=None, description="For the highest quantile of an entry in steady load."
    )
    slower_by_ratio: float = Field(default=0.5, ge=0, description="0.5: half as long again as the baseline.")
    slower_by: Duration = Field(default=Duration.of_s(0.05), description="Always allowed, for fast services.")
    slower_by_under_fault: Duration = Field(default=Duration.of_s(0.25))


@dataclass(frozen=True)
class _Place:
    slot: Slot
    quantile: float

    @property
    def label(self) -> str:
        return f"p{100 * self.quantile:g}"

    @property
    def id(self) -> str:
        return f"latency/{self.label}/{self.slot.id}"


@dataclass(frozen=True)
class _Sample:
    """Latencies of one arm with the weights of its resamples."""

    values: Array
    weights: Weights
    blocks: int


class Latency:
    """See the module's head."""

    name = "latency"
    summary = "latency quantiles by entry and service, in every phase, against the baseline's"
    parameters = LatencyParameters

    def expect(self, frame: Frame, parameters: LatencyParameters) -> tuple[str, ...]:
        return tuple(place.id for place in _places(frame, parameters))

    def judge(self, case: Case, parameters: LatencyParameters, history: History) -> Iterable[Finding]:
        frame = Frame.of(case)
        samples: dict[str, dict[Arm, _Sample]] = {}
        for place in _places(frame, parameters):
            if place.slot.id not in samples:
                samples[place.slot.id] = _samples(case, frame, history, place.slot)
            yield self._finding(case, parameters, place, samples[place.slot.id])

    def _finding(
        self, case: Case, parameters: LatencyParameters, place: _Place, samples: dict[Arm, _Sample]
    ) -> Finding:
        slot, policy = place.slot, case.policy
        least = policy.minimum_samples if slot.unit is None else policy.minimum_fault_samples
        sizes = {arm: len(sample.values) for arm, sample in samples.items()}
        common: dict[str, Any] = {
            "id": place.id,
            "check": self.name,
            "subject": slot.subject,
            "phase": slot.phase,
            "unit": slot.unit_name,
            "unit_of_measure": "ms",
            "sample_size": sizes[Arm.CANDIDATE],
            "evidence": (slot_pointer(slot, sizes[Arm.CANDIDATE]),),
            "rank": 30 if slot.kind == "entry" else 35,
        }
        if min(sizes.values()) < least:
            sentence = (
                f"{place.label} latency of {slot.subject} {slot.when} cannot be judged: "
                f"only {min(sizes.values())} requests in an arm, {least} are needed."
            )
            return Finding(outcome=Outcome.UNKNOWN, sentence=sentence, **common)
        blocks = min(sample.blocks for sample in samples.values())
        if blocks < MINIMUM_BLOCKS:
            sentence = (
                f"{place.label} latency of {slot.subject} {slot.when} cannot be judged: its requests lie in only "
                f"{blocks} stretches of {policy.block} in an arm, {MINIMUM_BLOCKS} are needed."
            )
            return Finding(outcome=Outcome.UNKNOWN, sentence=sentence, **common)
        return self._judged(case, parameters, place, samples, common)

    def _judged(
        self,
        case: Case,
        parameters: LatencyParameters,
        place: _Place,
        samples: dict[Arm, _Sample],
        common: dict[str, Any],
    ) -> Finding:
        q, slot, confidence = place.quantile, place.slot, case.policy.confidence
        draws = {arm: weighted_quantile(sample.values, sample.weights, q) for arm, sample in samples.items()}
        points = {arm: _quantile(sample.values, q) for arm, sample in samples.items()}
        own = {arm: interval_of(points[arm], draws[arm], confidence) for arm in samples}
        slower = interval_of(
            points[Arm.CANDIDATE] - points[Arm.BASELINE],
            draws[Arm.CANDIDATE] - draws[Arm.BASELINE],
            confidence,
        )
        noise = abs(points[Arm.CONTROL] - points[Arm.BASELINE])
        always = parameters.slower_by if slot.unit is None else parameters.slower_by_under_fault
        allowed = max(parameters.slower_by_ratio * points[Arm.BASELINE], always.ms)
        margin = allowed + noise
        limit = points[Arm.BASELINE] + margin
        outcome = outcome_against(slower.low, slower.high, margin, at_most=True)
        wanted = f"at most {limit:.0f} ms is allowed beside a baseline of {points[Arm.BASELINE]:.0f} ms"
        if (
            parameters.at_most is not None
            and slot.kind == "entry"
            and slot.unit is None
            and q == max(parameters.quantiles)
        ):
            absolute = own[Arm.CANDIDATE]
            outcome = worst(
                outcome, outcome_against(absolute.low, absolute.high, parameters.at_most.ms, at_most=True)
            )
            limit = min(limit, parameters.at_most.ms)
            wanted += f", and never more than {parameters.at_most}"
        outcome, sentence = weighed(
            outcome,
            noise,
            allowed,
            f"{place.label} latency of {slot.subject} {slot.when} is {points[Arm.CANDIDATE]:.0f} ms "
            f"({own[Arm.CANDIDATE].low:.0f} to {own[Arm.CANDIDATE].high:.0f}): {wanted}",
        )
        return Finding(
            outcome=outcome,
            sentence=f"{sentence}.",
            value=finite(points[Arm.CANDIDATE]),
            limit=finite(limit),
            interval=Interval(low=own[Arm.CANDIDATE].low, high=own[Arm.CANDIDATE].high),
            baseline_value=finite(points[Arm.BASELINE]),
            control_value=finite(points[Arm.CONTROL]),
            details={
                "limit_is": "most",
                "slower_by_ms": {
                    "value": slower.value,
                    "low": slower.low,
                    "high": slower.high,
                    "margin": margin,
                },
                "arms": arm_details(own, {arm: len(sample.values) for arm, sample in samples.items()}),
            },
            **common,
        )


def _places(frame: Frame, parameters: LatencyParameters) -> list[_Place]:
    places = []
    for slot in slots(frame, parameters.of, parameters.phases):
        plain = slot.kind == "entry" or slot.unit is None
        quantiles = parameters.quantiles if plain else parameters.service_quantiles_under_fault
        places += [_Place(slot, q) for q in quantiles]
    return places


def _samples(case: Case, frame: Frame, history: History, slot: Slot) -> dict[Arm, _Sample]:
    """Per arm; entries share their resamples, so that pairs stay pairs."""
    rng = generator(case.plan.seed, f"latency/{slot.id}")
    block_ns = case.policy.block.ns
    if slot.kind == "entry":
        rows = pair(history.exchanges, case.plan.arms, block_ns, **slot.place())
        limit_ms = case.environment.entry_edge(case.plan.entry).tolerance.timeout.ms
        weights = _weights(rows.blocks, case.policy.resamples, rng)
        count = len(np.unique(rows.blocks))
        return {arm: _Sample(rows.latency_ms(arm, limit_ms), weights, count) for arm in case.plan.arms}
    samples = {}
    for arm in case.plan.arms:
        requests = service_requests(frame, history, slot, arm)
        # A caller that gave up when its time was over waited at least that long.
        known = (requests.column("status") > 0) | gave_up(frame, requests)
        values = requests.column("duration_ms")[known].astype(float)
        blocks = (requests.column("at_ns")[known] // block_ns).astype(np.int64)
        weights = _weights(blocks, case.policy.resamples, rng)
        samples[arm] = _Sample(values, weights, len(np.unique(blocks)))
    return samples


def _weights(
    blocks: np.ndarray[Any, np.dtype[np.int64]], resamples: int, rng: np.random.Generator
) -> Weights:
    if len(blocks) == 0:
        return np.zeros((resamples, 0))
    return block_weights(blocks, resamples, rng)


def _quantile(values: Array, q: float) -> float:
    return float(weighted_quantile(values, np.ones((1, len(values))), q)[0])
