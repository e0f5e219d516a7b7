"""The plane between real containers: what went in comes out, everything is counted and logged, and no way leads around."""

import json
import secrets
import time

import pytest

from harness.errors import EngineError
from harness.plane.client import PlaneError
from harness.plane.container import plane_ports
from tests.containers.plane_world import EDGES, QUESTIONS, lone_plane

PROTOCOLS = {
    "http": "caller->web",
    "redis": "caller->store",
    "postgres": "caller->ledger",
    "tcp": "caller->store/stream",
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_goes_in_comes_out_and_is_counted_on_both_sides_while_the_connection_is_open(edges, protocol):
    edge = PROTOCOLS[protocol]
    live = edges.go_live(edge)
    first = edges.plane.counters(edge)
    for _ in range(3):
        assert edges.ask(edge, live).what == "answered"
    then = edges.plane.counters(edge)

    assert then.in_connections == first.in_connections
    assert then.out_connections == first.out_connections
    assert then.in_packets - first.in_packets >= 3
    came_in = then.in_bytes_from_caller - first.in_bytes_from_caller
    went_back = then.in_bytes_to_caller - first.in_bytes_to_caller
    if protocol == "http":  # HAProxy counts the callee's side in headers as it holds them
        assert then.out_requests - first.out_requests == 3
        assert came_in > 0
        assert went_back > 0
        assert then.out_bytes_to_callee > first.out_bytes_to_callee
        assert then.out_bytes_from_callee > first.out_bytes_from_callee
    else:
        assert came_in == then.out_bytes_to_callee - first.out_bytes_to_callee == 3 * len(QUESTIONS[protocol])
        assert went_back == then.out_bytes_from_callee - first.out_bytes_from_callee
        assert went_back == 3 * len({"redis": "+PONG\r\n", "postgres": "N", "tcp": "hello"}[protocol])
    assert then.rule_packets == first.rule_packets


def test_requests_arrive_as_they_were_sent(edges):
    answer = edges.get("caller->web", "/a%20b?q=%2F&x=1", request_id="r-1", body_bytes=300_000)
    seen = json.loads(answer["body"])

    assert (answer["saw"], seen["path"], seen["got"]) == (200, "/a%20b?q=%2F&x=1", 300_000)
    place = edges.place("caller->web")
    assert seen["headers"]["host"] == f"{place['host']}:{place['port']}"
    assert seen["headers"]["x-request-id"] == "r-1"
    assert not {"x-forwarded-for", "via", "forwarded"} & set(seen["headers"])


def test_answers_come_back_as_they_were_given(edges):
    assert edges.get("caller->web", "/teapot")["saw"] == 418
    # No 502 of the plane's own: the callee hung up, so the caller sees its connection end.
    assert edges.get("caller->web", "/hangup")["saw"] == "end of file"


def test_several_edges_to_one_callee_and_callees_on_equal_ports_stay_apart(edges):
    before = edges.plane.sample()
    for edge, times in {"caller->web": 1, "caller->ledger/http": 2, "caller->ledger": 3}.items():
        for _ in range(times):
            assert edges.ask(edge).what == "answered"
    after = edges.plane.sample()

    grown = {
        then.edge: then.in_connections - now.in_connections for now, then in zip(before, after, strict=True)
    }
    assert grown == {name: 0 for name, *_ in EDGES} | {
        "caller->web": 1,
        "caller->ledger/http": 2,
        "caller->ledger": 3,
    }


def test_the_entry_is_reached_from_this_machine(edges):
    import requests

    host, port = edges.driver.published(edges.plane.container, 8080)
    before = edges.plane.counters("client->web").out_requests
    assert requests.get(f"http://{host}:{port}/x", timeout=5).json()["path"] == "/x"
    assert edges.plane.counters("client->web").out_requests == before + 1


def test_a_caller_reaches_its_callees_only_through_the_plane(edges):
    ways_around = {
        "the callee itself": (f"{edges.subnets['web']}.2", 8080),
        "the plane in the callee's network": (f"{edges.subnets['web']}.3", 8080),
        "the entry": (f"{edges.subnets['client']}.3", 8080),
        "the plane's second half": (f"{edges.subnets['caller']}.3", 21_001),
        **{f"control port {port} there": (f"{edges.subnets['client']}.3", port) for port in plane_ports()},
        **{f"control port {port} here": (f"{edges.subnets['caller']}.3", port) for port in plane_ports()},
    }
    for what, (host, port) in ways_around.items():
        seen = edges.order("open", 0.5, key="around", host=host, port=port)
        assert seen["saw"] != "connected", f"{what} was reached"


class TestRequestLog:
    def test_one_line_a_request_with_its_id_status_and_duration(self, edges):
        name = secrets.token_hex(4)
        wall_ns = time.time_ns()
        for number, path in enumerate(("/", "/slow?secret=1", "/teapot", "/hangup")):
            edges.get("caller->ledger/http", path, request_id=f"{name}-{number}")
        edges.get("caller->ledger/http", f"/{name}")
        edges.get("caller->ledger/http", "/slow", request_id=f"{name}-gave-up", limit_s=0.2)
        time.sleep(0.3)  # long before the callee would have answered: the plane gave up when its caller did
        rows = [row for row in edges.plane.log_rows() if name in row["request_id"] + row["path"]]

        assert [(row["request_id"].removeprefix(name), row["path"], row["status"]) for row in rows] == [
            ("-0", "/", 200),
            ("-1", "/slow", 200),
            ("-2", "/teapot", 418),
            ("-3", "/hangup", -1),
            ("", f"/{name}", 200),
            ("-gave-up", "/slow", -1),
        ]
        assert {row["edge"] for row in rows} == {"caller->ledger/http"}
        assert {row["method"] for row in rows} == {"GET"}
        assert {row["fault"] for row in rows} == {""}
        assert 0 < rows[0]["duration_ms"] < 500
        assert 1000 <= rows[1]["duration_ms"] < 1500
        assert 200 <= rows[5]["duration_ms"] < 500
        assert all(wall_ns <= row["at_wall_ns"] <= time.time_ns() for row in rows)
        assert edges.plane.dropped_log_lines() == 0

    def test_a_burst_loses_no_line(self, edges):
        name = secrets.token_hex(4)
        for number in range(400):
            assert edges.get("caller->idle", f"/{name}", f"{name}-{number}", key="burst")["saw"] == 200
        deadline = time.monotonic() + 5
        while True:
            found = {row["request_id"] for row in edges.plane.log_rows() if row["path"] == f"/{name}"}
            if len(found) == 400 or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        assert found == {f"{name}-{number}" for number in range(400)}
        assert edges.plane.dropped_log_lines() == 0

    def test_what_is_no_request_is_no_row_and_what_the_plane_refused_is_one(self, edges):
        place = edges.place("caller->web")
        before = len(edges.plane.log_rows())
        edges.order("open", key="silent", **place)
        edges.order("close", key="silent")
        edges.order("open", key="broken", **place)
        seen = edges.order("talk", key="broken", say="no such thing\r\n\r\n")
        time.sleep(0.3)
        rows = edges.plane.log_rows()[before:]

        assert seen["saw"].startswith("HTTP/1.1 400")
        assert [(row["status"], row["termination"]) for row in rows] == [(400, "PR")]
        assert edges.plane.dropped_log_lines() == 0


class TestProbe:
    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_an_edge_that_works(self, edges, protocol):
        result = edges.plane.probe(PROTOCOLS[protocol], 1.5)
        assert result.connect_ms is not None
        assert result.connect_ms < 100
        if protocol == "tcp":
            assert (result.outcome, result.first_byte_ms, result.tries) == ("connected", None, 1)
        else:
            assert (result.outcome, result.tries) == ("answered", 3)
            assert result.first_byte_ms is not None
            assert 0 < result.first_byte_ms < 100

    def test_a_probe_of_an_http_edge_is_neither_counted_nor_logged(self, edges):
        before, rows = edges.plane.counters("caller->web"), len(edges.plane.log_rows())
        edges.plane.probe("caller->web", 1.5)
        assert edges.plane.counters("caller->web") == before
        assert len(edges.plane.log_rows()) == rows

    def test_a_callee_that_is_gone(self, edges):
        killed = edges.apply("kill", "store")
        try:
            assert edges.plane.probe("caller->store", 1.5).outcome == "closed"
        finally:
            killed.heal()

    def test_an_edge_that_is_not_there(self, edges):
        with pytest.raises(PlaneError, match=r"no edge 'caller->wbe' in this plane\n.*caller->web"):
            edges.plane.probe("caller->wbe", 1.5)


class TestDeath:
    """A plane that dies says why, whether it never came up or died later."""

    def test_a_part_that_never_came_up(self):
        with lone_plane(haproxy_cfg=b"no such section\n") as (_, plane):
            started = time.monotonic()
            with pytest.raises(PlaneError) as caught:
                plane.wait_ready()
        assert time.monotonic() - started < 10
        assert "did not come up" in caught.value.what
        assert "FAILED: haproxy ended with exit code 1" in caught.value.what
        assert "unknown keyword 'such' out of section" in caught.value.what  # HAProxy's own words

    def test_a_part_that_dies_later_takes_the_plane_with_it(self):
        with lone_plane() as (driver, plane):
            plane.wait_ready()
            plane.sample()
            kill = "import os,signal,glob\nfor p in glob.glob('/proc/[0-9]*/comm'):\n"
            kill += "  if open(p).read() == 'toxiproxy\\n': os.kill(int(p.split('/')[2]), signal.SIGKILL)"
            driver.execute(plane.container, ("python3", "-c", kill))
            deadline = time.monotonic() + 10
            while driver.status(plane.container).state == "running":
                assert time.monotonic() < deadline, "the plane lives on without Toxiproxy"
                time.sleep(0.05)
            with pytest.raises(PlaneError) as caught:
                plane.sample()
        assert f"sample on {plane.container}; it is exited" in caught.value.what
        assert "FAILED: toxiproxy ended with exit code -9" in caught.value.what

    def test_a_plane_that_hangs_is_no_endless_wait(self, monkeypatch):
        monkeypatch.setattr("harness.plane.control.ANSWER_LIMIT_S", 0.5)
        with lone_plane() as (driver, plane):
            plane.wait_ready()
            driver.pause(plane.container)
            with pytest.raises(PlaneError, match=r"did not answer within 0\.5 s: sample on .*it is paused"):
                plane.sample()
            driver.unpause(plane.container)
            assert plane.sample()

    def test_a_plane_that_is_gone(self):
        with lone_plane() as (driver, plane):
            driver.remove(plane.container)
            with pytest.raises(EngineError, match=r"does not answer.*it is gone"):
                plane.sample()
