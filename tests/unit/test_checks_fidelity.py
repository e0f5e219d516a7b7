"""The fidelity check: each way in which a replay can differ from its recording is noticed, and what is nearly so passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from harness.model.case import Case
from harness.model.fidelity import CLIENT_FELL_OUT, FidelityPart
from harness.model.findings import Finding, Outcome
from harness.model.history import GENERATOR_DIED, EventKind
from harness.model.plan import Arm
from tests.unit.histories import SECOND, Run, clean_findings, clean_run, plan_case

MS = 1_000_000
ARM = {"arm": "control"}
FINDING = "fidelity/control"
ANY_LATENESS = {
    f"schedule_lag_{name}": "1h" for name in ("p50", "p90", "max")
}  # the slack of the rate is p99's
Plant = Callable[[Run], object]
Row = Mapping[str, Any]


def late(ms: float, every: int = 1, **where: Any) -> Plant:
    """Every so many requests go out that late."""
    chosen = {"seq": lambda seq: seq % every == 0, **where}
    return lambda run: run.change(
        "exchanges", lambda row: sent_at(row["due_ns"] + int(ms * MS), row), **ARM, **chosen
    )


def sent_at(sent_ns: int, row: Row) -> Row:
    """Sent then, and answered no sooner."""
    return {"sent_ns": sent_ns, "answered_ns": max(row["answered_ns"], sent_ns + MS)}


def moved_by(ms: float) -> Callable[[Row], Row]:
    """Waits that much longer for an answer, and is sent just then."""

    def move(row: Row) -> Row:
        due_ns = row["scheduled_ns"] + int(ms * MS)
        return {"due_ns": due_ns, **sent_at(due_ns + 100_000, row)}

    return move


def in_bunches(ms: int) -> Plant:
    """What is due within so many ms goes out at their end, as from a process that is let run now and then."""

    def wait(row: Row) -> Row:
        return sent_at(-(-row["due_ns"] // (ms * MS)) * ms * MS, row)

    return lambda run: run.change("exchanges", wait, **ARM)


def stall(first: int, stop: int) -> Plant:
    """Requests `first <= seq < stop` all go out when the last of them is due."""

    def plant(run: Run) -> object:
        last_ns = max(row["due_ns"] for row in run.rows("exchanges", **ARM, seq=stop - 1))
        chosen = {"seq": lambda seq: first <= seq < stop}
        return run.change("exchanges", lambda row: sent_at(last_ns + MS, row), **ARM, **chosen)

    return plant


def change(values: Mapping[str, Any] | Callable[[Row], Row], **where: Any) -> Plant:
    return lambda run: run.change("exchanges", values, **ARM, **where)


GONE = {"sent_ns": -1, "answered_ns": -1, "first_byte_ns": -1, "connected_ns": -1, "status": 0}
FELL_OUT = {**GONE, "error": CLIENT_FELL_OUT}


def unsent(error: str, **where: Any) -> Plant:
    return change({**GONE, "error": error}, **where)


def on_two_routes(every: int) -> Plant:
    """Half of all requests go to another route; one of so many is not sent, all of them there."""

    def plant(run: Run) -> object:
        run.change("exchanges", {"route": "/offers"}, seq=lambda seq: seq % 2)
        return unsent("not sent", seq=lambda seq: seq % every == 1)(run)

    return plant


def overtaken(by: int) -> Plant:
    """All requests are one client's, and one goes out after the next, or nearly."""

    def plant(run: Run) -> object:
        run.change("exchanges", {"client": "Ada"}, **ARM)
        return late(by, seq=30)(run)

    return plant


def figures(**said: Any) -> Plant:
    return lambda run: run.say(EventKind.REPLAY, said, **ARM)


def crew(**said: Any) -> Plant:
    """Two workers, of which the second says so."""
    good = {
        "finished": True,
        "lag_p99_ms": 2.0,
        "offset_ns": 0,
        "offset_uncertainty_ns": 20_000,
        "cpu_share": 0.1,
    }
    return figures(workers=[{"name": "one", **good}, {"name": "two", **good, **said}])


STEADY = {"phase": "steady"}


@dataclass(frozen=True)
class Planted:
    """What goes wrong, what its finding says, and what goes nearly as wrong and passes."""

    plant: Plant
    words: str
    nearly: Plant
    policy: Mapping[str, Any] = field(default_factory=dict)


