"""From files to a recording: formats, clocks, hosts, routes, bad records, private values, and nothing left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import DefinitionError
from harness.recording import importing, registry
from harness.recording.importing import ImportRequest, import_files
from harness.recording.sessions.rules import load_rules
from harness.recording.store import StoredRecording, open_recording
from tests.golden_files import golden
from tests.unit.recordings import EPOCH_NS, RowsReader, batch, row, rows_of

COUNTS = {
    "apache_combined.log": (9_999, 4_915, 1),
    "azure_llm_code.csv": (8_819, 0, 0),
    "firefox.har": (14, 0, 0),
    "postdata.har": (1, 0, 0),
    "requests.gor": (2, 0, 0),
    "successful_log.har": (2, 0, 0),
    "successful_log.mitm": (2, 0, 0),
}
"""Exchanges, steps back in time, and bad records, by file."""

EMPTY = batch([])
"""Stands for a bad record."""
SHARED = Path(__file__).parents[3] / "shared/data/traffic"


@pytest.fixture(autouse=True)
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RowsReader:
    monkeypatch.setenv("READINESS_STATE_DIR", str(tmp_path / "state"))
    reader = RowsReader()
    monkeypatch.setattr(registry, "READERS", (reader, *registry.READERS))
    return reader


def imported(folder: Path, *files: Path, **how: Any) -> StoredRecording:
    made = import_files(ImportRequest(files, folder / "out.recording", **how))
    assert open_recording(made.folder) == made
    return made


def refused(folder: Path, *files: Path, **how: Any) -> str:
    """What is said; and nothing is left."""
    with pytest.raises(DefinitionError) as error:
        import_files(ImportRequest(files, folder / "out.recording", **how))
    assert not [path for path in folder.iterdir() if "recording" in path.name]
    return str(error.value).replace(str(folder), "FOLDER") + "\n"


def test_files_are_put_together_by_time(tmp_path: Path, reader: RowsReader) -> None:
    late = reader.file(tmp_path / "b", batch([row(EPOCH_NS + 5, "/late"), row(EPOCH_NS + 3, "/back")]))
    early = reader.file(
        tmp_path / "a", batch([row(EPOCH_NS + 1, "/early")]), batch([row(EPOCH_NS + 4, "/x")])
    )
    made = imported(tmp_path, late, early)
    assert [(item["at_ns"], item["path"]) for item in rows_of(made)] == [
        (0, "/early"),
        (2, "/back"),
        (3, "/x"),
        (4, "/late"),
    ]
    assert made.header.start_ns == EPOCH_NS + 1
    assert [(source.file, source.exchanges, source.steps_back) for source in made.header.sources] == [
        ("b", 2, 1),
        ("a", 2, 0),
    ]


def test_numbered_clients_of_two_captures_are_not_the_same(tmp_path: Path, reader: RowsReader) -> None:
    captured = row(EPOCH_NS, client="client-1", connection="client-1")
    logged = row(EPOCH_NS, client="10.0.0.1")
    files = [reader.file(tmp_path / name, batch([captured, logged])) for name in "ab"]
    made = imported(tmp_path, *files, redacted=True)
    assert [(item["client"], item["connection"]) for item in rows_of(made)] == [
        ("client-1", "client-1"),
        ("10.0.0.1", ""),
        ("file-2-client-1", "file-2-client-1"),
        ("10.0.0.1", ""),
    ]


def test_routes_are_derived_where_none_is_given_and_a_pattern_has_the_last_word(
    tmp_path: Path, reader: RowsReader
) -> None:
    rows_ = [
        row(EPOCH_NS, "/a/17"),
        row(EPOCH_NS, "/b/17", route="/given"),
        row(EPOCH_NS, "/c/17", route="/given"),
    ]
    for encoded in (False, True):
        made = import_files(
            ImportRequest(
                (reader.file(tmp_path / "a", batch(rows_, encoded)),),
                tmp_path / f"{encoded}.recording".lower(),
                routes=("/c/{x}",),
            )
        )
        assert [item["route"] for item in rows_of(made)] == ["/a/{id}", "/given", "/c/{x}"]


def test_only_wanted_hosts_are_kept_and_the_rest_is_counted(tmp_path: Path, reader: RowsReader) -> None:
    hosts = ["api.example.org", "ads.example.net", "www.example.org:8080", ""]
    file = reader.file(tmp_path / "a", batch([row(EPOCH_NS, host=host) for host in hosts], encoded=True))
    made = imported(tmp_path, file, hosts=("*.example.org", "www.example.org:*"))
    assert [item["host"] for item in rows_of(made)] == ["api.example.org", "www.example.org:8080"]
    assert made.header.sources[0].left_out == {"sent to a host that was not to be kept": 2}


def test_newer_versions_of_http_can_be_taken_for_an_older(tmp_path: Path, reader: RowsReader) -> None:
    versions = ["1.0", "1.1", "2", "3", ""]
    file = reader.file(
        tmp_path / "a", batch([row(EPOCH_NS, http=version) for version in versions], encoded=True)
    )
    made = imported(tmp_path, file, http1=True)
    assert [item["http"] for item in rows_of(made)] == ["1.0", "1.1", "1.1", "1.1", ""]
    assert made.header.done == ("HTTP/2 and HTTP/3 taken for HTTP/1.1",)


def test_what_cannot_be_sent_is_a_bad_record(tmp_path: Path, reader: RowsReader) -> None:
    rows_ = [
        row(EPOCH_NS),
        row(EPOCH_NS, "no-path"),
        row(EPOCH_NS, method="get"),
        row(EPOCH_NS, headers="a: b\nc: d\x00"),
        row(EPOCH_NS, headers="a: ☃"),
        row(EPOCH_NS, headers="a: é \nb: "),
    ]
    file = reader.file(tmp_path / "a", batch(rows_), EMPTY)
    golden("recording_import_unsendable.txt", refused(tmp_path, file))
    made = imported(tmp_path, file, skip_bad=True)
    assert made.count == 2
    assert sum(made.header.sources[0].skipped.values()) == 5


def test_the_problems_of_all_files_are_said_at_once(tmp_path: Path, reader: RowsReader) -> None:
    good = batch([row(EPOCH_NS)])
    files = [reader.file(tmp_path / name, good, EMPTY) for name in "ab"]
    assert refused(tmp_path, *files).count("a bad record") == 2


def test_dates_and_offsets_do_not_mix(tmp_path: Path, reader: RowsReader) -> None:
    dated = reader.file(tmp_path / "a", batch([row(EPOCH_NS)]))
    offsets = reader.file(tmp_path / "b", batch([row(5)]))
    said = refused(tmp_path, dated, offsets) + refused(tmp_path, offsets, dated)
    golden("recording_import_clocks.txt", said)


def test_what_is_said_of_files_that_cannot_be_imported(tmp_path: Path, reader: RowsReader) -> None:
    (tmp_path / "empty.log").write_text(" \n")
    (tmp_path / "notes.txt").write_text("shopping list\nmilk\n")
    nothing = reader.file(tmp_path / "nothing")
    only_bad = reader.file(tmp_path / "bad", EMPTY)
    said = [
        refused(tmp_path, tmp_path / "nowhere.log", tmp_path / "empty.log", tmp_path),
        refused(tmp_path, tmp_path / "notes.txt"),
        refused(tmp_path, tmp_path / "notes.txt", format="acess-log"),
        refused(tmp_path, nothing),
        refused(tmp_path, only_bad, skip_bad=True),
        refused(tmp_path, nothing, name="No Name"),
        refused(tmp_path),
    ]
    for out in ("out", "Out.recording", "none/out.recording"):
        with pytest.raises(DefinitionError) as error:
            import_files(ImportRequest((nothing,), tmp_path / out))
        said.append(str(error.value).replace(str(tmp_path), "FOLDER") + "\n")
    golden("recording_import.txt", "\n".join(said))


def test_private_values_are_replaced_and_what_is_done_is_told(tmp_path: Path, reader: RowsReader) -> None:
    secret = row(EPOCH_NS, "/a?token=tops3cret", headers="authorization: Bearer hunter2hunter2")
    file = reader.file(tmp_path / "a", batch([secret]))
    made = imported(tmp_path, file)
    everything = b"".join(path.read_bytes() for path in made.folder.iterdir())
    (read,) = rows_of(made)
    assert "tops3cret" not in json.dumps(read)
    assert "hunter2" not in json.dumps(read)
    assert b"hunter2" not in everything
    assert made.header.redaction is not None
    assert {item["place"] for item in made.header.redaction["replaced"]} == {
        "header authorization",
        "query token",
    }
    as_it_is = import_files(ImportRequest((file,), tmp_path / "as-it-is.recording", redacted=True))
    assert rows_of(as_it_is)[0]["path"] == "/a?token=tops3cret"
    assert as_it_is.header.redaction is None


@pytest.mark.parametrize("held_bytes", [importing.HELD_BYTES, 1_000, 0])
def test_a_secret_is_known_in_what_comes_before_it(
    held_bytes: int, tmp_path: Path, reader: RowsReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In captures, where the answer with the token may stand before the header that shows what it is; also in those too
    large to be held in memory, all or in part."""
    monkeypatch.setattr(importing, "HELD_BYTES", held_bytes)
    token = "correcthorsebatterystaple42"
    early = row(
        EPOCH_NS, answer_headers="content-type: text/plain", answer_body=f"your code: {token}".encode()
    )
    late = row(EPOCH_NS + 1, headers=f"authorization: Bearer {token}", answer_headers="a: b")
    made = imported(tmp_path, reader.file(tmp_path / "a", batch([early]), batch([late])))
    first, second = made.slice(0, 2)
    assert token.encode() not in (first.answer.body or b"")
    (replaced,) = (value.removeprefix("Bearer ") for name, value in second.headers if name == "authorization")
    assert first.answer.body == f"your code: {replaced}".encode()
    assert made.count == 2


