"""Faults: one kind a file, applied and healed through the driver and the fault plane."""
