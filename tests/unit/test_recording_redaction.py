"""Redaction of batches: every place, composites, forms of bodies, rules, detectors, and what malformed content does."""

from __future__ import annotations

import base64
import gzip
import json
import re
import zlib
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.recording.captured import CAPTURED
from harness.recording.readers.base import Rejects, Source
from harness.recording.redaction import RedactionRules, Redactor
from harness.recording.redaction.pseudonyms import Pseudonyms
from harness.recording.redaction.rules import RedactionRule
from harness.recording.registry import reader_of
from tests.unit.real_data import TRAFFIC, needs
from tests.unit.redaction_batches import KEY, batch, one, redacted

SECRET = "Kx7Qm2Zp9Lw4Rt6Vb1Nd"
MAIL = "anna.smith@mail.org"
OF = Pseudonyms(KEY).of
FORM_HEADERS = "content-type: application/x-www-form-urlencoded"


def parts(*fields: tuple[str, str]) -> bytes:
    """A multipart body."""
    made = "".join(
        f'--XX\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields
    )
    return f"{made}--XX--\r\n".encode()


Fill = Callable[[str], dict[str, Any]]

SECRET_PLACES: dict[str, Fill] = {
    "authorization": lambda value: {"headers": f"authorization: Bearer {value}"},
    "authorization without a scheme": lambda value: {"headers": f"authorization: {value}"},
    "proxy-authorization": lambda value: {"headers": f"proxy-authorization: Bearer {value}"},
    "digest": lambda value: {"headers": f'authorization: Digest username="a", realm="r", response="{value}"'},
    "aws": lambda value: {
        "headers": f"authorization: AWS4-HMAC-SHA256 Credential=AK/2026/eu, SignedHeaders=host, Signature={value}"
    },
    "x-api-key": lambda value: {"headers": f"x-api-key: {value}"},
    "token header": lambda value: {"headers": f"accept: */*\nx-session-token: {value}"},
    "cookie": lambda value: {"headers": f"cookie: theme=dark; sid={value}; lang=en"},
    "set-cookie": lambda value: {"answer_headers": f"set-cookie: sid={value}; Path=/; Secure"},
    "query": lambda value: {"path": f"/a?b=1&access_token={value}&c=2"},
    "query, name in capitals": lambda value: {"path": f"/a?AccessToken={value}"},
    "query, code": lambda value: {"path": f"/cb?code={value}"},
    "matrix parameter": lambda value: {"path": f"/a;jsessionid={value}/b"},
    "query in a query": lambda value: {"path": f"/login?next=%2Fx%3Ftoken%3D{value}"},
    "referer": lambda value: {"headers": f"referer: https://a.example/x?anything={value}"},
    "location": lambda value: {"answer_headers": f"location: /cb?token={value}"},
    "location's fragment": lambda value: {
        "answer_headers": f"location: https://a.example/#id_token={value}&x=1"
    },
    "url credentials": lambda value: {"headers": f"referer: https://bob:{value}@a.example/"},
    "url credentials in json": lambda value: {"body": f'{{"to":"ftp://bob:{value}@a.example/x"}}'.encode()},
    "json": lambda value: {"body": json.dumps({"a": [{"password": value}]}).encode()},
    "json, compact": lambda value: {
        "body": json.dumps({"refresh_token": value}, separators=(",", ":")).encode()
    },
    "json, lines": lambda value: {"body": json.dumps({"a": {"clientSecret": value}}, indent=2).encode()},
    "json, below a name": lambda value: {"body": json.dumps({"session": {"list": ["x", value]}}).encode()},
    "json, escaped name": lambda value: {"body": f'{{"pass\\u0077ord": "{value}"}}'.encode()},
    "json, odd spaces": lambda value: {"body": f'{{ "token":"{value}" ,"n" : 1.0e5}}'.encode()},
    "json, twice the same name": lambda value: {"body": f'{{"token": "{value}", "token": "x"}}'.encode()},
    "json in json": lambda value: {"body": json.dumps({"inner": json.dumps({"token": value})}).encode()},
    "json in base64": lambda value: {
        "body": json.dumps({"a": base64.b64encode(f'{{"token":"{value}"}}'.encode()).decode()}).encode()
    },
    "json in a form": lambda value: {
        "body": b"payload=%7B%22token%22%3A%22" + value.encode() + b"%22%7D&x=1"
    },
    "json, cut off": lambda value: {"body": f'{{"a": 1, "token": "{value}", "b":'.encode()},
    "json, cut off in the value": lambda value: {"body": f'{{"a": 1, "token": "{value}'.encode()},
    "json lines": lambda value: {"body": f'{{"a": 1}}\n{{"token": "{value}"}}\n'.encode()},
    "json behind a guard": lambda value: {"answer_body": b")]}',\n" + f'{{"token": "{value}"}}'.encode()},
    "server-sent event": lambda value: {"answer_body": f'data: {{"token": "{value}"}}\n\n'.encode()},
    "form": lambda value: {"headers": FORM_HEADERS, "body": f"user=x&password={value}&z=1".encode()},
    "form, name in brackets": lambda value: {"body": f"user%5Bpassword%5D={value}&a=b".encode()},
    "multipart": lambda value: {"body": parts(("a", "b"), ("password", value))},
    "multipart, json part": lambda value: {"body": parts(("a", json.dumps({"token": value})))},
    "multipart, cut off": lambda value: {"body": parts(("password", value))[:-10]},
    "graphql": lambda value: {
        "body": json.dumps({"query": f'mutation {{ login(password: "{value}") {{ id }} }}'}).encode()
    },
    "xml": lambda value: {"body": f"<a><password>{value}</password></a>".encode()},
    "html input": lambda value: {
        "answer_body": f'<input value="{value}" type=hidden name="csrf_token">'.encode()
    },
    "html meta": lambda value: {"answer_body": f"<meta name='csrf-token' content='{value}'>".encode()},
    "script": lambda value: {"answer_body": f'<script>var c = {{apiKey: "{value}"}};</script>'.encode()},
    "log line": lambda value: {"body": f"level=info password={value} a=b".encode()},
    "authorization in a text": lambda value: {
        "answer_body": f"Authorization: Bearer {value}\r\nHost: x".encode()
    },
    "compressed": lambda value: {"body": gzip.compress(f'{{"token": "{value}"}}'.encode())},
    "compressed, by its header": lambda value: {
        "headers": "content-encoding: deflate",
        "body": zlib.compress(f'{{"token": "{value}"}}'.encode()),
    },
    "brotli": lambda value: {
        "headers": "content-encoding: br",
        "body": pa.Codec("brotli").compress(f'{{"token": "{value}"}}'.encode(), asbytes=True),
    },
    "no UTF-8": lambda value: {"body": b"\xff\xfe password=" + value.encode() + b"\x80"},
}
"""How a secret gets into each place that the built-in rules name."""

