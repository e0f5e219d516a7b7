"""Turn a scenario's timeline into units, and units into turns. Pure: definitions in, data out.

Arms take the same units with the same exchanges. Where the machine has room for all of them they run each unit
together; otherwise they take it in turn, in an order that rotates from unit to unit, so that the machine's drift falls
on all arms alike. Whole timelines one after another do not exist here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from harness.model.environment import Environment
from harness.model.plan import Arm, FaultWindow, Turn, Unit
from harness.model.scenario import FaultUnit, Scenario

PLANE_CPUS = 0.5
"""CPU that the plane of one arm may need; it has no limit, as a starved plane would be a fault nobody asked for."""
GENERATOR_CPUS = 0.5
PLANE_MEMORY_BYTES = 128 * 2**20
GENERATOR_MEMORY_BYTES = 256 * 2**20

Mode = Literal["together", "interleaved"]


@dataclass(frozen=True)
class Machine:
    """What this machine offers to the arms."""

    cpus: int
    memory_bytes: int


def choose_mode(environment: Environment, arms: int, machine: Machine, workers: int = 1) -> tuple[Mode, str]:
    """Together when the limits of all arms fit beside their planes and generators; the reason goes into the report.

    `workers`: how many processes send an arm's load.
    """
    limits = [service.limits for service in environment.services.values()]
    cpus = arms * (sum(limit.cpus for limit in limits) + PLANE_CPUS + workers * GENERATOR_CPUS)
    memory = arms * (
        sum(limit.memory.bytes for limit in limits) + PLANE_MEMORY_BYTES + workers * GENERATOR_MEMORY_BYTES
    )
    have = f"{machine.cpus} CPUs and {machine.memory_bytes / 2**30:.1f} GiB"
    need = f"{arms} arms need {cpus:.1f} CPUs and {memory / 2**30:.1f} GiB"
    if cpus <= machine.cpus and memory <= machine.memory_bytes:
        return "together", f"{need}, this machine has {have}"
    return "interleaved", f"{need}, this machine has {have}: the arms take each unit in turn"


def lay_units(
    scenario: Scenario, offsets_ns: npt.ArrayLike, windows: Sequence[FaultWindow | None]
) -> tuple[Unit, ...]:
    """Cut the recording along the timeline: unit k replays the stretch that its place in the timeline covers.

    `offsets_ns` are the exchanges' times, ascending; `windows` one item per unit of the timeline.
    """
    units = []
    from_ns = 0
    times_ns = np.asarray(offsets_ns, np.int64)
    for index, (item, window) in enumerate(zip(scenario.timeline, windows, strict=True)):
        length_ns = unit_length_ns(scenario, index)
        units.append(
            Unit(
                name=unit_name(scenario, index),
                warmup_ns=scenario.warmup.ns,
                length_ns=length_ns,
                recording_from_ns=from_ns,
                first_seq=int(np.searchsorted(times_ns, from_ns)),
                stop_seq=int(np.searchsorted(times_ns, from_ns + length_ns)),
                window=window if isinstance(item, FaultUnit) else None,
            )
        )
        from_ns += length_ns
    return tuple(units)


def unit_name(scenario: Scenario, index: int) -> str:
    """The unit's own name, or `fault-target` with what makes it unique."""
    item = scenario.timeline[index]
    if not isinstance(item, FaultUnit):
        return item.steady
    if item.name is not None:
        return item.name
    target = (item.edge or item.service or "nothing").replace("->", "-to-").replace(":", "-")
    return f"{item.fault.replace('_', '-')}-{target}"


def unit_length_ns(scenario: Scenario, index: int) -> int:
    """Warm-up included."""
    item = scenario.timeline[index]
    if isinstance(item, FaultUnit):
        return scenario.warmup.ns + item.before.ns + item.duration.ns + item.recovery.ns
    return scenario.warmup.ns + item.duration.ns


def take_turns(units: Sequence[Unit], arms: Sequence[Arm], mode: Mode, seed: int) -> tuple[Turn, ...]:
    """Every unit for every arm: one turn a unit together, else one turn a unit and arm in rotating order."""
    turns: list[Turn] = []
    for index, unit in enumerate(units):
        shift = (index + seed) % len(arms)
        order = (*arms[shift:], *arms[:shift])
        for group in [tuple(order)] if mode == "together" else [(arm,) for arm in order]:
            turns.append(Turn(turn=len(turns), unit=unit.name, arms=group))
    return tuple(turns)
