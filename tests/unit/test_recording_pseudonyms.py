"""Pseudonyms: the same for the same value, never the same for two, and of the format that the value had."""

from __future__ import annotations

import base64
import ipaddress
import json
import uuid

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import iban, luhn

from harness.recording.redaction.formats import digits_of, iban_of, kind_of, luhn_digit
from harness.recording.redaction.pseudonyms import Pseudonyms
from tests.unit.redaction_batches import KEY, OTHER_KEY

PSEUDONYMS = Pseudonyms(KEY)

names = st.text("abcdefghijklmnopqrstuvwxyz0123456789._-", min_size=1, max_size=12)
tokens = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", min_size=16, max_size=64)
numbers = st.integers(-(10**20), 10**20).map(str)
emails = st.builds(
    "{}@{}.org".format,
    st.from_regex(r"[a-z]{1,8}\.?[a-z0-9]{1,4}", fullmatch=True),
    st.from_regex(r"[a-z]{2,9}", fullmatch=True),
)
cards = st.from_regex(r"4[0-9]{14}", fullmatch=True).map(lambda body: body + luhn_digit(body))
accounts = st.from_regex(r"[0-9]{18}", fullmatch=True).map(lambda account: iban_of("DE", account))
uuids = st.uuids(version=4).map(str)
addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
phones = st.from_regex(r"[1-9][0-9]{6}", fullmatch=True).map("+49170{}".format)
hexes = st.binary(min_size=4, max_size=40).map(bytes.hex)
values = st.one_of(
    names, tokens, numbers, emails, cards, accounts, uuids, addresses, phones, hexes, st.text(max_size=40)
)


class TestOneForEach:
    @given(values)
    def test_the_same_value_gets_the_same_one_from_another_process_with_that_key(self, value: str) -> None:
        assert PSEUDONYMS.of(value) == Pseudonyms(KEY).of(value)

    @given(st.sets(values, min_size=2, max_size=60))
    def test_two_values_never_get_the_same_one(self, several: set[str]) -> None:
        assert len({PSEUDONYMS.of(value) for value in several}) == len(several)

    @pytest.mark.parametrize("digits", [1, 2, 3])
    def test_not_even_where_there_are_hardly_more_pseudonyms_than_values(self, digits: int) -> None:
        every = [f"{number:0{digits}d}" for number in range(10**digits)]
        pseudonyms = [PSEUDONYMS.of(value) for value in every]
        assert len(set(pseudonyms)) == len(every)
        assert all(value != new for value, new in zip(every, pseudonyms, strict=True))

    @given(
        st.one_of(
            tokens.filter(lambda text: sum(map(str.isalnum, text)) > 12),
            emails,
            cards,
            accounts,
            uuids,
            hexes.filter(lambda text: len(text) > 12),
        )
    )
    def test_another_key_gives_another_one(self, value: str) -> None:
        assert PSEUDONYMS.of(value) != Pseudonyms(OTHER_KEY).of(value)

    @given(st.text(max_size=200))
    def test_any_text_has_one_of_the_same_length(self, value: str) -> None:
        if kind_of(value) == "text":
            assert len(PSEUDONYMS.of(value)) == len(value)

    @given(values)
    def test_it_is_of_the_same_kind(self, value: str) -> None:
        assert kind_of(PSEUDONYMS.of(value)) == kind_of(value)

    def test_a_number_that_is_no_card_does_not_become_one(self) -> None:
        several = [str(number) for number in range(4_000_000_000_000_000, 4_000_000_000_000_400)]
        assert all(kind_of(PSEUDONYMS.of(value)) == kind_of(value) for value in several)

    def test_of_nothing_is_nothing(self) -> None:
        assert PSEUDONYMS.of("") == ""

    def test_a_user_is_the_same_alone_and_in_the_address(self) -> None:
        assert PSEUDONYMS.of("anna.smith@mail.org").startswith(PSEUDONYMS.of("anna.smith") + "@")


