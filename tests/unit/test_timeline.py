"""Units cover the recording without gap or overlap; arms take turns so that none is always first."""

from collections import Counter

import pytest

from harness.model.environment import Environment
from harness.model.plan import Arm, FaultWindow
from harness.model.scenario import Scenario
from harness.timeline import Machine, choose_mode, lay_units, take_turns

ARMS = (Arm.BASELINE, Arm.CONTROL, Arm.CANDIDATE)
SCENARIO = Scenario.model_validate(
    {
        "scenario": "s",
        "environment": "e",
        "recording": "r",
        "warmup": "1s",
        "timeline": [
            {"steady": "calm", "for": "4s"},
            {
                "fault": "latency",
                "edge": "a->b",
                "delay": "300ms",
                "before": "1s",
                "for": "2s",
                "recovery": "2s",
            },
            {"steady": "end", "for": "3s"},
        ],
        "checks": [{"check": "availability"}],
    }
)
WINDOW = FaultWindow(
    name="w", fault="latency", level="streams", edge="a->b", start_ns=2 * 10**9, stop_ns=4 * 10**9, cuts=False
)
OFFSETS = [k * 100_000_000 for k in range(200)]


def _units():
    return lay_units(SCENARIO, OFFSETS, [None, WINDOW, None])


def test_every_exchange_of_the_covered_stretch_belongs_to_exactly_one_unit():
    units = _units()
    assert [unit.first_seq for unit in units[1:]] == [unit.stop_seq for unit in units[:-1]]
    assert [unit.exchanges for unit in units] == [50, 60, 40]
    assert units[1].name == "latency-a-to-b"


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_interleaved_arms_rotate_and_every_arm_takes_every_unit(seed):
    turns = take_turns(_units(), ARMS, "interleaved", seed)
    assert Counter((turn.unit, *turn.arms) for turn in turns) == Counter(
        (unit.name, arm) for unit in _units() for arm in ARMS
    )
    firsts = [turns[k * len(ARMS)].arms[0] for k in range(3)]
    assert set(firsts) == set(ARMS)


def test_together_is_one_turn_a_unit():
    turns = take_turns(_units(), ARMS, "together", 5)
    assert [set(turn.arms) for turn in turns] == [set(ARMS)] * 3


def test_arms_run_together_only_where_all_their_limits_fit():
    environment = Environment.model_validate(
        {
            "environment": "e",
            "services": {
                "a": {"image": "i", "health": {"port": 1}, "limits": {"cpus": 0.5, "memory": "1GiB"}}
            },
            "entries": {"api": {"to": "a", "port": 80}},
        }
    )
    assert choose_mode(environment, 3, Machine(8, 2**34))[0] == "together"
    mode, reason = choose_mode(environment, 3, Machine(2, 2**34))
    assert mode == "interleaved"
    assert "3 arms need 4.5 CPUs" in reason
    assert choose_mode(environment, 3, Machine(8, 2**31))[0] == "interleaved"
