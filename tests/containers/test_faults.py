"""Every kind of fault on real traffic: what a caller sees, what is counted, that it heals, and that it hits nothing else."""

import time

import pytest

from harness.checks.fault_effect import TRAFFIC
from harness.faults import FaultError, registry
from harness.plane.client import PlaneError
from tests.unit.test_faults_registry import guide_example

EDGE_OF = {
    "http": "caller->web",
    "redis": "caller->store",
    "postgres": "caller->ledger",
    "tcp": "caller->store/stream",
}
HTTP = "caller->ledger/http"
DELAY_MS = 250
LIMIT_MS = 500  # how long the caller's hand waits
PARAMETERS = {"latency": {"delay": f"{DELAY_MS}ms"}, "error_status": {"status": 503}}

# What the caller sees on a new and on a live connection. "ended": end of file or reset, whichever comes first.
SEEN = {
    "black_hole": ("timed out", "timed out"),
    "refused": ("refused", "ended"),
    "latency": ("answered", "answered"),
    "stall": ("timed out", "timed out"),
    "kill": ("ended", "ended"),
    "pause": ("timed out", "timed out"),
}
TARGETS = [
    (fault, protocol) for fault in ("black_hole", "refused", "latency", "stall") for protocol in EDGE_OF
]
TARGETS += [("kill", "http"), ("kill", "redis"), ("pause", "postgres"), ("pause", "http")]
SERVICE_OF = {"http": "web", "redis": "store", "tcp": "store", "postgres": "ledger"}
ALL = ("black_hole", "refused", "latency", "stall", "error_status", "kill", "pause")


def target(fault, protocol):
    return SERVICE_OF[protocol] if fault in ("kill", "pause") else EDGE_OF[protocol]


def applied(edges, fault, on):
    return edges.apply(fault, on, **PARAMETERS.get(fault, {}))


def saw(seen):
    return "ended" if seen.what in ("end of file", "reset") else seen.what


def traffic(harm):
    return {name: count for name, count in harm.hits().items() if name in TRAFFIC}


@pytest.mark.parametrize(("fault", "protocol"), TARGETS)
def test_what_a_caller_sees(edges, fault, protocol):
    edge = EDGE_OF[protocol]
    live = edges.go_live(edge)
    harm = applied(edges, fault, target(fault, protocol))
    try:
        assert not harm.is_healed()
        assert set(traffic(harm).values()) == {0}, "something was hit before anybody called"
        on_live, on_new = edges.ask(edge, live), edges.ask(edge)
        hit = traffic(harm)
    finally:
        harm.heal()

    assert (saw(on_new), saw(on_live)) == SEEN[fault]
    for seen in (on_new, on_live):
        if fault == "latency":
            assert DELAY_MS <= seen.ms < DELAY_MS + 150
        elif seen.what == "timed out":
            assert LIMIT_MS <= seen.ms < LIMIT_MS + 200
        else:
            assert seen.ms < 200, "not at once"
    assert any(hit.values()), "the fault's own counters saw nothing of it"
    assert harm.is_healed()

    edges.wait_answered(edge)
    again = edges.ask(edge)
    assert again.what == "answered"
    assert again.ms < 100, "traffic is not as before"


@pytest.mark.parametrize("fault", ALL)
def test_an_edge_without_traffic_is_not_hit(edges, fault):
    """Even with a connection open on it: this is what makes a verdict UNKNOWN later."""
    edge = "caller->ledger/http"
    edges.go_live(edge)
    harm = applied(edges, fault, "ledger" if fault in ("kill", "pause") else edge)
    try:
        time.sleep(0.3)
        hit = harm.hits()
    finally:
        harm.heal()
    assert {name: hit[name] for name in hit if name != "connections_cut"} == dict.fromkeys(
        set(hit) - {"connections_cut"}, 0
    )
    edges.wait_answered(edge)


@pytest.mark.parametrize("fault", ALL)
def test_healing_twice_is_fine_and_applying_again_works(edges, fault):
    on = "web" if fault in ("kill", "pause") else "caller->web"
    for _ in range(2):
        harm = applied(edges, fault, on)
        assert not harm.is_healed()
        harm.heal()
        assert harm.is_healed()
        harm.heal()
        assert harm.is_healed()
        edges.wait_answered("caller->web")


