"""The evidence checks: a run that was late, incomplete, unwitnessed or unclean proves nothing about the change."""

from __future__ import annotations

import pytest

from harness.model.findings import Outcome
from harness.model.history import EventKind
from harness.model.plan import Turn
from tests.unit.histories import (
    Planted,
    Run,
    assert_noticed,
    clean_findings,
    clean_run,
    not_passed,
    plan_case,
)

UNKNOWN, FAIL, PASS = Outcome.UNKNOWN, Outcome.FAIL, Outcome.PASS
CALM = {"arm": "candidate", "unit": "calm"}
DEAD = {"arm": "candidate", "unit": "scorer-killed"}


def test_a_clean_run_passes_every_check() -> None:
    assert not_passed(clean_findings()) == {}


def without_turns_of(unit: str, run: Run) -> None:
    turns = tuple(turn for turn in run.case.plan.turns if turn.unit != unit)
    run.case = run.case.model_copy(update={"plan": run.case.plan.model_copy(update={"turns": turns})})
    run.drop("exchanges", unit=unit).drop("edge_requests", unit=unit).drop("witness", unit=unit)


def with_a_turn_too_many(run: Run) -> None:
    turns = (*run.case.plan.turns, Turn(turn=99, unit="calm", arms=(run.case.plan.arms[0],)))
    run.case = run.case.model_copy(update={"plan": run.case.plan.model_copy(update={"turns": turns})})


def units_mixed_up(run: Run) -> None:
    """As if two units of one arm had been filed under each other's name."""
    other = {"slow-scorer": "store-away", "store-away": "slow-scorer"}
    run.change("exchanges", lambda row: {"unit": other[row["unit"]]}, arm="candidate", unit=tuple(other))


COMPLETENESS = {
    "row-missing": (lambda run: run.drop("exchanges", seq=500, arm="control"), ("control", "of 280")),
    "row-twice": (lambda run: run.double("exchanges", seq=500, arm="control"), ("control", "281 of 280")),
    "no-end": (
        lambda run: run.say(EventKind.UNIT_FINISHED, **CALM),
        ("calm, candidate", "did not run to its end"),
    ),
    "no-beginning": (
        lambda run: run.say(EventKind.UNIT_STARTED, **CALM),
        ("candidate", "beginning is not on record"),
    ),
    "generator-failed": (
        lambda run: run.happen(EventKind.REPLAY_FAILED, error="it was killed", **CALM),
        ("load generator failed in calm, candidate", "it was killed"),
    ),
    "fault-failed": (
        lambda run: run.happen(EventKind.FAULT_FAILED, error="no such chain"),
        ("could not be applied or healed", "no such chain"),
    ),
    "harness-broke": (
        lambda run: run.happen(EventKind.HARNESS),
        ("the harness had a problem", "did not say why"),
    ),
    "other-request": (
        lambda run: run.change("exchanges", {"request_id": "other"}, arm="candidate", seq=7),
        ("candidate was sent other requests",),
    ),
    "other-time": (
        lambda run: run.change(
            "exchanges", lambda row: {"scheduled_ns": row["scheduled_ns"] + 1}, seq=7, arm="control"
        ),
        ("control was sent other requests than the baseline, or at other times",),
    ),
    "units-mixed-up": (units_mixed_up, ("slow-scorer, candidate has 0 of 280", "belong to no turn")),
    "unknown-arm": (
        lambda run: run.change("exchanges", {"arm": "canary"}, arm="candidate", unit="calm"),
        ("320 requests of 'canary' in 'calm'",),
    ),
    "stray-arm": (
        lambda run: run.tables["exchanges"].append({**run.tables["exchanges"][0], "arm": "canary"}),
        ("1 requests of 'canary'", "belong to no turn of the plan"),
    ),
    "stray-log-lines": (
        lambda run: run.change("edge_requests", {"unit": "elsewhere"}, **CALM),
        ("log lines of 'candidate' in 'elsewhere'",),
    ),
    "stray-counters": (
        lambda run: run.change("witness", {"turn": 77}, **CALM),
        ("counters of 'candidate' in 'calm'",),
    ),
    "unit-never-taken": (lambda run: without_turns_of("calm", run), ("calm, baseline is planned 0 times",)),
    "unit-taken-twice": (with_a_turn_too_many, ("calm, baseline is planned 2 times",)),
}


@pytest.mark.parametrize("name", COMPLETENESS)
def test_completeness_misses_nothing(name: str) -> None:
    plant, words = COMPLETENESS[name]
    assert_noticed(Planted("completeness", plant, UNKNOWN, words))


def test_completeness_wants_all_three_arms() -> None:
    run = clean_run()
    plan = run.case.plan.model_copy(update={"arms": run.case.plan.arms[:2]})
    run.case = run.case.model_copy(update={"plan": plan})
    assert "the plan has no candidate" in run.alone("completeness")["completeness"].sentence.lower()


