"""What a planned client sends: its cookies, in which order it waits, rules written by hand, and answers of any kind."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.recording.sessions.finding import find_rules
from harness.recording.sessions.live import fill, take
from harness.recording.sessions.planning import SessionPlanner
from harness.recording.sessions.rules import (
    CookieRule,
    SessionRule,
    SessionRules,
    TakenFrom,
    UsedIn,
)
from harness.recording.sessions.steps import Take
from tests.unit.session_traffic import (
    FORM,
    HTML,
    MS,
    RECORDED,
    SOURCES,
    START,
    USES,
    Answer,
    Request,
    exchange,
    replayed,
)


def cookie_session(value: str) -> list[Request]:
    return [
        Request("GET", "/login"),
        Request("POST", "/login", (*FORM, ("cookie", f"lang=en; sid={value}-1c9e4d0b7f")), b"name=ada"),
        Request("GET", "/account", (("cookie", f"lang=en; sid={value}-9a3b6c2d8e"),)),
    ]


def cookie_answers(value: str) -> list[Answer]:
    return [
        Answer(200, (("set-cookie", f"sid={value}-1c9e4d0b7f; Path=/; HttpOnly"),)),
        Answer(302, (("location", "/account"), ("set-cookie", f"sid={value}-9a3b6c2d8e; HttpOnly"))),
        Answer(),
    ]


class TestCookies:
    recorded = tuple(
        exchange(k, request, answer)
        for k, (request, answer) in enumerate(zip(cookie_session("old"), cookie_answers("old"), strict=True))
    )

    def test_they_need_no_rule(self) -> None:
        rules = find_rules(self.recorded)
        assert rules.rules == ()
        assert replayed(self.recorded, cookie_answers("new"), rules) == cookie_session("new")

    def test_they_stay_as_recorded_where_the_rule_is_off(self) -> None:
        off = SessionRules(cookies=CookieRule(enabled=False))
        assert replayed(self.recorded, cookie_answers("new"), off) == cookie_session("old")

    def test_whose_login_failed_falls_out(self) -> None:
        failed = [cookie_answers("new")[0], Answer(503), Answer()]
        assert replayed(self.recorded, failed, SessionRules()) == [*cookie_session("new")[:2], None]

    def test_what_no_live_answer_sets_goes_out_as_recorded(self) -> None:
        plain = [
            Answer(),
            Answer(302),
            Answer(),
        ]  # such as a load balancer's, where the target has none before it
        assert replayed(self.recorded, plain, SessionRules()) == cookie_session("old")

    def test_a_live_answer_renews_what_the_recorded_one_did_not(self) -> None:
        one, two, _ = cookie_answers("new")
        later = Request("GET", "/more", (("cookie", "lang=en; sid=old-9a3b6c2d8e"),))
        recorded = [*self.recorded, exchange(3, later)]
        answers = [one, two, Answer(200, (("Set-Cookie", "sid=rotated; Path=/"),)), Answer()]
        sent = replayed(recorded, answers, SessionRules())
        assert sent[3] == replace(later, headers=(("cookie", "lang=en; sid=rotated"),))

    def test_an_answer_that_renews_the_same_value_is_not_needed(self) -> None:
        def sliding(value: str) -> list[Answer]:
            return [Answer(200, (("set-cookie", f"sid={value}; Max-Age=60"),))] * 2 + [Answer()]

        def session(value: str) -> list[Request]:
            carrying = Request("GET", "/", (("cookie", f"sid={value}"),))
            return [START, carrying, carrying]

        old, new = "1c9e4d0b7f9a", "5d2f8e7a6b3c"
        recorded = [
            exchange(k, r, a) for k, (r, a) in enumerate(zip(session(old), sliding(old), strict=True))
        ]
        live = [sliding(new)[0], Answer(503), Answer()]
        assert replayed(recorded, live, SessionRules()) == session(new)

    def test_one_from_before_the_recording_is_replaced_once_a_live_answer_sets_it(self) -> None:
        def request(value: str) -> Request:
            return Request("GET", "/", (("cookie", f"sid={value}"),))

        recorded = [exchange(k, request("before")) for k in range(2)]
        answers = [Answer(200, (("set-cookie", "sid=live"),)), Answer()]
        assert replayed(recorded, answers, SessionRules()) == [request("before"), request("live")]

    def test_one_that_the_client_changed_stays(self) -> None:
        changed = exchange(1, Request("GET", "/", (("cookie", "prefs=a.b"),)))
        recorded = [exchange(0, Request("GET", "/"), Answer(200, (("set-cookie", "prefs=a"),))), changed]
        answers = [Answer(200, (("set-cookie", "prefs=z"),)), Answer()]
        assert replayed(recorded, answers, SessionRules())[1] == Request(
            "GET", "/", (("cookie", "prefs=a.b"),)
        )

    def test_a_deleted_one_is_not_taken(self) -> None:
        gone = (
            ("set-cookie", "sid=x; Expires=Thu, 01 Jan 1970 00:00:00 GMT"),
            ("set-cookie", "t=y; max-age=0"),
        )
        takes = (Take(1, "cookie", "sid"), Take(2, "cookie", "t"), Take(3, "cookie", "u"))
        assert take(takes, 200, (*gone, ("set-cookie", "u=1; Max-Age=60")), b"") == {3: "1"}

    def test_two_browsers_behind_one_address_keep_theirs_apart(self) -> None:
        def both(one: str, other: str) -> tuple[list[Request], list[Answer]]:
            requests, answers = [], []
            for k in range(3):
                requests += [cookie_session(one)[k], cookie_session(other)[k]]
                answers += [cookie_answers(one)[k], cookie_answers(other)[k]]
            return requests, answers

        requests, answers = both("old", "elder")
        recorded = [exchange(k, r, a) for k, (r, a) in enumerate(zip(requests, answers, strict=True))]
        expected, live = both("new", "newer")
        assert replayed(recorded, live, SessionRules()) == expected

    def test_a_word_in_a_cookie_binds_nobody(self) -> None:
        theme = Request("GET", "/", (("cookie", "theme=dark"),))
        recorded = [exchange(0, START, Answer(200, (("set-cookie", "theme=dark"),))), exchange(1, theme)]
        assert replayed(recorded, [Answer(503), Answer()], SessionRules()) == [START, theme]


class TestOrder:
    def test_who_carries_something_waits_for_the_last_answer_of_its_thread(self) -> None:
        def bearing(path: str) -> Request:
            return Request("GET", path, (("authorization", f"Bearer {RECORDED}"),))

        recorded = [
            exchange(0, START, SOURCES["json"](RECORDED), took_ms=4),
            exchange(1, bearing("/a"), took_ms=3),
            exchange(2, bearing("/slow"), took_ms=30),
            exchange(3, bearing("/b")),
            exchange(4, Request("GET", "/of-somebody-else")),
        ]
        planner = SessionPlanner(find_rules(recorded))
        steps = [planner.plan(one) for one in recorded]
        assert [(one.waits_for, one.needs, one.think_ns) for one in steps] == [
            (-1, (), 0),
            (0, (), 6 * MS),
            (1, (0,), 7 * MS),
            (1, (0,), 17 * MS),  # /slow was still under way
            (-1, (), 0),
        ]

    def test_who_carries_nothing_waits_for_nobody(self) -> None:
        recorded = [exchange(k, Request("GET", "/"), SOURCES["json"](RECORDED)) for k in range(3)]
        planner = SessionPlanner(find_rules(recorded))
        assert [planner.plan(one).waits_for for one in recorded] == [-1, -1, -1]

    def test_nobody_waits_for_a_load_balancers_cookie(self) -> None:
        recorded = [
            exchange(0, START, Answer(200, (("set-cookie", "AWSALB=a7f3; Path=/"),))),
            exchange(1, Request("GET", "/", (("cookie", "AWSALB=a7f3"),))),
        ]
        planner = SessionPlanner(SessionRules())
        steps = [planner.plan(one) for one in recorded]
        assert [one.waits_for for one in steps] == [-1, -1]
        values = take(steps[0].takes, 503, (("set-cookie", "AWSALB=b8"),), b"")
        assert fill(steps[1].headers[0][1], values) == b"AWSALB=b8"

    def test_a_client_that_was_forgotten_starts_anew_and_no_slot_is_given_twice(self) -> None:
        recorded = [exchange(0, START, SOURCES["json"](RECORDED)), exchange(1, USES["bearer"](RECORDED))]
        planner = SessionPlanner(find_rules(recorded), most_clients=1)
        first = planner.plan(recorded[0])
        planner.plan(replace(recorded[0], client="other"))
        later = planner.plan(recorded[1])
        assert later.headers[0][1] == (f"Bearer {RECORDED}".encode(),)
        again = planner.plan(recorded[0])
        assert {one.slot for one in first.takes}.isdisjoint(one.slot for one in again.takes)


class TestHandWritten:
    def test_a_script_s_text_by_a_regular_expression(self) -> None:
        rule = SessionRule(
            name="nonce",
            taken_from=TakenFrom(route="/", source="text", path=r'nonce = "(\w+)"'),
            used_in=(UsedIn(place="header", name="X-Nonce"),),
        )

        def given(token: str) -> Answer:
            return Answer(200, HTML, f'<script>var nonce = "{token}";</script>'.encode())

        recorded = [
            exchange(0, Request("GET", "/"), given("abc")),
            exchange(1, Request("GET", "/x", (("x-nonce", "abc"),))),
            exchange(2, Request("GET", "/x", (("x-nonce", "of its own"),))),
        ]
        sent = replayed(recorded, [given("xyz"), Answer(), Answer()], SessionRules(rules=(rule,)))
        assert [one and one.headers for one in sent] == [
            (),
            (("x-nonce", "xyz"),),
            (("x-nonce", "of its own"),),
        ]
        off = SessionRules(rules=(rule.model_copy(update={"enabled": False}),))
        assert replayed(recorded, [given("xyz"), Answer(), Answer()], off)[1].headers == (("x-nonce", "abc"),)

    @pytest.mark.parametrize(
        ("answer", "takes"),
        [
            (b"", (Take(1, "json", "a"), Take(2, "html", "b"), Take(3, "text", "(c)"))),
            (b"\xff\xfe{", (Take(1, "json", "a.b[0]"),)),
            (b"[" * 100_000, (Take(1, "json", "[0]"),)),
            (b'{"a": "text", "b": null, "c": {}, "d": [1]}', (
                Take(1, "json", "a[0]"), Take(2, "json", "b"), Take(3, "json", "c"), Take(4, "json", "d[7]"),
                Take(5, "json", "no such ] path"), Take(6, "json", "a|query[x]"),
            )),
            (b"<input name=a value='unclosed", (Take(1, "html", "a"),)),
        ],
    )  # fmt: skip
    def test_whatever_a_live_answer_is_nothing_breaks(self, answer: bytes, takes: tuple[Take, ...]) -> None:
        assert take(takes, 200, (("set-cookie", "novalue"), ("location", "")), answer) == {}