FORMAT_PLACES: dict[str, Fill] = {
    "path": lambda value: {"path": f"/users/{value}/orders"},
    "path, percent-encoded": lambda value: {"path": f"/users/{value.replace('@', '%40')}"},
    "query": lambda value: {"path": f"/find?q={value.replace('@', '%40')}"},
    "header": lambda value: {"headers": f"x-from: <{value}>"},
    "json": lambda value: {"body": json.dumps({"a": {"b": [value]}}).encode()},
    "json, escaped": lambda value: {"body": f'{{"a": "{value.replace("@", chr(92) + "u0040")}"}}'.encode()},
    "json, name of a member": lambda value: {"body": json.dumps({value: 1}).encode()},
    "form": lambda value: {"body": f"contact={value.replace('@', '%40')}&x=1".encode()},
    "multipart": lambda value: {"body": parts(("note", f"write to {value}"))},
    "text": lambda value: {"body": f"write to {value}, please".encode()},
    "answer": lambda value: {"answer_body": f"<p>{value}</p>".encode()},
    "no UTF-8": lambda value: {"answer_body": b"\xff\x00" + value.encode() + b"\x00\xff"},
    "compressed": lambda value: {"answer_body": gzip.compress(value.encode())},
    "error": lambda value: {"error": f"no answer for {value}"},
    "client": lambda value: {"client": value},
    "key": lambda value: {"key": value},
}
"""How a value that its own format gives away gets into each place."""


