"""Checks of what services do: availability, latency, degradation, recovery, retries, contract.

Each planted fault is seen by the finding of the service or edge that it was planted in, and by its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from harness.checks import validate_parameters
from harness.model.environment import Environment
from harness.model.findings import Outcome
from tests.unit.histories import (
    SECOND,
    Planted,
    Row,
    Run,
    assert_noticed,
    clean_run,
    environment,
    plan_case,
)

UNKNOWN, FAIL, PASS = Outcome.UNKNOWN, Outcome.FAIL, Outcome.PASS
BAD = "candidate"


def tenth(of: int) -> Any:
    """Picks requests evenly: `of` tenths of them."""
    return lambda seq: seq % 10 < of


def every_tenth_row(rows: list[Row], tenths: int) -> list[Row]:
    return [row for index, row in enumerate(rows) if index % 10 < tenths]


def lines(run: Run, values: Mapping[str, Any], tenths: int = 10, **where: Any) -> None:
    """Overwrite some of the log lines of one edge."""
    for row in every_tenth_row(run.rows("edge_requests", arm=BAD, **where), tenths):
        row.update(values)


def gave_up(after_ms: float) -> dict[str, Any]:
    """A caller that waited this long and went away without an answer."""
    return {"status": -1, "termination": "CH", "duration_ms": after_ms}


def slower(by_ms: float) -> Any:
    return lambda row: {"answered_ns": row["answered_ns"] + int(by_ms * 1e6)}


AVAILABILITY = {
    "entry-fails": (
        "entry:api/steady",
        lambda run: run.change("exchanges", {"status": 500}, arm=BAD, phase="steady", seq=tenth(1)),
        FAIL,
        ("api answered 90.0 % of requests in steady load", "at least 98.0 % is wanted"),
    ),
    "entry-fails-under-fault": (
        "entry:api/fault:store-away",
        lambda run: run.change("exchanges", {"status": 0}, arm=BAD, unit="store-away", seq=tenth(4)),
        FAIL,
        ("api answered 60.0 % of requests during store-away",),
    ),
    "entry-fails-afterwards": (
        "entry:api/recovery:store-away",
        lambda run: run.change("exchanges", {"status": 503}, arm=BAD, unit="store-away", seq=tenth(4)),
        FAIL,
        ("api answered", "after store-away"),
    ),
    "a-little-worse-than-the-margin": (
        "entry:api/steady",
        lambda run: run.change(
            "exchanges", {"status": 500}, arm=BAD, phase="steady", seq=lambda seq: seq % 40 == 0
        ),
        UNKNOWN,
        ("api answered 96.9 %", "the numbers of this run decide it neither way"),
    ),
    "entry-refuses": (
        "entry:api/steady",
        lambda run: run.change("exchanges", {"status": 404}, arm=BAD, phase="steady", seq=tenth(2)),
        FAIL,
        ("api answered 100.0 % of requests", "successes (2xx) among all are 20"),
    ),
    "service-fails": (
        "service:pricer/steady",
        lambda run: lines(run, {"status": 500}, 1, edge="front->pricer", phase="steady"),
        FAIL,
        ("pricer answered 90.0 %", "in steady load"),
    ),
    "service-hangs": (
        "service:scorer/steady",
        lambda run: lines(run, gave_up(250), 3, edge="front->scorer", phase="steady"),
        FAIL,
        ("scorer answered 70.0 %",),
    ),
    "service-hangs-for-all": (
        "service:scorer/steady",
        lambda run: lines(run, gave_up(250), edge="front->scorer", phase="steady"),
        FAIL,
        ("scorer answered 0.0 %",),
    ),
    "callers-leave-early": (
        "service:scorer/steady",
        lambda run: lines(run, gave_up(3), edge="front->scorer", phase="steady"),
        UNKNOWN,
        ("scorer answered none of requests in steady load", "only 0 requests in an arm, 100 are needed"),
    ),
    "nothing-seen": (
        "service:pricer/fault:store-away",
        lambda run: run.drop("edge_requests", edge="front->pricer", unit="store-away"),
        UNKNOWN,
        ("pricer", "during store-away", "only 0 requests in an arm, 40 are needed"),
    ),
    "control-astray": (
        "entry:api/fault:store-away",
        lambda run: run.change("exchanges", {"status": 500}, arm="control", unit="store-away"),
        UNKNOWN,
        ("baseline and control, which are the same, differ by more than a change may",),
    ),
}


@pytest.mark.parametrize("name", AVAILABILITY)
def test_availability(name: str) -> None:
    place, plant, outcome, words = AVAILABILITY[name]
    assert_noticed(Planted(f"availability/{place}", plant, outcome, words))


def test_a_floor_that_the_baseline_misses_as_well_is_not_blamed_on_the_change() -> None:
    run = clean_run().change("exchanges", {"status": 503}, unit="store-away", seq=tenth(4))
    assert run.alone("availability")["availability/entry:api/fault:store-away"].outcome is UNKNOWN


def test_requests_that_a_fault_answers_are_not_held_against_the_service() -> None:
    """Three of ten requests to pricer are answered 503 by the plane while `refusing-pricer` is on."""
    finding = clean_run().alone("availability")["availability/service:pricer/fault:refusing-pricer"]
    assert finding.outcome is PASS
    assert finding.value == 1


LATENCY = {
    "entry-slow": (
        "p95/entry:api/steady",
        lambda run: run.change("exchanges", slower(300), arm=BAD, phase="steady", seq=tenth(2)),
        FAIL,
        ("p95 latency of api in steady load is 3", "beside a baseline of"),
    ),
    "entry-slow-throughout": (
        "p50/entry:api/steady",
        lambda run: run.change("exchanges", slower(100), arm=BAD, phase="steady"),
        FAIL,
        ("p50 latency of api in steady load is 12",),
    ),
    "slow-under-fault": (
        "p95/entry:api/fault:store-away",
        lambda run: run.change("exchanges", slower(900), arm=BAD, unit="store-away", seq=tenth(3)),
        FAIL,
        ("p95 latency of api during store-away",),
    ),
    "slow-afterwards": (
        "p50/entry:api/recovery:store-away",
        lambda run: run.change("exchanges", slower(900), arm=BAD, unit="store-away"),
        FAIL,
        ("p50 latency of api after store-away",),
    ),
    "unanswered-counts-as-the-whole-wait": (
        "p95/entry:api/steady",
        lambda run: run.change(
            "exchanges", {"status": 0, "answered_ns": -1}, arm=BAD, phase="steady", seq=tenth(1)
        ),
        FAIL,
        ("p95 latency of api in steady load is 10000 ms",),
    ),
    "service-slow": (
        "p50/service:pricer/steady",
        lambda run: lines(run, {"duration_ms": 300.0}, 9, edge="front->pricer"),
        FAIL,
        ("p50 latency of pricer in steady load is 300 ms",),
    ),
    "service-hangs": (
        "p95/service:scorer/steady",
        lambda run: lines(run, gave_up(250), 2, edge="front->scorer", phase="steady"),
        FAIL,
        ("p95 latency of scorer in steady load is 250 ms",),
    ),
    "no-number": (
        "p50/service:pricer/steady",
        lambda run: lines(run, {"duration_ms": float("nan")}, 9, edge="front->pricer"),
        UNKNOWN,
        ("p50 latency of pricer in steady load is nan",),
    ),
    "too-few": (
        "p95/entry:api/recovery:store-away",
        lambda run: run.change(
            "exchanges", {"phase": "switching"}, arm=BAD, unit="store-away", phase="recovery"
        ),
        UNKNOWN,
        ("p95 latency of api after store-away cannot be judged: only 0 requests in an arm, 40 are needed",),
    ),
    "all-at-once": (
        "p95/entry:api/steady",
        lambda run: run.change(
            "exchanges",
            {"scheduled_ns": 5 * SECOND, "due_ns": 5 * SECOND, "answered_ns": 6 * SECOND},
            phase="steady",
        ),
        UNKNOWN,
        ("its requests lie in only 1 stretches of 500ms in an arm",),
    ),
    "control-astray": (
        "p50/entry:api/fault:store-away",
        lambda run: run.change("exchanges", slower(3000), arm=("control", BAD), unit="store-away"),
        UNKNOWN,
        ("baseline and control, which are the same, differ",),
    ),
}


@pytest.mark.parametrize("name", LATENCY)
def test_latency(name: str) -> None:
    place, plant, outcome, words = LATENCY[name]
    assert_noticed(Planted(f"latency/{place}", plant, outcome, words))


def test_an_absolute_limit_holds_although_the_baseline_is_as_slow() -> None:
    run = clean_run().change("exchanges", slower(600), phase="steady")
    finding = run.alone("latency")["latency/p95/entry:api/steady"]
    assert finding.outcome is FAIL
    assert "never more than 400ms" in finding.sentence


def test_constant_latencies_that_are_alike_are_no_difference() -> None:
    run = clean_run().change("exchanges", lambda row: {"answered_ns": row["scheduled_ns"] + 20_000_000})
    assert run.alone("latency")["latency/p95/entry:api/steady"].outcome is PASS


@pytest.mark.parametrize("quantile", [0, 1, 95, -0.5, float("nan")])
def test_a_quantile_is_a_share(quantile: float) -> None:
    """`95` for `0.95` would otherwise ask for a time that nothing can exceed."""
    with pytest.raises(ValidationError):
        validate_parameters("latency", {"quantiles": [quantile]})


@pytest.mark.parametrize(
    ("check", "field"),
    [("availability", "worse_by_at_most"), ("latency", "slower_by_ratio"), ("retry_amplification", "slack")],
)
@pytest.mark.parametrize("limit", [float("inf"), float("nan")])
def test_a_limit_without_end_is_none(check: str, field: str, limit: float) -> None:
    with pytest.raises(ValidationError):
        validate_parameters(check, {field: limit})


DEGRADATION = {
    "more-in-steady-load": (
        "steady",
        lambda run: run.answer({"degraded": True}, arm=BAD, phase="steady", seq=tenth(2)),
        FAIL,
        ("of api's answers in steady load were made with a fallback", "0.0 % in the baseline"),
    ),
    "more-than-the-edge-claims": (
        "fault:store-away",
        lambda run: run.answer({"degraded": True}, arm=BAD, unit="store-away", seq=tenth(9)),
        FAIL,
        ("90.0 % of api's answers during store-away", "at most 60.0 % is allowed"),
    ),
    "nobody-says": (
        "fault:store-away",
        lambda run: run.answer({"degraded": None}, unit="store-away"),
        UNKNOWN,
        ("only 0 answers say whether they are degraded, 40 are needed",),
    ),
    "silent-when-degraded": (
        "fault:store-away",
        lambda run: run.answer(
            lambda said: {"degraded": None if said["degraded"] else False}, arm=BAD, unit="store-away"
        ),
        UNKNOWN,
        ("of the candidate's answers do not say whether they are degraded",),
    ),
    "not-a-yes-or-no": (
        "steady",
        lambda run: run.answer({"degraded": "no"}, arm=BAD, phase="steady", seq=tenth(5)),
        UNKNOWN,
        ("of the candidate's answers do not say",),
    ),
    "control-astray": (
        "steady",
        lambda run: run.answer({"degraded": True}, arm="control", phase="steady", seq=tenth(3)),
        UNKNOWN,
        ("baseline and control, which are the same, differ",),
    ),
}


@pytest.mark.parametrize("name", DEGRADATION)
def test_degradation(name: str) -> None:
    place, plant, outcome, words = DEGRADATION[name]
    assert_noticed(Planted(f"degradation/entry:api/{place}", plant, outcome, words))


def claimless() -> Environment:
    """The store's edge claims no fallback at all."""
    graph = environment()
    edges = tuple(
        edge.model_copy(update={"tolerance": edge.tolerance.model_copy(update={"quality_loss": 0.0})})
        if edge.name == "scorer->store"
        else edge
        for edge in graph.edges
    )
    return graph.model_copy(update={"edges": edges})


