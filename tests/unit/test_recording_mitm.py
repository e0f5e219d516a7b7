"""mitmproxy flow files: the same recording as the HAR made of them, and what is damaged or of a newer version."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.recording import mitmdump
from harness.recording.importing import ImportRequest, import_files
from harness.recording.mitmdump import NoMitmdumpError, find_mitmdump
from harness.recording.readers.har import HarReader
from harness.recording.readers.mitm import MitmReader
from tests.golden_files import golden
from tests.unit.capture_files import SHARED, key_in, needs_shared, read, recognised, rows_of, said

READER = MitmReader()
FLOWS = Path(__file__).with_name("make_flows.py")


@pytest.fixture
def flows(tmp_path: Path):
    """Makes a flow file and its HAR twin with mitmproxy itself; gives both paths."""
    try:
        program = find_mitmdump()
    except NoMitmdumpError:
        pytest.skip("mitmproxy is not installed (scripts/bootstrap python makes it)")

    def made(*what: str) -> tuple[Path, Path]:
        file, har = tmp_path / "made.mitm", tmp_path / "made.har"
        python = program.resolve().parent / "python"
        subprocess.run([python, FLOWS, file, har, *what], check=True, timeout=60)
        return file, har

    return made


@needs_shared
def test_the_shared_file_and_its_twin_are_the_same(flows) -> None:
    path = SHARED / "successful_log.mitm"
    assert recognised(READER, path)
    rows = rows_of(READER, path)
    assert len(rows) == 2
    assert rows == rows_of(HarReader(), SHARED / "successful_log.har")


@needs_shared
def test_the_shared_twins_have_one_digest_in_the_store(flows, tmp_path: Path) -> None:
    digests = set()
    for name in ("successful_log.mitm", "successful_log.har"):
        request = ImportRequest((SHARED / name,), tmp_path / f"{name}.recording", key=key_in(tmp_path))
        digests.add(import_files(request).digest)
    assert len(digests) == 1


def test_flows_of_many_kinds_and_their_twin_are_the_same(flows) -> None:
    file, har = flows(
        "http", "gzip", "binary", "latin", "error", "ipv6", "twice", "form", "not_modified", "http2"
    )
    rows = rows_of(READER, file)
    assert len(rows) == 10
    for mine, twin in zip(rows, rows_of(HarReader(), har), strict=True):
        assert mine == twin


def test_what_is_no_http_is_counted_and_left_out(flows) -> None:
    file, _ = flows("tcp", "http", "dns", "websocket", "tcp")
    rows, rejects = read(READER, file)
    assert (len(rows), said(rejects)) == (1, "")
    assert rejects.skipped == {
        "no HTTP (tcp)": 2,
        "no HTTP (dns)": 1,
        "a WebSocket, which cannot be sent again": 1,
    }


def test_clients_are_numbered_in_order(flows) -> None:
    file, _ = flows("http", "client:10.0.0.7", "http", "client:10.0.0.7")
    rows = rows_of(READER, file)
    assert [row["client"] for row in rows] == ["client-1", "client-2", "client-1", "client-2"]
    assert [row["connection"] for row in rows] == [row["client"] for row in rows]


@pytest.mark.parametrize("case", ["newer", "cut", "cut_first", "damaged", "no_length", "bad_gzip", "huge"])
def test_damaged_files(flows, case: str) -> None:
    file, _ = flows(
        "http", {"bad_gzip": "bad_gzip", "newer": "newer", "huge": "huge"}.get(case, "http"), "http"
    )
    whole = file.read_bytes()
    if case == "cut":
        file.write_bytes(whole[:-100])
    elif case == "cut_first":
        file.write_bytes(whole[: len(whole) // 4])
    elif case == "damaged":
        half = len(whole) // 2
        file.write_bytes(whole[:half] + b"\xff" * 200 + whole[half + 200 :])
    elif case == "no_length":
        length = int(whole.partition(b":")[0])
        second = len(str(length)) + 1 + length + 1
        file.write_bytes(whole[:second] + b"x" + whole[second:])
    rows, rejects = read(READER, file)
    text = said(rejects)
    if case in ("cut", "damaged", "newer"):
        skipping, skipped = read(READER, file, skip=True)
        text += f"--skip-bad keeps {len(skipping)}: {skipped.skipped}\n{said(skipped)}"
        assert len(rows) == len(skipping)
    golden(f"messages/mitm_{case}.txt", _of_any_version(text))


def _of_any_version(text: str) -> str:
    return re.sub(r"mitmproxy than [0-9.]+", "mitmproxy than VERSION", text)


def test_no_flow_file_and_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "a.mitm"
    path.write_bytes(b'{"log": {}}')
    assert not recognised(READER, path)
    text = said(read(READER, path)[1])
    path.write_bytes(b"")
    golden("messages/mitm_none.txt", text + said(read(READER, path)[1]))


@needs_shared
def test_without_mitmproxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(mitmdump.PROGRAM, "/no/mitmdump")
    rows, rejects = read(READER, SHARED / "successful_log.mitm")
    assert rows == []
    golden("messages/mitm_absent.txt", said(rejects))


def test_the_harness_itself_imports_no_mitmproxy() -> None:
    code = (
        "import sys, harness.recording.live, harness.recording.readers.mitm\n"
        "print(*(name for name in sys.modules if name.split('.')[0] in ('mitmproxy', 'gevent', 'locust')))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert said.stdout.strip() == ""
