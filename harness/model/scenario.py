"""The Scenario: environment + dataset + recording + fault plan + checks.

Fault and check parameters are open here (`extra="allow"`), because other packages may add faults and checks; they
are validated against the registered fault or check when the scenario is compiled (`harness/prepare.py`), with the same
messages and positions.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Discriminator, Field, Tag

from harness.model.base import Definition, Name
from harness.model.pace import Pace
from harness.model.quantities import Duration


class CheckRequest(Definition):
    """Ask for a registered check, with its parameters as further keys."""

    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True)

    check: str

    def parameters(self) -> dict[str, Any]:
        """The keys that belong to the check itself, as written."""
        return dict(self.model_extra or {})


class SteadyUnit(Definition):
    """A stretch of load without any fault."""

    steady: Name
    duration: Duration = Field(alias="for")


class FaultUnit(Definition):
    """A fault on one target, with calm load before and its recovery after it; further keys are the fault's own."""

    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True)

    fault: str
    name: Name | None = None
    edge: str | None = None
    service: str | None = None
    before: Duration = Field(
        default=Duration(0), description="Calm load after the warm-up, before the fault."
    )
    duration: Duration = Field(alias="for")
    recovery: Duration

    def parameters(self) -> dict[str, Any]:
        """The keys that belong to the fault itself, as written."""
        return dict(self.model_extra or {})


def _unit_kind(value: Any) -> str:
    if isinstance(value, dict):
        return "steady" if "steady" in value else "fault"
    return "steady" if isinstance(value, SteadyUnit) else "fault"


TimelineUnit = Annotated[
    Annotated[SteadyUnit, Tag("steady")] | Annotated[FaultUnit, Tag("fault")], Discriminator(_unit_kind)
]


class Scenario(Definition):
    """What to try, on what, with which load, and how to judge it. Paths are relative to the scenario's file."""

    scenario: Name
    description: str = ""
    environment: str
    dataset: str | None = Field(
        default=None, description="Dataset definition; none for a graph without data."
    )
    recording: str = Field(description="Recording folder or file.")
    pace: Pace = Field(
        default=Pace(), description="How the recording is laid on time: slice, speed, copies, loops, ramp."
    )
    workers: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Processes that send each arm's load; clients are shared out among them.",
    )
    entry: Name = Field(default="api", description="Entry that the recording is sent to.")
    warmup: Duration = Field(
        default=Duration.of_s(1), description="Head of every unit that no check looks at."
    )
    timeline: tuple[TimelineUnit, ...] = Field(min_length=1)
    checks: tuple[CheckRequest, ...] = Field(min_length=1)
    answers: str | None = Field(
        default=None,
        description="JSON Schema of a good answer, relative to this file; the contract check uses it.",
    )