STEADY = {"phase": "steady"}
CLEAN_BASELINE = {
    "failing": (
        lambda run: run.change(
            "exchanges", {"status": 500}, arm="baseline", **STEADY, seq=lambda seq: seq % 50 == 0
        ),
        ("baseline answered only 9", "99.5 % is needed"),
    ),
    "too-few": (lambda run: run.drop("exchanges", arm="control", **STEADY), ("control has only 0 requests",)),
    "refusing": (
        lambda run: run.change("exchanges", {"status": 404}, **STEADY),
        ("baseline refused 100.0 % of requests in steady load (4xx)",),
    ),
    "restarted": (
        lambda run: run.say(
            EventKind.CONTAINER, {"started_at": "7"}, arm="control", unit="calm", subject="pricer"
        ),
        ("pricer of control restarted by itself",),
    ),
    "not-looked-at": (
        lambda run: run.say(EventKind.CONTAINER, arm="baseline", unit="store-away", subject="store"),
        ("nobody looked at store of baseline in store-away",),
    ),
}


@pytest.mark.parametrize("name", CLEAN_BASELINE)
def test_an_unsound_baseline_is_unknown(name: str) -> None:
    plant, words = CLEAN_BASELINE[name]
    assert_noticed(Planted("clean_baseline", plant, UNKNOWN, words))


STABILITY = {
    "out-of-memory": ({"oom_killed": True}, FAIL, "scorer of candidate ran out of memory in calm"),
    "unhealthy": ({"state": "unhealthy"}, FAIL, "scorer of candidate never became healthy"),
    "stopped": (
        {"state": "exited"},
        FAIL,
        "scorer of candidate was exited in calm although no fault was on it",
    ),
    "restarted": ({"started_at": "9"}, FAIL, "scorer of candidate restarted by itself"),
    "not-looked-at": (None, UNKNOWN, "Nobody looked at scorer of candidate in calm"),
}


@pytest.mark.parametrize("name", STABILITY)
def test_a_candidate_that_does_not_stay_up(name: str) -> None:
    detail, outcome, words = STABILITY[name]
    where = {**CALM, "subject": "scorer"}
    assert_noticed(
        Planted("stability", lambda run: run.say(EventKind.CONTAINER, detail, **where), outcome, (words,))
    )


def test_a_restart_by_the_fault_itself_is_no_disturbance() -> None:
    """In the clean run the scorer is killed and comes back; the same restart without a fault on it is one."""
    run = clean_run().say(EventKind.CONTAINER, {"expected": False}, state="exited", **DEAD)
    finding = run.alone("stability")["stability"]
    assert finding.outcome is FAIL
    assert "scorer of candidate was exited in scorer-killed" in finding.sentence


def test_nobody_looking_is_not_stability() -> None:
    run = clean_run().say(EventKind.CONTAINER, arm="candidate")
    assert run.alone("stability")["stability"].outcome is UNKNOWN


STORE = {"edge": "scorer->store", "arm": "candidate"}
FLAT = {"in_bytes_from_caller": 5, "in_packets": 5, "out_bytes_to_callee": 5, "out_bytes_from_callee": 5}
EDGE_TRAFFIC = {
    "bypassed": (
        "scorer->store",
        lambda run: run.change("witness", FLAT, **STORE),
        "carried no traffic in candidate",
    ),
    "not-read": (
        "scorer->store",
        lambda run: run.drop("witness", **STORE),
        "carried no traffic in candidate",
    ),
    "nothing-out": (
        "scorer->store",
        lambda run: run.change("witness", {"out_bytes_to_callee": 5}, **STORE),
        "none came out towards store",
    ),
    "no-request": (
        "front->pricer",
        lambda run: run.drop("edge_requests", edge="front->pricer", arm="control"),
        "took traffic in control, but its log shows no request",
    ),
    "other-count": (
        "client->front",
        lambda run: run.drop(
            "edge_requests", edge="client->front", unit="calm", at_ns=lambda at: at % 5 == 0
        ),
        "the generator sent 320 requests to baseline, client->front saw",
    ),
}


@pytest.mark.parametrize("name", EDGE_TRAFFIC)
def test_an_edge_that_was_bypassed_is_unknown(name: str) -> None:
    edge, plant, words = EDGE_TRAFFIC[name]
    assert_noticed(Planted(f"edge_traffic/{edge}", plant, UNKNOWN, (edge, words)))