def test_where_nothing_may_degrade_one_answer_is_too_many() -> None:
    case = plan_case([{"check": "degradation"}], names=("calm", "store-away"), graph=claimless())
    name = "degradation/entry:api/fault:store-away"
    run = clean_run(case).answer({"degraded": False})
    assert run.alone("degradation")[name].outcome is PASS
    run.answer({"degraded": True}, arm=BAD, seq=run.rows("exchanges", phase="fault")[0]["seq"])
    assert run.alone("degradation")[name].outcome is FAIL


def ill_until(run: Run, after_heal_s: float, **ill: Any) -> None:
    """The candidate's answers after store-away are ill for so long."""
    for row in run.rows("exchanges", arm=BAD, unit="store-away", phase="recovery"):
        zero_ns = row["scheduled_ns"] - (row["seq"] - 600) * SECOND // 40
        if row["scheduled_ns"] < zero_ns + 4.5 * SECOND + after_heal_s * SECOND:
            row.update(ill)


RECOVERY = {
    "late": (
        lambda run: ill_until(run, 2.2, status=500),
        FAIL,
        ("took 2.", "scorer->store claims at most 2 s"),
    ),
    "never": (lambda run: ill_until(run, 9, status=500), FAIL, ("took more than 2.5 s", "scorer->store")),
    "slow-is-not-recovered": (lambda run: ill_until(run, 9, answered_ns=-1), FAIL, ("took more than 2.5 s",)),
    "too-few": (
        lambda run: run.drop("exchanges", arm=BAD, unit="store-away", phase="recovery"),
        UNKNOWN,
        ("cannot be judged: 0 requests after the fault was healed, 40 are needed",),
    ),
}


