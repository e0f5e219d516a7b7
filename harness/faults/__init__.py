"""Faults: one kind a file, applied and healed through the driver and the fault plane."""

from harness.faults.base import Applied, Fault, FaultContext, FaultError, NoParameters, healed_on_failure
from harness.faults.registry import fault_names, make_fault, validate_parameters

__all__ = [
    "Applied",
    "Fault",
    "FaultContext",
    "FaultError",
    "NoParameters",
    "fault_names",
    "healed_on_failure",
    "make_fault",
    "validate_parameters",
]
