"""Access logs: every way in which Apache and nginx bend a line, and the fast path against a slow one."""

from __future__ import annotations

import datetime as dt
import gzip
import itertools
import re
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.recording.readers.access_log import AccessLogReader
from harness.recording.readers.access_log_line import NoLineError, parse_line
from harness.recording.readers.clock import log_time
from harness.recording.readers.request_line import NoRequestError, request_of
from tests.unit.log_reading import Read, read, recognises, written
from tests.unit.real_data import APACHE, needs

LOG = AccessLogReader()
SECOND = 1_000_000_000
AT = int(dt.datetime(2026, 3, 1, 10, 5, 3, tzinfo=dt.UTC).timestamp()) * SECOND
WHEN = "[01/Mar/2026:10:05:03 +0000]"
USUAL = f'192.0.2.7 - - {WHEN} "GET /a?b=c HTTP/1.1" 200 512 "https://shop.test/" "Mozilla/5.0 (X11)"'


SENT = "referer: https://shop.test/\nuser-agent: Mozilla/5.0 "


def of(folder: Path, *lines: str | bytes, skip_bad: bool = False, **options: str) -> Read:
    raw = [line.encode() if isinstance(line, str) else line for line in lines]
    return read(LOG, written(folder, "access.log", b"\n".join([*raw, b""])), skip_bad, **options)


def one(folder: Path, line: str | bytes, **options: str) -> dict[str, object]:
    found = of(folder, line, **options)
    assert found.said == []
    (row,) = found.known()
    return row


def test_a_combined_line(tmp_path: Path) -> None:
    assert one(tmp_path, USUAL) == {
        "at_ns": AT,
        "client": "192.0.2.7",
        "method": "GET",
        "path": "/a?b=c",
        "http": "1.1",
        "headers": "referer: https://shop.test/\nuser-agent: Mozilla/5.0 (X11)",
        "status": 200,
        "answer_bytes": 512,
    }


def test_a_common_line_knows_no_headers(tmp_path: Path) -> None:
    row = one(tmp_path, f'192.0.2.7 - - {WHEN} "POST /a HTTP/1.0" 304 -')
    assert row == {
        "at_ns": AT, "client": "192.0.2.7", "method": "POST", "path": "/a", "http": "1.0", "status": 304, "answer_bytes": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"shop.test:443 {USUAL}", {"host": "shop.test:443", "client": "192.0.2.7"}),
        (f"[2001:DB8::1]:80 {USUAL}", {"host": "[2001:db8::1]:80", "client": "192.0.2.7"}),
        (USUAL.replace("192.0.2.7", "2001:db8::7"), {"client": "2001:db8::7"}),
        (USUAL.replace("- -", "- frank"), {"client": "192.0.2.7"}),
        (USUAL.replace("- -", "- Frank N Furter"), {"client": "192.0.2.7"}),
        (USUAL.replace("- -", "- - b"), {"client": "192.0.2.7", "host": None}),
        (USUAL.replace("- -", "- x [y"), {"client": "192.0.2.7"}),
        (USUAL.replace("- -", "- "), {"client": "192.0.2.7"}),
        (USUAL.replace("+0000", "+0530"), {"at_ns": AT - 19_800 * SECOND}),
        (USUAL.replace("+0000", "-0800"), {"at_ns": AT + 28_800 * SECOND}),
        (USUAL.replace(":03 ", ":03.25 "), {"at_ns": AT + SECOND // 4}),
        (USUAL.replace("01/Mar/2026", "29/Feb/2024"), {"at_ns": AT - 731 * 86_400 * SECOND}),
        (USUAL.replace(" 200 512", " 200 -"), {"status": 200, "answer_bytes": 0}),
        (USUAL.replace(" 200 512", " - 512"), {"answer_bytes": 512}),
        (USUAL.replace(" 200 512", " 000 0"), {"status": 0, "answer_bytes": 0}),
        (USUAL.replace(" 200 512", " 200 123456789012345"), {"answer_bytes": 123_456_789_012_345}),
        (USUAL.replace("HTTP/1.1", "HTTP/2.0"), {"http": "2"}),
        (USUAL.replace("HTTP/1.1", "HTTP/3"), {"http": "3"}),
        (USUAL.replace(" HTTP/1.1", ""), {"path": "/a?b=c"}),
        (USUAL.replace("/a?b", "//a?b"), {"path": "//a?b=c"}),
        (USUAL.replace("/a?b=c", "/a b"), {"path": "/a%20b", "http": "1.1"}),
        (USUAL.replace("/a?b=c", "/caf\\xC3\\xA9"), {"path": "/caf%C3%A9"}),
        (USUAL.replace("/a?b=c", "/café"), {"path": "/caf%C3%A9"}),
        (USUAL.replace("/a?b=c", "/\\x22\\\\"), {"path": '/"\\'}),
        (USUAL.replace("/a?b=c", "http://Shop.test:8080/x"), {"scheme": "http", "host": "shop.test:8080", "path": "/x"}),
        ("v.test " + USUAL.replace("/a?b=c", "https://w.test"), {"scheme": "https", "host": "w.test", "path": "/"}),
        (USUAL.replace('"https://shop.test/"', '"-"'), {"headers": "user-agent: Mozilla/5.0 (X11)"}),
        (USUAL.replace("(X11)", 'say \\"hi\\" \\x22 \\t'), {"headers": SENT + 'say "hi" " \t'}),
        (USUAL.replace("(X11)", "\\xd0\\xb9"), {"headers": SENT + "\xd0\xb9"}),
        (USUAL.replace("(X11)", "й"), {"headers": SENT + "\xd0\xb9"}),
        (USUAL + ' 0.003 "a b" -', {"status": 200}),
        (USUAL.rpartition(' "https')[0] + " 0.003", {"answer_bytes": 512}),
        (USUAL.rpartition(' "https')[0] + ' "quoted"', {"answer_bytes": 512}),
    ],
)  # fmt: skip
def test_a_bent_line(tmp_path: Path, line: str, expected: dict[str, object]) -> None:
    row = one(tmp_path, line)
    assert {name: row.get(name) for name in expected} == expected


