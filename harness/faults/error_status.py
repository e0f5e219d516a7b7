"""Error status: a share of the requests on an http edge is answered with an error in the callee's place."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, field_validator

from harness.faults.base import Applied, Fault, FaultContext, healed_on_failure
from harness.model.base import Definition
from harness.plane.client import Plane
from harness.plane.haproxy import DRAWS
from harness.plane.requests import RequestRule
from harness.plane.routes import EdgeRoute


class ErrorStatusParameters(Definition):
    status: int = Field(ge=400, le=599, description="Status of the answer, such as 503.")
    percent: float = Field(default=100, gt=0, le=100, description="Share of the requests, in steps of 0.01.")
    route: str = Field(
        default="", pattern=r"^(/[^\s:;\\\"]*)?$", description="Only paths that begin with this."
    )

    @field_validator("percent")
    @classmethod
    def _in_steps(cls, percent: float) -> float:
        if abs(percent * DRAWS / 100 - round(percent * DRAWS / 100)) > 1e-6:
            raise ValueError(f"{percent} has more than two decimal places")
        return percent


class ErrorStatusApplied:
    """A request rule on one edge. Hits are HAProxy's own counters of requests matched and answered."""

    def __init__(self, plane: Plane, route: EdgeRoute) -> None:
        self._plane = plane
        self._route = route

    def hits(self) -> Mapping[str, int]:
        counts = self._plane.requests.counts(self._route)
        return {
            "matched": counts.matched,
            "answered": counts.answered,
            "without_id": counts.without_id,
        }

    def heal(self) -> None:
        self._plane.requests.clear(self._route)

    def is_healed(self) -> bool:
        return self._plane.requests.is_clear(self._route)


class ErrorStatus(Fault):
    """See the module's head. A retry carries the same request id, so it is answered alike."""

    name = "error_status"
    summary = "a share of the requests is answered with an error status"
    level = "requests"
    targets = "edge"
    cuts = False
    protocols = ("http",)
    parameters = ErrorStatusParameters

    def apply(self, context: FaultContext) -> Applied:
        wanted = context.parameters(ErrorStatusParameters)
        rule = RequestRule(
            window=context.window.name,
            status=wanted.status,
            limit=round(wanted.percent * DRAWS / 100),
            route=wanted.route,
        )
        applied = ErrorStatusApplied(context.plane, context.route)
        with healed_on_failure(applied):
            context.plane.requests.set(context.route, rule)
        return applied
