"""The plan: everything a run will do, fixed before anything starts, and part of the signed evidence.

A `Plan` is compiled from the definitions by `harness/prepare.py`. It lists the units of the timeline, which arms take
each unit in which turn, every check with its parameters, and the id of every finding that must exist at the end, so
that a check that never ran is visible. Times are nanoseconds from the start of the unit unless said otherwise.
"""

from __future__ import annotations

import enum
import json
from typing import Any, Literal

from pydantic import Field

from harness.model.base import Definition


class Arm(enum.StrEnum):
    """One running stack. `control` is a second baseline: what it differs by is noise."""

    BASELINE = "baseline"
    CONTROL = "control"
    CANDIDATE = "candidate"


class Phase(enum.StrEnum):
    """What an exchange met, by its scheduled time. `switching` is while a fault is being applied or healed."""

    WARMUP = "warmup"
    STEADY = "steady"
    FAULT = "fault"
    SWITCHING = "switching"
    RECOVERY = "recovery"


Level = Literal["packets", "streams", "requests", "containers"]


class FaultWindow(Definition):
    """One fault on one target for one span of a unit."""

    name: str = Field(description="Unique within the plan; the name of its unit.")
    fault: str = Field(description="Registered name of the fault, such as `latency`.")
    level: Level
    edge: str | None = None
    service: str | None = None
    parameters: str = Field(
        default="{}", description="The fault's own parameters, validated, as canonical JSON."
    )
    start_ns: int
    stop_ns: int
    cuts: bool = Field(description="True when no request gets through to the target while the fault is on.")

    @property
    def target(self) -> str:
        """The edge's or service's name."""
        return self.edge or self.service or ""

    def parameter_values(self) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(self.parameters)
        return values


class Unit(Definition):
    """One stretch of the timeline; it replays the exchanges `first_seq <= seq < stop_seq` of the recording."""

    name: str
    warmup_ns: int
    length_ns: int
    recording_from_ns: int = Field(description="Offset in the recording at which this unit's slice starts.")
    first_seq: int
    stop_seq: int
    window: FaultWindow | None = None

    @property
    def exchanges(self) -> int:
        return self.stop_seq - self.first_seq


class Turn(Definition):
    """One unit, run by these arms at the same time."""

    turn: int
    unit: str
    arms: tuple[Arm, ...]


class PlannedCheck(Definition):
    """A check with its validated parameters (canonical JSON) and the findings it owes."""

    check: str
    origin: Literal["evidence", "scenario", "change"]
    parameters: str = "{}"
    prefix: str = Field(
        default="", description="Before each of its findings' ids, so that no two checks share one."
    )
    findings: tuple[str, ...] = Field(description="Ids of the findings that this check must produce.")


class Plan(Definition):
    """What a run will do; see the module's head."""

    change: str
    scenario: str
    environment: str
    entry: str
    seed: int
    mode: Literal["together", "interleaved"]
    mode_reason: str
    arms: tuple[Arm, ...]
    units: tuple[Unit, ...]
    turns: tuple[Turn, ...]
    checks: tuple[PlannedCheck, ...]
    recording_digest: str
    dataset_digest: str | None = None
    workers: int = Field(default=1, ge=1, description="How many processes send the load of an arm.")

    def unit(self, name: str) -> Unit:
        """Raises KeyError for an unknown unit."""
        return {unit.name: unit for unit in self.units}[name]

    def windows(self) -> tuple[FaultWindow, ...]:
        return tuple(unit.window for unit in self.units if unit.window is not None)
