"""What is in a stored recording, for people: counts by route, status, method, host and client, and the rate over time.

Takes a `StoredRecording`, gives an `Overview`. One pass, a few columns; the offsets of all exchanges are held.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from harness.recording.sessions.rules import SessionRules, load_rules
from harness.recording.store import StoredRecording

COLUMNS = ("route", "status", "method", "host", "client")


@dataclass(frozen=True)
class Overview:
    """Counts by value, the most frequent first. `offsets_ns`: every exchange's."""

    recording: StoredRecording
    offsets_ns: npt.NDArray[np.int64]
    routes: Counter[str]
    statuses: Counter[int]
    methods: Counter[str]
    hosts: Counter[str]
    clients: Counter[str]
    sessions: SessionRules | None

    def rate(self, bins: int) -> tuple[npt.NDArray[np.float64], float]:
        """Exchanges a second in each of so many equal stretches, and how many seconds each takes."""
        length_ns = max(self.recording.length_ns, 1)
        places = np.minimum(self.offsets_ns.astype(np.float64) * (bins / length_ns), bins - 1).astype(
            np.int64
        )
        step_s = length_ns / bins / 1e9
        return np.bincount(places, minlength=bins) / step_s, step_s

    def steady_rate(self, most: int) -> tuple[npt.NDArray[np.float64], int]:
        """Exchanges a second in at most so many stretches, and how many ns each takes: whole ticks of the clock.

        Stretches of a fraction of a tick, or of one tick here and two there, would show peaks where there are none.
        """
        length_ns = max(self.recording.length_ns, 1)
        tick_ns = max(int(np.gcd.reduce(self.offsets_ns)), 1) if len(self.offsets_ns) else 1
        step_ns = tick_ns * -(-length_ns // (tick_ns * most))
        counts = np.bincount(self.offsets_ns // step_ns, minlength=-(-length_ns // step_ns))
        return counts / (step_ns / 1e9), step_ns

    @property
    def most_in_a_second(self) -> int:
        """The most exchanges of one second, counted from the start."""
        if not len(self.offsets_ns):
            return 0
        return int(np.unique(self.offsets_ns // 1_000_000_000, return_counts=True)[1].max())


def overview(recording: StoredRecording) -> Overview:
    """Raises DefinitionError for session rules that cannot be read."""
    counts: dict[str, Counter[str | int]] = {name: Counter() for name in COLUMNS}
    offsets = []
    for batch in recording.batches(("at_ns", *COLUMNS)):
        offsets.append(batch.column("at_ns").to_numpy())
        for name in COLUMNS:
            counts[name].update(_counted(batch.column(name)))
    return Overview(
        recording=recording,
        offsets_ns=np.concatenate(offsets) if offsets else np.empty(0, np.int64),
        routes=counts["route"],  # type: ignore[arg-type]
        statuses=counts["status"],  # type: ignore[arg-type]
        methods=counts["method"],  # type: ignore[arg-type]
        hosts=counts["host"],  # type: ignore[arg-type]
        clients=counts["client"],  # type: ignore[arg-type]
        sessions=load_rules(recording.sessions_path) if recording.sessions_path is not None else None,
    )


def _counted(column: pa.Array) -> dict[str | int, int]:
    counted = column.value_counts()
    return dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True))