TIMED = USUAL + ' "203.0.113.9, 10.0.0.1" 0.250 - 777 https Shop.test'


def test_fields_at_the_end_of_nginx(tmp_path: Path) -> None:
    names = "$http_x_forwarded_for,request_time,_,request_length,scheme,host"
    row = one(tmp_path, TIMED, fields=names)
    assert row["at_ns"] == AT - SECOND // 4  # nginx writes a line when the answer has been sent
    assert row["answered_ns"] == AT
    assert row["request_bytes"] == 777
    assert (row["scheme"], row["host"]) == ("https", "shop.test")
    assert str(row["headers"]).endswith("\nx-forwarded-for: 203.0.113.9, 10.0.0.1")


def test_a_field_that_is_not_known_is_said_with_those_that_are(tmp_path: Path) -> None:
    (said,) = of(tmp_path, TIMED, fields="rt").said
    assert all(words in said for words in ("no field 'rt'", "request_time", "%D", "http_NAME"))


def test_fields_at_the_end_of_apache(tmp_path: Path) -> None:
    row = one(tmp_path, USUAL + ' 1500 "en"', fields="%D,%{Accept-Language}i")
    assert (row["at_ns"], row["answered_ns"]) == (AT, AT + 1_500_000)
    assert str(row["headers"]).endswith("\naccept-language: en")
    assert one(tmp_path, USUAL + " 12", fields="%{ms}T")["answered_ns"] == AT + 12_000_000
    assert "answered_ns" not in one(tmp_path, USUAL + " -", fields="%D")


def test_requests_of_one_second_are_spread_when_asked_for(tmp_path: Path) -> None:
    later = USUAL.replace(":03 ", ":04 ")
    lines = [USUAL, later, USUAL, "rubbish", USUAL.replace(":03 ", ":03.5 "), USUAL, USUAL]
    found = of(tmp_path, *lines, skip_bad=True, spread="even")
    assert [row["at_ns"] - AT for row in found.rows] == [
        0,
        SECOND,
        SECOND // 4,
        SECOND // 2,
        SECOND // 2,
        3 * SECOND // 4,
    ]
    assert found.skipped == {"no time in brackets before the request": 1}
    assert [row["at_ns"] for row in of(tmp_path, USUAL, USUAL).rows] == [AT, AT]


