"""The writer's guide tells the truth: its example check runs, is judged, and its test notices what it says."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import tests.unit.histories
from harness.checks import checks
from harness.model.findings import Outcome
from tests.unit.histories import clean_run, plan_case

GUIDE = Path(__file__).parents[2] / "harness/checks/README.md"


@pytest.fixture
def its_test(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names of the guide's test, with the guide's check registered."""
    check, test = re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    module = types.ModuleType("wordiness")
    monkeypatch.setitem(sys.modules, "wordiness", module)
    exec(compile(check, "wordiness.py", "exec"), vars(module))
    known = {**checks(), "wordiness": vars(module)["Wordiness"]()}
    for name in ("harness.checks.judge", "harness.checks.registry"):
        monkeypatch.setattr(sys.modules[name], "checks", lambda: known)
    names = {**vars(tests.unit.histories)}
    exec(compile(test, "test_wordiness.py", "exec"), names)
    return names


def test_the_guide_s_check_is_noticed_by_the_guide_s_test(its_test: dict[str, Any]) -> None:
    its_test["test_longer_answers_are_noticed"]()


def test_the_guide_s_check_is_unknown_over_nothing(its_test: dict[str, Any]) -> None:
    run = clean_run(plan_case([{"check": "wordiness"}])).drop("exchanges", phase="steady")
    assert run.alone("wordiness")["wordiness/entry:api"].outcome is Outcome.UNKNOWN
