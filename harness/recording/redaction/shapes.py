"""What a pseudonym keeps of a value: which characters may stand at each place of it.

Takes a value, gives its `Shape`. A value and its pseudonym have the same shape, so values of different shapes can never
get the same pseudonym.

* a number keeps its sign, its point, its digits' count and whether it starts with 0; so do digits in groups (a phone
  number as dialled at home, a date)
* a hexadecimal text of 8 characters or more stays one
* a text of 16 letters and digits or more, without spaces (a token), keeps its marks; its letters and digits are drawn
  from the kinds of characters that it holds
* any other text keeps, character by character, digit for digit, small for small and capital for capital letter; marks
  and spaces stay. Of marks alone (four or more), marks are replaced by marks
"""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property, lru_cache

DIGITS = "0123456789"
LOWER = "abcdefghijklmnopqrstuvwxyz"
UPPER = LOWER.upper()
MARKS = "!#$%&*+-.^_|~@?/:"
HEX = DIGITS + "abcdef"
TOKEN_CHARS = 16
MARKS_CHARS = 4

_KINDS = tuple((kind, frozenset(kind)) for kind in (DIGITS, LOWER, UPPER))
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*|[0-9]+)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?\Z", re.ASCII)
_HEX = re.compile(
    r"(?=[a-f]*[0-9])(?:[0-9a-f]*[a-f][0-9a-f]*)\Z|(?=[A-F]*[0-9])(?:[0-9A-F]*[A-F][0-9A-F]*)\Z"
)
_GROUPED = re.compile(r"[(]?[0-9][0-9 ()/.-]*[0-9]\Z", re.ASCII)
_LETTERS = re.compile(r"[^0-9A-Za-z]+")
_LETTER = re.compile("[0-9A-Za-z]")
_SPACE = re.compile(r"\s")
_OWN_PLACE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp"}
"""Unicode's control, format and space characters and what has no meaning: they stay where they are."""


@dataclass(frozen=True)
class Shape:
    """`alphabets[k]`: what may stand at place k; one character alone stays. `name` tells shapes apart."""

    name: str
    alphabets: tuple[str, ...]

    @cached_property
    def bits(self) -> float:
        return sum(math.log2(size) for alphabet in self.alphabets if (size := len(alphabet)) > 1)

    @cached_property
    def tweak(self) -> bytes:
        """Its name for HMAC."""
        return self.name.encode("utf-8", "surrogatepass")

    @cached_property
    def only_alphabet(self) -> str:
        """The alphabet of all places; "" where there are several."""
        return self.alphabets[0] if len(set(self.alphabets)) == 1 else ""


def shape_of(value: str) -> Shape:
    """The shape that a pseudonym of `value` must have too."""
    if _NUMBER.match(value) or _GROUPED.match(value):
        return _number(value)
    if len(value) >= 8 and _HEX.match(value):
        return _hex(len(value), HEX if value.upper() != value else HEX.upper())
    letters = len(_LETTERS.sub("", value))
    if letters >= TOKEN_CHARS and value.isascii() and not _SPACE.search(value):
        return _token(value)
    if letters == 0 and len(value) >= MARKS_CHARS and all(char in MARKS for char in value):
        return Shape(f"marks {len(value)}", (MARKS,) * len(value))
    alphabets = tuple(alphabet_of(char) for char in value)
    return Shape("text " + "".join(alphabet[0] for alphabet in alphabets), alphabets)


def _number(value: str) -> Shape:
    """The exponent stays; so does a leading 0."""
    mantissa = re.match(r"[^eE]*", value)
    end = mantissa.end() if mantissa else len(value)
    alphabets: list[str] = []
    first = True
    for place, char in enumerate(value):
        if place >= end or not char.isdigit():
            alphabets.append(char)
            continue
        alone = not any(other.isdigit() for other in value[place + 1 : end])
        alphabets.append((DIGITS if alone else "0" if char == "0" else DIGITS[1:]) if first else DIGITS)
        first = False
    name = "".join("9" if len(alphabet) > 1 else alphabet for alphabet in alphabets)
    return Shape(f"number {name}", tuple(alphabets))


def is_hex(value: str) -> bool:
    """Whether the shape of a value of `HEX` alone is a hexadecimal text's."""
    return bool(_HEX.match(value)) and not _NUMBER.match(value)


@lru_cache(maxsize=1024)
def _hex(length: int, alphabet: str) -> Shape:
    return Shape(f"hex {length} {alphabet[-1]}", (alphabet,) * length)


def _token(value: str) -> Shape:
    chars = frozenset(value)
    kinds = "".join([kind for kind, members in _KINDS if not members.isdisjoint(chars)])
    return _token_of(kinds, _LETTER.sub("x", value))


@lru_cache(maxsize=1024)
def _token_of(alphabet: str, marks: str) -> Shape:
    """`marks`: the token with an x for each letter and digit."""
    kinds = "".join(kind[0] for kind, _ in _KINDS if kind[0] in alphabet)
    return Shape(f"token {kinds} {marks}", tuple(alphabet if char == "x" else char for char in marks))


def alphabet_of(char: str) -> str:
    """Characters of the same kind: an ASCII mark or a space alone, else those of one category in one Unicode page."""
    if char.isascii():
        if char.isdigit():
            return DIGITS
        return LOWER if char in LOWER else UPPER if char in UPPER else char
    return _foreign(ord(char) >> 8, unicodedata.category(char)) or char


@lru_cache(maxsize=1024)
def _foreign(page: int, category: str) -> str:
    if category in _OWN_PLACE:
        return ""
    page_of = (chr(code) for code in range(max(page << 8, 0x80), (page + 1) << 8))
    return "".join(char for char in page_of if unicodedata.category(char) == category)
