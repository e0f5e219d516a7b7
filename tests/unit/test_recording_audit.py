"""The audit: it finds what is left in any file and in any spelling, it says where and not what, and a clean import passes."""

from __future__ import annotations

import base64
import gzip
import io
import json
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from harness.errors import DefinitionError, ExitCode
from harness.printing.audits import audit_values, print_audit
from harness.progress import Silent
from harness.recording.audit import AuditRequest, AuditResult, audit
from harness.recording.audit_canaries import plant
from harness.recording.audit_search import Hit, Needles, Search
from harness.recording.importing import ImportRequest, import_files
from tests.golden_files import golden

SECRET = "Kx7Qm2Zp9Lw4Rt6Vb1Nd"
ODD = 'p/ss"w+rd=42<ü>'


def hits(data: bytes, secret: str = SECRET) -> set[str]:
    """Forms in which it was found."""
    search = Search(Needles([("it", secret)]))
    search.data(data, "here")
    return {hit.form for hit in search.result().hits}


def parquet(path: Path) -> None:
    column = pa.array(["a", SECRET, None]).dictionary_encode()
    pq.write_table(pa.table({"x": [1, 2, 3], "text": column}), path, compression="zstd")


def parquet_numbers(path: Path) -> None:
    pq.write_table(pa.table({"nested": [[{"a": SECRET}]]}), path, compression="zstd")


def sqlite(path: Path) -> None:
    database = sqlite3.connect(path)
    packed = pa.Codec("zstd").compress(f"<{SECRET}>".encode(), asbytes=True)
    database.execute("CREATE TABLE bodies (digest BLOB, zstd BLOB)")
    database.execute("INSERT INTO bodies VALUES (?, ?)", (b"1", packed))
    database.commit()
    database.close()


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.gz", gzip.compress(SECRET.encode()))


FILES: dict[str, Callable[[Path], object]] = {
    "parquet": parquet,
    "parquet, nested": parquet_numbers,
    "sqlite": sqlite,
    "zip": zipped,
    "text": lambda path: path.write_text(f"x {SECRET} y"),
    "gzip": lambda path: path.write_bytes(gzip.compress(SECRET.encode())),
    "gzip in gzip": lambda path: path.write_bytes(gzip.compress(b"x" + gzip.compress(SECRET.encode()))),
    "gzip in a file": lambda path: path.write_bytes(b"HEAD" * 9 + gzip.compress(SECRET.encode()) + b"TAIL"),
    "zstd": lambda path: path.write_bytes(pa.Codec("zstd").compress(SECRET.encode() * 50, asbytes=True)),
    "far behind": lambda path: path.write_bytes(b"-" * (8 * 2**20 - 7) + SECRET.encode() + b"-" * 100),
}


