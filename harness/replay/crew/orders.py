"""What the run's side of a crew and its processes (master, workers) say to each other: one JSON object a line.

The run's side (`crew.ReplayCrew`, or `remote.serve` on another machine) starts a process, gives it its set-up as the
first line of standard input, and hears from it on standard output. Stands on the standard library alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from harness.replay.protocol import Order


@dataclass(frozen=True)
class Rendering:
    """How a worker with a copy of its own makes requests of exchanges: those options of `ReplayJob`."""

    seed: int
    recording_digest: str
    recording_from_ns: int
    host_header: Literal["target", "recorded"]
    http1: bool


@dataclass(frozen=True)
class Part:
    """Which exchanges a unit replays, for workers that read them from a copy of their own.

    `recording` is the digest of the recording as it lies in its folder, `pace` how it is laid on time (`Pace` as JSON;
    empty: as recorded), and `sessions` the rules by which sessions are kept up (`SessionRules` as JSON; empty: none).
    """

    recording: str
    first_seq: int
    stop_seq: int
    pace: str = ""
    sessions: str = ""


@dataclass(frozen=True)
class MasterSetup:
    """To the master: listen on `bind` (a free port when `port` is 0) until `expected` workers are there."""

    bind: str
    port: int
    token: str
    expected: int


@dataclass(frozen=True)
class Bound:
    """From the master: this is where workers find it."""

    port: int


@dataclass(frozen=True)
class Joined:
    """From the master: a worker is there, and its clock was measured."""

    name: str
    pid: int
    host: str
    missing: int


@dataclass(frozen=True)
class Unit:
    """To the master: replay one unit. `order` is the `Order` of a lone child; its requests file is not looked at.

    `rendering` and `part` tell workers with a copy of their own which requests those are; without `part` there are none.
    """

    order: Order
    rendering: Rendering
    part: Part | None
    last_moment_ns: int


@dataclass(frozen=True)
class WorkerFigures:
    """What the master knows of one worker in one unit; the clock's figures are theirs minus ours, in ns.

    `finished` is False, and `why` says it, for one that was lost. `resources` are those of its `Reply`.
    """

    name: str
    pid: int
    host: str
    offset_ns: int
    offset_uncertainty_ns: int
    round_trip_ns: int
    drift_ns: int
    same_clock: bool
    finished: bool = False
    why: str = ""
    requests: str = ""
    resources: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class UnitOver:
    """From the master: every worker's share is over, or (`reason`) the unit failed. Workers in order of their names."""

    number: int
    reason: str
    workers: tuple[WorkerFigures, ...]


@dataclass(frozen=True)
class Gone:
    """To the master: the process of a worker on this machine has ended."""

    name: str
    why: str


@dataclass(frozen=True)
class WorkerSetup:
    """To a worker: where its master is. `recording` is the digest of the copy its feeder holds (empty: the master's own
    machine feeds it), `name` what it is called in messages and figures."""

    host: str
    port: int
    token: str
    name: str
    recording: str
    within_s: float


@dataclass(frozen=True)
class Welcomed:
    """From a worker: its master knows it."""


@dataclass(frozen=True)
class Wanted:
    """From a worker: it has a share to send (the fields are those of `messages.Assign`), and wants its requests."""

    worker: int
    workers: int
    order: Order
    rendering: Rendering
    part: Part | None


@dataclass(frozen=True)
class Feeding:
    """To a worker: the order of the share that it wanted, with its files; the requests come from now on."""

    order: Order


@dataclass(frozen=True)
class Fed:
    """To a worker: all requests of its share were handed over; `requests` is their digest."""

    number: int
    requests: str


@dataclass(frozen=True)
class Unfed:
    """To a worker: its share cannot be handed over."""

    number: int
    why: str


@dataclass(frozen=True)
class ShareOver:
    """From a worker: its share is over, well or (`reason`) not."""

    number: int
    reason: str


@dataclass(frozen=True)
class Ended:
    """From a worker, its last word: dismissed by its master (`reason` empty), or why it gave up."""

    reason: str


Line = (
    MasterSetup | Bound | Joined | Unit | UnitOver | Gone
    | WorkerSetup | Welcomed | Wanted | Feeding | Fed | Unfed | ShareOver | Ended
)  # fmt: skip
_KINDS: dict[str, type[Line]] = {kind.__name__: kind for kind in Line.__args__}


def encode_line(line: Line) -> str:
    """One line, with its end."""
    return json.dumps({"kind": type(line).__name__, **asdict(line)}) + "\n"


def decode_line(text: str) -> Line:
    """Raises ValueError, TypeError or KeyError for anything that `encode_line` did not write."""
    fields = json.loads(text)
    return _KINDS[fields.pop("kind")](**typed(fields))


def typed(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields as JSON has them, those that hold dataclasses made such again. Raises TypeError."""
    if "order" in fields:
        order = fields["order"]
        fields["order"] = Order(**{**order, "fields": tuple(order["fields"])})
    if "rendering" in fields:
        fields["rendering"] = Rendering(**fields["rendering"])
    if fields.get("part") is not None:
        fields["part"] = Part(**fields["part"])
    if "workers" in fields and isinstance(fields["workers"], list):
        fields["workers"] = tuple(WorkerFigures(**worker) for worker in fields["workers"])
    return fields
