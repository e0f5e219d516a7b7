"""Sessions at replay: live values in later requests, waiting for answers, order within a client, falling out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from harness.model.quantities import Duration
from harness.model.recording import Exchange, Recording
from harness.recording.sessions.steps import Slot, Steps, Take, Template
from harness.replay.generator import ReplayChild, ReplayOutcome
from tests.unit.replay_target import Target
from tests.unit.replays import SECOND_NS, history, job, running_child

TAKE = (Take(1, "json", "token"),)


@pytest.fixture
def target() -> Iterator[Target]:
    with Target() as standing:
        yield standing


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplayChild]:
    with running_child(tmp_path_factory.mktemp("generator")) as child:
        yield child


def exchanges(*said: tuple[int, str, str]) -> Recording:
    """Milliseconds, client and path of each."""
    return Recording.of(
        "test",
        "made here",
        [
            Exchange(0, at_ms * 1_000_000, client, "", "GET", path, path.partition("?")[0], (), b"")
            for at_ms, client, path in said
        ],
    )


def literal(exchange: Exchange) -> Steps:
    """The exchange as it is, without any slot."""
    return Steps((exchange.path.encode(),), (), (exchange.body,))


def replayed(
    child: ReplayChild, of: Recording, url: str, steps: Mapping[int, Steps], **options: object
) -> ReplayOutcome:
    """`steps` by seq; what has none goes out as it is."""

    def plan(exchange: Exchange) -> Steps:
        return steps.get(exchange.seq, literal(exchange))

    return child.replay(job(of, url, plan=plan, **options))


def asking(path: Template, headers: tuple[tuple[str, Template], ...] = (), body: Template = ()) -> Steps:
    """Waits for exchange 0, with 100 ms of think time."""
    return Steps(path, headers, body, waits_for=0, think_ns=100_000_000)


def test_a_live_value_goes_where_the_recorded_one_was(child: ReplayChild, target: Target) -> None:
    of = exchanges(
        (0, "ann", "/login?user=ann"), (0, "bob", "/login?user=bob"), (300, "ann", "/x"), (300, "bob", "/x")
    )
    of = Recording.of("test", "", [replace(exchange, method="POST") for exchange in of.exchanges])
    steps = {}
    for k in (0, 1):
        steps[k] = replace(literal(of.exchanges[k]), takes=(Take(k + 1, "json", "token"),))
        steps[k + 2] = Steps(
            (b"/items?token=", Slot(k + 1, "url")),
            (("authorization", (b"Bearer ", Slot(k + 1, "raw"))), ("x-other", (b"same",))),
            (b'{"token": "', Slot(k + 1, "json"), b'"}'),
            waits_for=k,
            think_ns=1_000_000,
        )
    rows = history(replayed(child, of, target.url, steps)).rows()
    assert [(row["status"], row["error"]) for row in rows] == [(200, "")] * 4
    asked = {got.headers["authorization"]: got for got in target.got if got.path.startswith("/items")}
    assert set(asked) == {"Bearer live-token-of-ann", "Bearer live-token-of-bob"}
    of_ann = asked["Bearer live-token-of-ann"]
    assert of_ann.path == "/items?token=live-token-of-ann"
    assert of_ann.body == b'{"token": "live-token-of-ann"}'
    assert (of_ann.headers["x-other"], of_ann.headers["content-length"]) == ("same", "30")
    assert rows[2]["due_ns"] == rows[2]["scheduled_ns"]


def test_a_request_waits_for_the_answer_that_it_needs_and_keeps_its_think_time(
    child: ReplayChild, target: Target
) -> None:
    of = exchanges(
        (0, "ann", "/login?user=ann&s=0.5"), (50, "ann", "/x"), (60, "bob", "/y"), (2000, "bob", "/end")
    )
    steps = {
        0: replace(literal(of.exchanges[0]), takes=TAKE),
        1: asking((b"/items?token=", Slot(1, "url"))),
    }
    login, asked, other, _ = history(replayed(child, of, target.url, steps)).rows()
    assert asked["due_ns"] - login["answered_ns"] == pytest.approx(100_000_000, abs=2_000_000)
    assert asked["scheduled_ns"] == login["scheduled_ns"] + 50_000_000
    assert asked["sent_ns"] >= asked["due_ns"]
    assert other["due_ns"] == other["scheduled_ns"]
    assert other["sent_ns"] < login["answered_ns"]


def test_a_clients_later_requests_stay_behind_the_one_that_waits(child: ReplayChild, target: Target) -> None:
    of = exchanges(
        (0, "ann", "/login?user=ann&s=0.4"),
        *((20 + 10 * k, "ann", f"/{k}") for k in range(5)),
        (2000, "ann", "/end"),
    )
    steps = {0: replace(literal(of.exchanges[0]), takes=TAKE), 1: asking((b"/items?t=", Slot(1, "url")))}
    rows = history(replayed(child, of, target.url, steps)).rows()
    sent = [row["sent_ns"] for row in rows]
    assert sent == sorted(sent)
    assert sent[1] - rows[0]["answered_ns"] >= 100_000_000
    # What was held up is not late: it was due when the one before it was.
    assert all(row["due_ns"] >= rows[1]["due_ns"] for row in rows[1:6])
    assert all(0 <= row["sent_ns"] - row["due_ns"] < 0.2 * SECOND_NS for row in rows)
    assert rows[6]["due_ns"] == rows[6]["scheduled_ns"]


@pytest.mark.parametrize("login", ["/hangup", "/login?user=ann&s=5", "/status?code=500"])
def test_a_client_falls_out_of_what_it_has_no_value_for_and_of_nothing_else(
    child: ReplayChild, target: Target, login: str
) -> None:
    of = exchanges(
        (0, "ann", login),
        (50, "ann", "/needs"),
        (60, "ann", "/free"),
        (70, "ann", "/needs-again"),
        (80, "bob", "/other"),
        (3000, "bob", "/end"),
    )
    needs = asking((b"/needs?t=", Slot(1, "url")))
    steps = {0: replace(literal(of.exchanges[0]), takes=TAKE), 1: needs, 3: needs}
    outcome = replayed(child, of, target.url, steps, timeout=Duration.of_s(1))
    rows = history(outcome).rows()
    assert [row["error"] for row in rows[1:]] == ["client fell out", "", "client fell out", "", ""]
    assert [row["sent_ns"] for row in (rows[1], rows[3])] == [-1, -1]
    assert rows[2]["sent_ns"] > rows[0]["sent_ns"]
    assert not any(got.path.startswith("/needs") for got in target.got)
    assert (outcome.sent, outcome.finished) == (4, True)


def test_a_value_that_may_be_missing_is_replaced_by_what_is_said_otherwise(
    child: ReplayChild, target: Target
) -> None:
    of = exchanges((0, "ann", "/x"), (50, "ann", "/y"))
    steps = {1: asking((b"/y?c=", Slot(9, "url", "none")))}
    assert [row["error"] for row in history(replayed(child, of, target.url, steps)).rows()] == ["", ""]
    assert target.got[1].path == "/y?c=none"


def test_a_client_that_would_be_sending_long_after_the_unit_falls_out(
    child: ReplayChild, target: Target
) -> None:
    of = exchanges((0, "ann", "/login?user=ann&s=0.3"), (100, "ann", "/y"), (110, "ann", "/z"))
    steps = {
        0: replace(literal(of.exchanges[0]), takes=TAKE),
        1: replace(asking((b"/y?t=", Slot(1, "url"))), think_ns=SECOND_NS),
    }
    outcome = replayed(child, of, target.url, steps, timeout=Duration.of_s(0.6))
    rows = history(outcome).rows()
    assert [row["error"] for row in rows] == ["", "client fell out", "client fell out"]
    assert [got.path for got in target.got] == ["/login?user=ann&s=0.3"]
    late = history(replayed(child, of, target.url, steps, timeout=Duration.of_s(2))).rows()
    assert [row["error"] for row in late] == ["", "", ""]


def test_whom_nobody_sent_is_not_waited_for(child: ReplayChild, target: Target) -> None:
    """A slice may begin in the middle of a session."""
    of = exchanges((0, "ann", "/x"), (50, "ann", "/y"))
    steps = {1: replace(literal(of.exchanges[1]), waits_for=4711, think_ns=SECOND_NS)}
    rows = history(replayed(child, of, target.url, steps)).rows()
    assert [row["error"] for row in rows] == ["", ""]
    assert rows[1]["due_ns"] == rows[1]["scheduled_ns"]


def test_many_clients_with_sessions_at_once(child: ReplayChild, target: Target) -> None:
    said = [(k * 2, f"c{k}", f"/login?user=u{k}") for k in range(100)]
    said += [(400 + k * 2, f"c{k}", f"/mine/{k}") for k in range(100)]
    of = exchanges(*said)
    steps = {}
    for k in range(100):
        steps[k] = replace(literal(of.exchanges[k]), takes=(Take(k, "json", "token"),))
        steps[100 + k] = Steps((b"/mine?t=", Slot(k, "raw")), (), (), waits_for=k, think_ns=1000)
    outcome = replayed(child, of, target.url, steps)
    assert outcome.answered == 200
    mine = {got.path for got in target.got if got.path.startswith("/mine")}
    assert mine == {f"/mine?t=live-token-of-u{k}" for k in range(100)}


def test_a_later_unit_has_what_an_earlier_one_gave(child: ReplayChild, target: Target) -> None:
    """Where sessions are kept up over units; else its client falls out."""
    of = exchanges((0, "ann", "/login?user=ann"), (100, "ann", "/x"))
    giving = replace(literal(of.exchanges[0]), takes=TAKE)
    asked = Steps((b"/x?token=", Slot(1, "url")), (), (), waits_for=0, think_ns=1_000_000)

    def unit(seq: int, keeps_sessions: bool) -> dict[str, object]:
        only = Recording.of("test", "", [replace(of.exchanges[seq], at_ns=0)]).exchanges
        outcome = child.replay(
            job(
                of,
                target.url,
                exchanges=[replace(only[0], seq=seq)],
                plan=lambda exchange: (giving, asked)[exchange.seq],
                keeps_sessions=keeps_sessions,
            )
        )
        [row] = history(outcome).rows()
        return row

    for keeps_sessions, error in ((True, ""), (False, "client fell out")):
        assert unit(0, keeps_sessions)["status"] == 200
        assert unit(1, keeps_sessions)["error"] == error
