"""Runs whose recording cannot be used: refused with where, what and what to do, before the engine is asked for anything.

The engine's address is one where nothing answers. A run that gets as far as the engine ends with exit code 4.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.containers.tiny_graph import RATE, write_graph

READINESS = Path(sys.executable).with_name("readiness")
LIMIT_S = 60


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and journals of a test are its own."""
    monkeypatch.setenv("READINESS_STATE_DIR", str(tmp_path / "state"))


def readiness(*words: str | Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"DOCKER_HOST": "unix:///nowhere/engine.sock"}
    return subprocess.run(
        [READINESS, *words], capture_output=True, text=True, timeout=LIMIT_S, env=environment
    )


def run(change: Path) -> tuple[int, str]:
    """Exit code, and what was said as one line."""
    reports = change.parent / "reports"
    done = readiness("run", change, "--policy", change.parent / "policy.yaml", "--out", reports)
    assert not list(reports.glob("*"))
    assert "Traceback" not in done.stderr
    return done.returncode, " ".join(done.stderr.split())


def with_stored_recording(folder: Path, *hosts: str) -> tuple[Path, Path]:
    """The tiny graph whose scenario names a stored recording, and that recording. Requests name these hosts in turn."""
    change = write_graph(folder / "graph")
    plain = change.parent / "tiny.ndjson"
    if hosts:
        head, *lines = map(json.loads, plain.read_text().splitlines())
        for number, line in enumerate(lines):
            line |= {"host": hosts[number % len(hosts)], "scheme": "http"}
        plain.write_text("".join(f"{json.dumps(line)}\n" for line in [head | {"format": 2}, *lines]))
    recording = change.parent / "tiny.recording"
    done = readiness("record", "import", plain, "--redacted", "--out", recording)
    assert done.returncode == 0, done.stderr
    name(change, recording)
    return change, recording


def name(change: Path, recording: Path) -> None:
    scenario = change.parent / "tiny.scenario.yaml"
    lines = scenario.read_text().splitlines()
    lines = [f"recording: {recording.name}" if line.startswith("recording: ") else line for line in lines]
    scenario.write_text("\n".join(lines) + "\n")


def alter(path: Path, after: bytes) -> None:
    """One bit of the byte that follows these, or of the one in the middle."""
    content = bytearray(path.read_bytes())
    place = content.index(after) + len(after) if after else len(content) // 2
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("file", "after", "what"),
    [
        ("exchanges.parquet", b"", "tiny.recording/exchanges.parquet: error: was altered"),
        ("bodies.sqlite", b"", "tiny.recording/bodies.sqlite: error: was altered"),
        (
            "recording.json",
            b'"digest": "sha256:',
            "tiny.recording: error: was altered: its content has digest",
        ),
        ("recording.json", b'"length_ns": ', "tiny.recording: error: was altered: its content has digest"),
        ("recording.json", b'"exchanges.parquet": "', "exchanges.parquet: error: was altered"),
        ("recording.json", b'"exchanges": 3', "recording.json: error: was altered: what it says"),
        ("recording.json", b'"attribution": "', "recording.json: error: was altered: what it says"),
        ("recording.json", b'"version"', "recording.json: error: no JSON"),
    ],
)
def test_one_altered_byte_of_a_recording_is_found_before_anything_starts(
    file: str, after: bytes, what: str, tmp_path: Path
) -> None:
    change, recording = with_stored_recording(tmp_path)
    alter(recording / file, after)
    code, said = run(change)
    assert code == 2, said
    assert what in said
    assert "import it again" in said


def test_an_unaltered_one_gets_as_far_as_the_engine(tmp_path: Path) -> None:
    """What the tests of this file rest on."""
    code, said = run(with_stored_recording(tmp_path)[0])
    assert code == 4, said
    assert "engine" in said


def test_what_was_sent_to_several_hosts_is_not_sent_to_the_entry_until_one_is_chosen(tmp_path: Path) -> None:
    change, recording = with_stored_recording(tmp_path, "shop.example", "shop.example", "elsewhere.example")
    code, said = run(change)
    assert code == 2, said
    assert "tiny.scenario.yaml:3:" in said
    assert "sent to 2 hosts (elsewhere.example, shop.example); all of it would go to one entry" in said
    assert "readiness record filter RECORDING --host HOST" in said
    chosen = recording.with_name("chosen.recording")
    done = readiness("record", "filter", recording, "--host", "shop.example", "--out", chosen, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counts"]["exchanges"] == sum(number % 3 < 2 for number in range(8 * RATE))
    name(change, chosen)
    assert run(change)[0] == 4


def test_a_path_that_names_a_host_of_its_own_is_refused(tmp_path: Path) -> None:
    change = write_graph(tmp_path / "graph")
    plain = change.parent / "tiny.ndjson"
    plain.write_text(plain.read_text().replace('"/ask"', '"http://elsewhere.example/ask"'))
    code, said = run(change)
    assert code == 2, said
    assert "tiny.ndjson:2" in said
