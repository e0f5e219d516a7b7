"""Phases come from the times at which a fault really was applied and healed, not from the plan."""

import pytest

from harness.model.plan import FaultWindow, Unit
from harness.recorder import Spans

MS = 1_000_000
WINDOW = FaultWindow(
    name="w", fault="stall", level="streams", edge="a->b", start_ns=2000 * MS, stop_ns=4000 * MS, cuts=True
)
UNIT = Unit(
    name="u",
    warmup_ns=1000 * MS,
    length_ns=10_000 * MS,
    recording_from_ns=0,
    first_seq=0,
    stop_seq=10,
    window=WINDOW,
)
CALM = UNIT.model_copy(update={"window": None})
STARTED = 100_000 * MS


def spans(*offsets_ms: int) -> Spans:
    """A unit whose fault was applying, applied, healing and healed at these times after its start."""
    return Spans(STARTED, *(STARTED + offset * MS for offset in offsets_ms))


@pytest.mark.parametrize(
    ("at_ms", "phase"),
    [
        (999, "warmup"),
        (1000, "steady"),
        (1999, "steady"),
        (2000, "switching"),
        (2500, "switching"),
        (3000, "fault"),
        (4999, "fault"),
        (5000, "switching"),
        (6000, "recovery"),
        (9999, "recovery"),
    ],
)
def test_phase_of_a_unit_with_a_fault_that_came_late(at_ms, phase):
    assert spans(2500, 3000, 5000, 6000).phase(STARTED + at_ms * MS, UNIT) == phase


def test_a_fault_that_was_never_applied_or_never_healed_has_no_phase_of_its_own():
    at_ns = STARTED + 3500 * MS
    assert spans().phase(at_ns, UNIT) == "steady"
    assert spans(2000).phase(at_ns, UNIT) == "switching"
    assert spans(2000, 2100, 4000).phase(STARTED + 9000 * MS, UNIT) == "switching"


def test_a_steady_unit_is_steady_after_its_warmup():
    assert spans().phase(STARTED + 5000 * MS, CALM) == "steady"
    assert spans().phase(STARTED + 100 * MS, CALM) == "warmup"
