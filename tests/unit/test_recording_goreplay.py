"""GoReplay files: pairs, times of its versions, bodies, and what is damaged."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import pytest

from harness.recording.readers import goreplay
from harness.recording.readers.goreplay import SEPARATOR, GoReplayReader
from tests.golden_files import golden
from tests.unit.capture_files import SHARED, needs_shared, read, recognised, rows_of, said

READER = GoReplayReader()
AT = 1_759_409_411_000_000_000
MS = 1_000_000
BINARY = bytes(range(256))


def gor(path: Path, *records: tuple[str, bytes]) -> Path:
    path.write_bytes(b"".join(line.encode() + b"\n" + message + SEPARATOR for line, message in records))
    return path


def request(target: str = "/a", *headers: str, body: bytes = b"", method: str = "GET") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: Shop.Example:80", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def answer(*headers: str, body: bytes = b"ok", status: int = 200, length: bool = True) -> bytes:
    lines = [f"HTTP/1.1 {status} OK", *headers, *([f"Content-Length: {len(body)}"] if length else [])]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@needs_shared
def test_the_shared_file() -> None:
    path = SHARED / "requests.gor"
    assert recognised(READER, path)
    rows = rows_of(READER, path)
    assert [(row["method"], row["path"], row["at_ns"], row["status"]) for row in rows] == [
        ("GET", "/", AT, -1),
        ("GET", "/solr/profile/select?rows=1&q=test&wt=xml&version=2.2", AT, -1),
    ]


def test_requests_and_answers_are_paired_whichever_comes_first(tmp_path: Path) -> None:
    path = gor(
        tmp_path / "a.gor",
        (f"1 aa {AT} {2 * MS}", request("/first")),
        (f"2 bb {AT + 30 * MS} {5 * MS}", answer("X: 1")),
        (f"1 bb {AT + 10 * MS} 0", request("/second", "Accept: */*")),
        (f"2 aa {AT + 40 * MS} {MS}", answer(status=404, body=b"no")),
        (f"1 cc {AT + 50 * MS} 0", request("/third")),
    )
    rows = {row["path"]: row for row in rows_of(READER, path)}
    assert list(rows) == ["/second", "/first", "/third"]
    second = rows["/second"]
    assert second == {
        "at_ns": AT + 10 * MS, "client": "", "key": "", "method": "GET", "scheme": "http", "host": "shop.example",
        "path": "/second", "route": "", "http": "1.1", "connection": "", "headers": "accept: */*", "body": b"",
        "request_bytes": len(request("/second", "Accept: */*")), "first_byte_ns": AT + 30 * MS,
        "answered_ns": AT + 35 * MS, "status": 200, "error": "", "answer_headers": "x: 1", "answer_body": b"ok",
        "answer_bytes": len(answer("X: 1")),
    }  # fmt: skip
    assert (rows["/first"]["status"], rows["/first"]["answer_body"]) == (404, b"no")
    assert (rows["/third"]["status"], rows["/third"]["answered_ns"]) == (-1, -1)


@pytest.mark.parametrize(
    ("asked", "answered", "first", "last"),
    [
        (f"1 a {AT} {MS}", f"2 a {AT + 20 * MS} {3 * MS}", AT + 20 * MS, AT + 23 * MS),  # since 1.3
        (f"1 a {AT}", f"2 a {AT + 20 * MS} {23 * MS}", AT + 20 * MS, AT + 23 * MS),  # 1.0 to 1.2
        (f"1 a {AT}", f"2 a {AT} {23 * MS}", -1, AT + 23 * MS),
        (f"1 a {AT}", f"2 a {23 * MS}", -1, AT + 23 * MS),  # before 1.0
        (f"1 a {AT} 0", f"2 a {AT + 20 * MS}", AT + 20 * MS, -1),
    ],
)
def test_times_as_each_version_means_them(
    tmp_path: Path, asked: str, answered: str, first: int, last: int
) -> None:
    (row,) = rows_of(READER, gor(tmp_path / "a.gor", (asked, request()), (answered, answer())))
    assert (row["at_ns"], row["first_byte_ns"], row["answered_ns"]) == (AT, first, last)


def test_bodies(tmp_path: Path) -> None:
    chunked = b"5\r\nhello\r\n100\r\n" + BINARY + b"\r\n0\r\nTrailer: x\r\n\r\n"
    packed = gzip.compress(BINARY)
    path = gor(
        tmp_path / "a.gor",
        (f"1 a {AT} 0", request("/a", f"Content-Length: {len(BINARY)}", body=BINARY, method="POST")),
        (f"2 a {AT} 0", answer("Content-Encoding: gzip", body=packed)),
        (f"1 b {AT} 0", request("/b", "Transfer-Encoding: chunked", body=chunked, method="PUT")),
        (f"2 b {AT} 0", answer("Transfer-Encoding: chunked", body=chunked, length=False)),
        (f"1 c {AT} 0", request("/c", method="HEAD")),
        (f"2 c {AT} 0", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
        (
            f"1 d {AT} 0",
            request("/d", "Content-Encoding: deflate", "Content-Length: 11", body=zlib.compress(b"abc")),
        ),
        (f"2 d {AT} 0", answer("Content-Encoding: deflate", body=zlib.compress(b"abc"), length=False)),
    )
    rows = rows_of(READER, path)
    assert [row["body"] for row in rows] == [BINARY, b"hello" + BINARY, b"", zlib.compress(b"abc")]
    assert [row["answer_body"] for row in rows] == [BINARY, b"hello" + BINARY, b"", b"abc"]
    assert "content-encoding: gzip" in rows[0]["answer_headers"]


def test_targets_that_clients_really_send(tmp_path: Path) -> None:
    path = gor(
        tmp_path / "a.gor",
        (f"1 a {AT} 0", request("/caf\xe9?q=\xfc")),
        (f"1 b {AT} 0", request("http://Other.Example/x")),
        (f"1 c {AT} 0", b"GET /c HTTP/1.0\r\n\r\n"),
        (f"1 d {AT} 0", b"GET /d HTTP/1.1\r\nHost: [2001:DB8::1]:8080\r\n\r\n"),
    )
    found = [(row["host"], row["path"], row["http"]) for row in rows_of(READER, path)]
    assert found == [
        ("shop.example", "/caf%E9?q=%FC", "1.1"),
        ("other.example", "/x", "1.1"),
        ("", "/c", "1.0"),
        ("[2001:db8::1]:8080", "/d", "1.1"),
    ]


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    path = gor(
        tmp_path / "a.gor",
        (f"1 a {AT} 0", request()),
        (f"3 a {AT} 0", answer()),
        (f"2 z {AT} 0", answer()),
        (f"1 w {AT} 0", request("/ws", "Upgrade: websocket", "Connection: Upgrade")),
        (f"2 w {AT} 0", b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
        (f"1 t {AT} 0", b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n"),
    )
    rows, rejects = read(READER, path)
    assert (len(rows), said(rejects)) == (1, "")
    assert rejects.skipped == {
        "a replayed answer (type 3)": 1,
        "an answer whose request is not near it": 1,
        "a WebSocket, which cannot be sent again": 1,
        "CONNECT opens a tunnel, which cannot be sent again": 1,
    }


def test_bad_records_are_named_and_no_value_of_them(tmp_path: Path) -> None:
    path = gor(
        tmp_path / "bad.gor",
        (f"1 ok {AT} 0", request()),
        ("SECRET", request()),
        (f"4 x {AT} 0", request()),
        (f"1 a {AT} 0", b"SECRET"),
        (f"1 b {AT} 0", request("/b", "Content-Length: 10", body=b"SECRET")),
        (f"1 c {AT} 0", b"GET / HTTP/1.1\r\nSECRET"),
        (f"1 d {AT} 0", request() + request()),
        (f"1 e {AT} 0", request("/e")),
        (f"2 e {AT} 0", answer("Content-Encoding: gzip", body=b"SECRET")),
        (f"1 f {AT} 0", request("/f")),
        (f"2 f {AT} 0", answer("Transfer-Encoding: chunked", body=b"5\r\nSEC", length=False)),
        (f"1 g {AT} 0", request("/g", "Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n")),
        (f"1 h {AT} 0", b"\x16\x03\x01\x02\x00"),
        (f"1 i {AT} 0", b""),
    )
    rows, rejects = read(READER, path)
    golden("messages/goreplay_bad.txt", said(rejects))
    assert [row["path"] for row in rows] == ["/a"]
    rows, rejects = read(READER, path, skip=True)
    assert sum(rejects.skipped.values()) == 11
    assert said(rejects) == ""


@pytest.mark.parametrize("chunk_bytes", [1, 5, 16, 1000])
def test_records_are_found_wherever_the_file_is_cut_into_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk_bytes: int
) -> None:
    path = gor(tmp_path / "a.gor", *[(f"1 {number} {AT} 0", request(f"/{number}")) for number in range(20)])
    monkeypatch.setattr(goreplay, "CHUNK_BYTES", chunk_bytes)
    assert [row["path"] for row in rows_of(READER, path)] == [f"/{number}" for number in range(20)]


def test_a_file_that_breaks_off(tmp_path: Path) -> None:
    path = gor(
        tmp_path / "cut.gor", (f"1 a {AT} 0", request()), (f"1 b {AT} 0", request("/b", "X-Long: yes"))
    )
    whole = path.read_bytes()
    path.write_bytes(whole[: -len(SEPARATOR)])  # the last message is whole
    assert len(rows_of(READER, path)) == 2
    path.write_bytes(whole[: -len(SEPARATOR) - 5])
    rows, rejects = read(READER, path)
    golden("messages/goreplay_cut.txt", said(rejects))
    assert len(rows) == 1
    rows, rejects = read(READER, path, skip=True)
    assert (len(rows), rejects.skipped) == (1, {"the file was cut off within this record": 1})


def test_compressed_empty_and_huge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = gor(tmp_path / "a.gor", (f"1 a {AT} 0", request()))
    packed = tmp_path / "a.gor.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert recognised(READER, packed)
    assert len(rows_of(READER, packed)) == 1
    path.write_bytes(b"")
    golden("messages/goreplay_empty.txt", said(read(READER, path)[1]))
    monkeypatch.setattr(goreplay, "RECORD_LIMIT_BYTES", 10_000)
    monkeypatch.setattr(goreplay, "CHUNK_BYTES", 1_000)
    big = request("/b", "Content-Length: 100000", body=bytes(100_000), method="POST")
    path = gor(
        tmp_path / "huge.gor", (f"1 a {AT} 0", request()), (f"1 b {AT} 0", big), (f"1 c {AT} 0", request())
    )
    rows, rejects = read(READER, path)
    assert len(rows) == 2
    golden("messages/goreplay_huge.txt", said(rejects))


def test_what_waits_for_its_answer_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(goreplay, "MOST_WAITING", 3)
    records = [(f"1 {number} {AT + number} 0", request(f"/{number}")) for number in range(10)]
    path = gor(tmp_path / "a.gor", *records, (f"2 9 {AT + 20} 1", answer()), (f"2 0 {AT + 20} 1", answer()))
    rows, rejects = read(READER, path)
    assert sorted(row["path"] for row in rows) == [f"/{number}" for number in range(10)]
    assert [row["path"] for row in rows if row["status"] == 200] == ["/9"]
    assert rejects.skipped == {"an answer whose request is not near it": 1}