def seen(row: dict[str, Any]) -> str:
    """Everything in a row, with what is packed or encoded in it unpacked."""
    texts = []
    for value in row.values():
        data = value if isinstance(value, bytes) else str(value).encode()
        for unpack in (
            gzip.decompress,
            zlib.decompress,
            lambda data: pa.decompress(data, 10_000, "brotli", asbytes=True),
        ):
            try:
                texts.append(unpack(data).decode())
            except Exception:  # noqa: BLE001 - it is not packed that way
                continue
        texts.append(data.decode("latin-1"))
    whole = "\n".join(texts)
    inside = [
        base64.b64decode(found + "==").decode("latin-1") for found in re.findall(r"[A-Za-z0-9+/]{16,}", whole)
    ]
    return "\n".join([whole, *inside])


documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


class TestPlaces:
    @pytest.mark.parametrize("place", SECRET_PLACES)
    def test_a_secret_is_replaced_by_the_one_pseudonym_that_it_has(self, place: str) -> None:
        row = one(**SECRET_PLACES[place](SECRET))
        assert SECRET not in seen(row)
        assert OF(SECRET) in seen(row)

    @pytest.mark.parametrize("place", FORMAT_PLACES)
    def test_so_is_a_value_that_its_format_gives_away(self, place: str) -> None:
        row = one(**FORMAT_PLACES[place](MAIL))
        text = seen(row).replace("%40", "@").replace("\\u0040", "@")
        assert MAIL not in text
        assert OF(MAIL) in text

    @pytest.mark.parametrize("place", SECRET_PLACES)
    @pytest.mark.parametrize("repeated", ["text", "json", "path", "header"])
    def test_a_secret_of_one_place_is_known_in_every_text(self, place: str, repeated: str) -> None:
        again: dict[str, dict[str, Any]] = {
            "text": {"answer_body": f"you are {SECRET}!".encode()},
            "json": {"body": json.dumps({"reference": SECRET}).encode()},
            "path": {"path": f"/things/{SECRET}"},
            "header": {"headers": f"x-reference: {SECRET}"},
        }
        if place == "referer":
            pytest.skip("what somebody searched for elsewhere is no secret of this service")
        rows, report = redacted(again[repeated], SECRET_PLACES[place](SECRET))
        assert SECRET not in seen(rows[0])
        assert OF(SECRET) in seen(rows[0])
        assert report.ok

    def test_what_is_not_private_stays_byte_for_byte(self) -> None:
        given = {
            "path": "/a/b%20c;v=1?x=y+z&empty=&flag#top",
            "headers": 'accept: */*\nif-none-match: W/"a1550c2bd25c5bcfef789d730f5bbddf"\nuser-agent: curl/8.1',
            "body": b'{ "b":1.50 ,"a":[1,2.0e3,"\\u00e9\\/x",null]}',
            "answer_headers": "content-type: application/json\ndate: Wed, 29 Mar 2023 23:58:59 GMT",
            "answer_body": b"\x89PNG\r\n\x1a\n\x00\xff",
        }
        row = one(**given)
        assert {name: row[name] for name in given} == given

    def test_a_layout_stays_where_a_value_in_it_is_replaced(self) -> None:
        row = one(body=f'{{ "n":1.50 ,\n"token" : "{SECRET}","u":"\\u00e9\\/"}}'.encode())
        assert row["body"] == f'{{ "n":1.50 ,\n"token" : "{OF(SECRET)}","u":"\\u00e9\\/"}}'.encode()

    def test_values_keep_their_types_in_json(self) -> None:
        row = one(
            body=b'{"pin": 4711, "password": {"a": 12.50, "b": true, "c": null, "d": "x"}, "otp": "0042"}'
        )
        said = json.loads(row["body"])
        assert len(str(said["pin"])) == 4
        assert said["pin"] != 4711
        assert re.search(rb'"a": [1-9][0-9]\.[0-9]{2},', row["body"])
        assert (said["password"]["b"], said["password"]["c"]) == (True, None)
        assert re.fullmatch(r"0\d{3}", said["otp"])

    def test_composites_keep_their_parts(self) -> None:
        pair = base64.b64encode(b"anna:hunter22").decode()
        row = one(
            headers=f'authorization: Basic {pair}\ncookie: a="x1y2z3"; b=; c=s%3Aabc123',
            answer_headers="set-cookie: a=x1y2z3; Expires=Wed, 21 Oct 2026 07:28:00 GMT; SameSite=Lax",
        )
        basic, cookies = row["headers"].split("\n")
        assert base64.b64decode(basic.split()[2]).decode() == f"{OF('anna')}:{OF('hunter22')}"
        assert cookies == f'cookie: a="{OF("x1y2z3")}"; b=; c={OF("s:abc123").replace(":", "%3A")}'
        assert row["answer_headers"].endswith("; Expires=Wed, 21 Oct 2026 07:28:00 GMT; SameSite=Lax")

    def test_a_client_is_the_same_in_its_column_in_headers_and_in_texts(self) -> None:
        rows, _ = redacted(
            {"client": "83.149.9.216", "headers": "x-forwarded-for: 83.149.9.216, 10.0.0.1"},
            {"answer_body": b'{"origin": "83.149.9.216"}', "path": "/from/83.149.9.216"},
        )
        assert rows[0]["client"] == OF("83.149.9.216")
        assert rows[0]["headers"] == f"x-forwarded-for: {OF('83.149.9.216')}, {OF('10.0.0.1')}"
        assert OF("83.149.9.216").encode() in rows[1]["answer_body"]
        assert rows[1]["path"] == f"/from/{OF('83.149.9.216')}"

    def test_names_that_readers_gave_stay(self) -> None:
        row = one(client="client-12", connection="client-12")
        assert (row["client"], row["connection"]) == ("client-12", "client-12")

    @pytest.mark.parametrize("encoded", [False, True])
    def test_columns_keep_their_kind_rows_their_order_and_nulls_their_places(self, encoded: bool) -> None:
        rows = [
            {"path": f"/{number % 3}?token=abc{number}", "answer_body": None if number % 2 else b"x"}
            for number in range(9)
        ]
        given = batch(*rows, encoded=encoded)
        done = Redactor(RedactionRules(), KEY).redact(given)
        assert done.schema == given.schema
        assert [path[:3] for path in done.column("path").to_pylist()] == [
            f"/{number % 3}?" for number in range(9)
        ]
        assert done.column("answer_body").to_pylist() == given.column("answer_body").to_pylist()

    def test_a_secret_is_known_in_later_batches_and_after_learning_in_earlier_ones(self) -> None:
        shows, names = (
            batch({"answer_body": b"see " + SECRET.encode()}),
            batch({"headers": f"x-api-key: {SECRET}"}),
        )
        redactor = Redactor(RedactionRules(), KEY)
        redactor.learn(shows)
        redactor.learn(names)
        assert redactor.report().records == 0
        assert redactor.redact(shows).column("answer_body").to_pylist() == [b"see " + OF(SECRET).encode()]
        assert redactor.report().ok

    def test_a_word_that_serves_as_a_password_is_not_replaced_everywhere(self) -> None:
        rows, _ = redacted({"body": b'{"password": "password"}'}, {"body": b'{"title": "password reset"}'})
        assert rows[1]["body"] == b'{"title": "password reset"}'
        assert json.loads(rows[0]["body"])["password"] == OF("password")


