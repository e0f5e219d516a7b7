"""A scenario that names a stored recording: it is planned, bundled and sent as one that lies in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.errors import DefinitionError
from harness.loading import load_change
from harness.prepare import Prepared, prepare
from harness.recording.importing import ImportRequest, import_files
from harness.recording.sessions.rules import SessionRules, write_rules
from harness.recording.store import StoredRecording, open_recording
from harness.scaffold import write_skeleton
from tests.unit.recordings import row, stored


@pytest.fixture
def team(tmp_path: Path) -> Path:
    write_skeleton(tmp_path / "team")
    return tmp_path / "team"


def prepared(team: Path, recording: str) -> Prepared:
    path = team / "scenarios/shop.scenario.yaml"
    text = path.read_text()
    named = next(line for line in text.splitlines() if line.startswith("recording:"))
    path.write_text(text.replace(named, f"recording: {recording}"))
    return prepare(
        load_change(team / "scenarios/changes/first.change.yaml"), path, None, 1, lambda _line: None
    )


def imported(team: Path) -> StoredRecording:
    """The skeleton's own recording, stored."""
    folder = team / "scenarios/recordings"
    return import_files(
        ImportRequest((folder / "offers.ndjson",), folder / "offers.recording", redacted=True)
    )


def test_it_is_planned_as_the_file_that_it_was_imported_from(team: Path) -> None:
    made = imported(team)
    of_file = prepared(team, "recordings/offers.ndjson")
    of_folder = prepared(team, "recordings/offers.recording")
    assert isinstance(of_folder.recording, StoredRecording)
    assert of_folder.plan.units == of_file.plan.units
    assert of_folder.plan.recording_digest == of_file.plan.recording_digest == made.digest
    unit = of_file.plan.units[1]
    sent = [tuple(it.recording.slice(unit.first_seq, unit.stop_seq)) for it in (of_file, of_folder)]
    assert sent[0] == sent[1]
    assert len(sent[0]) == unit.exchanges > 0


def test_the_report_holds_what_it_is_and_its_rules_but_not_its_traffic(team: Path) -> None:
    made = imported(team)
    assert prepared(team, "recordings/offers.recording").sessions is None
    write_rules(SessionRules(), made.folder / "sessions.yaml")
    it = prepared(team, "recordings/offers.recording")
    assert it.sessions == SessionRules()
    assert it.plan.recording_digest == open_recording(made.folder).digest
    assert {"recording.json", "sessions.yaml"} <= it.definitions.keys()
    assert not {"exchanges.parquet", "bodies.sqlite", "offers.ndjson"} & it.definitions.keys()


def test_an_altered_one_is_refused(team: Path) -> None:
    made = imported(team)
    with (made.folder / "exchanges.parquet").open("ab") as file:
        file.write(b"!")
    with pytest.raises(DefinitionError, match="was altered"):
        prepared(team, "recordings/offers.recording")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [row(k, host=f"{'abcde'[k]}.example") for k in range(5)],
            r"sent to 5 hosts \(a.example, b.example, c.example and 2 more\); all of it would go to one entry",
        ),
        ([row(1, http="2"), row(2, http="3")], "exchanges over HTTP/2 and HTTP/3, which are not replayed"),
    ],
)
def test_what_one_entry_cannot_be_sent_is_refused(rows: list[dict[str, Any]], said: str, team: Path) -> None:
    stored(team / "scenarios/recordings", rows, "odd", length_ns=10**12)
    with pytest.raises(DefinitionError, match=said):
        prepared(team, "recordings/odd.recording")
