"""Checks of what is decided: quality against labels, fairness by group, and what one service makes of the same requests."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.model.findings import Outcome
from tests.unit.histories import CHECKS, Planted, Run, assert_noticed, clean_run, plan_case

UNKNOWN, FAIL, PASS = Outcome.UNKNOWN, Outcome.FAIL, Outcome.PASS
BAD = "candidate"


def tenth(of: int) -> Any:
    return lambda seq: seq % 10 < of


def labels_by(good: Any) -> Any:
    return lambda run: run.change("labels", lambda row: {"label": good(row)})


def groups_by(group: Any) -> Any:
    return lambda run: run.change("labels", lambda row: {"groups": json.dumps({"sex": group(row)})})


def two_truths(run: Run) -> None:
    run.double("labels", key="A000700").tables["labels"][-1]["label"] ^= 1


QUALITY = {
    "ranks-worse": (
        "auc",
        lambda run: run.answer({"score": 0.7}, arm=BAD, seq=tenth(6)),
        FAIL,
        ("The model ranks applications with an AUC of 0.6", "in the baseline, 1 is perfect"),
    ),
    "approves-more": (
        "approval_rate",
        lambda run: run.answer({"decision": "approve"}, arm=BAD),
        FAIL,
        ("100.0% of applications are approved", "in the baseline: a shift of at most 8.0 % is allowed"),
    ),
    "approves-fewer": (
        "approval_rate",
        lambda run: run.answer({"decision": "decline"}, arm=BAD, seq=tenth(4)),
        FAIL,
        ("of applications are approved",),
    ),
    "overconfident": (
        "calibration",
        lambda run: run.answer(lambda said: {"score": 1.0 if said["score"] > 0.4 else 0.0}, arm=BAD),
        FAIL,
        ("is off by a Brier score of 0.", "in the baseline, 0 is perfect"),
    ),
    "rescaled-and-silent-about-it": (
        "calibration",
        lambda run: run.answer(lambda said: {"score": 1000 * said["score"]}, arm=BAD),
        FAIL,
        ("is off by a Brier score of",),
    ),
    "baseline-no-probability": (
        "calibration",
        lambda run: run.answer(lambda said: {"score": 1000 * said["score"]}),
        UNKNOWN,
        ("of their scale, which are no probabilities; give `scale` or `scale_field`",),
    ),
    "no-scale": (
        "calibration",
        lambda run: run.answer({"score_max": 0}, arm=BAD, seq=100),
        UNKNOWN,
        ("1 answers of candidate name no scale above 0 in `score_max`",),
    ),
    "no-score-for-some": (
        "auc",
        lambda run: run.answer({"score": None}, arm=BAD, seq=tenth(4)),
        UNKNOWN,
        ("of the candidate's answers hold no number in `score`",),
    ),
    "score-true": (
        "auc",
        lambda run: run.answer({"score": True}, arm=BAD, seq=tenth(4)),
        UNKNOWN,
        ("of the candidate's answers hold no number in `score`",),
    ),
    "all-alike": (
        "auc",
        lambda run: run.answer({"score": 0.8}),
        UNKNOWN,
        ("`score` is the same in all of the baseline's answers and ranks nothing",),
    ),
    "nobody-approved": (
        "approval_rate",
        lambda run: run.answer({"decision": "yes"}),
        UNKNOWN,
        ("no arm ever answered 'approve' in `decision`; are they spelled right?",),
    ),
    "no-labels": (
        "auc",
        lambda run: run.drop("labels"),
        UNKNOWN,
        ("Auc cannot be judged: 0 labelled decisions",),
    ),
    "one-class-only": ("auc", labels_by(lambda row: 1), UNKNOWN, ("good and 0 bad, 20 of each are needed",)),
    "hardly-a-bad-one": (
        "auc",
        labels_by(lambda row: int(row["key"] != "A000100")),
        UNKNOWN,
        ("good and 1 bad, 20 of each are needed",),
    ),
    "labels-of-neither-kind": (
        "auc",
        labels_by(lambda row: -1),
        UNKNOWN,
        ("0 labelled decisions, 200 are needed",),
    ),
    "two-truths": ("auc", two_truths, UNKNOWN, ("the labels say two things about A000700",)),
    "candidate-dodges": (
        "auc",
        lambda run: run.answer({"degraded": True}, arm=BAD, seq=tenth(3)),
        UNKNOWN,
        ("the candidate gave no such answer to 2", "of the requests that the baseline answered well"),
    ),
    "control-astray": (
        "auc",
        lambda run: run.answer({"score": 0.7}, arm="control", seq=tenth(6)),
        UNKNOWN,
        ("baseline and control, which are the same, differ",),
    ),
}


@pytest.mark.parametrize("name", QUALITY)
def test_decision_quality(name: str) -> None:
    measure, plant, outcome, words = QUALITY[name]
    assert_noticed(Planted(f"decision_quality/{measure}", plant, outcome, words))


def test_a_candidate_that_says_its_new_scale_is_as_calibrated_as_before() -> None:
    """From 0..1 to 0..1000, and `score_max` says so: ranks and probabilities are what they were."""
    run = clean_run()
    before = run.alone("decision_quality")
    run.answer(lambda said: {"score": 1000 * said["score"], "score_max": 1000}, arm=BAD)
    after = run.alone("decision_quality")
    assert {finding.outcome for finding in after.values()} == {PASS}
    for name in ("decision_quality/calibration", "decision_quality/auc"):
        assert after[name].value == pytest.approx(before[name].value)


def test_an_answer_that_names_no_scale_has_the_scenario_s() -> None:
    """Only the candidate says `score_max`; all others answer on the scale of the scenario."""
    quality = {"check": "decision_quality", "scale": 10.0, "scale_field": "score_max"}
    run = clean_run(plan_case([quality]))
    run.answer(lambda said: {"score": 10 * said["score"], "score_max": None}, arm=("baseline", "control"))
    finding = run.alone("decision_quality")["decision_quality/calibration"]
    assert finding.outcome is PASS, finding.sentence
    assert finding.value == pytest.approx(finding.baseline_value, abs=0.01)


def test_without_a_scale_field_the_scale_holds_for_all() -> None:
    quality = {"check": "decision_quality", "scale": 1000.0}
    run = clean_run(plan_case([quality])).answer(lambda said: {"score": 1000 * said["score"]})
    assert run.alone("decision_quality")["decision_quality/calibration"].outcome is PASS


def female(run: Run) -> tuple[str, ...]:
    return tuple(row["key"] for row in run.tables["labels"] if json.loads(row["groups"])["sex"] == "female")


def decline_women(run: Run, tenths: int) -> None:
    run.answer({"decision": "decline"}, arm=BAD, key=female(run), seq=tenth(tenths))


FAIRNESS = {
    "group-declined": (
        "approval_ratio",
        lambda run: decline_women(run, 6),
        FAIL,
        ("The approval-rate ratio of female against male (sex) is 0.4", "in the baseline"),
    ),
    "good-ones-of-the-group-declined": (
        "equal_opportunity",
        lambda run: decline_women(run, 6),
        FAIL,
        ("The equal-opportunity difference of female against male (sex)",),
    ),
    "group-too-small": (
        "approval_ratio",
        groups_by(lambda row: "female" if row["key"] < "A000055" else "male"),
        UNKNOWN,
        ("Fairness by sex (approval ratio) cannot be judged: too few decisions for female", "20 are needed"),
    ),
    "one-group-only": (
        "equal_opportunity",
        groups_by(lambda row: "male"),
        UNKNOWN,
        ("Fairness by sex (equal opportunity) cannot be judged: fewer than two groups were seen",),
    ),
    "attribute-unknown": (
        "approval_ratio",
        lambda run: run.change("labels", {"groups": "{}"}),
        UNKNOWN,
        ("fewer than two groups were seen",),
    ),
    "no-labels": (
        "approval_ratio",
        lambda run: run.drop("labels"),
        UNKNOWN,
        ("fewer than two groups were seen",),
    ),
    "nobody-approved": (
        "equal_opportunity",
        lambda run: run.answer({"decision": "yes"}),
        UNKNOWN,
        ("no arm ever answered 'approve'",),
    ),
    "nobody-approved-in-control": (
        "approval_ratio",
        lambda run: run.answer({"decision": "decline"}, arm="control"),
        UNKNOWN,
        ("it may be lower by at most undefined",),
    ),
    "no-man-approved-in-control": (
        "approval_ratio",
        lambda run: run.answer(
            {"decision": "decline"}, arm="control", key=lambda key: key not in female(run)
        ),
        UNKNOWN,
        ("it may be lower by at most undefined, and baseline and control, which are the same, differ",),
    ),
    "candidate-dodges": (
        "approval_ratio",
        lambda run: run.answer({"degraded": True}, arm=BAD, key=female(run), seq=tenth(7)),
        UNKNOWN,
        ("the candidate gave no such answer to", "cannot be judged"),
    ),
}


@pytest.mark.parametrize("name", FAIRNESS)
def test_fairness(name: str) -> None:
    measure, plant, outcome, words = FAIRNESS[name]
    assert_noticed(Planted(f"fairness/{measure}/sex", plant, outcome, words))


def test_a_floor_for_the_ratio_holds_although_the_baseline_is_as_unfair() -> None:
    run = clean_run(plan_case([{"check": "fairness", "attributes": ["sex"], "ratio_at_least": 0.8}]))
    name = "fairness/approval_ratio/sex"
    assert run.alone("fairness")[name].outcome is PASS
    run.answer({"decision": "decline"}, key=female(run), seq=tenth(6))
    finding = run.alone("fairness")[name]
    assert finding.outcome is FAIL
    assert "not below 0.8" in finding.sentence


OUTCOME = {
    "other-queue": (
        "front/queue",
        lambda run: run.answer({"queue": "auto"}, arm=BAD),
        FAIL,
        ("front: 0.0 % of orders go to a person", "in the baseline; a shift of at most 5.0 % is allowed"),
    ),
    "queue-gone": (
        "front/queue",
        lambda run: run.answer({"queue": None}, arm=BAD),
        FAIL,
        ("front: 0.0 % of orders go to a person",),
    ),
    "value-never-seen": (
        "front/queue",
        lambda run: run.answer({"queue": "Manual"}),
        UNKNOWN,
        ("front: queue cannot be judged: no arm ever answered 'manual' there",),
    ),
    "dearer": (
        "pricer/rate",
        lambda run: run.answer(lambda said: {"rate": said["rate"] + 0.5}, arm=BAD),
        FAIL,
        ("pricer: ", "is the mean rate", "a shift of at most 0.3 is allowed"),
    ),
    "cheaper": (
        "pricer/rate",
        lambda run: run.answer(lambda said: {"rate": said["rate"] - 0.5}, arm=BAD),
        FAIL,
        ("pricer: ",),
    ),
    "rate-gone-for-some": (
        "pricer/rate",
        lambda run: run.answer({"rate": None}, arm=BAD, seq=tenth(5)),
        UNKNOWN,
        ("pricer: rate cannot be judged", "of the candidate's answers hold no number there"),
    ),
    "rate-in-quotes": (
        "pricer/rate",
        lambda run: run.answer({"rate": "5"}),
        UNKNOWN,
        ("pricer: rate cannot be judged by 0 answers that all arms gave",),
    ),
    "too-few": (
        "front/queue",
        lambda run: run.drop("exchanges", arm="control", seq=lambda seq: seq > 80),
        UNKNOWN,
        ("front: queue cannot be judged by", "100 are needed"),
    ),
    "candidate-dodges": (
        "front/queue",
        lambda run: run.change("exchanges", {"status": 409}, arm=BAD, seq=tenth(3)),
        UNKNOWN,
        ("front: queue cannot be judged: the candidate gave no such answer to",),
    ),
    "control-astray": (
        "pricer/rate",
        lambda run: run.answer(lambda said: {"rate": said["rate"] + 3}, arm="control"),
        UNKNOWN,
        ("baseline and control, which are the same, differ by more than a change may",),
    ),
}


@pytest.mark.parametrize("name", OUTCOME)
def test_outcome(name: str) -> None:
    place, plant, outcome, words = OUTCOME[name]
    assert_noticed(Planted(f"outcome/{place}", plant, outcome, words))


def test_answers_that_are_all_alike_in_every_arm_shift_nothing() -> None:
    mean = next(item for item in CHECKS if item.get("statistic"))
    run = clean_run(plan_case([mean])).answer({"rate": 5.5})
    assert run.alone("outcome")["outcome/pricer/rate"].outcome is PASS
