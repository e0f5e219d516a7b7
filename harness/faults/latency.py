"""Latency: every answer on the edge comes later by the same time, on new and live connections."""

from __future__ import annotations

from pydantic import Field, field_validator

from harness.faults.base import Applied, Fault, FaultContext
from harness.faults.edge_stream import EdgeStream
from harness.model.base import Definition
from harness.model.quantities import Duration

MOST = Duration.of_s(60)


class LatencyParameters(Definition):
    delay: Duration = Field(description="Added to every answer on the edge, in whole milliseconds.")

    @field_validator("delay")
    @classmethod
    def _sensible(cls, delay: Duration) -> Duration:
        if not Duration(1_000_000) <= delay <= MOST or delay.ns % 1_000_000:
            raise ValueError(f"{delay} is not a delay between 1ms and {MOST} in whole milliseconds")
        return delay


class Latency(Fault):
    """See the module's head. No jitter: the arms would otherwise not meet the same."""

    name = "latency"
    summary = "answers come later by a fixed time"
    level = "streams"
    targets = "edge"
    cuts = False
    parameters = LatencyParameters

    def apply(self, context: FaultContext) -> Applied:
        delay = context.parameters(LatencyParameters).delay
        return EdgeStream.set(context, "latency", ("downstream",), latency=round(delay.ms), jitter=0)
