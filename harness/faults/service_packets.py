"""What the plane sends to a service's address, counted (and refused, for a service that is dead).

Shared by the faults of the container level: the harm itself is done by the driver, but that traffic met it can only be
seen here.
"""

from __future__ import annotations

from harness.faults.base import FaultContext, FaultError
from harness.plane.packets import CalleeRule
from harness.plane.routes import callee_addresses


class ServicePackets:
    """A rule on everything that goes from the plane to one service, whichever edge it is on."""

    def __init__(self, context: FaultContext) -> None:
        """Raises FaultError when the service does not run, or no edge leads to it: nobody would notice the fault."""
        status = context.driver.status(context.target_container)
        if status.state != "running":
            raise self._no_use(context, f"is {status.state}", "see its log in the report")
        called = set(callee_addresses(context.plane.routes)) & set(status.networks.values())
        if not called:
            raise self._no_use(context, "is called by nobody", "aim the fault at a service that others call")
        self._rules = context.plane.packets
        self._address = called.pop()
        self._before = self._rules.callee_packets(self._address)

    def set(self, rule: CalleeRule) -> None:
        self._rules.set_callee(self._address, rule)

    def packets(self) -> int:
        """Hit by the rule since this was made."""
        return self._rules.callee_packets(self._address) - self._before

    def clear(self) -> None:
        """Idempotent."""
        self._rules.clear_callee(self._address)

    def is_clear(self) -> bool:
        return self._rules.callee_is_clear(self._address)

    @staticmethod
    def _no_use(context: FaultContext, what: str, fix: str) -> FaultError:
        return FaultError(f"window {context.window.name}: {context.window.service} {what}", fix)