class TestSearch:
    @pytest.mark.parametrize("kind", FILES)
    def test_it_finds_a_value_in_a_file_of_any_kind(self, kind: str, tmp_path: Path) -> None:
        FILES[kind](tmp_path / "file")
        search = Search(Needles([("it", SECRET)]))
        search.path(tmp_path)
        assert {hit.word for hit in search.result().hits} == {"it"}
        assert search.result().unread == ()

    @pytest.mark.parametrize("secret", [SECRET, ODD])
    @pytest.mark.parametrize(
        "write",
        [
            str.lower,
            str.upper,
            str.swapcase,
            lambda text: text[::-1],
            lambda text: quote(text, safe=""),
            lambda text: quote(text, safe="").lower(),
            lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
            lambda text: quote(quote(text, safe=""), safe=""),
            lambda text: json.dumps({"a": text}),
            lambda text: json.dumps({"a": text}, ensure_ascii=False),
            lambda text: text.encode().hex(),
            lambda text: text.encode().hex().upper(),
            lambda text: base64.b64encode(text.encode()).decode(),
            lambda text: base64.b64encode(f"a:{text}".encode()).decode(),
            lambda text: base64.b64encode(f"ab:{text}, more".encode()).decode(),
            lambda text: base64.urlsafe_b64encode(f"user-?>{text}".encode()).decode().rstrip("="),
        ],
    )
    def test_it_finds_it_in_every_spelling(self, write: Callable[[str], str], secret: str) -> None:
        assert hits(f"before {write(secret)} after".encode(), secret)

    def test_it_finds_it_in_the_name_of_a_file(self, tmp_path: Path) -> None:
        (tmp_path / f"report-{SECRET}.html").touch()
        search = Search(Needles([("it", SECRET)]))
        search.path(tmp_path)
        assert [hit.within for hit in search.result().hits] == ["name of a file"]

    def test_a_short_value_counts_only_where_it_stands_alone(self) -> None:
        assert hits(b"to 10.1.2.34 now", "10.1.2.34")
        assert not hits(b"110.1.2.345 and x10.1.2.34y", "10.1.2.34")

    def test_too_short_a_value_is_said_to_be_so(self) -> None:
        assert Needles([("pin", "4711")]).too_short == ["pin"]

    @given(st.binary(max_size=400))
    def test_nothing_is_found_in_what_does_not_hold_it_and_no_bytes_crash_it(self, data: bytes) -> None:
        assert not hits(data)
        assert hits(data + b" " + SECRET.encode() + data)

    def test_what_cannot_be_read_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "x.parquet").write_bytes(b"PAR1 and no more")
        (tmp_path / "x.sqlite").write_bytes(b"SQLite format 3\0 and no more")
        search = Search(Needles([("it", SECRET)]))
        search.path(tmp_path)
        assert len(search.result().unread) == 2


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("READINESS_STATE_DIR", str(tmp_path / "state"))
    return tmp_path


class TestCanaries:
    def test_a_capture_holds_each_of_them(self) -> None:
        captures = plant()
        assert len({canary.place for canary in captures.canaries}) == len(captures.canaries) > 55
        whole = captures.har + captures.log
        packed = [
            entry["request"].get("postData", {}) for entry in json.loads(captures.har)["log"]["entries"]
        ]
        data = [base64.b64decode(post["text"]) for post in packed if post.get("encoding") == "base64"]
        opened = [gzip.decompress(item) if item[:2] == b"\x1f\x8b" else item for item in data]
        missing = []
        for canary in captures.canaries:
            search = Search(Needles([("it", canary.value)]))
            search.data(b"\n".join([whole, *opened]), "captures")
            if not search.result().hits:
                missing.append(canary.place)
        assert missing == []

    def test_an_import_and_a_replay_leave_none_and_stop_at_what_nobody_named(self, state: Path) -> None:
        result = audit(AuditRequest(), Silent())
        assert (result.hits, result.faults, result.unread, result.not_done) == ((), (), (), ())
        assert result.exit_code is ExitCode.READY
        assert result.files > 8

    def test_places_that_rules_leave_open_are_found_each_by_its_name(self, state: Path) -> None:
        rules = state / "open.redaction.yaml"
        rules.write_text(
            "redaction: open\n"
            "rules:\n"
            "  - {header: x-api-key, action: keep}\n"
            "  - {cookie: sid, within: answer, action: keep}\n"
            "  - {query: access_token, action: keep, within: request}\n"
            "  - {form: password, action: keep}\n"
            "  - {json: $.user.password, action: keep}\n"
            "  - {json: $.data.accessToken, within: answer, action: keep}\n"
            "  - {path: '/users/*/orders', action: keep}\n"
            "  - {header: x-note, action: keep}\n"
        )
        result = audit(AuditRequest(rules=rules, replay=False), Silent())
        assert {hit.word for hit in result.hits} == {
            "header x-api-key",
            "set-cookie",
            "query",
            "form",
            "multipart",
            "json",
            "answer, json",
            "path",
        }
        assert {"exchanges.parquet", "bodies.sqlite"} <= {hit.where.rpartition("/")[2] for hit in result.hits}
        assert any("an unlisted header" in fault for fault in result.faults)
        assert result.exit_code is ExitCode.NOT_READY

    def test_nothing_of_them_is_left_on_the_machine(
        self, state: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scratch = state / "scratch"
        scratch.mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(scratch))
        audit(AuditRequest(replay=False), Silent())
        assert list(scratch.iterdir()) == []