class TestFormats:
    @given(emails)
    def test_an_address_stays_one_to_which_no_mail_can_go(self, value: str) -> None:
        new = PSEUDONYMS.of(value)
        assert kind_of(new) == "email"
        assert new.endswith(".example")
        assert PSEUDONYMS.of("x@" + value.rpartition("@")[2]).rpartition("@")[2] == new.rpartition("@")[2]

    @given(cards)
    def test_a_card_keeps_issuer_length_and_check_digit(self, value: str) -> None:
        new = PSEUDONYMS.of(value)
        assert luhn.is_valid(new)
        assert (len(new), new[:6]) == (len(value), value[:6])
        assert new != value

    @given(cards)
    def test_a_card_in_groups_is_the_same_card(self, value: str) -> None:
        grouped = " ".join(value[place : place + 4] for place in range(0, 16, 4))
        new = PSEUDONYMS.of(grouped)
        assert [len(group) for group in new.split(" ")] == [4, 4, 4, 4]
        assert new.replace(" ", "") == PSEUDONYMS.of(value)

    @given(accounts)
    def test_an_account_keeps_country_length_and_check_digits(self, value: str) -> None:
        new = PSEUDONYMS.of(value)
        assert iban.is_valid(new)
        assert (len(new), new[:2]) == (len(value), "DE")
        assert new[4:] != value[4:]

    @pytest.mark.parametrize(
        "value",
        [
            "GB29 NWBK 6016 1331 9268 19",
            "NL91ABNA0417164300",
            "FR1420041010050500013M02606",
            "MT84MALT011000012345MTLCAST001S",
        ],
    )
    def test_accounts_of_other_countries(self, value: str) -> None:
        new = PSEUDONYMS.of(value)
        assert iban.is_valid(new, check_country=False)
        assert [char.isdigit() for char in new[4:]] == [char.isdigit() for char in value[4:]]

    @given(phones)
    def test_a_phone_number_keeps_country_and_shape_and_could_be_dialled(self, value: str) -> None:
        new = PSEUDONYMS.of(value)
        assert new.startswith("+49")
        assert len(new) == len(value)
        if kind_of(value) == "phone":
            assert phonenumbers.is_valid_number(phonenumbers.parse(new))

    def test_a_phone_number_in_groups_stays_in_groups(self) -> None:
        new = PSEUDONYMS.of("+1 (212) 555-2368")
        assert [char if not char.isdigit() else "9" for char in new] == list("+9 (999) 999-9999")

    def test_a_number_as_dialled_at_home_keeps_its_zero(self) -> None:
        new = PSEUDONYMS.of("0170 1234567")
        assert new[0] == "0"
        assert new[4] == " "
        assert len(digits_of(new)) == 11

    @given(st.integers(1, 5).flatmap(lambda version: st.uuids(version=version)))  # type: ignore[arg-type]
    def test_a_uuid_keeps_version_and_variant(self, value: uuid.UUID) -> None:
        new = uuid.UUID(PSEUDONYMS.of(str(value)))
        assert (new.version, new.variant) == (value.version, value.variant)
        assert PSEUDONYMS.of(str(value).upper()) == str(new).upper()

    @given(st.ip_addresses(v=4))
    def test_an_ipv4_address_stays_on_its_side_of_the_firewall(self, value: ipaddress.IPv4Address) -> None:
        new = ipaddress.IPv4Address(PSEUDONYMS.of(str(value)))
        private = [ipaddress.ip_network(net) for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]
        assert [new in net for net in private] == [value in net for net in private]

    @given(
        st.ip_addresses(v=6).filter(
            lambda address: address.is_global and not address.is_multicast and address.ipv4_mapped is None
        )
    )
    def test_an_ipv6_address_becomes_one_of_the_documentation_whatever_its_spelling(
        self, value: ipaddress.IPv6Address
    ) -> None:
        new = PSEUDONYMS.of(str(value))
        assert ipaddress.IPv6Address(new) in ipaddress.ip_network("2001:db8::/32")
        assert PSEUDONYMS.of(value.exploded) == new

    @pytest.mark.parametrize("value", ["127.0.0.1", "::1", "0.0.0.0", "fe80::1", "169.254.1.2"])
    def test_addresses_that_name_nobody_stay(self, value: str) -> None:
        assert PSEUDONYMS.of(value) == value

    def test_a_jwt_decodes_keeps_algorithm_and_times_and_hides_everything_else(self) -> None:
        claims = {
            "sub": "anna",
            "email": "anna@mail.org",
            "exp": 2_000_000_000,
            "age": 41,
            "roles": ["admin"],
            "ok": True,
        }
        parts = ({"alg": "HS256", "typ": "JWT", "kid": "key-one"}, claims)
        spelled = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
        token = ".".join([*spelled, "c2lnbmF0dXJlLW9mLXRoaXMtdG9rZW4tMDEyMw"])
        head, body, signature = PSEUDONYMS.of(token).split(".")
        header, said = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in (head, body))
        assert header == {"alg": "HS256", "typ": "JWT", "kid": PSEUDONYMS.of("key-one")}
        assert said == {
            "sub": PSEUDONYMS.of("anna"),
            "email": PSEUDONYMS.of("anna@mail.org"),
            "exp": 2_000_000_000,
            "age": int(PSEUDONYMS.of("41")),
            "roles": [PSEUDONYMS.of("admin")],
            "ok": True,
        }
        assert signature != token.split(".")[2]
        assert len(signature) == len(token.split(".")[2])

    @given(hexes)
    def test_hexadecimal_stays_so(self, value: str) -> None:
        assert len(bytes.fromhex(PSEUDONYMS.of(value))) == len(value) // 2

    @given(numbers)
    def test_a_number_keeps_its_digits_count(self, value: str) -> None:
        new = PSEUDONYMS.of(value)
        assert len(str(int(new))) == len(value) or value in ("0", *"123456789")

    @given(st.binary(min_size=12, max_size=40))
    def test_base64_keeps_its_alphabet(self, data: bytes) -> None:
        value = base64.b64encode(data).decode()
        assert len(base64.b64decode(PSEUDONYMS.of(value), validate=True)) == len(data)
