"""Checks: pure functions of (Case, History) to findings, and the verdict drawn from them. No I/O anywhere below here."""

from harness.checks.base import Check, Frame, Origin, Parameters
from harness.checks.judge import CheckOrder, decide, judge, plan_checks
from harness.checks.registry import checks, find_check, parameters_model, requestable, validate_parameters

__all__ = [
    "Check",
    "CheckOrder",
    "Frame",
    "Origin",
    "Parameters",
    "checks",
    "decide",
    "find_check",
    "judge",
    "parameters_model",
    "plan_checks",
    "requestable",
    "validate_parameters",
]
