"""The faults that there are, and what a run would do with them and when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from harness.printing.base import line, section, values
from harness.report import numbers
from harness.visible import visible

if TYPE_CHECKING:
    from harness.faults import Fault
    from harness.model.plan import FaultWindow, Unit
    from harness.outline import Outline

TYPE_WORDS = {"string": "text", "integer": "a whole number", "number": "a number", "boolean": "true or false"}


def print_faults(faults: Sequence[Fault], console: Console) -> None:
    """Every fault with what it takes in a scenario."""
    for fault in faults:
        aim = f"an edge ({', '.join(fault.protocols)})" if fault.targets == "edge" else "a service"
        cut = "; nothing gets through" if fault.cuts else ""
        section(
            console,
            fault.name,
            [(f"{fault.summary}{cut}",), (f"aimed at {aim}; level: {fault.level}",)]
            + [(_parameter(item),) for item in _parameters(fault)],
        )


def _parameter(item: dict[str, Any]) -> str:
    given = "required" if item["required"] else f"{item['default'] or 'nothing'} when left out"
    return f"{item['name']}: {item['type']}, {given}. {item['description']}"


def _parameters(fault: Fault) -> list[dict[str, Any]]:
    schema = fault.parameters.model_json_schema()
    required = schema.get("required", ())
    return [
        {
            "name": name,
            "type": TYPE_WORDS.get(said.get("type"), "a value")
            + (f" such as {said['examples'][0]}" if said.get("examples") else ""),
            "required": name in required,
            "default": said.get("default"),
            "description": said.get("description", ""),
        }
        for name, said in schema.get("properties", {}).items()
    ]


def faults_values(faults: Sequence[Fault]) -> list[dict[str, Any]]:
    """One item a fault, with the parameters of its model."""
    return [
        {
            "name": fault.name,
            "summary": fault.summary,
            "level": fault.level,
            "targets": fault.targets,
            "protocols": list(fault.protocols) if fault.targets == "edge" else [],
            "cuts": fault.cuts,
            "parameters": _parameters(fault),
        }
        for fault in faults
    ]


def print_outlines(outlines: Sequence[Outline], console: Console) -> None:
    """The course of each scenario: every unit with its load, its fault and the order of the arms."""
    for outline in outlines:
        load_ns = sum(unit.length_ns for unit in outline.units)
        what = f"{outline.change}, scenario" if outline.change is not None else "Scenario"
        line(
            console,
            (f"{what} {outline.scenario}", "bold"),
            f" on environment {outline.environment}: {numbers.count(len(outline.units), 'unit')}, "
            f"{numbers.seconds(load_ns)} of load an arm, arms {outline.mode}, seed {outline.seed}",
        )
        console.print(Text(visible(outline.mode_reason), "dim"))
        for number, unit in enumerate(outline.units, start=1):
            section(console, f"{number}. {unit.name}", ((text,) for text in _unit(outline, unit)))


def _unit(outline: Outline, unit: Unit) -> list[str]:
    load = f"{numbers.seconds(unit.length_ns)}, of which {numbers.seconds(unit.warmup_ns)} is warm-up"
    if outline.change is not None:
        load += f"; {numbers.count(unit.exchanges, 'request')}"
    order = ", ".join(arm for turn in outline.turns if turn.unit == unit.name for arm in turn.arms)
    how = "together" if outline.mode == "together" else "in turn"
    return [*([_window(unit.window)] if unit.window is not None else []), load, f"{order}, {how}"]


def _window(window: FaultWindow) -> str:
    parameters = "".join(
        f", {name} {value}" for name, value in window.parameter_values().items() if value != ""
    )
    aim = f"edge {window.edge}" if window.edge is not None else f"service {window.service}"
    return (
        f"{window.fault} on {aim} from {numbers.seconds(window.start_ns)} to {numbers.seconds(window.stop_ns)}{parameters}"
        + ("; nothing gets through" if window.cuts else "")
    )


def outlines_values(outlines: Sequence[Outline]) -> list[dict[str, Any]]:
    """One item a scenario: units, windows and turns as in a report's plan."""
    return [values(outline) for outline in outlines]