@pytest.mark.parametrize("name", RECOVERY)
def test_recovery(name: str) -> None:
    plant, outcome, words = RECOVERY[name]
    assert_noticed(Planted("recovery/entry:api/recovery:store-away", plant, outcome, words))


def test_a_recovery_in_time_passes_and_one_that_the_unit_was_too_short_for_is_unknown() -> None:
    name = "recovery/entry:api/recovery:store-away"
    run = clean_run()
    ill_until(run, 1.2, status=500)
    assert run.alone("recovery")[name].outcome is PASS
    graph = environment()
    patient = [edge.model_copy(update={"tolerance": edge.tolerance}) for edge in graph.edges]
    patient[2] = patient[2].model_copy(
        update={
            "tolerance": patient[2].tolerance.model_copy(
                update={"recovery": type(patient[2].tolerance.recovery).of_s(9)}
            )
        }
    )
    case = plan_case([{"check": "recovery"}], graph=graph.model_copy(update={"edges": tuple(patient)}))
    run = clean_run(case)
    ill_until(run, 9, status=500)
    finding = run.alone("recovery")[name]
    assert finding.outcome is UNKNOWN
    assert "lengthen its `recovery:`" in finding.sentence


def again(run: Run, times: int, edge: str = "front->pricer", unit: str = "store-away") -> None:
    for _ in range(times - 1):
        run.tables["edge_requests"] += [
            dict(row) for row in every_tenth_row(run.rows("edge_requests", arm=BAD, edge=edge, unit=unit), 10)
        ]


