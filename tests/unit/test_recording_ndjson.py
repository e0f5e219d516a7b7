"""NDJSON of our own as captured traffic: both formats, and what is wrong in it without a word of it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from harness.recording.readers.ndjson import NdjsonReader
from tests.golden_files import golden
from tests.unit.capture_files import read, recognised, rows_of, said

READER = NdjsonReader()
HEADER = {"format": 2, "recording": "a", "source": "s", "attribution": "ours"}


def lines(path: Path, *exchanges: Any, **header: Any) -> Path:
    texts = [
        json.dumps(each) if isinstance(each, dict) else each for each in ({**HEADER, **header}, *exchanges)
    ]
    path.write_text("".join(f"{text}\n" for text in texts))
    return path


def test_format_1(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "a.ndjson",
        {"at_ns": 7, "method": "POST", "path": "/a?b", "json": {"c": 1}},
        format=1,
        exchanges=1,
    )
    assert recognised(READER, path)
    (row,) = rows_of(READER, path)
    assert (row["at_ns"], row["method"], row["path"], row["route"]) == (7, "POST", "/a?b", "/a")
    assert (row["headers"], row["body"]) == ("content-type: application/json", b'{"c":1}')
    assert (row["status"], row["answer_body"], row["host"], row["request_bytes"]) == (-1, None, "", -1)


def test_format_2(tmp_path: Path) -> None:
    answer = {
        "status": 302,
        "first_byte_ns": 8,
        "answered_ns": 9,
        "size_bytes": 30,
        "headers": [["Location", "/x"]],
        "body": "",
    }
    exchange = {
        "at_ns": 7, "path": "/a", "client": "client-1", "key": "k", "scheme": "https", "host": "x:8", "http": "2",
        "connection": "client-1", "body_base64": "AP8=", "size_bytes": 20, "answer": answer, "route": "/{r}",
        "headers": {"X-A": "1"},
    }  # fmt: skip
    failed = {"at_ns": 8, "path": "/b", "body": None, "answer": {"status": 0, "error": "refused"}}
    first, second = rows_of(READER, lines(tmp_path / "a.ndjson", exchange, failed))
    assert first == {
        "at_ns": 7, "client": "client-1", "key": "k", "method": "GET", "scheme": "https", "host": "x:8", "path": "/a",
        "route": "/{r}", "http": "2", "connection": "client-1", "headers": "x-a: 1", "body": b"\x00\xff",
        "request_bytes": 20, "first_byte_ns": 8, "answered_ns": 9, "status": 302, "error": "",
        "answer_headers": "location: /x", "answer_body": b"", "answer_bytes": 30,
    }  # fmt: skip
    assert (second["status"], second["error"], second["body"], second["answer_body"]) == (
        0,
        "refused",
        None,
        None,
    )


def test_bad_lines_are_named_and_no_value_of_them(tmp_path: Path) -> None:
    right = {"at_ns": 1, "path": "/"}
    path = lines(
        tmp_path / "bad.ndjson",
        right,
        {"at_ns": 1, "path": "SECRET"},
        {"at_ns": "SECRET", "path": "/", "method": "secret"},
        {"path": "/"},
        {**right, "secret": 1},
        "SECRET",
        {**right, "json": 1, "body": "SECRET"},
        {**right, "body_base64": "SECRET!"},
        {**right, "headers": [["SE CRET", "x"]]},
        {**right, "client": "SECRET\ud800"},
        {**right, "answer": {"status": "SECRET"}},
        "[1]",
        exchanges=99,
    )
    with path.open("ab") as file:
        file.write(b'{"at_ns": 1, "path": "/\xff"}\n{"at_ns": 1')
    rows, rejects = read(READER, path)
    golden("messages/ndjson_bad.txt", said(rejects))
    assert len(rows) == 1
    rows, rejects = read(READER, path, skip=True)
    assert (len(rows), sum(rejects.skipped.values())) == (1, 14)


def test_files_that_are_none(tmp_path: Path) -> None:
    text = ""
    for name, content in (
        ("empty", b""),
        ("no_header", b'{"at_ns": 1, "path": "/"}\n'),
        ("other_format", json.dumps({**HEADER, "format": 3}).encode() + b"\n"),
        ("no_source", b'{"format": 2, "recording": "a"}\n'),
    ):
        path = tmp_path / f"{name}.ndjson"
        path.write_bytes(content)
        assert recognised(READER, path) == (name in ("other_format", "no_source"))
        text += said(read(READER, path)[1])
    golden("messages/ndjson_none.txt", text)


def test_a_compressed_file(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.ndjson", *[{"at_ns": number, "path": "/"} for number in range(5000)])
    packed = tmp_path / "a.ndjson.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert recognised(READER, packed)
    assert [row["at_ns"] for row in rows_of(READER, packed)] == list(range(5000))