def test_a_capture_of_requests_alone_is_looked_through_as_well_before_it_is_written(
    tmp_path: Path, reader: RowsReader
) -> None:
    token = "correcthorsebatterystaple42"
    early = row(EPOCH_NS, headers="content-type: text/plain", body=f"my code: {token}".encode())
    late = row(EPOCH_NS + 1, headers=f"authorization: Bearer {token}")
    made = imported(tmp_path, reader.file(tmp_path / "a", batch([early]), batch([late])))
    first, second = made.slice(0, 2)
    (replaced,) = (value.removeprefix("Bearer ") for name, value in second.headers if name == "authorization")
    assert replaced != token
    assert first.body == f"my code: {replaced}".encode()


@pytest.mark.parametrize("held_bytes", [importing.HELD_BYTES, 0])
def test_bad_records_of_a_capture_are_told_once(
    held_bytes: int, tmp_path: Path, reader: RowsReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "HELD_BYTES", held_bytes)
    known = batch([row(EPOCH_NS, answer_headers="a: b")])
    file = reader.file(tmp_path / "a", known, EMPTY, known)
    assert refused(tmp_path, file).count("error:") == 1
    (source,) = imported(tmp_path, file, skip_bad=True).header.sources
    assert source.exchanges == 2
    assert sum(source.skipped.values()) == 1