def test_spreading_goes_on_from_block_to_block(tmp_path: Path) -> None:
    count = 60_000
    found = of(tmp_path, *[USUAL] * count, spread="even")
    assert [row["at_ns"] for row in found.rows] == [AT + k * SECOND // count for k in range(count)]


def test_spreading_moves_the_whole_exchange(tmp_path: Path) -> None:
    found = of(tmp_path, USUAL + " 0.250", USUAL + " 0.750", spread="even", fields="request_time")
    assert [(row["at_ns"] - AT, row["answered_ns"] - AT) for row in found.rows] == [
        (-SECOND // 4, 0),
        (-SECOND // 4, SECOND // 2),
    ]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("packed", ["", "gzip", "zstd"])
def test_line_ends_marks_and_compression_make_no_difference(
    tmp_path: Path, line_end: bytes, mark: bytes, packed: str
) -> None:
    text = mark + line_end.join([USUAL.encode(), b"", USUAL.replace("- -", "- a b").encode(), b""])
    content = {"": text, "gzip": gzip.compress(text), "zstd": bytes(pa.compress(text, "zstd", asbytes=True))}[
        packed
    ]
    path = written(tmp_path, "access.log.1", content)
    assert recognises(LOG, path)
    found = read(LOG, path)
    assert (len(found.rows), found.said) == (2, [])


def test_lines_across_blocks_keep_their_numbers(tmp_path: Path) -> None:
    lines = [USUAL.replace("/a?b=c", f"/{k}") if k % 10_007 else "rubbish" for k in range(60_000)]
    found = of(tmp_path, *lines)
    assert [row["path"] for row in found.rows] == [f"/{k}" for k in range(60_000) if k % 10_007]
    assert [problem.split(":")[1] for problem in found.said] == [str(k + 1) for k in range(0, 60_000, 10_007)]


def test_what_is_no_access_log(tmp_path: Path) -> None:
    assert recognises(LOG, written(tmp_path, "a", USUAL))
    for text in (
        "",
        "offset_s\n1\n",
        '{"time": "[01/Mar/2026:10:05:03 +0000] \\""}\n',
        "GET / HTTP/1.1\n",
        "\x00\xff",
    ):
        assert not recognises(LOG, written(tmp_path, "a.log", text)), text


# A request as a client sends it, and the line that a server makes of it.

BYTES = st.binary(max_size=12).filter(
    lambda raw: not any((byte < 32 and byte != 9) or byte == 127 for byte in raw)
)


def by_nginx(raw: bytes) -> str:
    return "".join(
        f"\\x{byte:02X}" if byte < 32 or byte > 126 or byte in b'"\\' else chr(byte) for byte in raw
    )


def by_apache(raw: bytes) -> str:
    special = {ord('"'): '\\"', ord("\\"): "\\\\", 9: "\\t"}
    return "".join(
        special.get(byte, f"\\x{byte:02x}" if byte < 32 or byte > 126 else chr(byte)) for byte in raw
    )


@given(
    client=st.ip_addresses(),
    at=st.integers(86_400, 9_214_560_000),
    offset_min=st.integers(-14 * 60, 14 * 60),
    user=st.sampled_from(["-", "frank", "a b", "x [y"]),
    method=st.sampled_from(["GET", "POST", "PROPFIND"]),
    target=BYTES.map(lambda raw: b"/" + raw).filter(lambda raw: not re.search(rb" HTTP/[0-9.]*$", raw)),
    status=st.integers(100, 599),
    size=st.one_of(st.none(), st.integers(0, 10**12)),
    agent=BYTES.filter(lambda raw: raw != b"-"),
    escape=st.sampled_from([by_nginx, by_apache]),
    tail=st.sampled_from(["", " 0.001", ' "-" 12']),
)
def test_a_line_says_what_it_was_made_from(
    tmp_path_factory, client, at, offset_min, user, method, target, status, size, agent, escape, tail
) -> None:
    zone = dt.timezone(dt.timedelta(minutes=offset_min))
    when = dt.datetime.fromtimestamp(at, zone).strftime("%d/%b/%Y:%H:%M:%S %z")
    line = (
        f'{client} - {user} [{when}] "{method} {escape(target)} HTTP/1.1" {status} {"-" if size is None else size} '
        f'"-" "{escape(agent)}"{tail}'
    )
    row = one(tmp_path_factory.mktemp("log"), line)
    path = "".join(f"%{byte:02X}" if byte < 33 or byte > 126 else chr(byte) for byte in target)
    assert row == {
        "at_ns": at * SECOND,
        "client": str(client),
        "method": method,
        "path": path,
        "http": "1.1",
        **({"headers": f"user-agent: {agent.decode('latin-1')}"} if agent else {}),
        "status": status,
        "answer_bytes": size or 0,
    }


def slowly(line: bytes) -> tuple[object, ...] | str:
    """One line through the parser that takes its time; a text is why it is none."""
    try:
        found = parse_line(line)
        request = request_of(found.request)
    except (NoLineError, NoRequestError) as error:
        return str(error)
    headers = (("referer", found.referer), ("user-agent", found.agent))
    sent = "\n".join(f"{name}: {value}" for name, value in headers if value not in ("", "-"))
    host = request.host or found.host
    return (
        found.time_ns, found.client, request.method, request.scheme, host, request.path, request.http, sent,
        found.status, found.size,
    )  # fmt: skip


def quickly(row: dict[str, object]) -> tuple[object, ...]:
    names = (
        "at_ns",
        "client",
        "method",
        "scheme",
        "host",
        "path",
        "http",
        "headers",
        "status",
        "answer_bytes",
    )
    return tuple(row[name] for name in names)


PIECES = [
    b'"',
    b" ",
    b"[",
    b"]",
    b"\\",
    b"-",
    b"\t",
    b"\0",
    b"\x80",
    b"\xc3\xa9",
    b"Feb",
    b"31",
    b"99",
    b"600",
    b"//",
    b"http://x",
]


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """A line with a few bytes replaced, put in or taken out."""
    line = draw(st.sampled_from([USUAL, TIMED, f"v.test {USUAL}", USUAL.rpartition(' "https')[0]])).encode()
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(line) - 1))
        stop = at + draw(st.sampled_from([0, 1, 1, 2, 5]))
        line = line[:at] + draw(st.sampled_from([b"", *PIECES])) + line[stop:]
    return line or b"x"


@given(st.lists(spoiled(), min_size=1, max_size=30))
def test_many_lines_at_once_are_read_as_each_alone(tmp_path_factory, lines: list[bytes]) -> None:
    found = of(tmp_path_factory.mktemp("log"), *lines, skip_bad=True)
    expected = [slowly(line) for line in lines]
    assert [quickly(row) for row in found.rows] == [item for item in expected if not isinstance(item, str)]
    assert sum(found.skipped.values()) == sum(isinstance(item, str) for item in expected)
    assert set(found.skipped) == {item for item in expected if isinstance(item, str)}


REFERENCE = re.compile(
    r'(\S+) \S+ \S+ \[([^\]]+)\] "([A-Z]+) (\S+) HTTP/(\d\.\d)" (\d{3}) (\d+|-) "([^"]*)" "([^"]*)"'
)


@needs(APACHE)
def test_the_apache_sample_line_by_line() -> None:
    found = read(LOG, APACHE, skip_bad=True)
    assert len(found.rows) == 9_999
    assert found.skipped == {"the line breaks off within a quoted field": 1}
    matches = (REFERENCE.fullmatch(line) for line in APACHE.read_text().splitlines())
    expected = []
    for match in filter(None, matches):
        client, when, method, path, http, status, size, referer, agent = match.groups()
        referer = re.sub(r"\\x(..)", lambda escape: chr(int(escape[1], 16)), referer)
        sent = [f"referer: {referer}"] * (referer != "-") + [f"user-agent: {agent}"] * (agent != "-")
        size = 0 if size == "-" else int(size)
        expected.append(
            (log_time(when), client, method, "", "", path, http, "\n".join(sent), int(status), size)
        )
    assert len(expected) == 9_999
    rows = [quickly(row) for row in found.rows]
    assert [a for a, b in zip(rows, expected, strict=True) if a != b] == []
    times = [row["at_ns"] for row in found.rows]
    assert sum(after < before for before, after in itertools.pairwise(times)) == 4_915