RETRIES = {
    "storm": (
        "front->pricer/fault:store-away",
        lambda run: [again(run, 2), again(run, 2), again(run, 2)],
        FAIL,
        (
            "front->pricer carried 8.00 requests for each request of a client during store-away",
            "1.00 in the baseline",
        ),
    ),
    "storm-of-connections": (
        "front->scorer/fault:slow-scorer",
        lambda run: run.change(
            "witness",
            {"in_connections": 9999},
            arm=BAD,
            unit="slow-scorer",
            edge="front->scorer",
            moment="before_heal",
        ),
        FAIL,
        ("front->scorer carried",),
    ),
    "too-few-clients": (
        "front->pricer/fault:store-away",
        lambda run: run.drop("exchanges", unit="store-away", phase="fault", seq=tenth(8)),
        UNKNOWN,
        ("front->pricer", "only 20 requests of clients, 40 are needed"),
    ),
    "no-steady-load": (
        "front->pricer/fault:store-away",
        lambda run: run.drop("exchanges", phase="steady"),
        UNKNOWN,
        ("the baseline's 0 requests in steady load",),
    ),
    "edge-never-seen": (
        "front->pricer/fault:store-away",
        lambda run: run.drop("edge_requests", edge="front->pricer"),
        UNKNOWN,
        ("0.00 on this edge for each, are no measure",),
    ),
}


