"""Every example of the READMEs can be read, and every one that is a whole definition loads where a reader would put it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from harness.loading import load_change, load_dataset, load_environment, load_policy, load_scenario
from harness.prepare import prepare
from harness.recording.load import load_recording
from tests.unit.readmes import ROOT, blocks

REQUIRED = (
    "README.md",
    "environments/README.md",
    "scenarios/README.md",
    "harness/recording/README.md",
    "harness/replay/README.md",
)
READMES = (*REQUIRED, *(name for name in ("synthetic/README.md",) if (ROOT / name).exists()))
COMPANIONS = {
    "every-key": ("images/postgres/Dockerfile", "files/limits.conf", "files/schema.sql"),
    "orders": ("orders.csv",),
}
"""Files that an example without a name of its own expects beside it."""


def table(path: Path) -> Callable[[str], pa.Table]:
    """A dataset for the recording at `path`: as many rows as it has arrivals, a text in every column that it names."""
    arrivals = (path.parent / "arrivals.csv").read_text().splitlines()
    rows = len([line for line in arrivals if line[:1].isdigit()])
    columns = set(re.findall(r"{(\w+)}", path.read_text()))
    return lambda _name: pa.table({name: [f"{name}-{row}" for row in range(rows)] for name in columns})


LOADERS: dict[str, Callable[[Path], Any]] = {
    "environment": load_environment,
    "scenario": load_scenario,
    "change": load_change,
    "policy": load_policy,
    "dataset": load_dataset,
    "recording": lambda path: load_recording(path, table(path)),
}
"""By the key that a whole definition begins with."""
WHOLE = {
    f"{readme}:{found[1]}-{found[2]}": (block, found[1], found[2])
    for readme in READMES
    for block in blocks(readme, "yaml")
    if (found := re.match(r"(?:#.*\n)*(\w+): (\S+)", block.text)) and found[1] in LOADERS
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every file of every README, where its reader would put it."""
    root = tmp_path_factory.mktemp("readmes")
    for block in (block for readme in READMES for block in blocks(readme) if block.file):
        put(root / block.file, block.text)
        if block.output:
            done = subprocess.run(
                [sys.executable, root / block.file], capture_output=True, text=True, check=True
            )
            put(root / block.output, done.stdout)
    (answers,) = blocks("scenarios/README.md", "json")
    put(root / "scenarios/kiosk.answers.schema.json", answers.text)
    return root


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("readme", READMES)
def test_every_example_can_be_read(readme: str) -> None:
    for block in blocks(readme):
        if block.language == "yaml":
            yaml.safe_load(block.text)
        elif block.language == "python":
            compile(block.text, readme, "exec")
        elif block.language == "json":
            for document in block.text.splitlines() if block.text.startswith('{"format"') else [block.text]:
                json.loads(document)


@pytest.mark.parametrize("example", WHOLE)
def test_a_whole_definition_loads(example: str, folder: Path, tmp_path: Path) -> None:
    block, kind, name = WHOLE[example]
    for companion in COMPANIONS.get(name, ()):
        put(tmp_path / companion, "")
    for csv in blocks(example.partition(":")[0], "csv"):
        put(tmp_path / "arrivals.csv", csv.text)
    named = bool(block.file) and (folder / block.file).exists()
    LOADERS[kind](folder / block.file if named else put(tmp_path / f"{name}.{kind}.yaml", block.text))


def test_the_recipes_are_whole_definitions() -> None:
    """So that no example drops out of the test above unnoticed."""
    assert {kind for _, kind, _ in WHOLE.values()} >= LOADERS.keys() - {"dataset"}
    assert {name for _, _, name in WHOLE.values()} >= {"kiosk", "every-key", "new-prices", "default", "loans"}


def test_a_recording_of_ones_own_loads(tmp_path: Path) -> None:
    (own,) = blocks("harness/recording/README.md", "json")
    assert load_recording(put(tmp_path / "own.ndjson", own.text)).count == 2


def test_the_change_and_its_scenario_make_a_plan(folder: Path) -> None:
    proposed = load_change(folder / "scenarios/changes/new-prices.change.yaml")
    plan = prepare(proposed, folder / "scenarios/kiosk.scenario.yaml", None, 1, print).plan
    assert [unit.name for unit in plan.units] == ["calm", "slow-prices", "kill-prices"]


@pytest.mark.parametrize(
    "fragment", [b.text for b in blocks("environments/README.md", "yaml") if b.text[0] in " -"]
)
def test_an_edge_shown_alone_fits_the_graph_it_is_about(fragment: str, tmp_path: Path) -> None:
    edges = yaml.safe_load(fragment)
    for whole in (block.text for block, kind, _ in WHOLE.values() if kind == "environment"):
        graph = yaml.safe_load(whole)
        if edges[0]["from"] not in graph["services"]:
            continue
        replaced = {(edge["from"], edge["to"]) for edge in edges}
        graph["edges"] = [e for e in graph["edges"] if (e["from"], e["to"]) not in replaced] + edges
        for service in graph["services"].values():  # what lies beside the file is another test's
            for key in ("build", "files", "seed"):
                service.pop(key, None)
        loaded = load_environment(put(tmp_path / "environment.yaml", yaml.safe_dump(graph))).value
        assert len({edge.name for edge in loaded.edges}) == len(graph["edges"])
        return
    pytest.fail("no environment of the README has its services")
