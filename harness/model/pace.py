"""How a recording is laid on time: which part of it, how fast, how many times at once and after each other, how gently.

Takes what people write under `pace:` in a scenario, or what `readiness replay` was given; `harness/recording/pace.py`
does it. In this order: the slice `from` … `to` of the recording, `times` as many clients, `loops` one after another,
`speed`, and over the whole of it the `ramp`.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from harness.model.base import Definition
from harness.model.quantities import Duration


class Pace(Definition):
    """See the module's head. The defaults change nothing."""

    speed: float = Field(
        default=1.0, gt=0, le=1000, allow_inf_nan=False, description="2 is twice as fast as recorded."
    )
    times: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="So many times the clients: copies of all of them, shifted in time, so that bursts stay bursts.",
    )
    from_: Duration = Field(
        default=Duration(0), alias="from", description="Where in the recording the slice begins."
    )
    to: Duration | None = Field(
        default=None, description="Where it ends; beyond the recording's end it is silent. Default: the end."
    )
    loops: int = Field(
        default=1, ge=1, le=10_000, description="How often the slice is repeated; each time by new clients."
    )
    ramp: Duration = Field(
        default=Duration(0),
        description="Over this time of the replay the share of clients that take part grows from none to all.",
    )
    seed: int = Field(
        default=0, description="Decides the shifts of copies and the order in which clients join."
    )

    @model_validator(mode="after")
    def _forwards(self) -> Pace:
        if self.to is not None and self.to <= self.from_:
            raise ValueError(f"the slice ends at {self.to}, before it begins at {self.from_}")
        return self

    @property
    def changes_nothing(self) -> bool:
        return self.model_copy(update={"seed": 0}) == Pace()
