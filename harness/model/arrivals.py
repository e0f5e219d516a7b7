"""When the requests of a married recording arrive: what its definition says about the trace of arrival times.

Takes what `arrivals:` says, gives frozen values; `harness/recording/arrivals.py` reads the file. Nothing here does I/O.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from harness.model.base import Definition

NS_PER_UNIT = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
"""Units that the name of a column of arrival times may end in, after an underscore."""


class Arrivals(Definition):
    """One column of a CSV file with a header line: offsets from the first arrival, or dates with times of day."""

    file: str = Field(
        description="CSV file, relative to the file that names it; lines starting with # are skipped."
    )
    times: Literal["offsets", "absolute"] = Field(
        default="offsets",
        description="absolute: ISO 8601, up to nanoseconds, UTC where no zone is named; the earliest is the start.",
    )
    column: str = Field(
        description="Column of times; the name of one with offsets ends in the unit: _ns, _us, _ms or _s."
    )
    order: Literal["ascending", "any"] = Field(
        default="ascending", description="any: the file need not be in order of time; it is sorted."
    )
    speed: float = Field(
        default=1.0, gt=0, le=1000, allow_inf_nan=False, description="2 is twice as fast as recorded."
    )

    @field_validator("column")
    @classmethod
    def _unit_in_name(cls, column: str, info: ValidationInfo) -> str:
        named = "_" in column and column.rpartition("_")[2] in NS_PER_UNIT
        if info.data.get("times") == "offsets" and not named:
            raise ValueError(
                f"the name of column {column!r} does not say its unit; end it in _ns, _us, _ms or _s "
                "(or say `times: absolute` where it holds dates)"
            )
        return column

    @property
    def column_unit_ns(self) -> int:
        """Nanoseconds in one unit of a column of offsets."""
        return NS_PER_UNIT[self.column.rpartition("_")[2]]
