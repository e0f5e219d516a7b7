"""What the plane is configured with, and how what it says is read."""

import dataclasses
import json

import pytest

from harness.errors import EngineError
from harness.model.environment import RESERVED_PORTS
from harness.plane.container import plane_files, plane_ports
from harness.plane.control import CONTROL_PORT, TOXIPROXY_PORT
from harness.plane.errors import PlaneError
from harness.plane.haproxy import haproxy_configuration
from harness.plane.log import read_request_log, spoken
from harness.plane.packets import packets, ruleset
from harness.plane.routes import MOST_EDGES, EdgeRoute
from harness.plane.samples import EdgeCounters, edge_counters, live_connections
from tests.golden_files import golden

ACCESS = "10.128.0.3"
ROUTES = (
    EdgeRoute(0, "client->shop", "client", "http", ACCESS, 8080, "10.128.0.66", 8080),
    EdgeRoute(1, "shop->stock", "shop", "http", "10.128.0.72", 8080, "10.128.0.130", 8080),
    EdgeRoute(2, "shop->store", "shop", "redis", "10.128.0.73", 6379, "10.128.0.194", 6379),
    EdgeRoute(3, "shop->store/stream", "shop", "tcp", "10.128.0.73", 9000, "10.128.0.194", 9000),
)


class TestConfiguration:
    def test_packet_rules(self):
        golden("plane/rules.nft", ruleset(ROUTES))

    def test_haproxy(self):
        golden("plane/haproxy.cfg", haproxy_configuration(ROUTES, seed=2**40 + 77))

    def test_toxiproxy_and_the_plane_itself(self):
        files = plane_files(ROUTES, ACCESS, seed=1)
        assert sorted(files) == [
            "/etc/readiness/haproxy.cfg",
            "/etc/readiness/plane.json",
            "/etc/readiness/request_faults.map",
            "/etc/readiness/rules.nft",
            "/etc/readiness/toxiproxy.json",
        ]
        golden("plane/plane.json", files["/etc/readiness/plane.json"].decode() + "\n")
        golden("plane/toxiproxy.json", files["/etc/readiness/toxiproxy.json"].decode() + "\n")

    def test_the_same_seed_gives_the_same_text_and_another_one_another(self):
        assert haproxy_configuration(ROUTES, 77) == haproxy_configuration(ROUTES, 77)
        assert haproxy_configuration(ROUTES, 77) != haproxy_configuration(ROUTES, 78)

    def test_the_ports_that_environments_must_not_use_are_the_planes_own(self):
        assert set(plane_ports()) == {CONTROL_PORT, TOXIPROXY_PORT} == set(RESERVED_PORTS)

    def test_two_edges_in_one_place(self):
        twice = (*ROUTES, dataclasses.replace(ROUTES[2], index=4, edge="shop->cache"))
        with pytest.raises(
            EngineError, match=r"shop->cache and edge shop->store would both listen on 10\.128"
        ):
            plane_files(twice, ACCESS, 1)

    def test_an_edge_on_the_planes_own_port(self):
        bad = (dataclasses.replace(ROUTES[0], listen_port=CONTROL_PORT),)
        with pytest.raises(EngineError, match="client->shop and the plane's own control port would both"):
            plane_files(bad, ACCESS, 1)

    def test_too_many_edges(self):
        many = [
            dataclasses.replace(ROUTES[0], index=n, edge=str(n), listen_port=n + 1)
            for n in range(MOST_EDGES + 1)
        ]
        with pytest.raises(EngineError, match=f"{MOST_EDGES + 1} edges do not fit one plane"):
            plane_files(many, ACCESS, 1)


def line(**changes: object) -> dict[str, object]:
    usual = {
        "edge": 1,
        "begin_us": "1000000",
        "end_us": "1002500",
        "id": "r-1",
        "method": "GET",
        "path": "/a",
    }
    return usual | {"status": 200, "bytes": 90, "termination": "--", "fault": "-"} | changes


