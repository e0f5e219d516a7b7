"""What makes redaction quick changes nothing: each short way gives what the long way gives, on generated texts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.recording.redaction import RedactionReport, RedactionRules, Redactor, known
from harness.recording.redaction import clients as clients_module
from harness.recording.redaction.addresses import _RANGES, Addresses, is_v4, v4_in
from harness.recording.redaction.core import Core, Place
from harness.recording.redaction.formats import kind_of
from harness.recording.redaction.free_text import PLAIN_CHARS, FreeText
from harness.recording.redaction.known import KnownSecrets, Tails
from harness.recording.redaction.permutation import CYCLE_BELOW, SMALL_SIDE, Keyed
from harness.recording.redaction.pseudonyms import Pseudonyms
from harness.recording.redaction.rules import RedactionRule
from harness.recording.redaction.shapes import HEX, is_hex, shape_of
from tests.unit.redaction_batches import KEY, batch

edges = sorted({number for low, high in _RANGES for number in (low - 1, low, high, high + 1)} - {-1, 2**32})
anywhere = st.tuples(*[st.integers(0, 255)] * 4).map(lambda octets: ".".join(map(str, octets)))
within = st.one_of(st.sampled_from(edges), *(st.integers(low, high) for low, high in _RANGES))
addresses = anywhere | within.map(
    lambda number: ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))
)
secrets = st.one_of(
    st.text("ab1", min_size=8, max_size=24),
    st.from_regex(r"[a-z0-9]{1,3}/[a-z+ \"<é]{2,6}[0-9]{4,12}", fullmatch=True),
    st.from_regex(r"eyJhbGciOi[a-b]{0,2}[0-9]{2,3}", fullmatch=True),
)
rules = RedactionRules(
    rules=(
        RedactionRule(text="[a-z]x([0-9]{2})"),
        RedactionRule(path="/users/{id}/**"),
        RedactionRule(name="no"),
    )
)


@contextmanager
def the_long_way() -> Iterator[None]:
    """Nothing is taken for plain or remembered as dull, and all secrets are searched at once."""
    with (
        patch.object(FreeText, "is_plain", lambda _self, _text: False),
        patch.object(Core, "stays_dull", lambda _self, _text: False),
        patch.object(known, "FEW_PATTERNS", 10**9),
        patch.object(clients_module, "MOST_KEPT", 0),
    ):
        yield


class TestManyAtOnce:
    @given(st.lists(addresses, min_size=1, max_size=40))
    def test_addresses_become_what_each_of_them_becomes(self, some: list[str]) -> None:
        assert _ADDRESSES.v4_many(pa.array(some)).to_pylist() == [_ADDRESSES.v4(text) for text in some]

    @given(
        st.one_of(addresses, st.from_regex(r"\A[0-9]{0,3}(\.[0-9]{0,3}){0,5}[.\n ]?\Z"), st.text(max_size=15))
    )
    def test_an_address_is_one_in_a_column_and_alone(self, text: str) -> None:
        assert v4_in(pa.array([text])).to_pylist() == [is_v4(text)]

    @settings(deadline=None)
    @given(
        st.one_of(
            st.integers(2, 5000), st.integers(CYCLE_BELOW - 2, CYCLE_BELOW + 2), st.just(SMALL_SIDE**2)
        ),
        st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=20),
    )
    def test_numbers_become_what_each_of_them_becomes(self, bound: int, places: list[float]) -> None:
        some = [int(place * bound) for place in places]
        found = _KEYED.permute_many(np.array(some, np.int64), bound, b"tweak")
        assert found.tolist() == [_KEYED.permute(number, bound, b"tweak") for number in some]


class TestKnownSecrets:
    @given(
        st.lists(secrets, min_size=1, max_size=30),
        st.lists(st.one_of(st.integers(0, 29), st.text("ab1/é", max_size=9), secrets), max_size=20),
        st.integers(0, 3),
    )
    def test_only_those_whose_ends_are_there_are_searched_and_all_are_found(
        self, some: list[str], pieces: list[int | str], cut: int
    ) -> None:
        texts = [some[piece % len(some)][cut:] if isinstance(piece, int) else piece for piece in pieces]
        texts += [quote(text, safe="") for text in texts if not text.isalnum()]
        data = "".join(texts).encode()
        bounds = [0, *np.cumsum([len(text.encode()) for text in texts]).tolist()]
        found = []
        for few in (0, 10**9):
            with patch.object(known, "FEW_PATTERNS", few), patch.object(Tails, "CHUNK_BYTES", 16):
                secret = KnownSecrets()
                for text in some:
                    secret.add(text, text[::-1] + "x")
                found.append((secret.spans(data, bounds), secret.spans(data)))
        assert found[0] == found[1]

    def test_the_oldest_are_forgotten_and_counted(self) -> None:
        secret = KnownSecrets()
        for number in range(known.MOST_SECRETS + 3):
            secret.add(f"secret-{number:06}-number", "new")
        assert secret.dropped == 3
        assert secret.spans(b"secret-000002-number") == []
        assert secret.spans(b"secret-000003-number secret-020002-number") == [
            (0, 20, b"new"),
            (21, 41, b"new"),
        ]


FORMATS = (
    "4111111111111111",
    "DE89370400440532013000",
    "AKIAABCDEFGHIJKLMNOP",
    "a1b2c3d4e5f60718293a4b5c6d7e8f90",
    "anna@mail.org",
    "+4917012345678",
)


class TestPlain:
    @given(
        st.sampled_from(FORMATS)
        | st.text("abcXYZ0123456789", max_size=PLAIN_CHARS)
        | st.builds(
            lambda text, first, length: text[first : first + length],
            st.sampled_from(FORMATS),
            st.integers(0, 30),
            st.integers(1, 40),
        )
    )
    def test_in_what_is_plain_nothing_is_found(self, text: str) -> None:
        core = Core(RedactionRules(), KEY)
        core.addresses.add(text)
        if FreeText(core).is_plain(text):
            assert FreeText(core).value(text, Place("request", "path")) == text
            assert (core.suspects, core.tally.counted) == (0, 0)


class TestPseudonyms:
    @given(
        st.one_of(
            st.text(HEX, min_size=8, max_size=40), st.from_regex(r"[0-9]{1,30}e[0-9]{1,3}", fullmatch=True)
        )
    )
    def test_a_hexadecimal_text_is_one_by_the_quick_question(self, text: str) -> None:
        long = kind_of(text) == "text" and shape_of(text).name == f"hex {len(text)} f"
        assert (is_hex(text) and len(text) >= 8) == long


few = st.sampled_from(
    ["10.1.2.3", "10%2e1%2E2%2e3", "x-10.1.2.3-y", "8.8.8.8", "2001%3adb8::1", "2001:db8::1"]
)
pieces = st.one_of(
    few,
    st.text("abcdefghijxXyZ0123456789", max_size=14),
    st.sampled_from([*FORMATS, "%40", "%2e", ".", "=", "/"]),
    st.text(HEX, min_size=32, max_size=40),
)
segments = pieces | st.lists(pieces, min_size=1, max_size=3).map("".join)
queries = st.lists(
    st.tuples(st.sampled_from(["page", "token", "no", "q", "co%64e", ""]), segments), max_size=3
)
targets = st.builds(
    lambda parts, query, mark: (
        "/" + "/".join(parts) + ("?" + mark.join(f"{n}={v}" for n, v in query) if query else "")
    ),
    st.lists(st.one_of(st.sampled_from(["users", "api", "item-1", "details.html"]), segments), max_size=4),
    queries,
    st.sampled_from("&;"),
)
rows = st.fixed_dictionaries({"path": targets, "client": few | segments})


@settings(deadline=None)
@given(st.lists(st.lists(rows, min_size=1, max_size=5), min_size=1, max_size=4), st.booleans(), st.booleans())
def test_batches_come_out_the_same_with_the_same_report(
    batches: list[list[dict[str, Any]]], own: bool, learnt: bool
) -> None:
    def whole() -> tuple[list[Any], RedactionReport]:
        redactor = Redactor(rules if own else RedactionRules(), KEY)
        for some in batches if learnt else ():
            redactor.learn(batch(*some))
        done = [redactor.redact(batch(*some)).to_pylist() for some in batches]
        return done, redactor.report()

    quick, report = whole()
    with the_long_way():
        long, long_report = whole()
    assert quick == long
    assert report.found == long_report.found
    counted = [
        [item for item in one.replaced if item.place != "client"] for one in (report, long_report)
    ]  # of clients, the long way counts those of each batch anew
    assert counted[0] == counted[1]


@pytest.mark.parametrize("part", ["10.1.2.3", "to-10.1.2.3", "10%2e1%2e2%2e3", "2001:db8::1"])
def test_what_was_dull_is_replaced_once_it_is_the_address_of_a_client(part: str) -> None:
    redactor, path = Redactor(RedactionRules(), KEY), f"/from/{part}/here"
    before = redactor.redact(batch({"path": path, "client": "8.8.8.8"})).to_pylist()
    later = batch(
        {"path": f"{path}/now", "client": "10.1.2.3"}, {"path": f"{path}/then", "client": "2001:db8::1"}
    )
    assert before[0]["path"] == path
    assert not any(part in row["path"] for row in redactor.redact(later).to_pylist())


class TestClients:
    def test_each_is_counted_once(self) -> None:
        redactor = Redactor(RedactionRules(), KEY)
        for _ in range(2):
            redactor.redact(
                batch(
                    {"client": "10.1.2.3", "connection": "10.1.2.3"},
                    {"client": "10.1.2.4", "connection": "anna"},
                    {"client": "client-7", "connection": "client-7"},
                    {"client": "127.0.0.1"},
                    {"client": "bob"},
                    {"client": "2001:db8::1"},
                )
            )
        assert [(item.place, item.how, item.values) for item in redactor.report().replaced] == [
            ("client", "pseudonym", 4),
            ("connection", "pseudonym", 1),
        ]

    def test_more_than_are_kept_come_out_the_same(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(clients_module, "MOST_KEPT", 5)
        redactor, of = Redactor(RedactionRules(), KEY), Pseudonyms(KEY).of
        for first in range(4):
            names = [f"10.0.0.{first + number}" for number in range(4)]
            done = redactor.redact(batch(*({"client": name} for name in names)))
            assert done.column("client").to_pylist() == [of(name) for name in names]


_KEYED = Keyed(KEY)
_ADDRESSES = Addresses(_KEYED)
