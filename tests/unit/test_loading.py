"""Messages about bad definitions are golden files: one folder per bad input under tests/golden/messages."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.crosscheck import change_fits
from harness.errors import DefinitionError
from harness.loading import (
    Loaded,
    load_change,
    load_dataset,
    load_environment,
    load_policy,
    load_scenario,
)
from tests.golden_files import GOLDEN, golden

MESSAGES = GOLDEN / "messages"
LOADERS: dict[str, Callable[[Path], Loaded[Any]]] = {
    "environment": load_environment,
    "scenario": load_scenario,
    "change": load_change,
    "dataset": load_dataset,
    "policy": load_policy,
}
CASES = sorted(folder.name for folder in MESSAGES.iterdir() if folder.is_dir() and folder.name[0] != "_")


@pytest.mark.parametrize("case", [case for case in CASES if case != "change-unfit"])
def test_message(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(MESSAGES / case)
    found = sorted(Path().glob("input.*.yaml")) or [Path("input.policy.yaml")]
    load = LOADERS[found[0].name.split(".")[1]]
    with pytest.raises(DefinitionError) as caught:
        load(found[0])
    golden(f"messages/{case}/message.txt", f"{caught.value}\n")


def test_message_of_a_change_that_does_not_fit_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(MESSAGES / "change-unfit")
    problems = change_fits(
        load_change(Path("input.change.yaml")), load_environment(Path("../_companions/environment.yaml"))
    )
    golden("messages/change-unfit/message.txt", f"{DefinitionError(problems)}\n")