class TestRules:
    def rules(self, *rules: dict[str, Any], **more: Any) -> RedactionRules:
        return RedactionRules.model_validate({"redaction": "shop", "rules": rules, **more})

    @pytest.mark.parametrize(
        ("rule", "row", "wanted"),
        [
            (
                {"header": "x-customer"},
                {"headers": "x-customer: C42"},
                {"headers": f"x-customer: {OF('C42')}"},
            ),
            (
                {"header": "x-cust*", "action": "remove"},
                {"headers": "x-customer: C42\na: b"},
                {"headers": "a: b"},
            ),
            (
                {"header": "x-api-key", "action": "keep"},
                {"headers": "x-api-key: k1"},
                {"headers": "x-api-key: k1"},
            ),
            (
                {"header": "x-a", "action": "fixed", "value": "z"},
                {"headers": "x-a: b"},
                {"headers": "x-a: z"},
            ),
            (
                {"cookie": "theme", "action": "keep"},
                {"headers": "cookie: theme=dark; a=b1"},
                {"headers": f"cookie: theme=dark; a={OF('b1')}"},
            ),
            (
                {"cookie": "ad", "action": "remove"},
                {"headers": "cookie: a=b1; ad=x"},
                {"headers": f"cookie: a={OF('b1')}"},
            ),
            (
                {"query": "q"},
                {"path": "/s?q=red+shoes&p=1"},
                {"path": f"/s?q={OF('red shoes').replace(' ', '+')}&p=1"},
            ),
            ({"query": "q", "action": "remove"}, {"path": "/s?q=red"}, {"path": "/s"}),
            ({"query": "q", "action": "remove"}, {"path": "/s?a=1&q=red&b=2"}, {"path": "/s?a=1&b=2"}),
            ({"form": "city"}, {"body": b"city=Rome&a=1"}, {"body": f"city={OF('Rome')}&a=1".encode()}),
            ({"form": "city"}, {"body": parts(("city", "Rome"))}, {"body": parts(("city", OF("Rome")))}),
            (
                {"form": "city", "action": "remove"},
                {"body": parts(("city", "Rome"), ("a", "b"))},
                {"body": parts(("a", "b"))},
            ),
            (
                {"path": "/users/{id}/x"},
                {"path": "/users/4711/x?a=1"},
                {"path": f"/users/{OF('4711')}/x?a=1"},
            ),
            ({"path": "/users/{id}/**"}, {"path": "/users/4711/y/z"}, {"path": f"/users/{OF('4711')}/y/z"}),
            ({"path": "/users/{id}/x"}, {"path": "/shops/4711/x"}, {"path": "/shops/4711/x"}),
            (
                {"json": "$.user.name"},
                {"body": b'{"user": {"name": "Anna"}, "name": "b"}'},
                {"body": f'{{"user": {{"name": "{OF("Anna")}"}}, "name": "b"}}'.encode()},
            ),
            (
                {"json": "$..street"},
                {"body": b'{"a":[{"street":"Main 1"}]}'},
                {"body": f'{{"a":[{{"street":"{OF("Main 1")}"}}]}}'.encode()},
            ),
            (
                {"json": "$.items[?(@.kind=='a')].v"},
                {"body": b'{"items":[{"kind":"a","v":"one"},{"kind":"b","v":"two"}]}'},
                {"body": f'{{"items":[{{"kind":"a","v":"{OF("one")}"}},{{"kind":"b","v":"two"}}]}}'.encode()},
            ),
            (
                {"json": "$.a", "action": "remove"},
                {"body": b'{"a": {"x": "y"}, "b": 1}'},
                {"body": b'{"b": 1}'},
            ),
            (
                {"json": "$.a", "action": "fixed", "value": "z"},
                {"body": b'{"a":"y"}'},
                {"body": b'{"a":"z"}'},
            ),
            (
                {"name": "customer"},
                {"path": "/?customer=C7", "body": b'{"customer":"C7"}'},
                {"path": f"/?customer={OF('C7')}", "body": f'{{"customer":"{OF("C7")}"}}'.encode()},
            ),
            (
                {"text": r"CUST-\d+"},
                {"body": b"for CUST-123.", "path": "/CUST-123"},
                {"body": f"for {OF('CUST-123')}.".encode(), "path": f"/{OF('CUST-123')}"},
            ),
            (
                {"text": r"no (\d+)", "action": "fixed", "value": "0"},
                {"body": b'{"a":"no 17"}'},
                {"body": b'{"a":"no 0"}'},
            ),
            ({"text": r"(?<=id-)\d+"}, {"body": b"id-17"}, {"body": f"id-{OF('17')}".encode()}),
            (
                {"json": "$.a", "within": "answer"},
                {"body": b'{"a":"x1"}', "answer_body": b'{"a":"x1"}'},
                {"body": b'{"a":"x1"}', "answer_body": f'{{"a":"{OF("x1")}"}}'.encode()},
            ),
            (
                {"header": "referer", "action": "keep"},
                {"headers": "referer: /x?q=a"},
                {"headers": "referer: /x?q=a"},
            ),
        ],
    )
    def test_a_rule_decides(self, rule: dict[str, Any], row: dict[str, Any], wanted: dict[str, Any]) -> None:
        done = one(self.rules(rule), **row)
        assert {name: done[name] for name in wanted} == wanted

    def test_a_name_that_stands_twice_hides_nothing_from_a_jsonpath(self) -> None:
        body = f'{{"a" :1.50, "token": "{SECRET}", "token": "x", "b": {{"c": "y1"}}}}'.encode()
        done = one(self.rules({"json": "$.b.c"}), body=body)
        wanted = f'{{"a" :1.50, "token": "{OF(SECRET)}", "token": "{OF("x")}", "b": {{"c": "{OF("y1")}"}}}}'
        assert done["body"].decode() == wanted

    def test_a_removed_object_leaves_nothing_in_a_text_of_odd_layout(self) -> None:
        done = one(self.rules({"json": "$.a", "action": "remove"}), body=b'{"a" :{"x": "yz12"}, "b":1.50}')
        assert b"yz12" not in done["body"]
        assert json.loads(done["body"])["b"] == 1.5

    def test_a_hash_tells_nothing_of_the_value(self) -> None:
        done = one(self.rules({"json": "$.note", "kind": "hash"}), body=b'{"note": "a long story, really"}')
        assert re.fullmatch(r"[0-9a-f]{16}", json.loads(done["body"])["note"])

    def test_the_first_rule_decides_and_the_files_come_before_the_built_in_ones(self) -> None:
        done = one(
            self.rules({"cookie": "sid", "action": "keep"}, {"cookie": "s*", "action": "remove"}),
            headers="cookie: sid=a1; sx=b2; t=c3",
        )
        assert done["headers"] == f"cookie: sid=a1; t={OF('c3')}"

    def test_without_the_built_in_rules_only_the_files_hold(self) -> None:
        given = {
            "headers": "authorization: Bearer x1\nx-a: b",
            "body": b'{"mail":"a@b.org"}',
            "client": "83.1.2.3",
        }
        done = one(self.rules({"header": "x-a"}, defaults=False), **given)
        assert done["headers"] == f"authorization: Bearer x1\nx-a: {OF('b')}"
        assert (done["body"], done["client"]) == (given["body"], given["client"])


