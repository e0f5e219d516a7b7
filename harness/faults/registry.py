"""Which faults there are: ours, one line each, and those that other packages add as `readiness.faults` entry points.

A plug-in is a subclass of `Fault` named by an entry point. One that cannot be loaded, is no fault, or takes a name that
is taken stops everything with an error that names the package: a scenario must not silently lose a fault.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, get_args

from harness.errors import EngineError
from harness.faults.base import Fault
from harness.faults.black_hole import BlackHole
from harness.faults.error_status import ErrorStatus
from harness.faults.kill import Kill
from harness.faults.latency import Latency
from harness.faults.pause import Pause
from harness.faults.refused import Refused
from harness.faults.stall import Stall
from harness.model.base import Definition
from harness.model.plan import Level

GROUP = "readiness.faults"
OWN: tuple[type[Fault], ...] = (
    BlackHole,
    Refused,
    Latency,
    Stall,
    ErrorStatus,
    Kill,
    Pause,
)
_FACTS = ("name", "summary", "level", "targets", "cuts")
_CHOICES: Mapping[str, tuple[str, ...]] = {"level": get_args(Level), "targets": ("edge", "service")}


def fault_names() -> tuple[str, ...]:
    """Every registered fault, our own first."""
    return tuple(_registered())


def make_fault(name: str) -> Fault:
    """Raises KeyError, with the names that exist, for an unknown fault."""
    try:
        return _registered()[name]()
    except KeyError:
        raise KeyError(f"unknown fault {name!r}; known: {', '.join(fault_names())}") from None


def validate_parameters(name: str, raw: Mapping[str, Any]) -> str:
    """Canonical JSON of a fault's parameters with defaults filled in.

    Raises pydantic's ValidationError for bad ones and KeyError for an unknown fault.
    """
    model = make_fault(name).parameters.model_validate(dict(raw))
    return json.dumps(model.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))


@functools.cache
def _registered() -> Mapping[str, type[Fault]]:
    found: dict[str, type[Fault]] = {fault.name: fault for fault in OWN}
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        fault = _load(point)
        if fault.name in found:
            raise _broken(point, f"a fault named {fault.name!r} is there already")
        found[fault.name] = fault
    return found


def _load(point: EntryPoint) -> type[Fault]:
    try:
        fault = point.load()
    except Exception as error:
        raise _broken(point, f"it cannot be loaded ({type(error).__name__}: {error})") from error
    if not (isinstance(fault, type) and issubclass(fault, Fault)):
        raise _broken(point, "it is no subclass of harness.faults.Fault")
    wrong = _wrong_facts(fault)
    if wrong is not None:
        raise _broken(point, wrong)
    return fault


def _wrong_facts(fault: type[Fault]) -> str | None:
    """What a scenario would stumble over later."""
    missing = [fact for fact in _FACTS if not hasattr(fault, fact)]
    if missing:
        return f"it does not say its {', '.join(missing)}"
    if inspect.isabstract(fault):
        return f"it does not define {', '.join(sorted(fault.__abstractmethods__))}"
    for fact, known in _CHOICES.items():
        if getattr(fault, fact) not in known:
            return f"its {fact} is {getattr(fault, fact)!r}, none of {', '.join(known)}"
    parameters: object = fault.parameters
    if not (isinstance(parameters, type) and issubclass(parameters, Definition)):
        return "its parameters are no subclass of harness.model.base.Definition"
    return None


def _broken(point: EntryPoint, why: str) -> EngineError:
    package = f" of package {point.dist.name}" if point.dist is not None else ""
    return EngineError(
        f"fault plug-in {point.name!r} ({point.value}){package} is of no use: {why}",
        "correct or uninstall that package",
    )
