"""Pause: the service freezes; connecting to it works, no answer comes, and afterwards it goes on where it was."""

from __future__ import annotations

from collections.abc import Mapping

from harness.faults.base import Applied, Fault, FaultContext, healed_on_failure
from harness.faults.service_packets import ServicePackets
from harness.plane.packets import CalleeRule


class Paused:
    """A frozen container. Hits are packets that were sent to it meanwhile."""

    def __init__(self, context: FaultContext) -> None:
        self._driver = context.driver
        self._container = context.target_container
        self._packets = ServicePackets(context)

    def harm(self) -> None:
        self._driver.pause(self._container)
        self._packets.set(CalleeRule.COUNTED)

    def hits(self) -> Mapping[str, int]:
        return {"packets": self._packets.packets()}

    def heal(self) -> None:
        self._driver.unpause(self._container)
        self._packets.clear()

    def is_healed(self) -> bool:
        return self._driver.status(self._container).state == "running" and self._packets.is_clear()


class Pause(Fault):
    """See the module's head. Requests that waited are answered when it goes on, if their callers still wait."""

    name = "pause"
    summary = "the service freezes: it accepts connections and answers nothing"
    level = "containers"
    targets = "service"
    cuts = True

    def apply(self, context: FaultContext) -> Applied:
        applied = Paused(context)
        with healed_on_failure(applied):
            applied.harm()
        return applied
