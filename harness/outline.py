"""What a run would do, laid out without doing it: the timeline of a change's scenarios, or of one scenario alone.

Takes the path of a change or of a scenario, gives an `Outline` for each scenario. Nothing is started. A change is
prepared as for a run (its dataset comes from the cache or is built); a scenario alone needs neither data nor recording,
so nothing is known of its requests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.errors import DefinitionError
from harness.loading import load_change, load_environment, load_scenario, resolve
from harness.model.plan import Turn, Unit
from harness.prepare import ARMS, fault_windows, machine, prepare, scenario_paths
from harness.timeline import choose_mode, lay_units, take_turns
from harness.yaml_source import read_yaml


@dataclass(frozen=True)
class Outline:
    """One scenario's course. `change` None: laid out for no change, its units' exchanges are not known."""

    change: str | None
    scenario: str
    environment: str
    seed: int
    mode: Literal["together", "interleaved"]
    mode_reason: str
    units: tuple[Unit, ...]
    turns: tuple[Turn, ...]


def outlines(
    definition: Path, scenarios: Sequence[Path], seed: int, progress: Callable[[str], None]
) -> tuple[Outline, ...]:
    """Every scenario of a change (or those chosen), or the scenario itself. Raises DefinitionError."""
    value = read_yaml(definition).value
    if not (isinstance(value, dict) and "scenario" in value):
        return _of_change(definition, scenarios, seed, progress)
    if scenarios:
        raise DefinitionError.at(definition, "this is a scenario itself", "leave --scenario out")
    return (_of_scenario(definition, seed),)


def _of_change(
    path: Path, scenarios: Sequence[Path], seed: int, progress: Callable[[str], None]
) -> tuple[Outline, ...]:
    change = load_change(path)
    plans = [
        prepare(change, scenario, None, seed, progress).plan for scenario in scenario_paths(change, scenarios)
    ]
    return tuple(
        Outline(
            plan.change,
            plan.scenario,
            plan.environment,
            seed,
            plan.mode,
            plan.mode_reason,
            plan.units,
            plan.turns,
        )
        for plan in plans
    )


def _of_scenario(path: Path, seed: int) -> Outline:
    scenario = load_scenario(path)
    environment = load_environment(resolve(scenario, ("environment",), scenario.value.environment))
    units = lay_units(scenario.value, (), fault_windows(scenario, environment))
    mode, reason = choose_mode(environment.value, len(ARMS), machine())
    return Outline(
        change=None,
        scenario=scenario.value.scenario,
        environment=environment.value.environment,
        seed=seed,
        mode=mode,
        mode_reason=reason,
        units=units,
        turns=take_turns(units, ARMS, mode, seed),
    )