class TestDetectors:
    @pytest.mark.parametrize(
        ("row", "place", "detector"),
        [
            ({"headers": "x-foo: 9dX2kQ7vLm4ZpR8sT1wY"}, "header x-foo", "high entropy"),
            ({"body": b'{"a": {"b": ["9dX2kQ7vLm4ZpR8sT1wY"]}}'}, "json $.a.b[*]", "high entropy"),
            ({"path": "/reset/9dX2kQ7vLm4ZpR8sT1wY"}, "path", "high entropy"),
            ({"path": "/x?ref=9dX2kQ7vLm4ZpR8sT1wY"}, "query ref", "high entropy"),
            ({"body": b"ref=9dX2kQ7vLm4ZpR8sT1wY&a=1"}, "form ref", "high entropy"),
            (
                {"answer_headers": "x-foo: 4f1c9a7be2d80356af1e9b47cd20e835"},
                "answer header x-foo",
                "high entropy",
            ),
            ({"body": b"key AKIAIOSFODNN7EXAMPLE"}, "body", "AWS Access Key"),
            ({"answer_body": b"-----BEGIN RSA PRIVATE KEY-----\nMIIE"}, "answer body", "Private Key"),
            ({"body": b'{"a":"ghp_0123456789abcdefghijABCDEFGHIJ012345"}'}, "json $.a", "GitHub Token"),
            ({"body": b"xoxb-123456789012-abcdefabcdef"}, "body", "Slack Token"),
            ({"body": b"sk_live_0123456789abcdefghijABCD"}, "body", "Stripe Access Key"),
        ],
    )
    def test_what_looks_like_a_secret_is_found_with_its_place(
        self, row: dict[str, Any], place: str, detector: str
    ) -> None:
        _, report = redacted({}, row)
        assert not report.ok
        assert (place, detector, 2) in {(item.place, item.detector, item.record) for item in report.found}

    @pytest.mark.parametrize(
        "rule",
        [{"header": "x-foo"}, {"header": "x-foo", "action": "keep"}, {"name": "x-*", "action": "remove"}],
    )
    def test_a_place_that_a_rule_names_is_no_finding(self, rule: dict[str, Any]) -> None:
        rules = RedactionRules(rules=(RedactionRule.model_validate(rule),))
        _, report = redacted({"headers": "x-foo: 9dX2kQ7vLm4ZpR8sT1wY"}, rules=rules)
        assert report.ok

    def test_the_rule_that_a_finding_proposes_settles_it(self) -> None:
        rows = [
            {"headers": "x-foo: 9dX2kQ7vLm4ZpR8sT1wY"},
            {"path": "/reset/8cW2kQ7vLm4ZpR8sT1wY?ref=7bV2kQ7vLm4ZpR8sT1wY"},
            {"body": b'{"a": {"b": ["6aU2kQ7vLm4ZpR8sT1wY"]}}'},
            {"body": b"key AKIAIOSFODNN7EXAMPLE"},
        ]
        import yaml

        _, report = redacted(*rows)
        proposed = yaml.safe_load("\n".join(item.rule() for item in report.found))
        keep = [{**rule, "action": "keep"} for rule in proposed]
        done, after = redacted(*rows, rules=RedactionRules.model_validate({"redaction": "x", "rules": keep}))
        assert after.ok
        assert done == redacted(*rows)[0]

    @pytest.mark.parametrize(
        "text",
        [
            "/presentations/logstash-monitorama-2013/images/kibana-search.png",
            "/assets/app.4f1c9a7be2d80356af1e9b47cd20e835.js",
            "/orders/6fa459ea-ee8a-3ca4-894e-db77e160355e/items/20260301101500123",
            "/api/v2/AnnualReportsOverview2024?sort=createdAtDescending&page=12",
        ],
    )
    def test_ordinary_paths_are_no_findings(self, text: str) -> None:
        row, report = redacted({"path": text})
        assert report.ok
        assert row[0]["path"] == text

    def test_validators_and_ids_of_requests_are_no_findings(self) -> None:
        lines = (
            'etag: "4f1c9a7be2d80356af1e9b47cd20e835"\nx-amz-cf-id: DPEkuUbeK1ZXMsRuUHqgk6iE4l7ShgyrJntkqIbLaSJ5646Ptc2Xew==\n'
            "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        )
        _, report = redacted({"answer_headers": lines})
        assert report.ok

    def test_no_value_stands_in_a_report_or_a_message(self) -> None:
        _, report = redacted(
            {"headers": "x-foo: 9dX2kQ7vLm4ZpR8sT1wY"}, {"body": json.dumps({"token": SECRET}).encode()}
        )
        said = repr(report) + "\n".join(map(str, report.problems("a.har")))
        assert "9dX2" not in said
        assert SECRET not in said


class TestMalformed:
    @settings(max_examples=150)
    @given(st.binary(max_size=300), st.binary(max_size=300))
    def test_no_bytes_crash_it_or_hide_a_known_secret(self, before: bytes, after: bytes) -> None:
        mail = b" " + MAIL.encode() + b" "
        rows = [
            {"body": before + mail + after, "answer_body": before + b" " + SECRET.encode() + b" " + after},
            {"headers": f"x-api-key: {SECRET}"},
        ]
        (first, _), _ = redacted(*rows)
        assert SECRET.encode() not in first["answer_body"]
        assert MAIL.encode() not in first["body"]

    @settings(max_examples=100)
    @given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=200))
    def test_no_text_crashes_it(self, path: str, headers: str, client: str) -> None:
        clean = [text.encode("utf-8", "replace").decode() for text in (path, headers, client)]
        redacted(
            {"path": "/" + clean[0], "headers": clean[1], "client": clean[2], "answer_headers": clean[1]}
        )

    @settings(max_examples=100)
    @given(
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(max_size=20),
            lambda inner: (
                st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
            ),
            max_leaves=20,
        ),
        st.sampled_from([None, 2]),
        st.booleans(),
    )
    def test_json_keeps_its_shape_whatever_is_replaced_in_it(
        self, inner: Any, indent: int | None, ascii_only: bool
    ) -> None:
        text = json.dumps({"password": inner, "other": inner}, indent=indent, ensure_ascii=ascii_only)
        done = json.loads(one(body=text.encode("utf-8", "replace"))["body"])
        assert kinds(done) == kinds(json.loads(text.encode("utf-8", "replace")))

    def test_bytes_that_are_no_utf_8_are_encoded_again_as_they_were(self) -> None:
        value = one(path="/x?password=caf%E9%FC12")["path"].partition("=")[2]
        assert value == quote(OF("caf\xe9\xfc12").encode("latin-1"))

    @pytest.mark.timeout(120)
    @pytest.mark.parametrize(
        "piece",
        [
            "://a:",
            'name="x"\r\n',
            "token=",
            "<input ",
            "a.",
            "4 ",
            "1:",
            "eyJ",
            '"',
            "{",
            "--x\r\n",
            "u@a.org ",
        ],
    )
    def test_a_long_text_costs_no_hours_whatever_it_repeats(self, piece: str) -> None:
        """Everything is searched for in it: it holds one of each. Where a search is quadratic, this takes hours."""
        each = f"password={SECRET} {MAIL} +4930123456 eyJ AKIAIOSFODNN7EXAMPLE \\u0041\n"
        row = one(body=(each + piece * 250_000).encode())
        assert SECRET.encode() not in row["body"]

    @pytest.mark.parametrize("cut", [5, 20, 40])
    def test_a_compressed_body_that_cannot_be_opened_is_left_out_and_counted(self, cut: int) -> None:
        rows, report = redacted({"body": gzip.compress(json.dumps({"token": SECRET}).encode())[:-cut]})
        assert rows[0]["body"] == b""
        assert report.unreadable_bodies == 1

    def test_a_body_that_its_header_calls_compressed_and_that_is_not_stays(self) -> None:
        png = b"\x89PNG\r\n\x1a\n" + bytes(range(128, 256))
        row = one(
            answer_headers="content-encoding: br",
            answer_body=png,
            headers="content-encoding: br",
            body=b'{"a": 1}',
        )
        assert (row["answer_body"], row["body"]) == (png, b'{"a": 1}')

    def test_a_binary_body_is_searched_for_known_secrets(self) -> None:
        data = b"\x00\xff\x01" + SECRET.encode() + b"\x02\xfe"
        rows, _ = redacted({"body": data}, {"headers": f"cookie: a={SECRET}"})
        assert rows[0]["body"] == data.replace(SECRET.encode(), OF(SECRET).encode())

    def test_a_secret_that_contains_marks_is_found_in_every_spelling(self) -> None:
        secret = 'Kx7/Qm2+Zp9"Lw4=Rt6'
        rows, _ = redacted(
            {"answer_body": json.dumps({"a": secret}).encode()},
            {"answer_body": b'<a title="Kx7/Qm2+Zp9&quot;Lw4=Rt6">'},
            {"path": "/x?ref=Kx7%2FQm2%2BZp9%22Lw4%3DRt6"},
            {"body": json.dumps({"password": secret}).encode()},
        )
        assert all("Kx7" not in seen(row) for row in rows)