@pytest.mark.parametrize("name", RETRIES)
def test_retry_amplification(name: str) -> None:
    place, plant, outcome, words = RETRIES[name]
    assert_noticed(Planted(f"retry_amplification/{place}", plant, outcome, words))


CONTRACT = {
    "field-gone": (
        lambda run: run.answer({"rate": None}, arm=BAD, seq=tenth(1)),
        FAIL,
        ("The contract of api's answers is broken by 144 of 1440", "'rate' is a required property"),
    ),
    "other-type": (
        lambda run: run.answer({"rate": "4.1"}, arm=BAD, seq=9),
        FAIL,
        ("broken by 1 of", "$.rate"),
    ),
    "no-json": (
        lambda run: run.change("exchanges", {"body": "<p>"}, arm=BAD, seq=9),
        FAIL,
        ("the answer is no JSON",),
    ),
    "empty": (
        lambda run: run.change("exchanges", {"body": ""}, arm=BAD, seq=9),
        FAIL,
        ("the answer is no JSON",),
    ),
    "nan": (
        lambda run: run.change("exchanges", {"body": '{"rate": NaN}'}, arm=BAD, seq=9),
        FAIL,
        ("the answer is no JSON",),
    ),
    "bottomless": (
        lambda run: run.change("exchanges", {"body": "[" * 60_000}, arm=BAD, seq=9),
        FAIL,
        ("the answer is no JSON",),
    ),
    "too-few": (
        lambda run: run.change("exchanges", {"status": 404}, arm=BAD, seq=lambda seq: seq > 90),
        UNKNOWN,
        ("cannot be judged by 91 good answers, 100 are needed",),
    ),
}


@pytest.mark.parametrize("name", CONTRACT)
def test_contract(name: str) -> None:
    plant, outcome, words = CONTRACT[name]
    assert_noticed(Planted("contract/entry:api", plant, outcome, words))


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (None, "names no `answers:` schema"),
        ({"type": "objekt"}, "'objekt' is not valid"),
        ({"$ref": "http://127.0.0.1:9/schema.json"}, "broke down"),
    ],
)
def test_a_schema_that_is_none_is_unknown_and_never_fetched(
    schema: dict[str, Any] | None, words: str
) -> None:
    run = clean_run()
    run.case = run.case.model_copy(update={"answers_schema": schema})
    finding = run.alone("contract")["contract/entry:api"]
    assert finding.outcome is UNKNOWN
    assert words in finding.sentence


def test_a_schema_without_a_type_does_not_let_through_what_is_no_json() -> None:
    run = clean_run().change("exchanges", {"body": "<p>sorry</p>"}, arm=BAD)
    run.case = run.case.model_copy(update={"answers_schema": {"required": ["rate"]}})
    assert run.alone("contract")["contract/entry:api"].outcome is FAIL
