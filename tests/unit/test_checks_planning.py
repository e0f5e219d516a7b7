"""What can be known of checks before a run is said before a run: a check that would look at nothing is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import DefinitionError
from harness.loading import load_change
from harness.model.plan import Plan
from harness.prepare import prepare
from harness.scaffold import write_skeleton

HEAD = """\
scenario: shop
environment: ../environments/shop/environment.yaml
recording: recordings/offers.ndjson
{answers}
timeline:
  - {{steady: calm, for: 6s}}
{fault}
checks:
  - check: availability
{check}
"""
FAULT = "  - {fault: kill, service: pricing, for: 2s, recovery: 2s}"
ANSWERS = "answers: shop.answers.schema.json"


def planned(folder: Path, check: str, fault: str = "", answers: str = "") -> Plan:
    write_skeleton(folder)
    scenario = folder / "scenarios/shop.scenario.yaml"
    scenario.write_text(HEAD.format(check=check, fault=fault, answers=answers), "utf-8")
    change = folder / "scenarios/changes/first.change.yaml"
    text = change.read_text("utf-8")
    start, end = text.index("objectives:"), text.index("\nrollback:")
    change.write_text(text[:start] + text[end:], "utf-8")
    return prepare(load_change(change), scenario, None, 1, lambda _line: None).plan


@pytest.mark.parametrize(
    ("check", "given"),
    [
        ("recovery", {"fault": FAULT}),
        ("retry_amplification", {"fault": FAULT}),
        ("contract", {"answers": ANSWERS}),
        ("decision_quality", None),
    ],
)
def test_a_check_with_nothing_to_look_at_is_refused_with_its_line(
    check: str, given: dict[str, str] | None, tmp_path: Path
) -> None:
    with pytest.raises(DefinitionError) as refused:
        planned(tmp_path / "without", f"  - check: {check}")
    said = str(refused.value)
    assert f"check {check!r} has nothing to look at in this scenario" in said
    assert "shop.scenario.yaml:10:12:" in said
    if given is not None:
        plan = planned(tmp_path / "with", f"  - check: {check}", **given)
        assert plan.checks[-1].check == check
        assert plan.checks[-1].findings


def test_a_schema_that_is_none_is_refused_before_the_run(tmp_path: Path) -> None:
    write_skeleton(tmp_path)
    (tmp_path / "scenarios/shop.answers.schema.json").write_text('{"type": "objekt"}', "utf-8")
    change = load_change(tmp_path / "scenarios/changes/first.change.yaml")
    with pytest.raises(DefinitionError, match="is no JSON Schema: 'objekt' is not valid"):
        prepare(change, tmp_path / "scenarios/shop.scenario.yaml", None, 1, lambda _line: None)
