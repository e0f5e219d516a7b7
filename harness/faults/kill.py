"""Kill: the service's process dies at once, as in a crash, and is started again when the window ends."""

from __future__ import annotations

from collections.abc import Mapping

from harness.faults.base import Applied, Fault, FaultContext, healed_on_failure
from harness.faults.service_packets import ServicePackets
from harness.plane.packets import CalleeRule


class Killed:
    """A dead container. Hits are packets towards it that were refused."""

    def __init__(self, context: FaultContext) -> None:
        self._driver = context.driver
        self._container = context.target_container
        self._packets = ServicePackets(context)

    def harm(self) -> None:
        """A dead container's address goes silent; a crashed process's host refuses. The rule makes it the latter."""
        self._driver.kill(self._container)
        self._packets.set(CalleeRule.REFUSED)

    def hits(self) -> Mapping[str, int]:
        return {"packets": self._packets.packets()}

    def heal(self) -> None:
        self._driver.start_again(self._container)
        self._packets.clear()

    def is_healed(self) -> bool:
        return self._driver.status(self._container).state == "running" and self._packets.is_clear()


class Kill(Fault):
    """See the module's head. Healed means started: how soon it serves again is what recovery measures."""

    name = "kill"
    summary = "the service crashes and is started again when the window ends"
    level = "containers"
    targets = "service"
    cuts = True

    def apply(self, context: FaultContext) -> Applied:
        applied = Killed(context)
        with healed_on_failure(applied):
            applied.harm()
        return applied
