"""The command `readiness record audit`: exit codes, and what it says: where a value stands, never the value."""

from __future__ import annotations

import base64
import gzip
import re
import sqlite3
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.cli_tools import Done, readiness

SECRET = "Kx7Qm2Zp9Lw4Rt6Vb1Nd"
OTHER = "anna.smith@mail.org"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working folder and state of a test are its own; `originals.txt` lists two values, the second in line 4."""
    monkeypatch.setenv("READINESS_STATE_DIR", str(tmp_path / "state"))
    for name in ("NO_COLOR", "READINESS_DEBUG", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "work" / "left").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    Path("originals.txt").write_text(f"# of last week\n{SECRET}\n\n{OTHER}\n")
    Path("left/run.log").write_text("all is well\n")
    return tmp_path


def audit(*words: str | Path) -> Done:
    """Of what is named alone, without canaries. No value is ever in what it says."""
    done = readiness("record", "audit", *words, "--no-canaries")
    folded = re.sub(r"\s+", "", done.out + done.err)
    assert SECRET not in folded
    assert OTHER not in folded
    return done


def searched(*words: str | Path) -> Done:
    return audit("left", "--originals", "originals.txt", *words)


def said(done: Done) -> str:
    """As one line, wherever the terminal broke it."""
    return " ".join(done.out.split())


def test_what_is_clean_is_so(folder: Path) -> None:
    done = searched()
    assert (done.code, said(done)[-21:]) == (0, "nothing private found")
    assert "looked for 2 originals searched 1 file" in said(done)
    answer = searched("--json")
    assert answer.code == 0
    assert answer.json["ok"] is True
    assert (answer.json["hits"], answer.json["files"], answer.json["originals"]) == ([], 1, 2)


def test_a_value_is_told_by_file_and_place(folder: Path) -> None:
    table = pa.table({"path": ["/a", f"/users/{SECRET}"], "status": [200, 404]})
    pq.write_table(table, "left/exchanges.parquet")
    with sqlite3.connect("left/bodies.sqlite") as bodies:
        bodies.execute("CREATE TABLE blocks (zstd BLOB)")
        bodies.execute("INSERT INTO blocks VALUES (?)", (gzip.compress(f"to {OTHER}".encode()),))
    bodies.close()
    Path("left/run.log").write_text(f"sent {base64.b64encode(SECRET.encode()).decode()}\n")
    done = searched()
    assert done.code == 1
    assert all(f"left/{name}" in said(done) for name in ("exchanges.parquet", "bodies.sqlite", "run.log"))
    assert done.out.count("FOUND") == 5
    assert "not private: " in said(done)
    hits = searched("--json").json["hits"]
    assert {(hit["word"], hit["form"], hit["where"], hit["within"]) for hit in hits} >= {
        ("original in line 2 of originals.txt", "as it is", "left/exchanges.parquet", "column path"),
        ("original in line 4 of originals.txt", "as it is", "left/bodies.sqlite", "table blocks, gzip"),
        ("original in line 2 of originals.txt", "in base64", "left/run.log", ""),
    }


def test_a_value_in_the_name_of_a_file_is_told_without_it(folder: Path) -> None:
    """Also where the file is named as the place of another value."""
    nested = Path("left", f"of-{SECRET}")
    nested.mkdir()
    (nested / "mail.log").write_text(f"to {OTHER}\n")
    broken = nested / f"{OTHER}.parquet"
    broken.write_bytes(b"PAR1 and no more")
    done = searched("--json")
    assert done.code == 1
    within = {(hit["where"], hit["within"]) for hit in done.json["hits"]}
    masked = "left/of-[original in line 2 of originals.txt]"
    assert within >= {("left", "name of a file"), (masked, "name of a file"), (f"{masked}/mail.log", "")}
    assert done.json["unread"] == [f"{masked}/[original in line 4 of originals.txt].parquet: ArrowInvalid"]
    assert searched().code == 1


def test_what_redaction_replaces_in_a_captured_file_is_looked_for(folder: Path) -> None:
    line = f'10.0.0.1 - - [17/May/2015:10:05:01 +0000] "GET /a?api_key={SECRET} HTTP/1.1" 200 17 "-" "x"\n'
    Path("access.log").write_text(line)
    Path("left/run.log").write_text(f"GET /a?api_key={SECRET}\n")
    done = audit("left", "--source", "access.log")
    assert done.code == 1
    assert "of access.log as it is left/run.log" in said(done)
    Path("left/run.log").write_text("GET /a\n")
    assert audit("left", "--source", "access.log").code == 0


def test_what_cannot_be_read_leaves_it_open(folder: Path) -> None:
    Path("left/x.parquet").write_bytes(b"PAR1 and no more")
    done = searched()
    assert done.code == 3
    assert "Could not be read left/x.parquet" in said(done)
    assert "nothing private found in what could be searched" in said(done)
    answer = searched("--json")
    assert (answer.code, answer.json["ok"], answer.json["exit_code"]) == (3, False, 3)


@pytest.mark.parametrize(
    ("words", "what", "fix"),
    [
        (("left",), "left: error: nobody knows what must not be in it", "--originals FILE"),
        (
            ("nowhere", "--originals", "originals.txt"),
            "nowhere: error: there is no such file or folder",
            "wrote",
        ),
        (
            ("left", "--originals", "nowhere.txt"),
            "nowhere.txt: error: the originals cannot be read",
            "one value",
        ),
        (("left", "--source", "nowhere.log"), "nowhere.log: error: ", ""),
        (("left", "--originals", "short.txt"), "short.txt: error: no value in it is long enough", "longer"),
        (
            ("--originals", "originals.txt"),
            "--originals: error: there is nothing in which to look",
            "name a PATH",
        ),
        (("--source", "left/run.log"), "--source: error: there is nothing in which to look", "name a PATH"),
        ((), "--no-canaries: error: there is nothing to do", "name a PATH"),
    ],
)
def test_what_cannot_be_audited_is_said(words: tuple[str, ...], what: str, fix: str, folder: Path) -> None:
    Path("short.txt").write_text("4711\npin\n")
    done = audit(*words)
    assert (done.code, done.out) == (2, "")
    told = " ".join(done.err.split())
    assert what in told
    assert fix in told
    answer = audit(*words, "--json")
    assert answer.code == 2
    assert answer.json["exit_code"] == 2
    assert answer.json["problems"][0]["what"] in told


@pytest.mark.parametrize("words", [("--no-such-option",), ("left", "--originals")])
def test_bad_usage_is_said(words: tuple[str, ...], folder: Path) -> None:
    done = readiness("record", "audit", *words)
    assert (done.code, done.out) == (2, "")
    assert words[-1] in done.err


def test_of_canaries_those_in_places_that_rules_leave_open_are_told_by_their_places(folder: Path) -> None:
    Path("open.redaction.yaml").write_text("redaction: open\nrules:\n  - {header: x-api-key, action: keep}\n")
    done = readiness("record", "audit", "--no-replay", "--redaction", "open.redaction.yaml", "--json")
    assert done.code == 1
    assert {(hit["word"], Path(hit["where"]).name) for hit in done.json["hits"]} == {
        ("header x-api-key", "exchanges.parquet")
    }
    assert (done.json["faults"], done.json["unread"]) == ([], [])
    assert len(done.json["canaries"]) > 55
    assert done.json["not_done"] == ["replay: not asked for"]