def test_a_recording_is_no_file_to_import(tmp_path: Path, reader: RowsReader) -> None:
    made = imported(tmp_path, reader.file(tmp_path / "a", batch([row(EPOCH_NS)])))
    with pytest.raises(DefinitionError, match="is a stored recording already"):
        import_files(ImportRequest((made.folder,), tmp_path / "again.recording"))


@pytest.mark.skipif(not Path("/sys").is_dir(), reason="there is no folder in which nobody may write")
def test_a_place_that_cannot_be_written_to_is_named_by_what_was_asked_for(
    tmp_path: Path, reader: RowsReader
) -> None:
    out = Path("/sys/a.recording")
    with pytest.raises(DefinitionError) as error:
        import_files(ImportRequest((reader.file(tmp_path / "a", batch([row(EPOCH_NS)])),), out))
    assert str(error.value).startswith("/sys/a.recording: error: cannot be made there: ")
    assert "partial" not in str(error.value)


def test_a_secret_that_no_rule_names_stops_the_import_with_its_place(
    tmp_path: Path, reader: RowsReader
) -> None:
    fine, found = batch([row(EPOCH_NS)] * 3), row(EPOCH_NS, headers="x-note: AKIAIOSFODNN7EXAMPLQ")
    first = reader.file(tmp_path / "a", fine)
    second = reader.file(tmp_path / "b", batch([row(EPOCH_NS), found]))
    said = refused(tmp_path, first, second)
    assert "FOLDER/b: error: exchange 2: header x-note" in said
    assert "AKIA" not in said


def test_sessions_are_found_where_answers_are_known(tmp_path: Path, reader: RowsReader) -> None:
    token = "b1946ac92492d2347c6235b4d2611184"
    steps = [
        row(EPOCH_NS, "/login", client="c", answer_headers="content-type: application/json",
            answer_body=f'{{"order": "{token}"}}'.encode(), status=200, answered_ns=EPOCH_NS + 10),
        row(EPOCH_NS + 99, f"/orders/{token}", client="c", answer_headers="a: b", status=200),
    ]  # fmt: skip
    made = imported(tmp_path, reader.file(tmp_path / "a", batch(steps)), redacted=True)
    assert made.sessions_path is not None
    (rule,) = load_rules(made.sessions_path).rules
    assert (rule.taken_from.route, rule.taken_from.path) == ("/login", "order")
    assert made.digest != made.header.digest
    log = import_files(
        ImportRequest((reader.file(tmp_path / "b", batch([row(1)])),), tmp_path / "log.recording")
    )
    assert log.sessions_path is None


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"needs the real traffic in {SHARED}")
class TestRealTraffic:
    @pytest.mark.parametrize("name", COUNTS)
    def test_every_file_imports(self, name: str, tmp_path: Path) -> None:
        made = imported(tmp_path, SHARED / name, skip_bad=True)
        (source,) = made.header.sources
        assert (source.exchanges, source.steps_back, sum(source.skipped.values())) == COUNTS[name]

    def test_a_har_and_its_mitm_twin_are_the_same_recording(self, tmp_path: Path) -> None:
        made = [
            import_files(
                ImportRequest((SHARED / f"successful_log.{ending}",), tmp_path / f"{ending}.recording")
            )
            for ending in ("har", "mitm")
        ]
        assert made[0].digest == made[1].digest