@pytest.mark.parametrize("fault", ["black_hole", "refused", "latency", "stall", "error_status"])
def test_a_fault_on_an_edge_leaves_every_other_edge_alone(edges, fault):
    """Among them one to the same callee and port, one from the same address, one to an equal port."""
    others = ["caller->web", "caller->store", "caller->store/stream", "caller->ledger", "caller->idle"]
    harm = applied(edges, fault, HTTP)
    try:
        seen = {edge: edges.ask(edge) for edge in others}
        hit = traffic(harm)
    finally:
        harm.heal()
    assert {edge: answer.what for edge, answer in seen.items()} == dict.fromkeys(others, "answered")
    assert max(answer.ms for answer in seen.values()) < DELAY_MS
    assert not any(hit.values())


@pytest.mark.parametrize("fault", ["kill", "pause"])
def test_a_fault_on_a_service_hits_every_edge_to_it_and_no_other(edges, fault):
    harm = applied(edges, fault, "ledger")
    try:
        inside = {
            edge: saw(edges.ask(edge, limit_s=0.3)) for edge in ("caller->ledger", HTTP, "caller->idle")
        }
        outside = {edge: saw(edges.ask(edge)) for edge in ("caller->web", "caller->store")}
    finally:
        harm.heal()
    assert set(inside.values()) == {SEEN[fault][0]}
    assert set(outside.values()) == {"answered"}
    edges.wait_answered(HTTP)


class TestLiveConnectionsAfterwards:
    """What happened to connections that were open throughout: as the faults' heads say."""

    def test_black_hole_lets_the_answer_through_in_the_end(self, edges):
        live = edges.go_live("caller->store")
        harm = applied(edges, "black_hole", "caller->store")
        asked = edges.ask("caller->store", live, 0.3)
        harm.heal()
        assert asked.what == "timed out"
        late = edges.listen("caller->store", live, 3)  # TCP sends again
        assert (late.what, late.text) == ("answered", "+PONG\r\n")
        assert edges.ask("caller->store", live).what == "answered"

    def test_pause_lets_the_answer_through_in_the_end(self, edges):
        live = edges.go_live("caller->store")
        harm = applied(edges, "pause", "store")
        asked = edges.ask("caller->store", live, 0.3)
        harm.heal()
        assert asked.what == "timed out"
        assert edges.listen("caller->store", live, 3).text == "+PONG\r\n"

    def test_stall_ends_them_when_it_is_healed(self, edges):
        live = edges.go_live("caller->store")
        harm = applied(edges, "stall", "caller->store")
        asked = edges.ask("caller->store", live, 0.3)
        harm.heal()
        assert asked.what == "timed out"
        assert saw(edges.listen("caller->store", live, 3)) == "ended"

    def test_latency_leaves_them_alone(self, edges):
        live = edges.go_live("caller->store")
        harm = applied(edges, "latency", "caller->store")
        slow = edges.ask("caller->store", live)
        harm.heal()
        quick = edges.ask("caller->store", live)
        assert slow.ms >= DELAY_MS
        assert quick.what == "answered"
        assert quick.ms < 100

    def test_refused_ends_them_on_both_sides_without_being_asked(self, edges):
        live = edges.go_live("caller->store/stream")
        harm = applied(edges, "refused", "caller->store/stream")
        try:
            assert harm.hits()["connections_cut"] == 1
            assert saw(edges.listen("caller->store/stream", live, 1)) == "ended"
        finally:
            harm.heal()


def test_probes_meet_what_callers_meet_on_the_stream_level(edges):
    before = edges.plane.probe("caller->web", 1.5)
    slow = applied(edges, "latency", "caller->web")
    during = edges.plane.probe("caller->web", 1.5)
    slow.heal()
    assert during.outcome == "answered"
    assert abs(during.first_byte_ms - before.first_byte_ms - DELAY_MS) < 50

    held = applied(edges, "stall", "caller->web")
    during = edges.plane.probe("caller->web", 0.3)
    held.heal()
    assert during.outcome == "timed_out"
    assert edges.plane.probe("caller->web", 1.5).outcome == "answered"