PLANTED = {
    "late-half": Planted(late(30), "50 % of requests to control were sent more than 30 ms late", late(20)),
    "late-tenth": Planted(late(60, 5), "10 % of requests to control were sent more than 60 ms", late(60, 12)),
    "late-throughout": Planted(late(150, 50), "1 % of requests to control", late(90, 50)),
    "late-once": Planted(
        late(1500, 1439), "a request to control was sent 1500 ms late", late(900, 1439), {"rate_deviation": 1}
    ),
    "early": Planted(late(-5, 200), "8 requests to control were sent before they were due", late(-0.5, 200)),
    "never-sent": Planted(
        unsent("not sent", seq=3), "1 of 1440 requests were never sent to control", late(0)
    ),
    "nothing-sent": Planted(
        lambda run: run.drop("exchanges", **ARM), "no request was sent to control", late(0)
    ),
    "answered-before-sent": Planted(
        change(lambda row: {"answered_ns": row["sent_ns"] - 9}, unit="store-away"),
        "280 requests to control were answered before they were sent",
        change(lambda row: {"answered_ns": row["sent_ns"]}, unit="store-away"),
    ),
    "clock-backwards": Planted(
        change(lambda row: {"scheduled_ns": row["scheduled_ns"] - SECOND}, seq=lambda seq: seq > 700),
        "requests to control were not due in the order",
        late(0),
    ),
    "due-too-soon": Planted(
        change(lambda row: {"due_ns": row["due_ns"] - MS}, seq=9),
        "due before the recording has them",
        late(0),
    ),
    "answer-without-time": Planted(
        change({"answered_ns": -1}, seq=8), "1 requests to control have an answer and no time", late(0)
    ),
    "orphan": Planted(
        change({"error": GENERATOR_DIED, "status": 0}, seq=8),
        "1 requests to control were under way when the load generator died",
        late(0),
    ),
    # 15 requests are due in the last 375 ms of a second and go out in the next; 4 of them may by `schedule_lag_p99`.
    "rate": Planted(
        stall(25, 42),
        "in one second 55 requests went to control where 40 were due",
        stall(27, 42),
    ),
    "mix": Planted(
        on_two_routes(12),
        "the routes of what was sent to control differ from the recording's by 4.5 %",
        on_two_routes(48),
        {"unsent": 1},
    ),
    "bunches-10ms": Planted(
        in_bunches(98),
        "times burstier at 10ms than the recording",
        in_bunches(24),
        {**ANY_LATENESS, "gap_distance": 1},
    ),
    "bunches-100ms": Planted(
        in_bunches(300),
        "times burstier at 100ms than the recording",
        in_bunches(40),
        {**ANY_LATENESS, "schedule_lag_p99": "1h", "burstiness_10ms": 99, "gap_distance": 1},
    ),
    "bunches-1s": Planted(
        in_bunches(3000),
        "times burstier at 1s than the recording",
        in_bunches(500),
        {
            **ANY_LATENESS,
            "schedule_lag_p99": "1h",
            "burstiness_10ms": 99,
            "burstiness_100ms": 99,
            "gap_distance": 1,
        },
    ),
    "gaps": Planted(
        in_bunches(90),
        "the gaps between requests to control are",
        late(3, 3),
        {**ANY_LATENESS, "burstiness_10ms": 99},
    ),
    "order": Planted(
        overtaken(40),
        "1 requests to control were sent before an earlier one of the same client",
        overtaken(20),
    ),
    "fallen-out": Planted(
        lambda run: run.change("exchanges", FELL_OUT, **STEADY, seq=lambda seq: seq % 10 == 0),
        "were not sent because an earlier answer failed their client, 5.0 % is allowed; "
        "what ran short: the target",
        unsent(CLIENT_FELL_OUT, **STEADY, seq=lambda seq: seq % 40 == 0),
    ),
    "shifted": Planted(
        change(moved_by(150), **STEADY, seq=lambda seq: seq % 4 == 0),
        "had to wait for an earlier answer more than 100ms longer than when recorded (the longest 150 ms)",
        change(moved_by(80), **STEADY, seq=lambda seq: seq % 4 == 0),
    ),
    "unfinished": Planted(
        figures(finished=False), "the load generator of control did not finish", figures(finished=True)
    ),
    "in-flight-limit": Planted(
        figures(in_flight_limit_hits=1, in_flight_limit=4096),
        "met its limit of requests in flight 5 times; what ran short: the limit of 4096 requests in flight",
        figures(most_in_flight=4096),
    ),
    "in-flight-unsaid": Planted(
        figures(in_flight_limit_hits=None), "did not say whether it met its limit", figures()
    ),
    "cpu": Planted(
        figures(cpu_share=0.97),
        "used 97.0 % of a processor, 90.0 % is allowed; what ran short: the generator's own processor (it used 97 %",
        figures(cpu_share=0.85),
    ),
    "cpu-unsaid": Planted(
        figures(cpu_share="much"), "did not say how much CPU it used", figures(cpu_share=0)
    ),
    "no-figures": Planted(
        lambda run: run.say(EventKind.REPLAY, **ARM, unit="calm"), "left no figures in calm", figures()
    ),
    "worker-died": Planted(
        crew(finished=False), "worker two of the load generator of control did not finish", crew()
    ),
    "worker-late": Planted(
        crew(lag_p99_ms=120.0), "worker two of the load generator of control sent 1 %", crew(lag_p99_ms=90.0)
    ),
    "worker-clock": Planted(
        crew(offset_uncertainty_ns=12 * MS),
        "the clock of worker two of the load generator of control is known to 12.0 ms only",
        crew(offset_uncertainty_ns=9 * MS),
    ),
    "worker-clock-unsaid": Planted(
        crew(offset_uncertainty_ns=None), "how far the clock of worker two", crew(offset_ns=5 * SECOND)
    ),
    "worker-cpu-unsaid": Planted(crew(cpu_share=None), "did not say how much CPU it used", crew()),
    "worker-cpu": Planted(crew(cpu_share=0.99), "used 99.0 % of a processor", crew(cpu_share=0.2)),
    "worker-cpu-idle": Planted(
        crew(cpu_share=0.99, planned=1), "used 99.0 % of a processor", crew(cpu_share=0.99, planned=0)
    ),
}


