"""The parts of `readiness replay` that need no process: thresholds, targets, figures, the live view."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from harness.errors import DefinitionError
from harness.model.history import GENERATOR_DIED, Exchanges
from harness.model.quantities import Duration
from harness.printing.live_replay import log_line, page
from harness.printing.replays import repeat_command
from harness.replaying.figures import figures
from harness.replaying.live import LiveFigures
from harness.replaying.request import ReplayRequest, pace_of
from harness.replaying.targets import targets
from harness.replaying.thresholds import judge, parse

MS = 1_000_000
SECOND = 1_000_000_000
LIMIT = Duration.of_s(30)


def rows(*made: dict[str, Any]) -> Exchanges:
    """One row a request, a second apart from each other unless it says otherwise."""
    plain = dict.fromkeys(
        ("arm", "unit", "phase", "request_id", "client", "key", "error", "body", "body_digest"), ""
    )
    numbers = {
        "turn": 0,
        "status": 200,
        "recorded_status": -1,
        "sent_bytes": 9,
        "received_bytes": 9,
        "connected_ns": -1,
        "first_byte_ns": -1,
    }
    full = []
    for seq, row in enumerate(made):
        due_ns = row.get("due_ns", seq * SECOND)
        times = {"scheduled_ns": due_ns, "due_ns": due_ns, "sent_ns": due_ns, "answered_ns": due_ns + 5 * MS}
        full.append({**plain, **numbers, "route": "/a", "seq": seq, **times, **row})
    return Exchanges.from_rows(full)


PARSED = {
    "p99 > 250ms": ("p99", "", ">", 250.0),
    "p99.9>=1.5s": ("p99.9", "", ">=", 1500.0),
    "max > 800us": ("max", "", ">", 0.8),
    "mean[/a/{id}] > 1m": ("mean", "/a/{id}", ">", 60_000.0),
    "error_rate > 1%": ("error_rate", "", ">", 0.01),
    "error_rate[/a b] >= 0.5": ("error_rate", "/a b", ">=", 0.5),
    " rate <  200/s ": ("rate", "", "<", 200.0),
}


@pytest.mark.parametrize("text", PARSED)
def test_a_threshold_is_read_as_written(text: str) -> None:
    (found,) = parse((text,))
    assert (found.measure, found.route, found.comparison, found.limit) == PARSED[text]


REFUSED = {
    "p99 250ms": "is no threshold",
    "p99 > 5": "5 of what?",
    "p99 > 5%": "'%' is no unit of p99",
    "p999 > 5ms": "unknown measure 'p999'",
    "pp99 > 5ms": "did you mean 'p99'?",
    "rate < 5ms": "'ms' is no unit of rate",
    "max[] > 5ms": "names no route",
    "max > 1.2.3s": "'1.2.3' is no number",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_threshold_is_said(text: str) -> None:
    with pytest.raises(DefinitionError, match="--fail-if: error") as caught:
        parse((text,))
    assert REFUSED[text] in str(caught.value)


def test_all_bad_thresholds_are_said_at_once() -> None:
    with pytest.raises(DefinitionError) as caught:
        parse(tuple(REFUSED))
    assert len(caught.value.problems) == len(REFUSED)


def test_thresholds_are_judged_by_raw_values_of_their_route() -> None:
    slow = {"route": "/b", "answered_ns": 0}
    found = figures(
        rows({}, {}, {**slow, "due_ns": 2 * SECOND, "answered_ns": 2 * SECOND + 100 * MS}, {"status": 503}),
        LIMIT,
    )
    texts = (
        "max > 99.9ms",
        "max >= 100ms",
        "max > 100ms",
        "max[/a] > 6ms",
        "error_rate >= 25%",
        "max[/c] > 1ms",
    )
    judged = {item.threshold.text: item.exceeded for item in judge(parse(texts), found)}
    assert list(judged.values()) == [True, True, False, False, True, None]


def test_latency_counts_from_when_a_request_was_due_and_nothing_is_rounded() -> None:
    """Sent 2 s late by a target that took no more connections, answered 1 ms later: the client waited 2.001 s."""
    late = {"due_ns": 0, "sent_ns": 2 * SECOND, "answered_ns": 2 * SECOND + 1_000_001}
    found = figures(rows(late), LIMIT).overall
    assert found.value("max") == 2001.000001
    assert found.value("p50") == 2001.000001


def test_quantiles_are_never_above_the_greatest() -> None:
    random = np.random.default_rng(5)
    found = figures(
        rows(*({"answered_ns": k * SECOND + int(ns)} for k, ns in enumerate(random.exponential(7e6, 500)))),
        LIMIT,
    ).overall
    values = [found.value(name) for name in ("p50", "p90", "p95", "p99", "p99.9", "max")]
    assert values == sorted(values)


def test_what_failed_is_counted_once_and_what_was_better_when_recorded_too() -> None:
    made = (
        {"status": 200, "recorded_status": 200},
        {"status": 404, "recorded_status": 200},
        {"status": 500, "recorded_status": 500},
        {"status": 0, "recorded_status": 200, "error": "refused", "answered_ns": -1},
        {"status": 0, "recorded_status": 200, "error": "not sent", "sent_ns": -1, "answered_ns": -1},
    )
    found = figures(rows(*made), LIMIT)
    overall = found.overall
    assert (overall.requests, overall.sent, overall.answered, overall.errors) == (5, 4, 3, 2)
    assert found.statuses == {200: 1, 404: 1, 500: 1}
    assert found.errors == {"refused": 1, "not sent": 1}
    assert found.worse == 2
    assert figures(rows(*({**row, "recorded_status": -1} for row in made)), LIMIT).worse is None


NO_ANSWER = {"status": 0, "answered_ns": -1}


def test_a_request_without_an_answer_counts_with_the_whole_time_limit() -> None:
    """Left out, a target would look the faster the more it drops, and no threshold on latency would notice."""
    timeout, refused = {**NO_ANSWER, "error": "timeout"}, {**NO_ANSWER, "error": "refused"}
    found = figures(rows({}, {}, timeout, refused), LIMIT)
    assert found.overall.answered == 2
    assert found.overall.value("p50") == pytest.approx(15_002.5)
    assert found.overall.value("max") == 30_000
    assert found.overall.value("mean") == pytest.approx(15_002.5)
    judged = judge(parse(("p99 > 250ms", "max > 250ms", "mean > 250ms")), found)
    assert [item.exceeded for item in judged] == [True, True, True]


def test_what_was_not_sent_or_went_down_with_the_generator_has_no_latency() -> None:
    died = {**NO_ANSWER, "error": GENERATOR_DIED}
    unsent = {**NO_ANSWER, "error": "not sent", "sent_ns": -1}
    assert figures(rows({}, died, unsent), LIMIT).overall.value("max") == 5
    assert figures(rows(died, unsent), LIMIT).overall.value("max") is None


def test_a_threshold_on_what_was_better_when_recorded() -> None:
    """A target that turns away what it took when recorded answers all the same, and quickly."""
    good = {"recorded_status": 200}
    turned_away, never_there = {**good, "status": 401, "route": "/b"}, {"status": 404, "recorded_status": 404}
    found = figures(rows(good, good, turned_away, never_there), LIMIT)
    texts = ("error_rate > 0%", "worse > 30%", "worse > 34%", "worse[/a] > 0%", "worse[/b] >= 100%")
    assert [item.exceeded for item in judge(parse(texts), found)] == [False, True, False, False, True]
    (judged,) = judge(parse(("worse > 1%",)), figures(rows({}), LIMIT))
    assert judged.exceeded is None, "nothing is known of how it was when recorded"


def test_nothing_at_all_has_no_figures() -> None:
    found = figures(Exchanges.empty(), LIMIT).overall
    assert [found.value(name) for name in ("p99", "max", "mean", "rate", "error_rate")] == [None] * 5


HERE, THERE = "http://127.0.0.1:8080", "https://[::1]:8443/base"


def test_one_host_goes_to_the_target_and_several_where_they_are_mapped() -> None:
    assert targets(HERE, (), {"shop": 3}).by_host == {"shop": HERE}
    assert targets(HERE, (), {"": 3}).by_host == {"": HERE}
    assert targets(HERE, (), {"shop": 3, "": 1}).by_host == {"shop": HERE, "": HERE}
    found = targets(HERE, (f"shop={HERE}", f"CDN:444={THERE}"), {"shop": 3, "cdn:444": 2, "": 1})
    assert found.by_host == {"shop": HERE, "cdn:444": THERE, "": HERE}
    assert found.urls == (HERE, THERE)
    assert targets("", (f"Shop={HERE}",), {"SHOP": 1}).by_host == {"SHOP": HERE}, "hosts have no case"
    assert found.hosts_of(HERE) == {"shop", ""}


NO_TARGET = {
    ("", (), ("shop",)): "no target is named",
    (HERE, (), ("shop", "cdn")): "the recording names 2 hosts, and 'shop' (1 exchange) is not mapped",
    ("", (f"shop={HERE}",), ("shop", "cdn")): "'cdn' (1 exchange) is not mapped",
    ("", (f"shop={HERE}", f"cdn={HERE}"), ("shop", "cdn", "")): "and no host (1 exchange) is not mapped",
    (HERE, (f"shop={HERE}", f"Shop={THERE}"), ("shop",)): "'Shop' is mapped twice",
    (HERE, (f"cdn={HERE}",), ("shop",)): "the recording names no host 'cdn'",
    (HERE, ("shop",), ("shop",)): "'shop' is not HOST=URL",
    ("127.0.0.1:8080", (), ("",)): "begins with http:// or https://",
    ("http://user:word@127.0.0.1", (), ("",)): "holds more than scheme, host, port and path",
    ("http://127.0.0.1:99999", (), ("",)): "is no URL: Port out of range",
    ("http://a\n.b", (), ("",)): "URL",
}


@pytest.mark.parametrize("given", NO_TARGET)
def test_a_replay_sends_nowhere_that_was_not_named(
    given: tuple[str, tuple[str, ...], tuple[str, ...]],
) -> None:
    target, maps, hosts = given
    with pytest.raises(DefinitionError) as caught:
        targets(target, maps, dict.fromkeys(hosts, 1))
    assert NO_TARGET[given] in str(caught.value)


class Some:
    """Answers as a generator hands them over."""

    def __init__(self, **columns: Any) -> None:
        self._columns = columns

    def column(self, name: str) -> Any:
        return np.array(self._columns[name], object if name == "error" else None)


def live() -> LiveFigures:
    """Ten requests a second for 10 s, of which those of the first 4 s are over; the last one timed out."""
    due = np.arange(0, 40) * SECOND // 10 + 7 * SECOND
    found = LiveFigures(np.arange(0, 100) * SECOND // 10, 10 * SECOND, 7 * SECOND)
    answered = np.where(np.arange(40) == 39, -1, due + 20 * MS)
    status = np.where(np.arange(40) == 39, 0, 200)
    error = [""] * 39 + ["other: Odd: thing"]
    found.take(Some(due_ns=due, sent_ns=due + 2 * MS, answered_ns=answered, status=status, error=error))
    return found


def test_the_live_figures_are_those_of_the_last_seconds_and_of_all() -> None:
    now = live().snapshot(int(11.4 * SECOND))
    assert (now.total, now.due, now.over, now.failed, now.in_flight) == (100, 40, 40, 1, 0)
    assert now.rate_due == pytest.approx(10)
    assert now.rate_over == pytest.approx(39 / 4)
    assert now.lag.p99 == pytest.approx(2)
    assert now.latency.p50 == pytest.approx(20)
    assert now.latency_overall.p50 == pytest.approx(20, rel=0.02)
    assert now.errors == {"other": 1}
    later = live().snapshot(17 * SECOND)
    assert later.latency.p50 is None
    assert later.in_flight == 56
    assert later.latency_overall.most == pytest.approx(20)


@pytest.mark.parametrize("width", [40, 100, 200])
def test_the_page_fits_its_terminal(width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    console.print(page(live().snapshot(int(11.4 * SECOND)), "shop.recording → http://127.0.0.1:8080", width))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(len(line) <= width for line in text.splitlines())
    for words in ("shop.recording", "40 %", "20 ms"):
        assert words in text.replace("\xa0", " ")


def test_before_it_begins_the_page_says_so_and_at_the_end_it_waits() -> None:
    def text(now_ns: int) -> str:
        console = Console(file=io.StringIO(), width=100)
        console.print(page(live().snapshot(now_ns), "shop", 100))
        return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]

    assert "begins in 0.5 s" in text(int(6.5 * SECOND))
    assert "waiting for the last answers" in text(18 * SECOND)


def test_a_log_gets_one_line() -> None:
    line = log_line(live().snapshot(int(11.4 * SECOND))).replace("\xa0", " ")
    assert line == (
        "40 %, 40 of 100 over, 10/s (due 10/s), 0 in flight, late p99 2 ms, latency p50 20 ms, p99 20 ms, 1 error"
    )


def test_the_repeating_command_has_all_that_decides_what_is_sent() -> None:
    from pathlib import Path

    request = ReplayRequest(
        Path("my shop.recording"),
        HERE,
        ("a=b",),
        pace_of(2.0, 3, "10s", "1m", 2, "5s", 9),
        seed=9,
        workers=2,
        thresholds=("p99 > 1s",),
        token="secret",
        out=Path("x"),
    )
    assert repeat_command(request) == (
        "readiness replay 'my shop.recording' --target http://127.0.0.1:8080 --map a=b --speed 2 --times 3 --loops 2 "
        "--from 10s --to 1m --ramp 5s --seed 9 --workers 2 --fail-if 'p99 > 1s'"
    )


def test_a_span_below_nothing_is_called_so() -> None:
    with pytest.raises(ValueError, match="'-5s' is less than nothing"):
        Duration.parse("-5s")