class TestErrorStatus:
    def _hit(self, edges, ids, path="/decisions"):
        return {name for name in ids if edges.get(HTTP, path, name, key="keep")["saw"] == 503}

    def test_a_percentage_hits_the_same_ids_every_time_and_none_after_heal(self, edges):
        ids = [f"request-{number}" for number in range(120)]
        hit = []
        for _ in range(2):
            harm = edges.apply("error_status", HTTP, status=503, percent=30)
            hit.append(self._hit(edges, ids))
            counted = harm.hits()
            harm.heal()
        assert hit[0] == hit[1]
        assert 20 <= len(hit[0]) <= 52, "far from 30 %"
        assert counted == {"matched": 120, "answered": len(hit[0]), "without_id": 0}
        assert self._hit(edges, ids) == set()

    def test_hundred_percent_hits_all_and_the_log_names_the_fault(self, edges):
        before = edges.plane.counters(HTTP)
        harm = edges.apply("error_status", HTTP, status=429)
        answer = edges.get(HTTP, "/x", "hit-me")
        harm.heal()
        time.sleep(0.3)
        row = next(row for row in edges.plane.log_rows() if row["request_id"] == "hit-me")

        assert (answer["saw"], answer["body"]) == (429, f"status 429 by readiness: error_status of {HTTP}\n")
        assert (row["status"], row["fault"]) == (429, f"error_status of {HTTP}")
        after = edges.plane.counters(HTTP)
        assert after.in_connections == before.in_connections + 1
        assert after.out_requests == before.out_requests, "the callee was asked all the same"

    def test_only_paths_that_begin_with_the_route_are_hit(self, edges):
        harm = edges.apply("error_status", HTTP, status=503, route="/loans")
        seen = {path: edges.get(HTTP, path, "r")["saw"] for path in ("/loans", "/loans/7?x=1", "/rates", "/")}
        counted = harm.hits()
        harm.heal()
        assert seen == {"/loans": 503, "/loans/7?x=1": 503, "/rates": 200, "/": 200}
        assert (counted["matched"], counted["answered"]) == (2, 2)

    def test_requests_without_an_id_are_counted(self, edges):
        harm = edges.apply("error_status", HTTP, status=503, percent=50)
        seen = [edges.get(HTTP, "/", key="keep")["saw"] for _ in range(40)]
        counted = harm.hits()
        harm.heal()
        assert counted == {"matched": 40, "answered": seen.count(503), "without_id": 40}
        assert 5 <= seen.count(503) <= 35

    @pytest.mark.parametrize("body_bytes", [1, 40_000, 2_000_000])
    def test_a_caller_that_sends_a_body_gets_its_answer_and_keeps_its_connection(self, edges, body_bytes):
        before = edges.plane.counters(HTTP).in_connections
        harm = edges.apply("error_status", HTTP, status=503)
        seen = [edges.get(HTTP, "/", "r", key="keep", body_bytes=body_bytes)["saw"] for _ in range(3)]
        harm.heal()
        assert seen == [503, 503, 503]
        assert edges.get(HTTP, "/", "r", key="keep")["saw"] == 200
        assert edges.plane.counters(HTTP).in_connections == before + 1

    def test_an_edge_that_does_not_speak_http_is_refused(self, edges):
        with pytest.raises(PlaneError, match="caller->store speaks redis"):
            edges.apply("error_status", "caller->store", status=503)


class TestApplyingFails:
    """Nothing is left behind (the fixture looks), and the message says what to do."""

    def test_a_service_that_nobody_calls(self, edges):
        with pytest.raises(FaultError, match=r"kill of caller: caller is called by nobody\n.*others call"):
            edges.apply("kill", "caller")

    def test_a_service_that_is_dead_already(self, edges):
        harm = edges.apply("kill", "web")
        try:
            with pytest.raises(FaultError, match="web is exited"):
                edges.apply("pause", "web")
        finally:
            harm.heal()
        edges.wait_answered("caller->web")

    def test_a_target_of_the_wrong_sort(self, edges):
        with pytest.raises(FaultError, match="fault stall needs a target edge"):
            edges.apply("stall", "web")
        with pytest.raises(FaultError, match="fault kill needs a target service"):
            edges.apply("kill", "caller->web")

    def test_a_toxiproxy_that_refuses(self, edges):
        first = edges.apply("stall", "caller->web")
        try:
            with pytest.raises(FaultError, match="adding timeout to edge-1: Toxiproxy answered 409"):
                edges.apply("stall", "caller->web")
        finally:
            first.heal()


def test_a_service_that_died_on_its_own_meanwhile_is_healed_too(edges):
    harm = edges.apply("pause", "web")
    edges.driver.kill(edges.container("web"))
    harm.heal()
    assert not harm.is_healed(), "pause does not start what died: that is for the report to tell"
    edges.driver.start_again(edges.container("web"))
    assert harm.is_healed()
    edges.wait_answered("caller->web")


def test_the_writers_guide_works(edges, monkeypatch):
    """Its example, registered as it says, on real traffic."""
    monkeypatch.setattr(registry, "OWN", (*registry.OWN, guide_example()))
    registry._registered.cache_clear()
    try:
        harm = edges.apply("truncate", "caller->store", after_bytes=3)
        seen = edges.ask("caller->store")
        hit = traffic(harm)
        harm.heal()
    finally:
        monkeypatch.undo()
        registry._registered.cache_clear()
    assert (seen.what, seen.text) == ("answered", "+PO")
    assert any(hit.values())
    assert harm.is_healed()
