"""HAR files as exporters write them, whole and damaged."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from harness.recording.readers import json_stream
from harness.recording.readers.har import HarReader
from tests.golden_files import golden
from tests.unit.capture_files import SHARED, entry, har, needs_shared, read, recognised, rows_of, said

READER = HarReader()
START_NS = 1_772_359_200_000_000_000  # 2026-03-01T10:00:00Z
MS = 1_000_000


@pytest.fixture
def one(tmp_path: Path):
    """The row of a HAR file with one entry."""

    def made(*arguments: Any, creator: str = "Firefox", **parts: Any) -> dict[str, Any]:
        (row,) = rows_of(READER, har(tmp_path / "one.har", entry(*arguments, **parts), creator=creator))
        return row

    return made


def headers(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in pairs]


@needs_shared
@pytest.mark.parametrize(
    ("name", "count", "answers", "statuses"),
    [
        ("firefox.har", 14, 9, {200: 10, 304: 4}),
        ("postdata.har", 1, 1, {200: 1}),
        ("successful_log.har", 2, 2, {200: 2}),
    ],
)
def test_shared_files(name: str, count: int, answers: int, statuses: dict[int, int]) -> None:
    path = SHARED / name
    assert recognised(READER, path)
    rows = rows_of(READER, path)
    assert len(rows) == count
    assert sum(row["answer_body"] is not None for row in rows) == answers
    found = [row["status"] for row in rows]
    assert {status: found.count(status) for status in found} == statuses
    assert all(row["body"] is not None for row in rows)


def test_an_entry_becomes_an_exchange(one) -> None:
    row = one(
        "http://shop.example:8080/cart?x=1#top",
        "POST",
        request={
            "headers": headers(
                ("Host", "shop.example:8080"), ("Accept", "*/*"), ("Content-Length", "3"), ("X-A", "1")
            ),
            "postData": {"mimeType": "text/plain", "text": "abc"},
            "bodySize": 3,
        },
        response={"headers": headers(("Content-Type", "text/plain"), ("Connection", "close"))},
    )
    assert row == {
        "at_ns": START_NS, "client": "client-1", "key": "", "method": "POST", "scheme": "http",
        "host": "shop.example:8080", "path": "/cart?x=1", "route": "", "http": "1.1", "connection": "client-1",
        "headers": "accept: */*\nx-a: 1\ncontent-type: text/plain", "body": b"abc", "request_bytes": 53,
        "first_byte_ns": START_NS + 20 * MS, "answered_ns": START_NS + 30 * MS, "status": 200, "error": "",
        "answer_headers": "content-type: text/plain", "answer_body": b"ok", "answer_bytes": 22,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("written", "ns"),
    [
        ("2026-03-01T10:00:00Z", 0),
        ("2026-03-01T10:00:00.123456789Z", 123_456_789),
        ("2026-03-01T10:00:00.5+00:00", 500 * MS),
        ("2026-03-01T02:00:00.000-08:00", 0),
        ("2026-03-01T15:30:00+0530", 0),
        ("2026-03-01T10:00:00.001", MS),
    ],
)
def test_times_with_any_zone_and_precision(one, written: str, ns: int) -> None:
    assert one(startedDateTime=written)["at_ns"] == START_NS + ns


@pytest.mark.parametrize(
    ("parts", "first_ms", "answered_ms"),
    [
        ({"timings": {}, "time": 0}, None, None),
        ({"timings": None, "time": None}, None, None),
        ({"timings": {"send": -1, "wait": -1, "receive": -1}, "time": -1}, None, None),
        ({"timings": {}, "time": 30}, None, 30),
        (
            {
                "timings": {"blocked": 5, "connect": 6, "ssl": 4, "send": 1, "wait": 10, "receive": 2},
                "time": None,
            },
            22,
            24,
        ),
        ({"timings": {"receive": "10"}, "time": "30"}, 20, 30),
        ({"timings": {"receive": float("nan"), "wait": True}, "time": 12.5}, None, 12.5),
    ],
)
def test_times_that_are_missing_are_not_known(
    one, parts: dict, first_ms: float | None, answered_ms: float | None
) -> None:
    row = one(**parts)
    expected = [-1 if ms is None else START_NS + round(ms * MS) for ms in (first_ms, answered_ms)]
    assert [row["first_byte_ns"], row["answered_ns"]] == expected


def test_mitmproxy_counts_times_before_the_start(one) -> None:
    timings = {"connect": 100, "ssl": 200, "send": 1, "wait": 19, "receive": 10}
    row = one(timings=timings, time=330, creator="mitmproxy")
    assert [row["first_byte_ns"], row["answered_ns"]] == [START_NS + 20 * MS, START_NS + 30 * MS]


@pytest.mark.parametrize(
    ("url", "scheme", "host", "path"),
    [
        ("HTTPS://User:Secret@Shop.Example:443/a%20b?c=d&e#f", "https", "shop.example", "/a%20b?c=d&e"),
        ("http://[2001:DB8::1]:8080", "http", "[2001:db8::1]:8080", "/"),
        ("http://[::1]:80/", "http", "[::1]", "/"),
        ("http://shop.example?q=1", "http", "shop.example", "/?q=1"),
        ("http://shop.example/ä b|ü", "http", "shop.example", "/%C3%A4%20b|%C3%BC"),
        ("http://bücher.example/", "http", "xn--bcher-kva.example", "/"),
        ("http://shop.example//two//slashes", "http", "shop.example", "//two//slashes"),
    ],
)
def test_urls(one, url: str, scheme: str, host: str, path: str) -> None:
    row = one(url)
    assert (row["scheme"], row["host"], row["path"]) == (scheme, host, path)


def test_a_query_that_stands_in_its_own_list_alone(one) -> None:
    query = headers(("q", "a b&c"), ("page", "2"))
    assert one(request={"queryString": query})["path"] == "/a?q=a+b%26c&page=2"
    assert one("http://shop.example/a?q=1", request={"queryString": query})["path"] == "/a?q=1"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("HTTP/1.1", "1.1"), ("http/1.0", "1.0"), ("HTTP/2.0", "2"), ("HTTP/2", "2"), ("h2", "2"),
        ("http/2.0", "2"), ("h3", "3"), ("h3-29", "3"), ("HTTP/3", "3"), ("", ""), ("unknown", ""),
    ],
)  # fmt: skip
def test_versions(one, written: str, meant: str) -> None:
    row = one(request={"httpVersion": written}, response={"httpVersion": None})
    assert row["http"] == meant


def test_headers_of_http_2_and_of_browsers_that_join_them(one) -> None:
    row = one(
        request={
            "headers": headers(
                (":authority", "shop.example"),
                (":method", "GET"),
                ("Cookie", "a=1"),
                ("X", "1"),
                ("cookie", "b=2"),
                ("U", "ü"),
            )
        },
        response={"headers": headers(("Set-Cookie", "a=1; Path=/\nb=2"), ("X", "1\r\n 2"))},
    )
    assert row["headers"] == "cookie: a=1; b=2\nx: 1\nu: Ã¼"  # one character a byte
    assert row["answer_headers"] == "set-cookie: a=1; Path=/\nset-cookie: b=2\nx: 1 2"


def test_headers_as_one_object_and_cookies_in_their_own_list(one) -> None:
    row = one(
        request={"headers": {"Accept": "*/*", "N": 1}, "cookies": headers(("a", "1"), ("b", "2"))},
        response={
            "cookies": [
                {
                    "name": "s",
                    "value": "1",
                    "path": "/",
                    "domain": "x.example",
                    "httpOnly": True,
                    "secure": True,
                }
            ]
        },
    )
    assert row["headers"] == "accept: */*\nn: 1\ncookie: a=1; b=2"
    assert row["answer_headers"] == "set-cookie: s=1; Path=/; Domain=x.example; HttpOnly; Secure"


def test_bodies_of_requests(one) -> None:
    def body(post: Any, *sent: tuple[str, str], **more: Any) -> bytes | None:
        return one(
            method="POST", request={"postData": post, "headers": headers(*sent), "bodySize": -1, **more}
        )["body"]

    raw = bytes(range(256))
    assert body({"text": base64.encodebytes(raw).decode(), "encoding": "base64"}) == raw
    assert body({"text": "ü", "mimeType": "text/plain; charset=iso-8859-1"}) == b"\xfc"
    assert body({"text": "ü€", "mimeType": "text/plain; charset=iso-8859-1"}) == "ü€".encode()
    assert body({"text": "", "params": headers(("a", "b c"), ("d", "ü"))}) == b"a=b+c&d=%C3%BC"
    assert body({"text": ""}) == b""
    assert body(None) == b""
    assert body(None, bodySize=3) is None
    assert body(None, ("Content-Length", "3")) is None
    assert body(None, ("Content-Length", "0"), ("Content-Type", "text/plain")) == b""


def test_multipart_forms(one) -> None:
    kind = "multipart/form-data; boundary=XX"
    fields = [
        {"name": "a", "value": "1"},
        {"name": "f", "value": "ab", "fileName": "f.txt", "contentType": "text/plain"},
    ]
    row = one(method="POST", request={"postData": {"mimeType": kind, "params": fields}})
    assert row["body"] == (
        b'--XX\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
        b'--XX\r\nContent-Disposition: form-data; name="f"; filename="f.txt"\r\nContent-Type: text/plain\r\n\r\nab\r\n--XX--\r\n'
    )
    assert row["headers"] == f"content-type: {kind}"
    without = one(
        method="POST", request={"postData": {"mimeType": kind, "params": [{"name": "f", "fileName": "x"}]}}
    )
    assert without["body"] is None


def test_a_body_that_is_shown_without_its_content_encoding(one) -> None:
    sent = headers(("Content-Encoding", "gzip"), ("Content-Type", "text/plain"))
    shown = one(method="POST", request={"headers": sent, "postData": {"text": "abc"}})
    assert (shown["body"], shown["headers"]) == (b"abc", "content-type: text/plain")
    packed = base64.b64encode(gzip.compress(b"abc")).decode()
    kept = one(method="POST", request={"headers": sent, "postData": {"text": packed, "encoding": "base64"}})
    assert gzip.decompress(kept["body"]) == b"abc"
    assert kept["headers"] == "content-encoding: gzip\ncontent-type: text/plain"


def test_bodies_of_answers(one) -> None:
    def body(content: Any, *got: tuple[str, str], **more: Any) -> bytes | None:
        return one(response={"content": content, "headers": headers(*got), "bodySize": -1, **more})[
            "answer_body"
        ]

    raw = bytes(range(256))
    assert body({"text": base64.b64encode(raw).decode(), "encoding": "base64"}) == raw
    packed = base64.b64encode(gzip.compress(raw)).decode()
    assert body({"text": packed, "encoding": "base64"}, ("Content-Encoding", "gzip")) == raw
    assert body({"text": "plain"}, ("Content-Encoding", "gzip")) == b"plain"
    assert body({"text": "ü", "mimeType": "text/html; charset=latin-1"}) == b"\xfc"
    assert body({"size": 12, "comment": "Response bodies are not included."}) is None
    assert body({"size": 12, "text": ""}) is None
    assert body({"size": 0}) == b""
    assert body({"size": 23, "text": "from the cache"}, status=304) == b""


def test_no_answer_came(one) -> None:
    aborted = one(response={"status": 0, "statusText": "", "_error": "net::ERR_CONNECTION_REFUSED"})
    assert (aborted["status"], aborted["error"], aborted["answer_body"], aborted["answered_ns"]) == (
        0,
        "refused",
        None,
        -1,
    )
    assert one(response={"status": 0}, _error="SECRET")["error"] == "other: no answer"
    assert one(response={"status": 0, "statusText": ""})["error"] == "other: aborted"
    assert one(response={"status": None})["status"] == -1


def test_what_cannot_be_sent_is_counted_and_left_out(tmp_path: Path) -> None:
    left = [
        entry("data:text/plain;base64,c2VjcmV0"),
        entry("blob:https://x/1"),
        entry("chrome-extension://abc/x.js"),
        entry("other:secret"),
        entry("wss://x/socket"),
        entry(_webSocketMessages=[{"data": "secret"}]),
        entry(_fromCache="memory"),
        entry("example.org:443", "CONNECT"),
    ]
    rows, rejects = read(READER, har(tmp_path / "a.har", *left, entry()))
    assert len(rows) == 1
    assert said(rejects) == ""
    assert rejects.skipped == {
        "a data: URL": 1,
        "a blob: URL": 1,
        "a chrome-extension: URL": 1,
        "a URL that is not http or https": 1,
        "a WebSocket, which cannot be sent again": 2,
        "answered from the browser's cache, and never sent": 1,
        "CONNECT opens a tunnel, which cannot be sent again": 1,
    }


def test_bad_records_are_named_and_no_value_of_them(tmp_path: Path) -> None:
    bad = [
        entry(),
        entry(startedDateTime="SECRET"),
        entry(startedDateTime=None),
        entry("SECRET"),
        entry("http://SECRET@/"),
        entry("http://::1:SECRET/"),
        entry(method="SE CRET"),
        entry(request={"postData": {"text": "SECRET!", "encoding": "base64"}}),
        entry(response={"content": {"text": "SECRET!", "encoding": "base64"}}),
        entry(response={"content": {"text": "SECRET", "encoding": "rot13"}}),
        entry(response={"content": {"text": "SECRET\ud800"}}),
        entry("http://shop.example/\ud800"),
        entry(request={"headers": headers(("SE CRET", "1"))}),
        entry(request={"headers": headers(("X", "\x00"))}),
        entry(response={"status": "SECRET"}),
        "SECRET",
        {"request": None},
    ]
    path = har(tmp_path / "bad.har", *bad)
    rows, rejects = read(READER, path)
    golden("messages/har_bad.txt", said(rejects))
    assert len(rows) == 1
    rows, rejects = read(READER, path, skip=True)
    assert len(rows) == 1
    assert said(rejects) == ""
    assert sum(rejects.skipped.values()) == len(bad) - 1
    assert not any("SECRET" in reason for reason in rejects.skipped)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("empty", b""),
        ("blank", b" \n"),
        ("no_har", b'{"entries": []}'),
        ("list", b"[1]"),
        ("no_json", b"GET / HTTP/1.1\r\n\r\n"),
        ("utf_16", '{"log": {}}'.encode("utf-16")),
        ("cut_early", b'{"log": {"version": "1.2", "pages": [{"id": "a'),
        ("cut", b'{"log": {"entries": [ENTRY, ENTRY, {"startedDateTime": "20'),
        ("cut_between", b'{"log": {"entries": [ENTRY, ENTRY'),
        ("cut_first", b'{"log": {"entries": [{"a": tr'),
        ("broken_record", b'{"log": {"entries": [ENTRY, {"a": nope}, ENTRY]}}'),
        ("no_end", b'{"log": {"entries": [ENTRY, {"a" "b: 1}, ENTRY]}}'),
        ("no_comma", b'{"log": {"entries": [ENTRY ENTRY]}}'),
        ("not_utf_8", b'{"log": {"entries": [ENTRY, {"comment": "\xff"}, ENTRY]}}'),
    ],
)  # fmt: skip
def test_damaged_files(tmp_path: Path, name: str, text: bytes) -> None:
    path = tmp_path / f"{name}.har"
    path.write_bytes(text.replace(b"ENTRY", json.dumps(entry()).encode()))
    rows, rejects = read(READER, path)
    skipping, skipped = read(READER, path, skip=True)
    kept = f"--skip-bad keeps {len(skipping)}: {skipped.skipped}\n{said(skipped)}"
    golden(f"messages/har_{name}.txt", f"{said(rejects)}{kept}")
    assert len(rows) == len(skipping)


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("chunk_bytes", [1, 7, 64, 4096])
def test_entries_are_found_wherever_the_file_is_cut_into_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk_bytes: int, indent: int | None
) -> None:
    odd = r'}]{["\", \\" é€😀 ' + "\t"
    entries = [entry(f"http://x/{number}", request={"comment": odd}) for number in range(5)]
    path = har(
        tmp_path / "a.har", *entries, indent=indent, pages=[{"title": odd, "n": [1, -2.5e3, None, True]}]
    )
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b'"comment": ', b'"comment" :\r\n '))
    monkeypatch.setattr(json_stream, "CHUNK_BYTES", chunk_bytes)
    assert [row["path"] for row in rows_of(READER, path)] == [f"/{number}" for number in range(5)]


def test_a_compressed_file(tmp_path: Path) -> None:
    path = har(tmp_path / "a.har", *[entry()] * 50)
    packed = tmp_path / "a.har.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert recognised(READER, packed)
    assert len(rows_of(READER, packed)) == 50
    packed.write_bytes(packed.read_bytes()[:-20])
    _, rejects = read(READER, packed)
    assert "the file was cut off before its first record" in said(rejects)


def test_a_huge_record_is_passed_over_without_being_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.recording.readers.har.RECORD_LIMIT_BYTES", 100_000)
    monkeypatch.setattr(json_stream, "CHUNK_BYTES", 4096)
    huge = entry(response={"content": {"text": 'x\\"]}' * 100_000}})
    path = har(tmp_path / "huge.har", entry(), huge, entry())
    rows, rejects = read(READER, path)
    assert len(rows) == 2
    golden("messages/har_huge.txt", said(rejects))


def test_other_files_are_not_taken_for_har(tmp_path: Path) -> None:
    for name, text in (
        ("a.log", b'1.2.3.4 - - [x] "GET /"'),
        ("a.json", b'{"status": 200}\n'),
        ("a.har", b""),
    ):
        path = tmp_path / name
        path.write_bytes(text)
        assert not recognised(READER, path)
