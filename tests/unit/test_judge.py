"""The judge: nothing turns silence into a pass. READY needs everything that was planned, and something about the change."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.checks import CheckOrder, Frame, checks, decide, judge, plan_checks
from harness.checks.base import Parameters
from harness.checks.judge import rounded
from harness.checks.registry import EVIDENCE
from harness.model.environment import Environment
from harness.model.findings import Finding, Interval, Outcome, VerdictWord
from harness.model.history import GENERATOR_DIED, EventKind, History
from harness.model.plan import PlannedCheck
from harness.report import canonical
from tests.unit.histories import (
    ARMS,
    CHECKS,
    RATE,
    SECOND,
    TABLES,
    Run,
    clean_run,
    environment,
    plan_case,
    units,
)

READY, NOT_READY, UNKNOWN = VerdictWord.READY, VerdictWord.NOT_READY, VerdictWord.UNKNOWN
SHORT = ("calm", "store-away")


class MadeUp:
    """A check of another package that gives what a test wants of it."""

    name = "made_up"
    summary = "gives what it is told"
    parameters = Parameters

    def __init__(self, *gives: Finding | BaseException) -> None:
        self.gives = gives

    def expect(self, frame: Frame, parameters: Parameters) -> tuple[str, ...]:
        return ("made_up/a", "made_up/b")

    def judge(self, case: Any, parameters: Parameters, history: History) -> Iterator[Finding]:
        for item in self.gives:
            if isinstance(item, BaseException):
                raise item
            yield item


def finding(name: str, outcome: Outcome = Outcome.PASS, **more: Any) -> Finding:
    fields = {
        "check": "made_up",
        "subject": "run",
        "sentence": f"{name} is {outcome}.",
        "sample_size": 5,
        **more,
    }
    return Finding(id=name, outcome=outcome, **fields)


def with_check(monkeypatch: pytest.MonkeyPatch, *gives: Finding | BaseException) -> Run:
    """A clean run whose plan has the made-up check as well."""
    known = {**checks(), "made_up": MadeUp(*gives)}
    for module in ("harness.checks.judge", "harness.checks.registry"):
        monkeypatch.setattr(sys.modules[module], "checks", lambda: known)
    run = clean_run(plan_case([{"check": "contract"}], names=SHORT))
    owed = PlannedCheck(check="made_up", origin="scenario", findings=("made_up/a", "made_up/b"))
    plan = run.case.plan.model_copy(update={"checks": (*run.case.plan.checks, owed)})
    run.case = run.case.model_copy(update={"plan": plan})
    return run


def short_run() -> Run:
    return clean_run(plan_case(names=SHORT))


def test_a_clean_run_is_ready_and_says_what_it_rests_on() -> None:
    verdict = clean_run().verdict()
    assert verdict.verdict is READY
    assert "4320 requests over 3 arms and 4 faults, every one of them witnessed" in verdict.sentence


def test_an_empty_history_is_unknown() -> None:
    case = plan_case()
    findings = judge(case, History.empty())
    assert decide(case, findings).verdict is UNKNOWN
    owed = {name for planned in case.plan.checks for name in planned.findings}
    assert {item.id for item in findings} == owed


@pytest.mark.parametrize("table", TABLES)
def test_without_one_of_its_tables_a_run_is_never_ready(table: str) -> None:
    run = short_run()
    run.tables[table] = []
    assert run.verdict().verdict is UNKNOWN


@pytest.mark.parametrize(
    "kind", [kind for kind in EventKind if any(e.kind is kind for e in short_run().events)]
)
def test_without_one_kind_of_event_a_run_is_ready_only_where_nothing_hangs_on_it(kind: EventKind) -> None:
    """The moments at which something was about to happen are for readers."""
    told = {EventKind.ARM_UP, EventKind.FAULT_APPLYING, EventKind.FAULT_HEALING}
    assert short_run().say(kind).verdict().verdict is (READY if kind in told else UNKNOWN)


def test_without_any_event_a_run_is_unknown() -> None:
    run = short_run()
    run.events = []
    assert run.verdict().verdict is UNKNOWN


@pytest.mark.parametrize("arm", ARMS)
def test_without_one_arm_a_run_is_unknown(arm: str) -> None:
    run = short_run()
    for table in ("exchanges", "edge_requests", "witness"):
        run.drop(table, arm=arm)
    assert run.verdict().verdict is UNKNOWN


@pytest.mark.parametrize("arm", ARMS)
def test_a_plan_without_one_of_the_arms_is_unknown(arm: str) -> None:
    run = short_run()
    arms = tuple(other for other in ARMS if other != arm)
    run.case = run.case.model_copy(update={"plan": run.case.plan.model_copy(update={"arms": arms})})
    assert run.verdict().verdict is UNKNOWN


@pytest.mark.parametrize("error", [ValueError("no such column"), SystemExit(0), RecursionError("too deep")])
def test_a_check_that_raises_is_unknown_with_the_reason(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = with_check(monkeypatch, finding("made_up/a"), error)
    found = run.findings()
    for name in ("made_up/a", "made_up/b"):
        assert found[name].outcome is Outcome.UNKNOWN
        assert f"the check 'made_up' broke down: {type(error).__name__}: {error}" in found[
            name
        ].sentence.replace("The", "the")
    assert run.verdict().verdict is UNKNOWN


GOOD = (finding("made_up/a"), finding("made_up/b"))


@pytest.mark.parametrize(
    ("gives", "name", "words"),
    [
        (GOOD[:1], "made_up/b", "was planned, and the check 'made_up' gave it not at all"),
        ((*GOOD, GOOD[1]), "made_up/b", "gave it 2 times"),
        (
            (*GOOD, finding("made_up/c")),
            "made_up/unplanned/made_up/c",
            "'made_up' gave made_up/c, which nobody planned",
        ),
        ((GOOD[0], finding("made_up/b", sample_size=0)), "made_up/b", "it passed without a single sample"),
        (
            (GOOD[0], finding("made_up/b", value=float("nan"))),
            "made_up/b",
            "it passed with a number that is none",
        ),
        (
            (GOOD[0], finding("made_up/b", interval=Interval(low=float("nan"), high=1))),
            "made_up/b",
            "it passed with a number that is none",
        ),
        ((GOOD[0], {"id": "made_up/b"}), "made_up/a", "broke down"),
    ],
)
def test_what_a_check_gives_must_be_what_it_owes(
    gives: tuple[Any, ...], name: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = with_check(monkeypatch, *gives)
    found = run.findings()
    assert found[name].outcome is Outcome.UNKNOWN
    assert words in found[name].sentence
    assert run.verdict().verdict is UNKNOWN


def test_a_check_that_gives_what_it_owes_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    assert with_check(monkeypatch, *GOOD).verdict().verdict is READY


@pytest.mark.parametrize(
    ("outcomes", "word"),
    [
        ((Outcome.PASS, Outcome.PASS), READY),
        ((Outcome.PASS, Outcome.UNKNOWN), UNKNOWN),
        ((Outcome.UNKNOWN, Outcome.FAIL), NOT_READY),
        ((Outcome.PASS, Outcome.FAIL), NOT_READY),
    ],
)
def test_not_ready_beats_unknown_beats_ready(
    outcomes: tuple[Outcome, Outcome], word: VerdictWord, monkeypatch: pytest.MonkeyPatch
) -> None:
    gives = [
        finding(name, outcome) for name, outcome in zip(("made_up/a", "made_up/b"), outcomes, strict=True)
    ]
    verdict = with_check(monkeypatch, *gives).verdict()
    assert verdict.verdict is word
    assert verdict.counts[Outcome.FAIL] == outcomes.count(Outcome.FAIL)
    if word is not READY:
        assert verdict.sentence == next(
            f"{g.id} is {g.outcome}." for g in reversed(gives) if g.outcome is outcomes[1]
        )


def test_no_check_about_the_change_is_unknown() -> None:
    run = clean_run(plan_case([]))
    assert {item.outcome for item in run.findings().values()} == {Outcome.PASS}
    verdict = run.verdict()
    assert verdict.verdict is UNKNOWN
    assert verdict.sentence == "No check looked at the change itself, so nothing is known about it."


@pytest.mark.parametrize("check", [check.name for check in EVIDENCE])
def test_a_plan_that_leaves_out_an_evidence_check_is_unknown(check: str) -> None:
    run = clean_run(plan_case([{"check": "contract"}], names=SHORT))
    kept = tuple(planned for planned in run.case.plan.checks if planned.check != check)
    run.case = run.case.model_copy(update={"plan": run.case.plan.model_copy(update={"checks": kept})})
    verdict = run.verdict()
    assert verdict.verdict is UNKNOWN
    assert f"leaves out the check {check!r}" in verdict.sentence


def test_a_finding_that_is_lost_between_judge_and_verdict_is_unknown() -> None:
    run = clean_run(plan_case(names=SHORT))
    found = run.findings()
    lost = found.pop("contract/entry:api")
    verdict = decide(run.case, found.values())
    assert verdict.verdict is UNKNOWN
    assert verdict.sentence == f"{lost.id} was planned and never ran."


def lone_service() -> Environment:
    graph = environment()
    return graph.model_copy(update={"services": {"front": graph.services["front"]}, "edges": ()})


@pytest.mark.parametrize(
    ("check", "names", "graph"),
    [
        ({"check": "recovery"}, ("calm",), environment()),
        ({"check": "retry_amplification"}, ("calm",), environment()),
        ({"check": "retry_amplification"}, SHORT, lone_service()),
        ({"check": "availability", "of": ["services"]}, ("calm",), lone_service()),
        ({"check": "latency", "phases": []}, SHORT, environment()),
        ({"check": "latency", "phases": ["fault"]}, ("calm",), environment()),
        ({"check": "availability", "of": []}, SHORT, environment()),
    ],
)
def test_a_check_with_nothing_to_look_at_is_unknown(
    check: dict[str, Any], names: tuple[str, ...], graph: Environment
) -> None:
    """`prepare` refuses it before a run; a plan from elsewhere gets no READY out of it."""
    run = clean_run(plan_case([{"check": "contract"}, check], names=names, graph=graph))
    verdict = run.verdict()
    assert verdict.verdict is UNKNOWN
    assert f"The check {check['check']!r} was asked for, and nothing in this scenario" in verdict.sentence


def test_an_unknown_check_in_a_plan_is_unknown() -> None:
    run = clean_run(plan_case([{"check": "contract"}], names=SHORT))
    strange = PlannedCheck(check="gone", origin="scenario", findings=())
    plan = run.case.plan.model_copy(update={"checks": (*run.case.plan.checks, strange)})
    run.case = run.case.model_copy(update={"plan": plan})
    assert run.verdict().verdict is UNKNOWN


def test_a_change_adds_bounds_and_takes_none_away() -> None:
    frame = Frame(environment(), units(), ARMS, "api", has_answers_schema=True)
    orders = [CheckOrder("contract", origin, "{}") for origin in ("scenario", "change", "change")]
    planned = plan_checks(orders, frame)[-3:]
    assert [item.findings for item in planned] == [
        ("contract/entry:api",),
        ("objectives/contract/entry:api",),
        ("objectives/2/contract/entry:api",),
    ]


def killed_half_way(run: Run) -> None:
    """The candidate's generator died in store-away: what was under way has no answer, the rest was never sent."""
    gone = run.rows("exchanges", arm="candidate", unit="store-away")[120:]
    for row in gone[:3]:
        row.update(status=0, answered_ns=-1, body="", error=GENERATOR_DIED)
    for row in gone[3:]:
        row.update(status=0, sent_ns=-1, answered_ns=-1, body="", error="not sent")
    sent = {row["request_id"] for row in gone[:3]}
    lost = {row["request_id"] for row in gone} - sent
    run.drop("edge_requests", arm="candidate", unit="store-away", request_id=lambda name: name in lost)
    run.happen(EventKind.REPLAY_FAILED, error="it was killed", arm="candidate", unit="store-away")


