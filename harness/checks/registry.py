"""All checks by name: ours, one line each, and those of other packages (entry-point group `readiness.checks`).

An entry point names an object that is a `Check`; one that cannot be loaded, is no check or takes a taken name is an error
that names the package.
"""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from harness.checks.availability import Availability
from harness.checks.base import Check, Parameters
from harness.checks.completeness import Completeness
from harness.checks.contract import Contract
from harness.checks.decision_quality import DecisionQuality
from harness.checks.degradation import Degradation
from harness.checks.edge_traffic import EdgeTraffic
from harness.checks.fairness import Fairness
from harness.checks.fault_effect import FaultEffect
from harness.checks.fidelity import FidelityCheck
from harness.checks.latency import Latency
from harness.checks.outcome import OutcomeShift
from harness.checks.recovery import Recovery
from harness.checks.retry_amplification import RetryAmplification
from harness.checks.stability import CleanBaseline, Stability
from harness.checks.world import CleanWorld, Isolation, LogsComplete
from harness.errors import EngineError

GROUP = "readiness.checks"

EVIDENCE: tuple[Check, ...] = (
    Completeness(),
    FidelityCheck(),
    CleanBaseline(),
    FaultEffect(),
    EdgeTraffic(),
    Isolation(),
    LogsComplete(),
    CleanWorld(),
    Stability(),
)
"""Always on; nobody has to ask for them, and nobody can leave them out."""

REQUESTED: tuple[Check, ...] = (
    Availability(),
    Latency(),
    Degradation(),
    Recovery(),
    RetryAmplification(),
    Contract(),
    DecisionQuality(),
    Fairness(),
    OutcomeShift(),
)


@functools.cache
def checks() -> Mapping[str, Check]:
    """Every check by name. Raises EngineError for an entry point that is no use."""
    found: dict[str, Check] = {check.name: check for check in (*EVIDENCE, *REQUESTED)}
    for point in entry_points(group=GROUP):
        package = point.dist.name if point.dist else point.value
        try:
            loaded: Any = point.load()
            check = loaded() if isinstance(loaded, type) else loaded
            usable = (
                issubclass(check.parameters, Parameters) and callable(check.judge) and callable(check.expect)
            )
        except Exception as error:
            raise EngineError(
                f"check {point.name!r} of {package} cannot be loaded: {error!r}", f"mend or remove {package}"
            ) from error
        if not usable or check.name in found:
            why = "its name is taken" if usable else "it is no check (see harness/checks/README.md)"
            raise EngineError(
                f"check {point.name!r} of {package} cannot be used: {why}", f"mend or remove {package}"
            )
        found[check.name] = check
    return found


def requestable() -> tuple[str, ...]:
    """Names that scenarios and changes may ask for."""
    always = {check.name for check in EVIDENCE}
    return tuple(sorted(name for name in checks() if name not in always))


def find_check(name: str) -> Check:
    """Raises KeyError whose text says what is known and what may have been meant."""
    if name in checks():
        return checks()[name]
    close = difflib.get_close_matches(name, requestable(), 1)
    raise KeyError(f"did you mean {close[0]!r}?" if close else f"known: {', '.join(requestable())}")


def parameters_model(name: str) -> type[Parameters]:
    """The pydantic model of a check's parameters; KeyError as `find_check`."""
    return find_check(name).parameters


def validate_parameters(name: str, raw: Mapping[str, Any]) -> str:
    """Canonical JSON of validated parameters. Raises pydantic's ValidationError, or KeyError as `find_check`."""
    if name in {check.name for check in EVIDENCE}:
        raise KeyError(f"{name!r} is always on; leave it out (it takes its limits from the policy)")
    values = parameters_model(name).model_validate(dict(raw)).model_dump(mode="json")
    return json.dumps(values, sort_keys=True, separators=(",", ":"))
