"""Session rules: what is found in recordings, what is left alone, and what replay sends with a second instance's values."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from harness.model.recording import Exchange, RecordedAnswer
from harness.recording.sessions.carried import Carried
from harness.recording.sessions.distinct import Strength, strength
from harness.recording.sessions.finding import find_rules
from harness.recording.sessions.live import fill
from harness.recording.sessions.planning import SessionPlanner
from harness.recording.sessions.rules import (
    SessionRules,
    rules_text,
)
from harness.recording.sessions.steps import Slot
from tests.unit.session_traffic import (
    HTML,
    JSON,
    LIVE,
    RECORDED,
    SOURCES,
    START,
    USES,
    Answer,
    Request,
    document,
    exchange,
    numbered,
    replayed,
)

TRAFFIC = Path(__file__).parents[3] / "shared" / "data" / "traffic"


class TestEveryPlace:
    @pytest.mark.parametrize("use", USES)
    @pytest.mark.parametrize("source", SOURCES)
    def test_a_token_is_found_and_the_live_one_is_sent_in_its_place(self, source: str, use: str) -> None:
        give, send = SOURCES[source], USES[use]
        live = LIVE.replace('"', "'") if use == "cookie" else LIVE
        recorded = [exchange(0, START, give(RECORDED)), exchange(1, send(RECORDED))]
        rules = find_rules(recorded)
        assert [rule.taken_from.route for rule in rules.rules] == ["/begin"]
        assert replayed(recorded, [give(live), Answer()], rules) == [START, send(live)]

    @pytest.mark.parametrize("use", USES)
    def test_without_its_live_value_a_request_is_not_sent(self, use: str) -> None:
        send = USES[use]
        recorded = [exchange(0, START, SOURCES["json"](RECORDED)), exchange(1, send(RECORDED))]
        assert replayed(recorded, [Answer(500), Answer()], find_rules(recorded)) == [START, None]

    def test_a_number_in_json_stays_a_number(self) -> None:
        def given(token: int) -> Answer:
            return Answer(201, JSON, document({"id": token}))

        def sent(token: int) -> list[Request]:
            return [
                Request("GET", f"/begin/{token}"),
                Request("POST", "/pay", JSON, b'{"order_id": %d, "n": [1, 2.50]}' % token),
            ]

        recorded = [exchange(0, START, given(4711)), *(exchange(k + 1, r) for k, r in enumerate(sent(4711)))]
        # `id` of POST /begin with /begin/{} is the same thing by its name; begin_id would be, order_id only may be
        again = [exchange(10, START, given(4712)), *(exchange(k + 11, r) for k, r in enumerate(sent(4712)))]
        rules = find_rules([*recorded, *again])
        assert replayed(recorded, [given(90), Answer(), Answer()], rules) == [START, *sent(90)]

    def test_a_text_where_a_number_stood_is_quoted(self) -> None:
        assert fill((b'{"id": ', Slot(1, "json_value"), b"}"), {1: "a-7"}) == b'{"id": "a-7"}'
        assert fill((Slot(1, "json_value"),), {1: "70"}) == b"70"

    def test_a_line_break_in_a_live_value_makes_no_second_header(self) -> None:
        assert fill((b"Bearer ", Slot(1, "raw")), {1: "a\r\nx-admin: 1"}) == b"Bearer a  x-admin: 1"


class TestEvidence:
    def test_a_constant_that_every_client_is_given_makes_no_rule(self) -> None:
        build = Answer(200, HTML, b'<meta name="build" content="7f3c9a1e55d0">')
        recorded = []
        for number in range(4):
            client = f"c{number}"
            recorded += [
                exchange(10 * number, Request("GET", "/"), build, client),
                exchange(10 * number + 1, Request("GET", "/api?v=7f3c9a1e55d0"), client=client),
            ]
        assert find_rules(numbered(recorded)).rules == ()

    def test_what_the_client_sent_first_is_its_own(self) -> None:
        key = "b7e1f0c2-9d4a-4f43-8a44-1f9d2c3b4a5e"
        recorded = [
            exchange(
                0,
                Request("POST", "/orders", (("idempotency-key", key),)),
                Answer(200, JSON, document({"key": key})),
            ),
            exchange(1, Request("GET", f"/orders?key={key}")),
        ]
        assert find_rules(recorded).rules == ()

    def test_an_answer_that_came_later_gave_nothing(self) -> None:
        slow = exchange(0, START, SOURCES["json"](RECORDED), took_ms=15)
        assert find_rules([slow, exchange(1, USES["bearer"](RECORDED))]).rules == ()

    def test_another_clients_token_is_no_evidence(self) -> None:
        given = exchange(0, START, SOURCES["json"](RECORDED), "c1")
        assert find_rules([given, exchange(1, USES["bearer"](RECORDED), client="c2")]).rules == ()

    def test_clients_without_a_name_are_many(self) -> None:
        recorded = [
            exchange(0, START, SOURCES["json"](RECORDED), ""),
            exchange(1, USES["bearer"](RECORDED), client=""),
        ]
        assert find_rules(recorded).rules == ()
        planner = SessionPlanner(SessionRules())
        assert [planner.plan(one).takes for one in recorded] == [(), ()]

    @pytest.mark.parametrize("pages", [1, 2, 6])
    def test_page_numbers_that_stand_in_lists_make_no_rule(self, pages: int) -> None:
        rows = Answer(200, JSON, document({"rows": [{"id": number} for number in range(1, 30)], "total": 29}))
        recorded = [exchange(page, Request("GET", f"/rows?page={page + 1}"), rows) for page in range(pages)]
        assert find_rules(recorded).rules == ()

    def test_words_dates_and_settings_make_no_rule(self) -> None:
        said = {
            "state": "pending",
            "lang": "en-GB",
            "day": "2026-03-01",
            "limit": 20,
            "price": 9.99,
            "v": "1.4.2",
        }
        again = "/list?state=pending&lang=en-GB&day=2026-03-01&limit=20&price=9.99&v=1.4.2"
        recorded = []
        for number in range(20):
            kind = Request("GET", "/settings") if number % 2 == 0 else Request("GET", again)
            recorded.append(exchange(number, kind, Answer(200, JSON, document(said))))
        assert find_rules(recorded).rules == ()

    def test_small_numbers_need_several_that_differ(self) -> None:
        def session(number: int, client: str) -> list[Exchange]:
            return [
                exchange(10 * number, START, Answer(200, JSON, document({"seat": number * 7})), client),
                exchange(
                    10 * number + 1,
                    Request("POST", "/take", JSON, document({"place": number * 7})),
                    client=client,
                ),
            ]

        few = [one for number in (1, 2) for one in session(number, f"c{number}")]
        assert find_rules(few).rules == ()
        more = [one for number in (1, 2, 3) for one in session(number, f"c{number}")]
        (rule,) = find_rules(more).rules
        assert (rule.taken_from.path, rule.used_in[0].name) == ("seat", "place")
        assert rule.used_in[0].support is not None
        assert rule.used_in[0].support.values == 3
        assert rule.examples == ()  # the digest of a small number would tell it

    def test_the_id_of_what_was_made_needs_one(self) -> None:
        recorded = [
            exchange(0, Request("POST", "/orders", JSON, b"{}"), Answer(201, JSON, document({"id": 7}))),
            exchange(1, Request("POST", "/orders/7/confirm", JSON, b"{}")),
        ]
        (rule,) = find_rules(recorded).rules
        assert rule.used_in[0].route == "/orders/{}/confirm"

    def test_a_location_that_is_followed_needs_one(self) -> None:
        def session(number: int) -> list[Request]:
            return [START, Request("GET", f"/wizard/{number}?step=1"), Request("GET", "/other?step=1")]

        def given(number: int) -> list[Answer]:
            return [
                Answer(302, (("location", f"http://h.example/wizard/{number}?step=1"),)),
                Answer(),
                Answer(),
            ]

        recorded = [exchange(k, r, a) for k, (r, a) in enumerate(zip(session(31), given(31), strict=True))]
        assert replayed(recorded, given(99), find_rules(recorded)) == session(99)

    def test_a_version_goes_back_to_its_own_url_however_small(self) -> None:
        tagged = Answer(200, (*JSON, ("etag", '"2"')), b"{}")
        recorded = [
            exchange(0, Request("GET", "/cart"), tagged),
            exchange(1, Request("GET", "/style"), Answer(200, (("etag", '"2"'),))),
            exchange(2, Request("PUT", "/cart", (*JSON, ("if-match", '"2"')), b"{}")),
        ]
        (rule,) = find_rules(recorded).rules
        assert (rule.taken_from.route, rule.taken_from.path, rule.used_in[0].name) == (
            "/cart",
            "etag",
            "if-match",
        )
        live = Answer(200, (*JSON, ("etag", '"17"')), b"{}")
        sent = replayed(recorded, [live, tagged, Answer()], find_rules(recorded))
        assert sent[2] == Request("PUT", "/cart", (*JSON, ("if-match", '"17"')), b"{}")

    def test_versions_of_several_things_are_told_apart_by_their_urls(self) -> None:
        def of(number: int, tag: str) -> Answer:
            return Answer(200, (*JSON, ("etag", tag)), document({"n": number}))

        def put(number: int, tag: str) -> Request:
            return Request("PUT", f"/things/{number}", (*JSON, ("if-match", tag)), b"{}")

        recorded = [
            exchange(0, Request("GET", "/things/10"), of(10, '"1"')),
            exchange(1, Request("GET", "/things/11"), of(11, '"1"')),
            exchange(2, put(10, '"1"')),
            exchange(3, put(11, '"1"')),
        ]
        sent = replayed(recorded, [of(10, '"8"'), of(11, '"9"'), Answer(), Answer()], find_rules(recorded))
        assert sent[2:] == [put(10, '"8"'), put(11, '"9"')]

    def test_items_of_a_list_are_taken_by_their_place(self) -> None:
        def given(*tokens: str) -> Answer:
            return Answer(200, JSON, document({"rows": [{"ref": token} for token in tokens]}))

        def picked(token: str) -> Request:
            return Request("GET", f"/rows/{token}")

        old, new = [f"a1b2c3d4{n}f" for n in range(3)], [f"e5f6a7b8{n}c" for n in range(3)]
        recorded = [exchange(0, Request("GET", "/rows"), given(*old)), *(
            exchange(k + 1, picked(old[item])) for k, item in enumerate((2, 0))
        )]  # fmt: skip
        rules = find_rules(recorded)
        assert [rule.taken_from.path for rule in rules.rules] == ["rows[*].ref"]
        assert replayed(recorded, [given(*new), Answer(), Answer()], rules)[1:] == [
            picked(new[2]),
            picked(new[0]),
        ]

    @pytest.mark.parametrize("name", ["firefox.har", "postdata.har", "successful_log.har"])
    def test_ordinary_traffic_makes_no_rule(self, name: str) -> None:
        if not (TRAFFIC / name).exists():
            pytest.skip(f"there is no {TRAFFIC / name}")
        exchanges = har_exchanges(TRAFFIC / name)
        rules = find_rules(exchanges)
        assert rules.rules == (), rules_text(rules)
        sent = replayed(
            exchanges, [Answer(one.answer.status, one.answer.headers) for one in exchanges], rules
        )
        assert [one and one.path for one in sent] == [one.path for one in exchanges]

    def test_no_value_stands_in_the_rules(self) -> None:
        recorded = [exchange(0, START, SOURCES["json"](RECORDED)), exchange(1, USES["path"](RECORDED))]
        text = rules_text(find_rules(recorded))
        assert RECORDED not in text
        assert "9f3c1d7e" not in text
        assert "sha256:" in text

    def test_memory_is_bounded_by_clients(self) -> None:
        recorded = [
            exchange(number, START, SOURCES["json"](f"{number:08d}a9f3c1d7e"), f"c{number}")
            for number in range(300)
        ]
        recorded.append(exchange(300, USES["bearer"]("00000000a9f3c1d7e"), client="c0"))
        recorded.append(exchange(301, USES["bearer"]("00000299a9f3c1d7e"), client="c299"))
        (rule,) = find_rules(recorded, most_clients=100).rules
        assert rule.used_in[0].support is not None
        assert rule.used_in[0].support.uses == 1  # c0 was forgotten

    def test_where_requests_carry_more_than_can_be_kept_the_rules_say_so(self) -> None:
        recorded = [exchange(0, START, SOURCES["json"](RECORDED)), exchange(1, USES["bearer"](RECORDED))]
        recorded += [exchange(number, Request("GET", f"/things/{number}00")) for number in range(2, 300)]
        carried = Carried.by(recorded, most=50)
        rules = find_rules(recorded, carried=carried)
        assert rules.searched is not None
        assert 2 <= rules.searched < 60
        assert f"searched: {rules.searched}\n" in rules_text(rules)
        assert len(rules.rules) == 1
        assert find_rules(recorded).searched is None

    def test_an_iterator_is_not_taken_for_a_recording(self) -> None:
        with pytest.raises(TypeError, match="once"):
            find_rules(iter([exchange(0, START)]))


class TestStrength:
    @pytest.mark.parametrize("name", ["id", "orderId", "order_id", "external-ref", "ID"])
    def test_what_is_called_an_id_needs_less(self, name: str) -> None:
        values = ("o-4206338451", "20417733", "4711")
        assert [strength(value, name) for value in values] == [
            Strength.STRONG,
            Strength.STRONG,
            Strength.WEAK,
        ]
        assert strength("20417733", "paid") is Strength.WEAK

    @pytest.mark.parametrize(
        "text",
        [
            "en",
            "pending",
            "2026-03-01T10:00:00Z",
            "1.2.3",
            "9.99",
            "application/json",
            "XMLHttpRequest",
            "16px",
        ],
    )
    def test_it_says_nothing(self, text: str) -> None:
        assert strength(text) is Strength.NONE

    @pytest.mark.parametrize(
        "text", ["7", "4711", "o-12", "1700000000", "1700000000123", "user42", "blue-widget-2", "sha256"]
    )
    def test_it_is_something_when_it_happens_often(self, text: str) -> None:
        assert strength(text) is Strength.WEAK

    @pytest.mark.parametrize(
        "text",
        [
            "8cda81e9fae5ef3b",
            "b2c7e1f0",
            "0e37df36-f698-11e6-8dd4-cb9ced3df976",
            "7h1k3h12Dqsk4HESHX4rmg",
            "ZQmTbkWvcXrdPlKjHg",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcDEF123",
            '"3f80f-1b6-3e1cb03b"',
            "123456789012345678",
            "k3jd9fks0a2l",
        ],
    )
    def test_it_was_taken_from_the_answer(self, text: str) -> None:
        assert strength(text) is Strength.STRONG


def har_exchanges(path: Path) -> list[Exchange]:
    """A HAR file as one client's traffic, read as simply as can be."""
    found = []
    for entry in json.loads(path.read_bytes())["log"]["entries"]:
        request, response = entry["request"], entry["response"]
        target = urlsplit(request["url"])
        start = datetime.fromisoformat(entry["startedDateTime"])
        at_ns = int(start.timestamp() * 1e6) * 1000
        content = response.get("content", {})
        body = (content.get("text") or "").encode()
        answer = RecordedAnswer(
            response["status"],
            answered_ns=at_ns + int((entry.get("time") or 0) * 1e6),
            headers=tuple((header["name"].lower(), header["value"]) for header in response["headers"]),
            body=base64.b64decode(body) if content.get("encoding") == "base64" else body,
        )
        path_and_query = (target.path or "/") + (f"?{target.query}" if target.query else "")
        headers = tuple((header["name"].lower(), header["value"]) for header in request["headers"])
        sent = (request.get("postData", {}).get("text") or "").encode()
        found.append(
            Exchange(
                0, at_ns, "client-1", "", request["method"], path_and_query, target.path, headers, sent,
                target.scheme, target.netloc, answer=answer,
            )
        )  # fmt: skip
    return numbered(found)