def judged(plant: Plant, policy: Mapping[str, Any]) -> Finding:
    case: Case | None = plan_case(**policy) if policy else None
    run = clean_run(case)
    plant(run)
    return run.alone("fidelity")[FINDING]


@pytest.mark.parametrize("name", PLANTED)
def test_a_replay_that_is_not_faithful_is_unknown(name: str) -> None:
    planted = PLANTED[name]
    finding = judged(planted.plant, planted.policy)
    assert finding.outcome is Outcome.UNKNOWN, finding.sentence
    assert planted.words.lower() in finding.sentence.lower()
    assert "what ran short: " in finding.sentence
    assert finding.value == 0


@pytest.mark.parametrize("name", PLANTED)
def test_a_replay_that_is_nearly_so_passes(name: str) -> None:
    planted = PLANTED[name]
    finding = judged(planted.nearly, planted.policy)
    assert finding.outcome is Outcome.PASS, finding.sentence


@pytest.mark.parametrize("arm", ["baseline", "candidate"])
def test_other_arms_have_nothing_to_do_with_it(arm: str) -> None:
    run = clean_run()
    in_bunches(98)(run)
    assert run.alone("fidelity")[f"fidelity/{arm}"].outcome is Outcome.PASS


SHORT = {
    "throttled": (
        {"throttled_ms": 3000.0, "wall_ms": 8000.0, "cpu_share": 0.2},
        "what ran short: the CPU limit of the generator's control group (it was held back for 3000 of 8000 ms)",
    ),
    "machine": (
        {"runqueue_wait_ms": 900.0, "wall_ms": 8000.0},
        "the machine's processors (the generator was ready and waited for one for 900 of 8000 ms)",
    ),
    "memory": ({"major_faults": 900}, "what ran short: memory (900 pages of the generator"),
    "nothing-shows": ({}, "what ran short: not known."),
}


@pytest.mark.parametrize("name", SHORT)
def test_the_message_says_what_ran_short(name: str) -> None:
    said, words = SHORT[name]

    def starved(run: Run) -> None:
        late(300, 10)(run)
        figures(**said)(run)

    assert words in judged(starved, {}).sentence


def test_a_worker_that_is_not_on_record_is_noticed() -> None:
    """The plan says how many were to send: a report that leaves one out is not recomputed as a good one."""
    case = plan_case()
    case = case.model_copy(update={"plan": case.plan.model_copy(update={"workers": 3})})
    run = clean_run(case)
    for arm in case.plan.arms:
        run.say(
            EventKind.REPLAY,
            {"workers": [{"finished": True}] * (2 if arm is Arm.CONTROL else 3)},
            arm=arm.value,
        )
    found = run.alone("fidelity")
    assert "2 of 3 workers of control left figures in calm" in found["fidelity/control"].sentence
    assert "left figures in" not in found["fidelity/baseline"].sentence


def test_a_network_on_which_connecting_takes_long_is_named() -> None:
    def slow(run: Run) -> None:
        late(300, 10)(run)
        change(lambda row: {"connected_ns": row["sent_ns"] + 400 * MS}, seq=lambda seq: seq % 20 == 0)(run)

    assert "the network or the target (1 % of connections took 400 ms or more)" in judged(slow, {}).sentence


