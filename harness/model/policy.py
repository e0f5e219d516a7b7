"""The policy: how much evidence is enough, and how faithful a replay must be. It is part of every bundle."""

from __future__ import annotations

from pydantic import Field

from harness.model.base import Definition, Name
from harness.model.quantities import Duration


class Policy(Definition):
    """Limits that hold for every change; a run without enough evidence is UNKNOWN, whatever it looked like."""

    policy: Name = "default"
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="Level of every interval.")
    resamples: int = Field(default=2000, ge=200, le=100_000, description="Bootstrap resamples.")
    block: Duration = Field(
        default=Duration.of_s(0.5), description="Bootstrap block: requests this close share luck."
    )
    minimum_samples: int = Field(default=100, ge=10, description="Least answers per arm and steady finding.")
    minimum_fault_samples: int = Field(
        default=40, ge=10, description="Least answers per arm in one fault or recovery phase."
    )
    minimum_labelled: int = Field(default=200, ge=10, description="Least labelled decisions per arm.")
    minimum_group: int = Field(
        default=20, ge=5, description="Least labelled decisions per protected group and arm."
    )
    schedule_lag_p50: Duration = Field(
        default=Duration.of_s(0.025), description="Most lateness of half of all requests."
    )
    schedule_lag_p90: Duration = Field(
        default=Duration.of_s(0.05), description="Most lateness of 90 % of requests."
    )
    schedule_lag_p99: Duration = Field(
        default=Duration.of_s(0.1), description="Most lateness of 99 % of requests."
    )
    schedule_lag_max: Duration = Field(default=Duration.of_s(1), description="Most lateness of any request.")
    rate_deviation: float = Field(
        default=0.25,
        ge=0,
        allow_inf_nan=False,
        description="Most that any one second's rate is off, beyond what `schedule_lag_p99` explains, as a share.",
    )
    mix_distance: float = Field(
        default=0.02, ge=0, le=1, description="Most share of requests that are missing from their route."
    )
    burstiness_10ms: float = Field(
        default=3,
        ge=1,
        allow_inf_nan=False,
        description="Most factor between the indices of dispersion as due and as sent, in bins of 10 ms.",
    )
    burstiness_100ms: float = Field(default=2, ge=1, allow_inf_nan=False, description="The same at 100 ms.")
    burstiness_1s: float = Field(default=1.5, ge=1, allow_inf_nan=False, description="The same at 1 s.")
    gap_distance: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="Most Kolmogorov-Smirnov distance between the gaps as due and as sent.",
    )
    gap_slack: Duration = Field(
        default=Duration.of_s(0.005),
        description="Gaps that differ by less than this count as the same there.",
    )
    order_violations: float = Field(
        default=0,
        ge=0,
        le=1,
        description="Most share of requests sent before an earlier one of their client.",
    )
    unsent: float = Field(default=0, ge=0, le=1, description="Most share of requests that were not sent.")
    fallen_out: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Most share of requests outside faults whose client fell out: an earlier answer failed it.",
    )
    fallen_out_excess: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Most share of requests by which an arm's fallen out may exceed the baseline's, faults included.",
    )
    worse_than_recorded: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Most share of requests that succeeded when recorded and fail in the baseline, outside faults.",
    )
    shifted: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Most share of requests outside faults that waited for an answer longer than `shifted_by`.",
    )
    shifted_by: Duration = Field(
        default=Duration.of_s(0.1), description="Waiting less than this does not count as shifted."
    )
    in_flight_limit_hits: int = Field(
        default=0,
        ge=0,
        description="Most times that a request met the generator's limit of requests in flight.",
    )
    generator_cpu: float = Field(
        default=0.9, gt=0, le=1, description="Most share of one processor that a sending process used."
    )
    clock_uncertainty: Duration = Field(
        default=Duration.of_s(0.01), description="How little may be known about the clock of another machine."
    )
    baseline_availability: float = Field(
        default=0.995, gt=0, le=1, description="A baseline below this proves nothing."
    )
    probe_tolerance: Duration = Field(
        default=Duration.of_s(0.05), description="How far a probed delay may be off."
    )