def clock_backwards(run: Run) -> None:
    for row in run.rows("exchanges", arm="candidate"):
        row["answered_ns"] = row["sent_ns"] - (row["answered_ns"] - row["sent_ns"])


def late(run: Run) -> None:
    run.change("exchanges", lambda row: {"sent_ns": row["scheduled_ns"] + SECOND // 5}, arm="baseline")


def bypassed(run: Run) -> None:
    flat = {"in_bytes_from_caller": 0, "in_packets": 0, "out_requests": 0, "in_connections": 0}
    run.change("witness", flat, edge="front->pricer").drop("edge_requests", edge="front->pricer")


def nulls(run: Run) -> None:
    run.change(
        "exchanges", {"status": None, "answered_ns": None}, arm="candidate", seq=lambda seq: seq % 3 == 0
    )


def no_times(run: Run) -> None:
    run.change("edge_requests", {"duration_ms": float("nan")})


def all_refused(run: Run) -> None:
    run.change("exchanges", {"status": 404}).change("edge_requests", {"status": 404})


def fault_unseen(run: Run) -> None:
    run.say(EventKind.FAULT_HEALED, {"hits": {"packets": 0}}, unit="store-away")


UNSOUND = {
    "generator-killed": killed_half_way,
    "replay-late": late,
    "clock-backwards": clock_backwards,
    "edge-bypassed": bypassed,
    "idle-edge": fault_unseen,
    "nulls": nulls,
    "no-times": no_times,
    "every-arm-refuses": all_refused,
    "rows-twice": lambda run: run.double("exchanges", seq=lambda seq: seq % 7 == 0),
    "one-label-kind": lambda run: run.change("labels", {"label": 1}),
    "unknown-arm": lambda run: run.change("exchanges", {"arm": "canary"}, arm="control"),
    "empty-answers": lambda run: run.change("exchanges", {"body": ""}),
}


@pytest.mark.parametrize("name", UNSOUND)
def test_an_unsound_run_is_never_ready(name: str) -> None:
    run = clean_run()
    UNSOUND[name](run)
    verdict = run.verdict()
    assert verdict.verdict is (NOT_READY if name in {"empty-answers", "nulls"} else UNKNOWN), verdict.reasons


FEW = settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@FEW
@given(
    lost=st.sets(st.integers(0, 3 * RATE * 15 - 1), min_size=1, max_size=400),
    events=st.sets(st.integers(0, 60), max_size=20),
)
def test_a_run_that_lacks_any_exchange_is_never_ready(lost: set[int], events: set[int]) -> None:
    run = short_run()
    run.tables["exchanges"] = [row for index, row in enumerate(run.tables["exchanges"]) if index not in lost]
    run.events = [event for index, event in enumerate(run.events) if index not in events]
    assert len(run.tables["exchanges"]) < 3 * RATE * 15
    assert run.verdict().verdict is not READY


@FEW
@given(data=st.data(), table=st.sampled_from(["edge_requests", "witness", "labels"]))
def test_thinning_out_any_other_table_never_hides_a_failure(data: st.DataObject, table: str) -> None:
    """A failing candidate stays unready, whatever else is missing."""
    run = short_run().change("exchanges", {"status": 500}, arm="candidate", seq=lambda seq: seq % 10 == 0)
    keep = data.draw(st.integers(0, 9))
    run.tables[table] = [row for index, row in enumerate(run.tables[table]) if index % 10 < keep]
    assert run.verdict().verdict is not READY


@FEW
@given(arm=st.sampled_from(["candidate", "baseline", "control"]), tenths=st.integers(2, 10))
def test_an_arm_that_fails_beyond_the_margin_is_never_ready(arm: str, tenths: int) -> None:
    run = short_run().change("exchanges", {"status": 500}, arm=arm, seq=lambda seq: seq % 10 < tenths)
    assert run.verdict().verdict is (NOT_READY if arm == "candidate" else UNKNOWN)


@pytest.mark.parametrize("item", CHECKS, ids=lambda item: item["check"])
def test_no_check_passes_over_an_empty_history(item: dict[str, Any]) -> None:
    case = plan_case([item])
    about_change = [found for found in judge(case, History.empty()) if found.check == item["check"]]
    assert about_change
    assert {found.outcome for found in about_change} == {Outcome.UNKNOWN}


IN_ANOTHER_PROCESS = """
import sys
from harness.checks import judge
from harness.report import canonical
from tests.unit.histories import clean_run
run = clean_run()
sys.stdout.buffer.write(canonical.dump(judge(run.case, run.history())))
"""


def test_the_same_history_gives_the_same_bytes_here_again_and_in_other_processes() -> None:
    """Also with other hash seeds, and where vector instructions add up in another order."""
    run = clean_run()
    first = canonical.dump(judge(run.case, run.history()))
    assert canonical.dump(judge(run.case, run.history())) == first
    root = str(Path(__file__).parents[2])
    for changes in ({"PYTHONHASHSEED": "1"}, {"PYTHONHASHSEED": "2", "OPENBLAS_CORETYPE": "Prescott"}):
        environ = {**os.environ, "PYTHONPATH": root, **changes}
        command = [sys.executable, "-c", IN_ANOTHER_PROCESS]
        other = subprocess.run(command, env=environ, cwd=root, capture_output=True, check=True, timeout=120)
        assert other.stdout == first


def test_numbers_are_rounded_so_that_no_processor_is_told_from_another() -> None:
    found = finding(
        "made_up/a", value=0.1 + 0.2, limit=-1e-17, details={"arms": {"x": [1 / 3, True, 7, "1/3"]}}
    )
    given = rounded(found)
    assert given.value == 0.3
    assert str(given.limit) == "0.0"
    assert given.details == {"arms": {"x": [0.333333333, True, 7, "1/3"]}}