def test_clients_that_fall_out_or_wait_under_a_fault_are_what_is_to_be_seen() -> None:
    fault = {"phase": ("fault", "recovery")}

    def everywhere(run: Run) -> None:
        run.change("exchanges", FELL_OUT, **fault)

    assert judged(everywhere, {}).outcome is Outcome.PASS
    assert judged(change(moved_by(700), **fault), {}).outcome is Outcome.PASS


def test_clients_that_fall_out_of_one_arm_alone_leave_its_answers_unknown() -> None:
    """A candidate whose answers lack a token under a fault would else not be asked what it cannot answer."""
    fault = {"phase": "fault"}
    found = judged(unsent(CLIENT_FELL_OUT, **fault), {})
    assert found.outcome is Outcome.UNKNOWN
    assert "0.0 % in the baseline: what they would have shown is not known" in found.sentence
    few = unsent(CLIENT_FELL_OUT, **fault, seq=lambda seq: seq % 30 == 0)
    assert judged(few, {}).outcome is Outcome.PASS


def turned_away(every: int, recorded: int = 200, arms: Mapping[str, Any] | None = None, **where: Any) -> Run:
    """All requests have a recorded status, and one of so many is answered with 401."""
    run = clean_run().change("exchanges", {"recorded_status": recorded})
    return run.change("exchanges", {"status": 401}, **(arms or {}), seq=lambda seq: seq % every == 0, **where)


def test_a_baseline_that_turns_away_what_it_took_when_recorded_is_no_measure() -> None:
    """Sessions that begin before the recording does: every arm answers 401 alike, and nothing is compared."""
    finding = turned_away(10).alone("fidelity")["fidelity/baseline"]
    assert finding.outcome is Outcome.UNKNOWN
    assert (
        "requests to baseline that had succeeded when recorded failed outside faults (10.0 %, at most 5.0 %)"
        in (finding.sentence)
    )


@pytest.mark.parametrize(
    "run",
    [
        partial(turned_away, 40),
        partial(turned_away, 2, recorded=401),
        partial(turned_away, 2, recorded=-1),
        partial(turned_away, 2, arms={"arm": "candidate"}),
        partial(turned_away, 2, phase=("fault", "recovery")),
    ],
    ids=["few", "as recorded", "nothing recorded", "the candidate's affair", "under faults"],
)
def test_a_baseline_that_answers_as_recorded_is_one(run: Callable[[], Run]) -> None:
    assert run().alone("fidelity")["fidelity/baseline"].outcome is Outcome.PASS


def test_a_faithful_replay_says_what_is_left_of_its_tightest_limit() -> None:
    finding = clean_findings()[FINDING]
    parts = [FidelityPart.model_validate(item) for item in finding.details["parts"]]
    assert {part.name for part in parts} >= {
        "lag_p50",
        "rate",
        "mix",
        "burstiness_10ms",
        "gaps",
        "order",
        "cpu",
    }
    tightest = max(part.use for part in parts if part.use is not None)
    assert finding.value == pytest.approx(1 - tightest)
    assert 0.8 < 1 - tightest < 1
    assert f"{100 * (1 - tightest):.0f} % of the tightest limit is left." in finding.sentence


def test_a_faithful_replay_that_is_allowed_to_lack_requests_does_not_say_all() -> None:
    finding = judged(unsent("not sent", seq=3), {"unsent": 0.5})
    assert finding.outcome is Outcome.PASS
    assert finding.sentence.startswith("1439 of 1440 requests to control were sent as recorded")


@pytest.mark.parametrize("column", ["sent_ns", "scheduled_ns", "phase", "seq"])
def test_a_row_without_a_value_is_no_evidence(column: str) -> None:
    """No comparison holds of a null: a request without a time would be neither late nor missing."""
    finding = judged(change({column: None}, seq=5), {})
    assert finding.outcome is Outcome.UNKNOWN
    assert f"requests to control are on record without a value in {column}" in finding.sentence.lower()


def test_gaps_between_turns_are_no_gaps_of_the_recording() -> None:
    """Turns of one arm are seconds apart: neither a quiet second nor a gap of the load."""
    run = clean_run().change(
        "exchanges",
        lambda row: {name: row[name] + 3600 * SECOND * row["turn"] for name in TIMES},
        **ARM,
    )
    before, after = clean_findings()[FINDING], run.alone("fidelity")[FINDING]
    assert after.details == before.details


TIMES = ("scheduled_ns", "due_ns", "sent_ns", "connected_ns", "first_byte_ns", "answered_ns")
