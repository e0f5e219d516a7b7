"""Phases come from the times at which a fault really was applied and healed, not from the plan."""

import pytest

from harness.model.plan import FaultWindow, Unit
from harness.recorder import Spans

WINDOW = FaultWindow(
    name="w", fault="stall", level="streams", edge="a->b", start_ns=20, stop_ns=40, cuts=True
)
UNIT = Unit(
    name="u", warmup_ns=10, length_ns=100, recording_from_ns=0, first_seq=0, stop_seq=10, window=WINDOW
)
CALM = UNIT.model_copy(update={"window": None})


@pytest.mark.parametrize(
    ("at_ns", "phase"),
    [
        (1009, "warmup"),
        (1010, "steady"),
        (1024, "steady"),
        (1025, "switching"),
        (1030, "fault"),
        (1049, "fault"),
        (1050, "switching"),
        (1060, "recovery"),
        (1099, "recovery"),
    ],
)
def test_phase_of_a_unit_with_a_fault_that_came_late(at_ns, phase):
    spans = Spans(1000, applying_ns=1025, applied_ns=1030, healing_ns=1050, healed_ns=1060)
    assert spans.phase(at_ns, UNIT) == phase


def test_a_fault_that_was_never_applied_or_never_healed_has_no_phase_of_its_own():
    assert Spans(1000).phase(1035, UNIT) == "steady"
    assert Spans(1000, applying_ns=1020).phase(1035, UNIT) == "switching"
    assert Spans(1000, 1020, 1021, 1040).phase(1090, UNIT) == "switching"


def test_a_steady_unit_is_steady_after_its_warmup():
    assert Spans(1000).phase(1050, CALM) == "steady"
    assert Spans(1000).phase(1001, CALM) == "warmup"