class TestRequestLog:
    def read(self, *lines: object):
        texts = [each if isinstance(each, str) else json.dumps(each, separators=(",", ":")) for each in lines]
        return read_request_log("\n".join(texts).encode(), ROUTES)

    def test_a_request(self):
        (row,) = self.read(line()).rows
        assert row == {
            "edge": "shop->stock",
            "at_wall_ns": 1_000_000_000,
            "request_id": "r-1",
            "method": "GET",
            "path": "/a",
            "status": 200,
            "duration_ms": 2.5,
            "bytes_to_caller": 90,
            "termination": "--",
            "fault": "",
        }

    def test_what_haproxy_leaves_open_is_empty(self):
        (row,) = self.read(line(id="-", path="-")).rows
        assert (row["request_id"], row["path"]) == ("", "")

    @pytest.mark.parametrize(
        ("what", "changes", "status"),
        [
            ("hung up before an answer", {"status": 502, "bytes": 0, "termination": "SH"}, -1),
            ("caller gave up waiting", {"status": 499, "bytes": 0, "termination": "CH"}, -1),
            ("caller gave up reading", {"termination": "CD"}, 200),
            ("answered by a fault", {"status": 503, "termination": "LR", "fault": "w%201"}, 503),
        ],
    )
    def test_status_is_what_the_caller_was_answered(self, what, changes, status):
        (row,) = self.read(line(**changes)).rows
        assert row["status"] == status

    def test_the_fault_is_named(self):
        (row,) = self.read(line(fault="error_status%20of%20a-%3Eb")).rows
        assert row["fault"] == "error_status of a->b"

    def test_a_connection_that_broke_off_is_no_request(self):
        broken = line(
            begin_us="-", id="-", method="<BADREQ>", path="-", status=400, bytes=0, termination="CR"
        )
        assert self.read(broken).rows == ()
        assert self.read(broken).unreadable == 0

    def test_a_request_that_the_plane_refused_is_one(self):
        refused = line(
            begin_us="-", id="-", method="<BADREQ>", path="-", status=400, bytes=0, termination="PR"
        )
        (row,) = self.read(refused).rows
        assert (row["status"], row["at_wall_ns"], row["duration_ms"]) == (400, 1_002_500_000, 0)

    def test_lines_that_cannot_be_read_are_counted_and_the_others_kept(self):
        good = json.dumps(line(), separators=(",", ":"))
        missing = json.dumps(
            {key: value for key, value in line().items() if key != "status"}, separators=(",", ":")
        )
        log = self.read(
            "plane: ready", good[:-20], good, missing, line(edge=99), line(status="x"), '{"edge":[', "", line(id="r-2")
        )  # fmt: skip
        assert [row["request_id"] for row in log.rows] == ["r-1", "r-2"]
        assert log.unreadable == 5

    def test_bytes_that_are_no_text(self):
        log = read_request_log(b'{"edge":1,\xff\xfe\nplane: \xff\n', ROUTES)
        assert (log.rows, log.unreadable) == ((), 1)

    def test_what_the_plane_said_is_the_rest(self):
        content = b'plane: ready\n{"edge":1,"id":"x"}\n\n[ALERT] \xff gone  \n'
        assert spoken(content) == ["plane: ready", "[ALERT] \N{REPLACEMENT CHARACTER} gone"]


STATISTICS = """# pxname,svname,scur,stot,bin,bout,connect,req_tot,
in_0,FRONTEND,2,7,700,900,,,
out_0,FRONTEND,2,7,1,1,,7,
out_0,BACKEND,2,7,650,950,6,5,
in_2,FRONTEND,0,3,30,40,,,
out_2,BACKEND,0,3,30,40,3,,

"""


def listing(**counters: int) -> str:
    items = [{"counter": {"name": name, "packets": count, "bytes": 1}} for name, count in counters.items()]
    return json.dumps({"nftables": [{"metainfo": {"version": "1"}}, *items]})


class TestSamples:
    routes = (ROUTES[0], ROUTES[2])
    counted = listing(in_0=11, rule_0=0, in_2=4, rule_2=3, callee_0=2)

    def test_every_edge_in_the_order_of_the_routes(self):
        assert edge_counters(STATISTICS, self.counted, self.routes) == (
            EdgeCounters("client->shop", 11, 7, 700, 900, 6, 5, 650, 950, 0),
            EdgeCounters("shop->store", 4, 3, 30, 40, 3, 0, 30, 40, 3),
        )
        assert live_connections(STATISTICS, ROUTES[0]) == 2

    @pytest.mark.parametrize(
        ("statistics", "counters"),
        [
            (STATISTICS.replace("out_2,BACKEND", "out_9,BACKEND"), counted),
            (STATISTICS.replace("in_0,FRONTEND,2,7", "in_0,FRONTEND,2,"), counted),
            ("", counted),
            (STATISTICS, listing(in_0=11, rule_0=0, in_2=4)),
        ],
    )
    def test_an_edge_or_a_number_that_is_missing_is_an_error_and_not_a_zero(self, statistics, counters):
        with pytest.raises(PlaneError, match="counters are not complete"):
            edge_counters(statistics, counters, self.routes)

    @pytest.mark.parametrize("text", ["", "{}", '{"nftables": [{"counter": {"name": "in_0"}}]}', "[1]"])
    def test_counters_that_cannot_be_read(self, text):
        with pytest.raises(PlaneError, match="cannot be read"):
            packets(text)
