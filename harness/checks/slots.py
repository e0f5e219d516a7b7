"""Where a measurement is taken: an entry or a service, in one phase of the run.

`steady` gathers the steady phase of all units; `fault` and `recovery` are one slot for each fault unit. A service that no
request can reach while a fault is on has no slot there: nothing could be measured. Nor has a service that was taken down
itself while it comes back: how long that takes is for the `recovery` check, which holds it to what its edges claim.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from harness.checks.base import EDGES_FILE, EXCHANGES_FILE, Frame, pointer
from harness.model.findings import EvidencePointer
from harness.model.history import EdgeRequests, History
from harness.model.plan import Arm, Phase, Unit

Mask = npt.NDArray[np.bool_]
PATIENCE = 0.9
"""Share of its timeout after which a caller has given up: its clock and the plane's do not start at once."""

PhaseName = Literal["steady", "fault", "recovery"]


@dataclass(frozen=True)
class Slot:
    """One place and phase. `unit` is None for the steady phase of the whole run."""

    kind: Literal["entry", "service"]
    subject: str
    phase: PhaseName
    unit: Unit | None

    @property
    def id(self) -> str:
        place = f"{self.kind}:{self.subject}/{self.phase}"
        return place if self.unit is None else f"{place}:{self.unit.name}"

    @property
    def when(self) -> str:
        """For sentences."""
        if self.unit is None:
            return "in steady load"
        return f"during {self.unit.name}" if self.phase == "fault" else f"after {self.unit.name}"

    @property
    def unit_name(self) -> str:
        return self.unit.name if self.unit is not None else ""

    def place(self) -> dict[str, str | tuple[str, ...]]:
        """Column values that select this slot's rows."""
        if self.unit is None:
            return {"phase": Phase.STEADY.value}
        return {"phase": self.phase, "unit": self.unit.name}


def slots(frame: Frame, kinds: Sequence[str], phases: Sequence[str]) -> tuple[Slot, ...]:
    """All slots of these kinds (`entries`, `services`) and phases."""
    found: list[Slot] = []
    places: list[tuple[PhaseName, Unit | None]] = [("steady", None)] if "steady" in phases else []
    during: tuple[PhaseName, ...] = ("fault", "recovery")
    places += [(phase, unit) for unit in frame.fault_units() for phase in during if phase in phases]
    for phase, unit in places:
        if "entries" in kinds:
            found.append(Slot("entry", frame.entry, phase, unit))
        if "services" in kinds:
            found += [Slot("service", service, phase, unit) for service in _measurable(frame, phase, unit)]
    return tuple(found)


def _measurable(frame: Frame, phase: PhaseName, unit: Unit | None) -> tuple[str, ...]:
    """Services whose requests can be judged in this phase of this unit."""
    services = frame.http_services()
    if unit is None or unit.window is None:
        return services
    if phase == "recovery":
        return tuple(service for service in services if service != unit.window.service)
    served = frame.served(unit)
    return tuple(service for service in services if service in served)


def service_requests(frame: Frame, history: History, slot: Slot, arm: Arm) -> EdgeRequests:
    """Requests that reached a service in a slot; those that a fault answered in its place are left out."""
    edges = tuple(edge.name for edge in frame.http_edges() if edge.callee == slot.subject)
    return history.edge_requests.where(arm=arm.value, edge=edges, fault="", **slot.place())


def gave_up(frame: Frame, requests: EdgeRequests) -> Mask:
    """Requests whose caller went away without an answer after all the time that its edge claims to wait.

    HAProxy's session state begins with C when the caller ended it. A caller that went away earlier leaves no answer to
    judge; one that waited in vain was kept waiting.
    """
    limits_ms = {edge.name: edge.tolerance.timeout.ms for edge in frame.environment.all_edges()}
    limit_ms = np.array([limits_ms[edge] for edge in requests.column("edge")], dtype=float)
    waited: Mask = requests.column("duration_ms") >= PATIENCE * limit_ms
    return waited & left_without_answer(requests)


def left_without_answer(requests: EdgeRequests) -> Mask:
    """Requests whose caller went away before any answer began."""
    left = np.array([text.startswith("C") for text in requests.column("termination")], dtype=bool)
    unanswered: Mask = left & ~(requests.column("status") > 0)
    return unanswered


def slot_pointer(slot: Slot, rows: int, arm: Arm = Arm.CANDIDATE) -> EvidencePointer:
    """Where the rows of a slot lie in the bundle."""
    file = EXCHANGES_FILE if slot.kind == "entry" else EDGES_FILE
    return pointer(file, rows, arm=arm.value, **{name: str(value) for name, value in slot.place().items()})