def kinds(value: Any) -> Any:
    """The shape of a JSON value: types, names and how many there are."""
    if isinstance(value, dict):
        return {name: kinds(item) for name, item in value.items()}
    if isinstance(value, list):
        return [kinds(item) for item in value]
    return type(value).__name__


class TestRealTraffic:
    @needs(TRAFFIC)
    @pytest.mark.parametrize(
        "name", ["apache_combined.log", "firefox.har", "postdata.har", "successful_log.har", "requests.gor"]
    )
    def test_it_needs_no_rules_of_its_own(self, name: str) -> None:
        path = TRAFFIC / name
        redactor = Redactor(RedactionRules(), KEY)
        for each in reader_of(path).read(Source(path), Rejects(path, skip=True)):
            assert redactor.redact(each).schema.names == CAPTURED.names
        assert redactor.report().found == ()
        assert redactor.report().records > 0

    @needs(TRAFFIC)
    def test_no_two_of_its_values_get_the_same_pseudonym(self) -> None:
        originals: set[str] = set()
        for path in sorted(TRAFFIC.iterdir()):
            if path.suffix in (".mitm", ".csv"):
                continue
            redactor = Redactor(RedactionRules(), KEY)
            found = redactor.collect_originals()
            for each in reader_of(path).read(Source(path), Rejects(path, skip=True)):
                redactor.redact(each)
            originals |= found.keys()
        assert len({OF(value) for value in originals}) == len(originals) > 2000

    @needs(TRAFFIC)
    def test_no_address_of_a_client_is_left_and_no_two_became_one(self) -> None:
        path = TRAFFIC / "apache_combined.log"
        redactor = Redactor(RedactionRules(), KEY)
        before, after = [], []
        for each in reader_of(path).read(Source(path), Rejects(path, skip=True)):
            done = redactor.redact(each)
            before += each.column("client").to_pylist()
            after += done.column("client").to_pylist()
        assert len(set(zip(before, after, strict=True))) == len(set(before)) == len(set(after))
        assert not set(before) & set(after)