WORLD = {
    "stranger": (
        "isolation",
        lambda run: run.say(
            EventKind.ISOLATION, {"unexpected": ["web is on the network of store"]}, arm="control"
        ),
        ("in control, web is on the network of store: an edge was bypassed",),
    ),
    "strangers-unsaid": (
        "isolation",
        lambda run: run.say(EventKind.ISOLATION, {"unexpected": None}, arm="control"),
        ("nobody says who else was on the networks of control",),
    ),
    "not-all-looked-at": (
        "isolation",
        lambda run: run.say(EventKind.ISOLATION, {"containers": 4}, arm="control"),
        ("not every service of control was looked at",),
    ),
    "isolation-unsaid": (
        "isolation",
        lambda run: run.say(EventKind.ISOLATION, arm="control"),
        ("nobody looked whether the services of control",),
    ),
    "lines-dropped": (
        "logs_complete",
        lambda run: run.say(EventKind.LOG_DROPPED, {"dropped": 3}, arm="control"),
        ("the plane of control dropped 3 log lines",),
    ),
    "dropped-unsaid": (
        "logs_complete",
        lambda run: run.say(EventKind.LOG_DROPPED, {"dropped": None}, arm="control"),
        ("the plane of control dropped an unknown number of log lines",),
    ),
    "nobody-asked": (
        "logs_complete",
        lambda run: run.say(EventKind.LOG_DROPPED, arm="control"),
        ("the plane of control was not asked",),
    ),
    "hole-in-the-log": (
        "logs_complete",
        lambda run: run.drop(
            "edge_requests", edge="front->pricer", unit="store-away", arm="candidate", phase="fault"
        ),
        ("in store-away, candidate, 280 requests passed front->pricer, and its log holds 180",),
    ),
    "log-doubled": (
        "logs_complete",
        lambda run: run.double("edge_requests", edge="front->pricer", unit="calm", arm="candidate"),
        ("320 requests passed front->pricer, and its log holds 640",),
    ),
    "counters-not-read": (
        "logs_complete",
        lambda run: run.drop("witness", unit="calm", arm="candidate", moment="unit_finished"),
        ("the counters of client->front were not read in calm, candidate",),
    ),
    "counters-not-read-at-the-end": (
        "logs_complete",
        lambda run: run.drop("witness", unit="store-away", arm="candidate", moment="unit_finished"),
        ("the counters of client->front were not read in store-away, candidate",),
    ),
    "left-behind": (
        "clean_world",
        lambda run: run.say(EventKind.WORLD, {"clean": False, "left": ["network shop-3"]}),
        ("left behind: network shop-3", "doctor --sweep"),
    ),
    "left-unsaid": (
        "clean_world",
        lambda run: run.say(EventKind.WORLD, {"clean": None}),
        ("left behind: something",),
    ),
    "world-unsaid": (
        "clean_world",
        lambda run: run.say(EventKind.WORLD),
        ("nobody looked whether anything was left",),
    ),
}


def test_what_was_sent_after_the_last_reading_is_no_hole() -> None:
    run = clean_run()
    place = {"unit": "calm", "arm": "candidate", "edge": "front->pricer"}
    end_ns = max(row["at_ns"] for row in run.rows("witness", **place))
    run.tables["edge_requests"] += [
        {**row, "at_ns": end_ns + 1} for row in run.rows("edge_requests", **place)
    ]
    assert run.alone("logs_complete")["logs_complete"].outcome is Outcome.PASS


@pytest.mark.parametrize("name", WORLD)
def test_an_unclean_world_is_unknown(name: str) -> None:
    finding, plant, words = WORLD[name]
    assert_noticed(Planted(finding, plant, UNKNOWN, words))


