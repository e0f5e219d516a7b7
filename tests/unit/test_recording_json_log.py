"""JSON access logs: each server's own way to write them, options for all others, and blocks that must be read slowly."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.recording.readers import json_log
from harness.recording.readers.json_log import JsonLogReader
from tests.unit.log_reading import Read, read, recognises, written

LOG = JsonLogReader()
SECOND = 1_000_000_000
AT = int(dt.datetime(2026, 3, 1, 10, 5, 3, tzinfo=dt.UTC).timestamp()) * SECOND


def lines(*records: object, before: str = "") -> str:
    return "".join(f"{before}{json.dumps(record, ensure_ascii=False)}\n" for record in records)


def of(folder: Path, *records: object, skip_bad: bool = False, **options: str) -> Read:
    return read(LOG, written(folder, "access.json", lines(*records)), skip_bad, **options)


NGINX = {
    "time_iso8601": "2026-03-01T11:05:03+01:00",
    "msec": "1772359503.250",
    "remote_addr": "2001:db8::7",
    "request": "GET /a?b=c HTTP/2.0",
    "status": "200",
    "body_bytes_sent": "512",
    "request_length": "80",
    "request_time": "0.125",
    "http_referer": "-",
    "http_user_agent": 'Mozilla "5.0"',
    "http_host": "Shop.test",
}
ENVOY = {
    "start_time": "2026-03-01T10:05:03.250Z",
    "method": "POST",
    "path": "/a?b=c",
    "protocol": "HTTP/1.1",
    "response_code": 503,
    "response_flags": "UH",
    "bytes_received": 0,
    "bytes_sent": 19,
    "duration": 125,
    "x_forwarded_for": "192.0.2.7,10.0.0.1",
    "user_agent": None,
    "authority": "shop.test:8080",
    "upstream_host": None,
}
ECS = {
    "@timestamp": "2026-03-01T10:05:03.250000001Z",
    "event": {"duration": 125_000_000},
    "source": {"address": "192.0.2.7"},
    "http": {
        "request": {"method": "GET"},
        "response": {"status_code": 404, "body": {"bytes": 9}},
        "version": "1.1",
    },
    "url": {"path": "/a", "query": "b=c", "domain": "shop.test", "scheme": "https"},
    "user_agent": {"original": "curl"},
}
HAPROXY = {
    "time": "[01/Mar/2026:10:05:03.250]",
    "client_ip": "192.0.2.7",
    "http_method": "GET",
    "uri": "/a",
    "query": "?b=c",
    "http_version": "HTTP/1.1",
    "status": 200,
    "bytes_read": 512,
    "Ta": 125,
}
CADDY = {
    "level": "info",
    "ts": 1772359503.3750002,
    "logger": "http.log.access",
    "request": {
        "remote_ip": "192.0.2.7",
        "proto": "HTTP/3.0",
        "method": "GET",
        "host": "shop.test",
        "uri": "/a?b=c",
        "headers": {"User-Agent": ["curl/8"], "Accept": ["*/*"]},
    },
    "duration": 0.125,
    "size": 512,
    "status": 200,
}
TRAEFIK = {
    "ClientAddr": "192.0.2.7:4711",
    "ClientHost": "192.0.2.7",
    "DownstreamContentSize": 19,
    "DownstreamStatus": 200,
    "Duration": 125_000_001,
    "RequestHost": "shop.test",
    "RequestMethod": "GET",
    "RequestPath": "/a?b=c",
    "RequestProtocol": "HTTP/1.1",
    "RequestScheme": "https",
    "StartUTC": "2026-03-01T10:05:03.250000002Z",
    "request_User-Agent": "curl",
    "time": "2026-03-01T10:05:03Z",
}
QUARTER = AT + SECOND // 4

EXPECTED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nginx": (
        NGINX,
        {
            "at_ns": AT + SECOND // 8, "answered_ns": QUARTER, "client": "2001:db8::7", "method": "GET", "path": "/a?b=c",
            "http": "2", "host": "shop.test", "headers": 'user-agent: Mozilla "5.0"', "status": 200, "answer_bytes": 512,
            "request_bytes": 80,
        },
    ),
    "envoy": (
        ENVOY,
        {
            "at_ns": QUARTER, "answered_ns": QUARTER + SECOND // 8, "client": "192.0.2.7", "method": "POST",
            "path": "/a?b=c", "http": "1.1", "host": "shop.test:8080", "headers": "x-forwarded-for: 192.0.2.7,10.0.0.1",
            "status": 503, "answer_bytes": 19,
        },
    ),
    "ecs": (
        ECS,
        {
            "at_ns": QUARTER + 1, "answered_ns": QUARTER + 1 + SECOND // 8, "client": "192.0.2.7", "method": "GET",
            "path": "/a?b=c", "http": "1.1", "host": "shop.test", "scheme": "https", "headers": "user-agent: curl",
            "status": 404, "answer_bytes": 9,
        },
    ),
    "haproxy": (
        HAPROXY,
        {
            "at_ns": QUARTER, "answered_ns": QUARTER + SECOND // 8, "client": "192.0.2.7", "method": "GET",
            "path": "/a?b=c", "http": "1.1", "status": 200, "answer_bytes": 512,
        },
    ),
    "caddy": (
        CADDY,
        {
            "at_ns": QUARTER + 200, "answered_ns": QUARTER + 200 + SECOND // 8, "client": "192.0.2.7", "method": "GET",
            "path": "/a?b=c", "http": "3", "host": "shop.test", "headers": "user-agent: curl/8\naccept: */*", "status": 200,
            "answer_bytes": 512,
        },
    ),
    "traefik": (
        TRAEFIK,
        {
            "at_ns": QUARTER + 2, "answered_ns": QUARTER + 3 + SECOND // 8, "client": "192.0.2.7", "method": "GET",
            "path": "/a?b=c", "http": "1.1", "host": "shop.test", "scheme": "https", "headers": "user-agent: curl",
            "status": 200, "answer_bytes": 19,
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("slowly", [False, True])
@pytest.mark.parametrize("server", list(EXPECTED))
def test_a_servers_own_way(
    tmp_path: Path, server: str, slowly: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if slowly:
        monkeypatch.setattr(json_log, "_many", lambda *_: None)
    record, expected = EXPECTED[server]
    path = written(tmp_path, "access.json", lines(record, record))
    assert recognises(LOG, path)
    found = read(LOG, path)
    assert (found.said, found.known()) == ([], [expected, expected])


def test_members_with_dots_in_their_names(tmp_path: Path) -> None:
    record = {"@timestamp": "2026-03-01T10:05:03Z", "http.request.method": "GET", "url.path": "/a"}
    assert of(tmp_path, record).known() == [{"at_ns": AT, "method": "GET", "path": "/a"}]


def test_what_syslog_puts_before_the_object_is_passed_over(tmp_path: Path) -> None:
    text = lines(HAPROXY, HAPROXY, before="Mar  1 10:05:03 edge haproxy[14389]: ")
    path = written(tmp_path, "haproxy.log", text)
    assert recognises(LOG, path)
    assert read(LOG, path).known() == [EXPECTED["haproxy"][1]] * 2


def test_what_haproxy_never_came_to_is_not_known(tmp_path: Path) -> None:
    (row,) = of(tmp_path, {**HAPROXY, "status": -1, "Ta": -1, "bytes_read": 0}).known()
    assert row == {
        name: row[name] for name in EXPECTED["haproxy"][1] if name not in ("status", "answered_ns")
    }


def test_what_a_server_says_of_itself_is_no_record(tmp_path: Path) -> None:
    started = {"level": "info", "ts": 1772359500.5, "msg": "serving initial configuration"}
    path = written(tmp_path, "caddy.log", lines(started, CADDY))
    assert recognises(LOG, path)
    found = read(LOG, path, skip_bad=True)
    assert found.known() == [EXPECTED["caddy"][1]]
    assert sum(found.skipped.values()) == 1


def test_a_line_that_tells_of_something_else_is_called_so(tmp_path: Path) -> None:
    started = {"level": "info", "ts": 1772359500.5, "msg": "using config from file"}
    (said,) = of(tmp_path, CADDY, started).said
    assert "the line tells of something else" in said


def test_methods_that_ecs_shippers_write_in_small_letters(tmp_path: Path) -> None:
    http = {**ECS["http"], "request": {"method": "get"}}
    assert of(tmp_path, {**ECS, "http": http}).known() == [EXPECTED["ecs"][1]]


def test_names_that_many_configurations_have(tmp_path: Path) -> None:
    nginx = {
        "time_local": "01/Mar/2026:11:05:03 +0100",
        "request": "GET /a HTTP/1.1",
        "http_referrer": "http://b/",
    }
    (row,) = of(tmp_path, nginx).known()
    assert row["headers"] == "referer: http://b/"
    haproxy = {
        "timestamp": 1772359503, "http_request": "GET /a HTTP/1.1", "http_status": 200, "remote_addr": "192.0.2.7",
        "bytes_read": 12, "session_duration": "125",
    }  # fmt: skip
    (row,) = of(tmp_path, haproxy).known()
    assert (row["client"], row["answered_ns"] - row["at_ns"]) == ("192.0.2.7", SECOND // 8)
    apart = {
        "time": "01/Mar/2026:10:05:03.250",
        "http_method": "GET",
        "http_path": "/a",
        "http_query": "?b=c",
    }
    (row,) = of(tmp_path, apart).known()
    assert row["path"] == "/a?b=c"


def test_what_caddy_logs_of_a_request_is_sent_again_but_no_credentials(tmp_path: Path) -> None:
    headers = {"Accept": ["*/*"], "Content-Type": ["text/plain"], "Cookie": ["REDACTED"]}
    (row,) = of(tmp_path, {**CADDY, "request": {**CADDY["request"], "headers": headers}}).known()
    assert row["headers"].split("\n") == ["accept: */*", "content-type: text/plain"]


def test_times_without_a_zone_are_in_the_zone_that_the_user_names(tmp_path: Path) -> None:
    (row,) = of(tmp_path, HAPROXY, zone="Europe/Berlin").rows
    assert row["at_ns"] == QUARTER - 3_600 * SECOND


def test_members_by_option(tmp_path: Path) -> None:
    record = {
        "when": 1772359503250,
        "what": {"verb": "PUT", "where": "/x"},
        "took": 125,
        "code": 201,
        "lang": "en",
    }
    options = {
        "time": "when:ms", "duration": "took:ms", "method": "what.verb", "target": "what.where", "status": "code",
        "header__accept-language": "lang", "written": "end",
    }  # fmt: skip
    assert of(tmp_path, record, **options).known() == [
        {
            "at_ns": AT + SECOND // 8,
            "answered_ns": QUARTER,
            "method": "PUT",
            "path": "/x",
            "headers": "accept-language: en",
            "status": 201,
        }
    ]


@pytest.mark.parametrize(
    ("number", "at_ns"),
    [
        (1772359503, AT),
        (1772359503.123456, AT + 123_456_000),
        (1772359503250, QUARTER),
        (1772359503250000001, QUARTER + 1),
    ],
)
def test_numbers_that_count_from_1970_tell_their_unit_by_their_size(
    tmp_path: Path, number: float, at_ns: int
) -> None:
    if number == 1772359503250000001:
        number = 1772359503250000000 + 1
    record = {"timestamp": number, "request": "GET / HTTP/1.1"}
    assert [row["at_ns"] for row in of(tmp_path, record).rows] == [at_ns]


def test_text_is_sent_as_its_bytes(tmp_path: Path) -> None:
    (row,) = of(tmp_path, {**NGINX, "request": "GET /é HTTP/1.1", "http_user_agent": "й"}).rows
    assert (row["path"], row["headers"]) == ("/%C3%A9", "user-agent: \xd0\xb9")


def test_a_block_with_a_bad_record_loses_nothing_else(tmp_path: Path) -> None:
    mixed = {**NGINX, "status": 200, "request_time": 0.125, "body_bytes_sent": 512}
    found = of(
        tmp_path, NGINX, mixed, {**NGINX, "status": [1]}, {**NGINX, "msec": None}, NGINX, 7, skip_bad=True
    )
    assert found.known() == [EXPECTED["nginx"][1]] * 3
    assert found.skipped == {
        "a member that should be a number is none": 1,
        "no time in it": 1,
        "no JSON object": 1,
    }


def test_an_object_over_two_lines_is_no_record(tmp_path: Path) -> None:
    whole = lines(NGINX)
    text = whole + whole.replace(', "msec"', ',\n "msec"') + whole
    found = read(LOG, written(tmp_path, "access.json", text))
    assert len(found.rows) == 2
    assert [problem.split(" error: ")[1].split("\n")[0] for problem in found.said] == [
        "record 2: no JSON object",
        "record 3: no JSON object",
    ]


def test_a_last_line_without_an_end_counts_when_it_is_whole(tmp_path: Path) -> None:
    found = read(LOG, written(tmp_path, "access.json", lines(NGINX, NGINX).rstrip("\n")))
    assert (len(found.rows), found.said) == (2, [])


def test_spread(tmp_path: Path) -> None:
    record = {"time_local": "01/Mar/2026:10:05:03 +0000", "request": "GET / HTTP/1.1", "request_time": 0.5}
    found = of(tmp_path, record, record, {**record, "request_time": None}, record, spread="even")
    assert [row["at_ns"] - AT for row in found.rows] == [-SECOND // 2, -SECOND // 4, SECOND // 2, SECOND // 4]
    assert [row["answered_ns"] for row in found.rows][:3] == [AT, AT + SECOND // 4, -1]


def test_what_is_no_json_log(tmp_path: Path) -> None:
    for text in (
        "",
        "[]\n",
        '{"log": {"entries": []}}\n',
        '{"format": 1, "recording": "loans"}\n',
        '{"time"',
        "a,b\n",
    ):
        assert not recognises(LOG, written(tmp_path, "a.json", text)), text


TEXT = st.text(max_size=8).filter(
    lambda text: all(ord(letter) > 31 and not 0x7F <= ord(letter) < 0x80 for letter in text)
)


TIDY = st.fixed_dictionaries(
    {
        "msec": st.decimals(0, 2_000_000_000, places=3).map(str),
        "remote_addr": st.sampled_from(["192.0.2.7", "::1", "[::1]:80", "192.0.2.7:80", "", "192.0.2.7, ::1"]),
        "request": st.one_of(TEXT.map(lambda text: f"GET /{text} HTTP/1.1"), st.sampled_from(["", "-", "\x16", "GET //a"])),
        "status": st.sampled_from(["200", "99", "600", "000"]),
        "request_time": st.sampled_from(["0.001", "12", "0.000000001", "99999999999"]),
        "http_user_agent": st.one_of(TEXT, st.sampled_from(["-", "a\nb"])),
    },
    optional={"more": st.recursive(st.none() | st.text(max_size=3), st.lists, max_leaves=3)},
)  # fmt: skip
WILD = st.fixed_dictionaries(
    {
        "msec": st.sampled_from(["1772359503.250", "-", "x", None, 5, -1, "1e3", 10**30]),
        "remote_addr": st.sampled_from(["192.0.2.7", None, 7, ["192.0.2.7"]]),
        "request": st.sampled_from(["GET / HTTP/1.1", None, {}]),
        "status": st.sampled_from(["200", 200, None, "-", 2.5, True, 10**30]),
        "request_time": st.sampled_from(["0.001", 0.5, 12, None, "-", 1e-12, "NaN"]),
        "http_user_agent": st.sampled_from(["x", "\ud800", None]),
    }
)


@given(st.one_of(st.lists(TIDY, min_size=1, max_size=8), st.lists(WILD, min_size=1, max_size=2)))
def test_a_block_at_once_is_read_as_line_by_line(tmp_path_factory, records: list[dict[str, Any]]) -> None:
    text = "".join(f"{json.dumps(record)}\n" for record in [NGINX, *records])
    path = written(tmp_path_factory.mktemp("log"), "a.json", text)
    quick = read(LOG, path, skip_bad=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_log, "_many", lambda *_: None)
        slow = read(LOG, path, skip_bad=True)
    assert quick == slow
