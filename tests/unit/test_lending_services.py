"""What the lending services decide, without any I/O: scores, rates, queues, fallback rules and the application form."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

ENVIRONMENT = Path(__file__).parents[2] / "environments" / "lending"
SERVICES = ENVIRONMENT / "images" / "services"
sys.path.insert(0, str(SERVICES))

from lending.application import LIMITS, BadApplicationError, read_application  # noqa: E402
from lending.rate_card import read_rate_card  # noqa: E402
from lending.review import ReviewBand  # noqa: E402
from lending.rules import APPROVE_AT, TYPICAL_PROFILE, rules_score  # noqa: E402
from lending.scoring import read_model  # noqa: E402

GOOD_FORM = {
    "application_id": "A1",
    "applicant_id": "P1",
    "loan_thousands": 120,
    "income_thousands": 70,
    "housing_percent": 24.5,
    "obligations_percent": 31,
    "loan_to_price": 0.78,
    "unverifiable": 0,
    "self_employed": 0,
    "multi_unit": 0,
    "unemployment_percent": 3.2,
}


def model_file(folder: Path, **changes: object) -> Path:
    """Two terms, one of them a hinge, chosen so that the logit is 0 for the features below."""
    content = {
        "version": "9.9.9",
        "score_max": 1.0,
        "approve_at": 0.7,
        "terms": [[{"feature": "a"}], [{"feature": "b", "above": 36.0}, {"feature": "c"}]],
        "members": [{"intercept": -1.0, "terms": [0.5, -0.1]}],
    }
    path = folder / "model.json"
    path.write_text(json.dumps({**content, **changes}))
    return path


def test_a_model_scores_products_of_factors_and_hinges(tmp_path: Path) -> None:
    model = read_model(model_file(tmp_path))
    assert model.score({"a": 2.0, "b": 30.0, "c": 1.0}) == {
        "model_version": "9.9.9",
        "score": 0.5,
        "approve_at": 0.7,
    }
    # 10 above the knot, times c, at -0.1 each: the logit is -1 + 1 - 1
    assert model.score({"a": 2.0, "b": 46.0, "c": 1.0})["score"] == pytest.approx(0.2689, abs=1e-4)
    assert model.score({"a": 2.0, "b": 46.0, "c": 0.0})["score"] == 0.5
    with pytest.raises(KeyError):
        model.score({"a": 2.0})


def test_an_ensemble_says_how_sure_it_is_and_a_rescaled_model_names_its_scale(tmp_path: Path) -> None:
    members = [{"intercept": i, "terms": [0.0, 0.0]} for i in (0.0, 0.0, -1.0)]
    answer = read_model(model_file(tmp_path, members=members, score_max=1000.0)).score(
        {"a": 1, "b": 1, "c": 1}
    )
    assert answer["score"] == 500.0
    assert answer["score_max"] == 1000.0
    assert answer["confidence"] == pytest.approx(1 - (0.5 - 0.2689), abs=1e-4)


def test_rates_fall_with_the_score_and_only_the_newest_card_understands_other_scales() -> None:
    old, new, newest = (
        read_rate_card(SERVICES / "rate_cards" / f"{v}.json") for v in ("3.2.0", "3.3.0", "3.4.0")
    )
    assert old.rate_percent({"score": 0.9}) < old.rate_percent({"score": 0.6})
    assert old.rate_percent({"score": 0.9, "confidence": 1.0}) == old.rate_percent({"score": 0.9})
    assert new.rate_percent({"score": 0.9, "confidence": 1.0}) < new.rate_percent({"score": 0.9})
    rescaled = {"score": 900.0, "score_max": 1000.0, "confidence": 1.0}
    assert newest.rate_percent(rescaled) == new.rate_percent({"score": 0.9, "confidence": 1.0})
    assert new.rate_percent(rescaled) == new.lowest_percent  # what a forgotten pricing-service would do


def test_people_review_the_middle_and_a_score_on_another_scale_never_reaches_them() -> None:
    band = ReviewBand(0.10, 0.75)
    assert [band.queue(score) for score in (0.05, 0.10, 0.74, 0.75, 0.9)] == [
        "auto",
        "manual",
        "manual",
        "auto",
        "auto",
    ]
    assert band.queue(400.0) == "auto"  # the defect that rate-model-v2-rescaled brings to light


def test_the_rules_approve_a_typical_applicant_and_not_one_with_everything_against_him() -> None:
    good = {**GOOD_FORM, **TYPICAL_PROFILE}
    bad = {**good, "public_record": 1, "consumer_history": 6, "obligations_percent": 60, "loan_to_price": 1.2}
    assert rules_score(good) >= APPROVE_AT
    assert 0 < rules_score(bad) < APPROVE_AT


def test_a_bad_form_is_told_everything_that_is_wrong() -> None:
    application = read_application(GOOD_FORM)
    assert set(application.numbers) == set(LIMITS)
    with pytest.raises(BadApplicationError) as error:
        read_application({**GOOD_FORM, "applicant_id": 7, "loan_to_price": "0.8", "multi_unit": True})
    assert str(error.value) == (
        "applicant_id must be a text of 1 to 64 characters; loan_to_price must be a number from 0 to 10; "
        "multi_unit must be a number from 0 to 1"
    )


def test_every_version_that_a_definition_names_can_be_built() -> None:
    """A rate card for each pricing version, a recipe for each model version."""
    definitions = [
        ENVIRONMENT / "environment.yaml",
        *(ENVIRONMENT.parents[1] / "scenarios" / "changes").glob("*.change.yaml"),
    ]
    recipes = (SERVICES / "lending" / "training.py").read_text()
    wanted: dict[str, set[str]] = {"PRICING_VERSION": set(), "MODEL_VERSION": set()}
    for definition in definitions:
        for name, value in _build_args(yaml.safe_load(definition.read_text())):
            wanted[name].add(value)
    assert {path.stem for path in (SERVICES / "rate_cards").glob("*.json")} == wanted["PRICING_VERSION"]
    assert all(f'"{version}": Recipe(' in recipes for version in wanted["MODEL_VERSION"])
    assert len(wanted["MODEL_VERSION"]) == 3


def _build_args(node: object) -> list[tuple[str, str]]:
    """Every build argument anywhere in a definition."""
    if isinstance(node, list):
        return [pair for item in node for pair in _build_args(item)]
    if not isinstance(node, dict):
        return []
    return [(name, str(value)) for name, value in node.get("args", {}).items()] + [
        pair for item in node.values() for pair in _build_args(item)
    ]
