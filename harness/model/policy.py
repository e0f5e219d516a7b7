"""The policy: how much evidence is enough, and how late a replay may be. It is part of every bundle."""

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
    schedule_lag_p99: Duration = Field(
        default=Duration.of_s(0.1), description="Most lateness of 99 % of requests."
    )
    schedule_lag_max: Duration = Field(default=Duration.of_s(1), description="Most lateness of any request.")
    baseline_availability: float = Field(
        default=0.995, gt=0, le=1, description="A baseline below this proves nothing."
    )
    probe_tolerance: Duration = Field(
        default=Duration.of_s(0.05), description="How far a probed delay may be off."
    )
