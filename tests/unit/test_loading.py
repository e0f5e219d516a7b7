"""Messages about bad definitions are golden files: one folder per bad input under tests/golden/messages.

`READINESS_UPDATE_GOLDEN=1 pytest tests/unit/test_loading.py` writes them anew; read the difference before committing.
"""

import os
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

GOLDEN = Path(__file__).parents[1] / "golden" / "messages"
COMPANIONS = GOLDEN / "_companions"
LOADERS: dict[str, Callable[[Path], Loaded[Any]]] = {
    "environment": load_environment,
    "scenario": load_scenario,
    "change": load_change,
    "dataset": load_dataset,
    "policy": load_policy,
}
CASES = sorted(folder.name for folder in GOLDEN.iterdir() if folder.is_dir() and folder.name[0] != "_")


def agree(path: Path, message: str) -> None:
    if os.environ.get("READINESS_UPDATE_GOLDEN") == "1":
        path.write_text(message, encoding="utf-8")
    assert message == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("case", [case for case in CASES if case != "change-unfit"])
def test_message(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN / case)
    found = sorted(Path().glob("input.*.yaml")) or [Path("input.policy.yaml")]
    load = LOADERS[found[0].name.split(".")[1]]
    with pytest.raises(DefinitionError) as caught:
        load(found[0])
    agree(Path("message.txt"), f"{caught.value}\n")


def test_message_of_a_change_that_does_not_fit_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN / "change-unfit")
    problems = change_fits(
        load_change(Path("input.change.yaml")), load_environment(Path("../_companions/environment.yaml"))
    )
    agree(Path("message.txt"), f"{DefinitionError(problems)}\n")
