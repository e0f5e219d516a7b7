"""Every example of the READMEs can be read, and every one that is a whole definition loads where a reader would put it.

Commands take the options that they are shown with, and the first recording says what the README says that it does.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from harness.loading import load_change, load_dataset, load_environment, load_policy, load_scenario
from harness.model.pace import Pace
from harness.prepare import prepare
from harness.recording.load import load_recording
from tests.unit.cli_tools import readiness
from tests.unit.readmes import ROOT, blocks, read
from tests.unit.replay_target import Target

REQUIRED = (
    "README.md",
    "environments/README.md",
    "scenarios/README.md",
    "harness/recording/README.md",
    "harness/replay/README.md",
)
READMES = (*REQUIRED, *(name for name in ("synthetic/README.md",) if (ROOT / name).exists()))
RECORDING, REDACTION = "harness/recording/README.md", "harness/recording/redaction/README.md"
WITH_COMMANDS = (
    *READMES,
    *(
        f"harness/{name}/README.md"
        for name in ("recording/redaction", "recording/sessions", "replaying", "report")
    ),
    *(
        "harness/skeleton/scenarios/README.md",
        "environments/lending/README.md",
        "environments/members/README.md",
    ),
    *("scenarios/recordings/README.md", "tests/README.md", "scripts/README.md", "examples/README.md"),
)
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
    (own,) = blocks(RECORDING, "json")
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


def test_every_pace_shown_is_one() -> None:
    (shown,) = [
        block.text for block in blocks("scenarios/README.md", "yaml") if block.text.startswith("pace:")
    ]
    assert Pace.model_validate(yaml.safe_load(shown)["pace"]).times == 3


@pytest.fixture
def first_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The lines of a log with which the README begins, in a folder and with a state of its own."""
    monkeypatch.setenv("READINESS_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    (log,) = blocks(RECORDING, "log")
    return put(tmp_path / "access.log", log.text)


def test_the_first_recording_is_as_shown_and_can_be_replayed(first_log: Path) -> None:
    (shown,) = [block.text for block in blocks(RECORDING, "console") if "record import" in block.text]
    make, look, send = [
        line[len("$ readiness ") :].partition(" #")[0].split()
        for line in shown.splitlines()
        if line.startswith("$")
    ]
    assert readiness(*make).code == 0
    printed = plain(readiness(*look).out)
    for line in shown.splitlines():
        assert line.startswith("$") or any(said.startswith(line.rstrip("…")) for said in printed), line
    with Target() as target:
        done = readiness(*[target.url if "://" in word else word for word in send], "--speed", "10")
    assert done.code in (0, 3), done.err  # 3: the machine was too busy to send on time
    paths = ["/articles/17", "/orders", "/articles/4", "/orders/A-17"]
    assert [got.path.partition("?")[0] for got in target.got] == paths


def test_the_trace_shown_becomes_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("READINESS_STATE_DIR", str(tmp_path / "state"))
    put(tmp_path / "arrivals.csv", "offset_s,user,article\n0.0,ada,3\n0.052,tom,7\n")
    (command,) = re.findall(r"^readiness (record import arrivals.csv .*)$", read(RECORDING), re.MULTILINE)
    assert readiness(*shlex.split(command)).code == 0
    exchanges = load_recording(tmp_path / "trace.recording").slice(0, 2)
    assert [exchange.path for exchange in exchanges] == ["/articles/3", "/articles/7"]


def test_a_secret_that_no_rule_names_is_said_as_shown(first_log: Path) -> None:
    secret = "AKIA" + "IOSFODNN7EXBMPLE"
    first_log.write_text(first_log.read_text().replace("/articles/17", f"/articles/17?ref={secret}"))
    done = readiness("record", "import", first_log.name, "--out", "shop.recording")
    (shown,) = re.findall(r"^```\n(access.log: error: .*?)^```", read(REDACTION), re.DOTALL | re.MULTILINE)
    fingerprint = re.compile("fingerprint [0-9a-f]{12}")
    assert fingerprint.sub("", " ".join(done.err.split())) == fingerprint.sub("", " ".join(shown.split()))
    assert done.code == 2


def plain(text: str) -> list[str]:
    """What was printed, line by line, with spaces that break."""
    return text.replace("\N{NO-BREAK SPACE}", " ").splitlines()


def commands(readme: str) -> Iterator[tuple[str, str]]:
    """Each `readiness …` in examples and between backquotes: the name of its golden help, and the words after it."""
    text = read(readme)
    fenced = re.findall(r"^ *```\w*\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    lines = [line for block in fenced for line in block.replace("\\\n", " ").splitlines()]
    prose = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE)
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]
    for line in (*lines, *spans):
        said = re.match(r"(?:\$ )?(?:\.venv/bin/)?readiness (?:(record|data|faults) )?([a-z]+)\b(.*)", line)
        if said is not None:
            yield "-".join(filter(None, said.groups()[:2])), said[3].partition(" # ")[0]


@pytest.mark.parametrize("readme", WITH_COMMANDS)
def test_commands_take_the_options_that_they_are_shown_with(readme: str) -> None:
    for name, words in commands(readme):
        help_text = ROOT / f"tests/golden/cli/help-{name}.txt"
        assert help_text.exists(), f"there is no command {name}"
        known = re.findall(r"--[a-z][a-z0-9-]*", help_text.read_text())
        for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", words):
            assert option in known, f"{name} takes no {option}"


def test_options_that_stand_alone_are_ones_of_some_command() -> None:
    helps = " ".join(path.read_text() for path in (ROOT / "tests/golden/cli").glob("help-*.txt"))
    known = {*re.findall(r"--[a-z][a-z0-9-]*", helps), "--output-file"}  # the last is GoReplay's
    for readme in (
        "README.md",
        RECORDING,
        REDACTION,
        "harness/replaying/README.md",
        "harness/replay/README.md",
    ):
        shown = re.findall(r"`(--[a-z][a-z0-9-]*)", read(readme))
        assert set(shown) <= known, readme
