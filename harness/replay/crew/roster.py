"""What a crew's master knows of its workers and of the units that they are sending. Does nothing of its own accord."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO

from gevent.event import Event

from harness.replay.crew.clock import ClockOffset
from harness.replay.crew.messages import Finished, Hello, Seal
from harness.replay.crew.orders import Unit, WorkerFigures
from harness.replay.protocol import Reply


@dataclass
class Worker:
    """One worker as the master knows it. `lost` says why it is not counted on any more."""

    node_id: str
    hello: Hello
    seal: Seal
    clock: ClockOffset
    lost: str = ""

    def __str__(self) -> str:
        return f"{self.hello.name} (process {self.hello.pid} on {self.hello.host})"


@dataclass
class Share:
    """One worker's part of a unit."""

    worker: Worker
    finished: Finished | None = None
    stopped: bool = False


@dataclass
class UnderWay:
    """One unit that is being replayed."""

    unit: Unit
    shares: dict[str, Share]
    file: IO[bytes]
    changed: Event = field(default_factory=Event)
    trouble: str = ""

    @property
    def number(self) -> int:
        return self.unit.order.number

    def over(self) -> bool:
        """Every share has been reported."""
        return all(share.finished is not None for share in self.shares.values())


def figures_of(share: Share) -> WorkerFigures:
    """For the run's side and its report."""
    worker, clock = share.worker, share.worker.clock
    reply = share.finished.reply if share.finished is not None else Reply(0, "failed")
    return WorkerFigures(
        name=worker.hello.name,
        pid=worker.hello.pid,
        host=worker.hello.host,
        offset_ns=clock.now.offset_ns if clock.now else 0,
        offset_uncertainty_ns=clock.now.uncertainty_ns if clock.now else -1,
        round_trip_ns=clock.best_round_trip_ns,
        drift_ns=clock.drift_ns,
        same_clock=clock.same_clock,
        finished=reply.kind == "done" and not worker.lost and not share.stopped,
        why=worker.lost or reply.reason or ("stopped, for the unit had failed" if share.stopped else ""),
        requests=share.finished.requests if share.finished is not None else "",
        resources=_on_our_clock(reply.resources, clock.correction_ns),
    )


def _on_our_clock(resources: Mapping[str, float], correction_ns: int) -> dict[str, float]:
    return {
        name: value - correction_ns
        if name.startswith("in_flight_limit_") and name.endswith("_ns") and value >= 0
        else value
        for name, value in resources.items()
    }
