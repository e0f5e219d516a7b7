"""The formats of values that people and services recognise: which one a text has, and the parts of it that must stay.

Takes texts, gives their `Kind` and the pieces from which `pseudonyms.py` makes another value of the same format.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from typing import Any, Literal

import phonenumbers
from stdnum import iban, luhn
from stdnum.iso7064 import mod_97_10

from harness.recording.redaction import addresses
from harness.recording.redaction.shapes import DIGITS, UPPER

Kind = Literal["email", "card", "phone", "uuid", "iban", "jwt", "ipv4", "ipv6", "text"]

CARD_KEPT_DIGITS = 6
"""The issuer's number: services choose the network and the fee by it, and it is shared by many thousands of cards."""
PHONE_KEPT_DIGITS = 3
"""Of the national number: an area or a network, by which numbers are valid or not."""
ACCOUNT_ALPHABETS = (UPPER, DIGITS)
KEPT_JWT_HEADER = frozenset({"alg", "typ", "cty", "enc", "zip", "crit", "b64"})
KEPT_JWT_CLAIMS = frozenset({"exp", "nbf", "iat", "auth_time", "updated_at"})
MOST_JWT_DEPTH = 32

EMAIL = (
    r"[A-Za-z0-9_](?:[A-Za-z0-9._%+'-]{0,62}[A-Za-z0-9_])?"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}"
)
UUID = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
JWT = r"eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]*"
IBAN = r"[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?"
CARD = r"[0-9](?:[ -]?[0-9]){12,18}"
PHONE = r"\+[0-9](?:[ ().-]{0,2}[0-9]){7,14}"

FILE_ENDINGS = frozenset(
    [
        "png",
        "jpg",
        "jpeg",
        "gif",
        "svg",
        "webp",
        "avif",
        "ico",
        "bmp",
        "css",
        "js",
        "mjs",
        "map",
        "json",
        "html",
        "htm",
        "xml",
        "txt",
        "pdf",
        "woff",
        "ttf",
        "eot",
        "mp4",
        "webm",
        "mp3",
    ]
)
"""`logo@2x.png` is no address."""

_EMAIL, _UUID, _JWT, _IBAN, _CARD, _PHONE = (
    re.compile(f"(?:{pattern})\\Z") for pattern in (EMAIL, UUID, JWT, IBAN, CARD, PHONE)
)
_NETWORKS = re.compile(
    r"(?:4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})|5[1-5][0-9]{14}|2(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)[0-9]{12}"
    r"|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11,16}|35(?:2[89]|[3-8][0-9])[0-9]{12,15}"
    r"|6(?:011|4[4-9][0-9]|5[0-9]{2})[0-9]{12,15}|62[0-9]{14,17}|(?:50|5[6-9]|6[0-9])[0-9]{14,17})\Z"
)
"""Lengths and first digits of the card networks: one number in ten passes Luhn's check by chance."""


def kind_of(value: str) -> Kind:
    """By the value alone, whatever its place."""
    first = value[:1]
    if "@" in value and is_email(value):
        return "email"
    if first == "e" and is_jwt(value):
        return "jwt"
    if first == "+" and is_phone(value):
        return "phone"
    if not first.isascii() or not (first.isalnum() or first == ":"):
        return "text"
    return _kind_by_length(value)


def _kind_by_length(value: str) -> Kind:
    length = len(value)
    if length == 36 and _UUID.match(value) and value in (value.lower(), value.upper()):
        return "uuid"
    if 13 <= length <= 37 and value[0].isdigit() and is_card(value):
        return "card"
    if 15 <= length <= 42 and is_iban(value):
        return "iban"
    if 7 <= length <= 15 and "." in value and addresses.is_v4(value):
        return "ipv4"
    if ":" in value and addresses.is_v6(value):
        return "ipv6"
    return "text"


def is_email(value: str) -> bool:
    return bool(_EMAIL.match(value)) and value.rpartition(".")[2].lower() not in FILE_ENDINGS


def is_card(value: str) -> bool:
    """Digits in groups or not, of a network's length and first digits, with Luhn's check digit."""
    if not _CARD.match(value):
        return False
    digits = digits_of(value)
    return bool(_NETWORKS.match(digits)) and luhn.is_valid(digits)


def is_iban(value: str) -> bool:
    """A known country's account number with the right check digits, in groups of four or none."""
    return bool(_IBAN.match(value)) and iban.is_valid(value, check_country=False)


def is_phone(value: str) -> bool:
    """An international number that could be dialled."""
    if not _PHONE.match(value):
        return False
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(value))
    except phonenumbers.NumberParseException:
        return False


def is_jwt(value: str) -> bool:
    return bool(_JWT.match(value)) and _jwt_part(value.split(".", maxsplit=1)[0]) is not None


def digits_of(value: str) -> str:
    return "".join(char for char in value if char.isdigit())


def regrouped(digits: str, pattern: str) -> str:
    """`digits` in the places of the digits of `pattern`."""
    following = iter(digits)
    return "".join(next(following) if char.isdigit() else char for char in pattern)


def regrouped_text(plain: str, pattern: str) -> str:
    """`plain` with the spaces of `pattern`."""
    following = iter(plain)
    return "".join(char if char == " " else next(following) for char in pattern)


def luhn_digit(body: str) -> str:
    return str(luhn.calc_check_digit(body))


def phone_kept_digits(value: str) -> int:
    """How many leading digits of a valid number stay: the country's and the first of the national number."""
    parsed = phonenumbers.parse(value)
    country = len(str(parsed.country_code))
    national = len(digits_of(value)) - country
    return country + min(PHONE_KEPT_DIGITS, max(national - 4, 0))


def iban_of(country: str, account: str) -> str:
    return country + str(mod_97_10.calc_check_digits(account + country)) + account


def redacted_jwt(token: str, replace: Callable[[str], str], random: Callable[[int], bytes]) -> str:
    """Three parts that decode: the header's algorithm and the claims' times stay, every other value is replaced."""
    head, body, signature = token.split(".")
    header = _jwt_part(head)
    claims = _jwt_part(body)
    new_head = _jwt_text(_replaced(header, replace, KEPT_JWT_HEADER))
    if claims is None:  # encrypted, or no claims: nothing in it can be read
        new_body = _unpadded(random(2 * len(body))[len(body) :])[: len(body)]
    else:
        new_body = _jwt_text(_replaced(claims, replace, KEPT_JWT_CLAIMS))
    return f"{new_head}.{new_body}.{_unpadded(random(len(signature)))[: len(signature)]}"


def _jwt_part(part: str) -> dict[str, Any] | None:
    try:
        document = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _replaced(value: Any, replace: Callable[[str], str], kept: frozenset[str], depth: int = 0) -> Any:
    if depth > MOST_JWT_DEPTH:
        return None
    if isinstance(value, dict):
        return {
            name: item if name in kept else _replaced(item, replace, frozenset(), depth + 1)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [_replaced(item, replace, kept, depth + 1) for item in value]
    if isinstance(value, str):
        return replace(value)
    if isinstance(value, bool) or value is None:
        return value
    return type(value)(replace(str(value)))


def _jwt_text(document: object) -> str:
    return _unpadded(json.dumps(document, separators=(",", ":")).encode())


def _unpadded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