class TestOriginals:
    @pytest.fixture
    def capture(self, state: Path) -> Path:
        path = state / "canaries.har"
        path.write_bytes(plant().har)
        return path

    def imported(self, capture: Path, redacted: bool) -> Path:
        out = capture.parent / ("open.recording" if redacted else "closed.recording")
        import_files(ImportRequest(files=(capture,), out=out, redacted=redacted))
        return out

    def test_a_source_tells_what_must_not_be_in_its_recording(self, capture: Path) -> None:
        request = AuditRequest(
            artefacts=(self.imported(capture, redacted=False),), sources=(capture,), plant=False
        )
        assert audit(request, Silent()).exit_code is ExitCode.READY
        request = AuditRequest(
            artefacts=(self.imported(capture, redacted=True),), sources=(capture,), plant=False
        )
        found = audit(request, Silent())
        assert found.exit_code is ExitCode.NOT_READY
        assert found.originals > 55
        assert len({hit.word for hit in found.hits}) > 50

    def test_a_list_does_as_well(self, state: Path) -> None:
        (state / "originals.txt").write_text(f"# of last week\n\n{SECRET}\nanna.smith@mail.org\npin\n")
        (state / "run.log").write_text(f"sent {base64.b64encode(SECRET.encode()).decode()}\n")
        request = AuditRequest((state / "run.log",), originals=state / "originals.txt", plant=False)
        found = audit(request, Silent())
        assert [(hit.word, hit.form) for hit in found.hits] == [
            ("original in line 3 of originals.txt", "in base64")
        ]
        assert found.not_done == ("original in line 5 of originals.txt: too short to be told from chance",)

    def test_what_could_not_be_read_leaves_the_answer_open(self, state: Path) -> None:
        (state / "originals.txt").write_text(f"{SECRET}\n")
        (state / "x.parquet").write_bytes(b"PAR1 and no more")
        request = AuditRequest((state / "x.parquet",), originals=state / "originals.txt", plant=False)
        assert audit(request, Silent()).exit_code is ExitCode.UNKNOWN

    def test_what_cannot_be_audited_is_said(self, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(state)
        Path("empty.txt").write_text("# nothing\n")
        Path("bytes.txt").write_bytes(b"\xff\n")
        Path("a.log").touch()
        requests = (
            AuditRequest((Path("nowhere"), Path("a.log"))),
            AuditRequest((Path("a.log"),), originals=Path("nowhere.txt")),
            AuditRequest((Path("a.log"),), originals=Path("empty.txt")),
            AuditRequest((Path("a.log"),), originals=Path("bytes.txt")),
            AuditRequest(key=Path("nowhere.key")),
        )
        said = []
        for request in requests:
            with pytest.raises(DefinitionError) as caught:
                audit(request, Silent())
            said.append(str(caught.value))
        golden("redaction/audit-unusable.txt", "\n".join(said) + "\n")


class TestPrinting:
    RESULT = AuditResult(
        canaries=("path", "query"),
        originals=3,
        hits=(
            Hit("query", "shop.recording/exchanges.parquet", "column path", "as it is"),
            Hit("original in line 3 of o.txt", "run.log", "", "in base64"),
        ),
        faults=("an unlisted header: what looks like a secret was imported in clear, and nothing was said",),
        unread=("shop.recording/bodies.sqlite: DatabaseError",),
        not_done=("replay: not asked for",),
        files=12,
        bytes=61_234,
    )

    def test_a_result_is_the_golden_text(self) -> None:
        clean = AuditResult(("path",), 0, (), (), (), (), 12, 61_234)
        partly = AuditResult((), 2, (), (), ("x.parquet: ArrowInvalid",), (), 1, 9)
        out = io.StringIO()
        for result in (self.RESULT, clean, partly):
            print_audit(result, Console(file=out, width=110, color_system=None))
            out.write("\n")
        golden("redaction/audit.txt", out.getvalue())

    def test_as_json_it_has_everything(self) -> None:
        said = audit_values(self.RESULT)
        assert (said["ok"], said["exit_code"]) == (False, 1)
        assert said["hits"][0]["word"] == "query"
        json.dumps(said)
