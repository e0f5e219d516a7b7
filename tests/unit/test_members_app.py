"""The application of environments/members, and the bar: recorded from one instance, replayed against a fresh one."""

from __future__ import annotations

import pytest

from harness.loading import load_environment
from harness.recording.sessions.finding import find_rules
from harness.recording.sessions.rules import SessionRules
from tests.unit.members_app import APP, Recorded, digests, members_app, record, replay, seen, send


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    with members_app() as port:
        return record(port)


def test_the_definition_holds_together() -> None:
    environment = load_environment(APP.parents[1] / "environment.yaml").value
    assert list(environment.entries) == ["web"]


def test_the_recording_is_a_real_one(recorded: Recorded) -> None:
    statuses = {one.answer.status for one in recorded.exchanges}
    assert statuses >= {200, 201, 302, 303, 304, 401}
    assert len(recorded.tokens) > 50


def test_what_succeeded_when_recorded_succeeds_against_a_fresh_instance(recorded: Recorded) -> None:
    rules = find_rules(recorded.exchanges)
    with members_app() as port:
        replayed = replay(port, recorded.exchanges, rules)
        words = set(seen(port)["words"])
    differing = [
        (one.method, one.path, one.answer.status, replayed.statuses[one.seq])
        for one in recorded.exchanges
        if one.answer.status != replayed.statuses[one.seq]
    ]
    assert differing == []
    assert digests(set(recorded.tokens)) & words == set()
    assert digests({"correct", "account"}) & words  # the instance does note what it is sent


def test_one_member_alone_is_recording_enough() -> None:
    with members_app() as port:
        recorded = record(port, ["eve"])
    with members_app() as port:
        replayed = replay(port, recorded.exchanges, find_rules(recorded.exchanges))
    assert [replayed.statuses[one.seq] for one in recorded.exchanges] == [
        one.answer.status for one in recorded.exchanges
    ]


def test_without_the_rules_the_fresh_instance_refuses(recorded: Recorded) -> None:
    """What the rules are for: cookies alone bring few of the requests through."""
    with members_app() as port:
        replayed = replay(port, recorded.exchanges, SessionRules())
        words = set(seen(port)["words"])
    refused = [one for one in recorded.exchanges if one.answer.status < 400 <= replayed.statuses[one.seq]]
    assert len(refused) > 10
    assert digests(set(recorded.tokens)) & words


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/account", (("cookie", "session=recorded"),), 401),
        ("GET", "/account", (), 302),
        ("POST", "/logout", (), 401),
        ("POST", "/api/token", (("x-csrf-token", "recorded"),), 401),
        ("GET", "/api/orders/o-1", (("authorization", "Bearer recorded"),), 401),
        ("POST", "/api/orders", (("authorization", "Basic recorded"),), 400),
        ("GET", "/nowhere", (), 404),
        ("GET", "/healthz", (), 200),
    ],
)
def test_the_application_refuses_what_it_did_not_give(
    method: str, path: str, headers: tuple[tuple[str, str], ...], status: int
) -> None:
    with members_app() as port:
        assert send(port, method, path, headers, b"").status == status
