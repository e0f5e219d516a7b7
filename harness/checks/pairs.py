"""Exchanges of all arms side by side: row k of one arm is the same request as row k of another.

Takes exchanges of the history, gives aligned arrays. Only requests that every arm has a row for are kept; that none is
missing is the business of the `completeness` check.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.model.history import Exchanges
from harness.model.plan import Arm


@dataclass(frozen=True)
class Paired:
    """Aligned rows; every array has one entry a request. `blocks` numbers stretches of time for the bootstrap."""

    arms: Mapping[Arm, Exchanges]
    blocks: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.blocks)

    @cached_property
    def bodies(self) -> Mapping[Arm, Sequence[Any]]:
        """Each answer parsed from JSON; None where there was none or it is no JSON."""
        return {arm: [parse_body(text) for text in rows.column("body")] for arm, rows in self.arms.items()}

    def ok(self, arm: Arm) -> npt.NDArray[np.bool_]:
        return self.arms[arm].ok()

    def latency_ms(self, arm: Arm, unanswered_ms: float) -> npt.NDArray[np.float64]:
        """From schedule to answer; a request without an answer counts as long as the client waited."""
        latency: npt.NDArray[np.float64] = self.arms[arm].latency_ms()
        return np.where(np.isnan(latency) | ~self.ok(arm), np.fmax(latency, unanswered_ms), latency)

    def field(self, arm: Arm, path: str) -> list[Any]:
        """One field of every answer, None where it is not there."""
        return [field_of(body, path) for body in self.bodies[arm]]

    def take(self, mask: npt.NDArray[np.bool_]) -> Paired:
        """The requests where `mask` is true, in every arm."""
        indices = np.flatnonzero(mask)
        arms = {arm: Exchanges(rows.table.take(indices)) for arm, rows in self.arms.items()}
        return Paired(arms, self.blocks[indices])


def pair(exchanges: Exchanges, arms: Sequence[Arm], block_ns: int, **wanted: str | tuple[str, ...]) -> Paired:
    """Rows of the wanted unit and phases, aligned by sequence number; a request must be wanted in every arm."""
    chosen = {arm: exchanges.where(arm=arm.value, **wanted) for arm in arms}
    common: npt.NDArray[np.int64] | None = None
    for rows in chosen.values():
        seqs = rows.column("seq")
        common = np.unique(seqs) if common is None else np.intersect1d(common, seqs)
    seqs_kept = common if common is not None else np.empty(0, dtype=np.int64)
    aligned = {}
    for arm, rows in chosen.items():
        _, first = np.unique(rows.column("seq"), return_index=True)
        position = dict(zip(rows.column("seq")[first].tolist(), first.tolist(), strict=True))
        indices = np.array([position[seq] for seq in seqs_kept.tolist()], dtype=np.int64)
        aligned[arm] = Exchanges(rows.table.take(indices))
    scheduled = aligned[arms[0]].column("scheduled_ns") if len(seqs_kept) else np.empty(0, dtype=np.int64)
    return Paired(aligned, (scheduled // block_ns).astype(np.int64))


@lru_cache(maxsize=1 << 15)
def parse_body(text: str) -> Any:
    """The JSON value, or None; nobody may change it. `NaN` and `Infinity` are no JSON, though Python would read them."""
    if not text:
        return None
    try:
        return json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError):
        return None


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def field_of(body: Any, path: str) -> Any:
    """A dotted path such as `pricing.rate` into a parsed answer; None where it leads nowhere."""
    value = body
    for step in path.split("."):
        if not isinstance(value, dict) or step not in value:
            return None
        value = value[step]
    return value
