"""What readers of logs and traces say of bad input: each record by its number, and nothing private in a message."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from harness.recording.readers.access_log import AccessLogReader
from harness.recording.readers.base import Reader
from harness.recording.readers.csv_trace import CsvTraceReader
from harness.recording.readers.json_log import JsonLogReader
from tests.golden_files import golden
from tests.unit.log_reading import read, written

LOG, JSON, CSV = AccessLogReader(), JsonLogReader(), CsvTraceReader()

HEAD = "192.0.2.7 - - "
WHEN = "[01/Mar/2026:10:05:03 +0000]"
GOOD = f'{HEAD}{WHEN} "GET /a?token=private HTTP/1.1" 200 512 "-" "private"'.encode()
JSON_GOOD = b'{"msec":"1772359503.250","request":"GET /private HTTP/1.1","status":200,"request_time":0.1}'


def changed(old: str, new: str | bytes) -> bytes:
    assert old.encode() in GOOD
    return GOOD.replace(old.encode(), new if isinstance(new, bytes) else new.encode())


LOG_LINES = {
    "rubbish": b"private rubbish",
    "no time": changed(WHEN, "private"),
    "month in another language": changed("Mar", "M\u00e4r"),
    "month in another case": changed("Mar", "MAR"),
    "impossible date": changed("01/Mar", "31/Feb"),
    "no leap year": changed("01/Mar", "29/Feb"),
    "impossible hour": changed("10:05:03", "24:05:03"),
    "impossible offset": changed("+0000", "+2500"),
    "no offset": changed(" +0000", ""),
    "before 1970": changed("2026", "1969"),
    "beyond 64 bits": changed("2026", "2262"),
    "ISO time": changed("01/Mar/2026:10:05:03 +0000", "2026-03-01T10:05:03Z"),
    "nobody": changed(HEAD, "- "),
    "no request": changed("GET /a?token=private HTTP/1.1", "-"),
    "empty request": changed("GET /a?token=private HTTP/1.1", ""),
    "TLS": changed("GET /a?token=private HTTP/1.1", "\\x16\\x03\\x01\\x02\\x00\\x01"),
    "method in small letters": changed("GET", "get"),
    "other protocol": changed("HTTP/1.1", "RTSP/1.0"),
    "other version": changed("HTTP/1.1", "HTTP/7.3"),
    "no path": changed("/a?token=private", "private"),
    "request cut off": changed(' HTTP/1.1" 200 512 "-" "private"', ""),
    "status of two digits": changed(" 200", " 20"),
    "status out of range": changed(" 200", " 600"),
    "size that is none": changed(" 512", " 5e2"),
    "agent cut off": changed('"private"', '"private'),
    "no space": changed('" 200', '"200'),
    "control character in a header": changed('"private"', '"pri\\nvate"'),
    "NUL bytes": changed("private", b"\0\0"),
    "not UTF-8": changed("private", b"\xff\xfe"),
    "blank": b"",
    "tunnel (counted, no problem)": changed("GET /a?token=private", "CONNECT private:443"),
    "tunnel to a path (counted, no problem)": changed("GET", "CONNECT"),
    "whole server (counted, no problem)": changed("GET /a?token=private", "OPTIONS *"),
}

JSON_LINES = {
    "no JSON": b'{"msec":"1772359503.250","request":"GET \\x22 HTTP/1.1"}',
    "a list": b"[1]",
    "two objects": JSON_GOOD + b" " + JSON_GOOD,
    "nested deeply": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "no time": JSON_GOOD.replace(b'"1772359503.250"', b"null"),
    "time that is none": JSON_GOOD.replace(b"1772359503.250", b"private"),
    "no request": JSON_GOOD.replace(b'"GET /private HTTP/1.1"', b'"-"'),
    "status out of range": JSON_GOOD.replace(b"200", b"99"),
    "status that is none": JSON_GOOD.replace(b"200", b'"private"'),
    "endless": JSON_GOOD.replace(b"0.1", b"1e300"),
    "NUL bytes": JSON_GOOD.replace(b"private", b"\0"),
    "NUL bytes after the object": JSON_GOOD + b"\0}",
    "not UTF-8": JSON_GOOD.replace(b"private", b"\xff"),
    "half a character": JSON_GOOD.replace(b"private", b"\\ud800"),
    "blank": b"",
}

ISO = b'{"time":"2026-03-01T10:05:03Z","request":"GET /private HTTP/1.1"}'
ISO_LINES = {
    "impossible date": ISO.replace(b"03-01", b"02-30"),
    "no time": ISO.replace(b"2026-03-01T10:05:03Z", b"private"),
    "before 1970": ISO.replace(b"2026", b"1969"),
}


def told(reader: Reader, folder: Path, lines: dict[str, bytes], good: bytes) -> str:
    """Each bad line between good ones, one file a line, so that its number is 2."""
    said = []
    for name, line in lines.items():
        path = written(folder, "input", b"\n".join([good, line, good, b""]))
        found, skipping = read(reader, path), read(reader, path, skip_bad=True)
        assert len(found.rows) == len(skipping.rows) == 2, name
        assert skipping.said == []
        left_out = {reason: count for reason, count in found.skipped.items() if count}
        said.append(
            "\n".join([f"# {name}", *found.said, *(f"left out: {reason}" for reason in left_out), ""])
        )
        assert "private" not in "".join(said), name
        assert bool(found.said) + bool(left_out) == (name != "blank"), name
        assert len(found.said) == sum(skipping.skipped.values()) - sum(left_out.values()), name
    return "\n".join(said)


def test_bad_lines_of_access_logs(tmp_path: Path) -> None:
    golden("recording_access_log_lines.txt", told(LOG, tmp_path, LOG_LINES, GOOD))


def test_bad_lines_of_json_logs(tmp_path: Path) -> None:
    golden(
        "recording_json_log_lines.txt",
        told(JSON, tmp_path, JSON_LINES, JSON_GOOD) + told(JSON, tmp_path, ISO_LINES, ISO),
    )


def packed(*lines: bytes) -> bytes:
    return gzip.compress(b"\n".join([*lines, b""]))


NO_NUMBERS = b"".join(GOOD + end for end in (b" 1.5\n", b" 1,5\n", b" 999999999999\n"))
JSON_OPTIONS = {
    "duration": "request_time",
    "time": "msec:h",
    "target": ".",
    "written": "later",
    "zone": "Mars",
    "methd": "x",
}

FILES: dict[str, tuple[Reader, bytes, dict[str, str]]] = {
    "log: empty": (LOG, b"", {}),
    "log: empty, packed": (LOG, gzip.compress(b""), {}),
    "log: cut off in the agent": (LOG, GOOD + b"\n" + GOOD[:-3], {}),
    "log: cut off in the size": (LOG, GOOD + b"\n" + GOOD[: GOOD.index(b' "-"') - 1], {}),
    "log: packed, cut off": (LOG, packed(*[GOOD + b"%d" % k for k in range(1_000)])[:-20], {}),
    "log: packed, damaged": (LOG, packed(GOOD)[:20] + b"\xff" * 20 + packed(GOOD)[40:], {}),
    "log: UTF-16": (LOG, GOOD.decode().encode("utf-16"), {}),
    "log: many bad lines": (LOG, b"rubbish\n" * 1_000, {}),
    "log: options": (LOG, GOOD + b"\n", {"field": "_", "fields": "request_tme", "spread": "yes"}),
    "log: fields twice": (LOG, GOOD + b"\n", {"fields": "host,%D,host"}),
    "log: two times to the answer": (LOG, GOOD + b"\n", {"fields": "%D,request_time"}),
    "log: too few fields": (LOG, GOOD + b" 1 2\n" + GOOD + b" 1\n", {"fields": "_,%D"}),
    "log: a field that is no number": (LOG, NO_NUMBERS, {"fields": "request_time"}),
    "json: empty": (JSON, b"", {}),
    "json: no objects": (JSON, b"a\nb\n", {}),
    "json: cut off": (JSON, JSON_GOOD + b"\n" + JSON_GOOD[:-5], {}),
    "json: no times": (JSON, b'{"request":"GET / HTTP/1.1"}\n', {}),
    "json: no requests": (JSON, b'{"msec":"1772359503.250"}\n', {}),
    "json: options": (JSON, JSON_GOOD + b"\n", JSON_OPTIONS),
    "csv: empty": (CSV, b"", {}),
    "csv: not UTF-8, NUL bytes, no CSV": (CSV, b'offset_s,a\n1,\xff\n2,\0\n3,"x\n4,"y"z\n5,y\n', {}),
    "csv: cut off": (CSV, b"offset_s,a\n1,x\n2", {}),
}  # fmt: skip


def test_bad_files(tmp_path: Path) -> None:
    said = []
    for name, (reader, content, options) in FILES.items():
        found = read(reader, written(tmp_path, "input", content), **options)
        assert found.said, name
        assert "private" not in "".join(found.said), name
        said.append("\n".join([f"# {name}", *found.said, ""]))
    golden("recording_log_files.txt", "\n".join(said))


@pytest.mark.parametrize("reader", [LOG, JSON, CSV])
def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path, reader: Reader) -> None:
    with pytest.raises(OSError, match="No such file"):
        read(reader, tmp_path / "nowhere")