WINDOW = {"arm": "candidate"}
FAULT_EFFECT = {
    "never-applied": (
        "slow-scorer",
        lambda run: run.say(EventKind.FAULT_APPLIED, unit="slow-scorer", **WINDOW),
        "latency on front->scorer in candidate: it was never applied",
    ),
    "never-healed": (
        "slow-scorer",
        lambda run: run.say(EventKind.FAULT_HEALED, unit="slow-scorer", **WINDOW),
        "latency on front->scorer in candidate: it was never healed",
    ),
    "still-there": (
        "slow-scorer",
        lambda run: run.say(EventKind.FAULT_HEALED, {"healed": False}, unit="slow-scorer", **WINDOW),
        "still there after it had been healed",
    ),
    "healed-unsaid": (
        "slow-scorer",
        lambda run: run.say(EventKind.FAULT_HEALED, {"healed": None}, unit="slow-scorer", **WINDOW),
        "still there after it had been healed",
    ),
    "healed-twice": (
        "slow-scorer",
        lambda run: run.happen(
            EventKind.FAULT_HEALED, unit="slow-scorer", healed=True, hits={"requests": 9}, **WINDOW
        ),
        "it was healed 2 times",
    ),
    "healed-first": (
        "store-away",
        lambda run: run.say(EventKind.FAULT_APPLIED, unit="store-away", **WINDOW).happen(
            EventKind.FAULT_APPLIED, unit="store-away", **WINDOW
        ),
        "healed before it was applied",
    ),
    "no-packet": (
        "store-away",
        lambda run: run.say(EventKind.FAULT_HEALED, {"hits": {"packets": 0}}, unit="store-away", **WINDOW),
        "black_hole on scorer->store in candidate: it hit no packet",
    ),
    "packets-uncounted": (
        "store-away",
        lambda run: run.say(EventKind.FAULT_HEALED, {"hits": {}}, unit="store-away", **WINDOW),
        "it hit no packet",
    ),
    "counter-backwards": (
        "store-away",
        lambda run: run.say(EventKind.FAULT_HEALED, {"hits": {"packets": -4}}, unit="store-away", **WINDOW),
        "it hit no packet",
    ),
    "idle-edge": (
        "slow-scorer",
        lambda run: run.say(
            EventKind.FAULT_HEALED, {"hits": {"connections": 0}}, unit="slow-scorer", **WINDOW
        ),
        "no traffic entered the edge while it was on",
    ),
    "not-probed": (
        "slow-scorer",
        lambda run: run.say(EventKind.PROBE, unit="slow-scorer", moment="during", **WINDOW),
        "the edge was not probed before and during it",
    ),
    "ill-before": (
        "slow-scorer",
        lambda run: run.say(
            EventKind.PROBE, {"outcome": "refused"}, unit="slow-scorer", moment="before", **WINDOW
        ),
        "the edge was not healthy before it (refused)",
    ),
    "no-delay": (
        "slow-scorer",
        lambda run: run.say(
            EventKind.PROBE, {"first_byte_ms": 0.5}, unit="slow-scorer", moment="during", **WINDOW
        ),
        "the probe was delayed by 0 ms instead of 100ms",
    ),
    "too-much-delay": (
        "slow-scorer",
        lambda run: run.say(
            EventKind.PROBE, {"first_byte_ms": 300.0}, unit="slow-scorer", moment="during", **WINDOW
        ),
        "the probe was delayed by 300 ms instead of 100ms",
    ),
    "delay-no-number": (
        "slow-scorer",
        lambda run: run.say(
            EventKind.PROBE, {"first_byte_ms": float("nan")}, unit="slow-scorer", moment="during"
        ),
        "instead of 100ms",
    ),
    "delay-unmeasured": (
        "slow-scorer",
        lambda run: run.say(
            EventKind.PROBE, {"first_byte_ms": None}, unit="slow-scorer", moment="during", **WINDOW
        ),
        "the probe got no answer while it was on",
    ),
    "no-request-hit": (
        "refusing-pricer",
        lambda run: run.change("edge_requests", {"fault": ""}, fault="refusing-pricer", **WINDOW),
        "error_status on front->pricer in candidate: no request on the edge's log was hit",
    ),
    "nothing-answered": (
        "refusing-pricer",
        lambda run: run.say(
            EventKind.FAULT_HEALED, {"hits": {"matched": 9}}, unit="refusing-pricer", **WINDOW
        ),
        "its own counter says that it answered nothing",
    ),
    "not-dead": (
        "scorer-killed",
        lambda run: run.say(EventKind.CONTAINER, {"state": "running"}, state="exited", **DEAD),
        "kill on scorer in candidate: scorer was running while it should have been exited",
    ),
    "death-unseen": (
        "scorer-killed",
        lambda run: run.say(EventKind.CONTAINER, expected=True, **DEAD),
        "scorer was not looked at while it should have been exited",
    ),
    "nobody-called": (
        "scorer-killed",
        lambda run: run.say(EventKind.FAULT_HEALED, {"hits": {"packets": 0}}, **DEAD),
        "no traffic was on its way to scorer",
    ),
    "ill-after": (
        "refusing-pricer",
        lambda run: run.say(
            EventKind.PROBE, {"outcome": "refused"}, unit="refusing-pricer", moment="after", **WINDOW
        ),
        "no probe came back through the edge after it was healed",
    ),
}


@pytest.mark.parametrize("name", FAULT_EFFECT)
def test_a_fault_that_did_not_bite_is_unknown(name: str) -> None:
    unit, plant, words = FAULT_EFFECT[name]
    assert_noticed(Planted(f"fault_effect/{unit}", plant, UNKNOWN, (words,)))


def test_a_stall_that_lets_a_probe_through_is_unknown() -> None:
    case = plan_case([{"check": "availability"}], names=("calm", "held-scorer"))

    def answered(run: Run) -> None:
        run.say(EventKind.PROBE, {"outcome": "answered"}, moment="during", arm="control")

    words = ("stall on front->scorer in control: a probe was answered while it was on",)
    assert_noticed(Planted("fault_effect/held-scorer", answered, UNKNOWN, words), case)
