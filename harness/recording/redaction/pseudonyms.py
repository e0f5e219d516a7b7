"""The pseudonym of a value: the same wherever the value stands, of the same format, never another value's.

Takes a key and a text, gives a text. What kind of value it is follows from the value alone, so that a token in a header
and in a JSON field become the same pseudonym; the kinds' own formats are in `formats.py`, everything else keeps its shape
(`shapes.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import count

import pyarrow as pa

from harness.recording.redaction import formats
from harness.recording.redaction.addresses import Addresses
from harness.recording.redaction.formats import Kind, kind_of
from harness.recording.redaction.permutation import ONE_WAY_BITS, Keyed
from harness.recording.redaction.shapes import HEX, Shape, is_hex, shape_of

MANY_ADDRESSES = 2_000
"""From so many on, tables for all addresses cost less than one address after another."""
MEMORY_VALUES = 200_000
MEMORY_CHARS = 256
"""Longer values are not remembered: they are rarely the same twice."""
SMALL_ALPHABET = 128
EXAMPLE_DOMAIN = ".example"
"""Reserved (RFC 2606): no letter to a pseudonym ever arrives."""


class Pseudonyms:
    """All pseudonyms of one key. Not for several threads at once."""

    def __init__(self, key: bytes) -> None:
        self._keyed = Keyed(key)
        self._addresses = Addresses(self._keyed)
        self._memory: dict[str, str] = {}
        self._by_kind: dict[Kind, Callable[[str], str]] = {
            "email": self._email,
            "card": self._card,
            "phone": self._phone,
            "uuid": self._uuid,
            "iban": self._iban,
            "jwt": self._jwt,
            "ipv4": self._addresses.v4,
            "ipv6": self._addresses.v6,
            "text": self._text,
        }

    def of(self, value: str) -> str:
        """The pseudonym of `value`; "" of "" alone."""
        known = self._memory.get(value)
        if known is not None:
            return known
        result = self._by_kind[kind_of(value)](value) if value else ""
        if len(value) <= MEMORY_CHARS:
            if len(self._memory) >= MEMORY_VALUES:
                self._memory.clear()
            self._memory[value] = result
        return result

    def v4_many(self, values: list[str]) -> list[str]:
        """The pseudonyms of IPv4 addresses."""
        if len(values) < MANY_ADDRESSES:
            return [self._addresses.v4(value) for value in values]
        new: list[str] = self._addresses.v4_many(pa.array(values)).to_pylist()
        return new

    def fingerprint(self, value: str) -> str:
        """Twelve characters that name a value without telling it."""
        return self._keyed.digest(b"fingerprint", value.encode("utf-8", "surrogatepass")).hex()[:12]

    def _text(self, value: str) -> str:
        shape = shape_of(value)

        def fits(candidate: str) -> bool:
            return kind_of(candidate) == "text" and shape_of(candidate).name == shape.name

        if shape.only_alphabet == HEX:  # of no other kind: the quicker question
            return self._draw(value, shape, is_hex)
        return self._draw(value, shape, fits)

    def _draw(self, value: str, shape: Shape, fits: Callable[[str], bool]) -> str:
        """Another value of that shape which `fits`, as `value` does."""
        if shape.bits >= ONE_WAY_BITS:
            return self._one_way(value, shape, fits)
        bound = 1
        for alphabet in shape.alphabets:
            bound *= len(alphabet)
        drawn = self._keyed.permute(
            _number(value, shape), bound, shape.tweak, lambda number: fits(_spelled(number, shape))
        )
        return _spelled(drawn, shape)

    def _one_way(self, value: str, shape: Shape, fits: Callable[[str], bool]) -> str:
        message = value.encode("utf-8", "surrogatepass")
        for attempt in count():
            purpose = b"%d " % attempt + shape.tweak
            candidate = (
                self._characters(purpose, message, shape.only_alphabet, len(value))
                if shape.only_alphabet
                else "".join(
                    next(following) if len(alphabet) > 1 else alphabet
                    for alphabet, following in self._streams(purpose, message, shape.alphabets)
                )
            )
            if candidate != value and fits(candidate):
                return candidate
        raise AssertionError  # `count` never ends

    def _streams(
        self, purpose: bytes, message: bytes, alphabets: tuple[str, ...]
    ) -> Iterator[tuple[str, Iterator[str]]]:
        """Each place's alphabet with the characters drawn from it, in turn."""
        drawn: dict[str, Iterator[str]] = {}
        for alphabet in alphabets:
            if alphabet not in drawn:
                drawn[alphabet] = iter(self._characters(purpose, message, alphabet, len(alphabets)))
            yield alphabet, drawn[alphabet]

    def _characters(self, purpose: bytes, message: bytes, alphabet: str, number: int) -> str:
        """So many characters, each as likely as the others."""
        if len(alphabet) == 1:
            return ""
        purpose += alphabet.encode("utf-8", "surrogatepass")
        if len(alphabet) > SMALL_ALPHABET:
            stream = self._keyed.stream(purpose, message, 4 * number)
            return "".join(
                alphabet[int.from_bytes(stream[place : place + 4], "big") % len(alphabet)]
                for place in range(0, 4 * number, 4)
            )
        table, beyond = _table(alphabet)
        stream = self._keyed.stream(purpose, message, 4 * number + 64)
        kept = stream.translate(table, beyond)[:number]
        if alphabet.isascii():
            return kept.decode()
        return "".join(alphabet[code] for code in kept)

    def _email(self, value: str) -> str:
        """The local part as a value of its own, so that a user's name and address still match."""
        local, _, domain = value.rpartition("@")
        name = self._keyed.digest(b"domain", domain.encode()).hex()[:14]
        shape = shape_of(local)
        return f"{self._draw(local, shape, lambda drawn: _local_fits(drawn, shape))}@{name}{EXAMPLE_DOMAIN}"

    def _card(self, value: str) -> str:
        digits = formats.digits_of(value)
        kept = formats.CARD_KEPT_DIGITS
        bound = 10 ** (len(digits) - kept - 1)
        drawn = self._keyed.permute(
            int(digits[kept:-1]), bound, f"card {digits[:kept]} {len(digits)}".encode()
        )
        body = f"{digits[:kept]}{drawn:0{len(digits) - kept - 1}d}"
        return formats.regrouped(body + formats.luhn_digit(body), value)

    def _phone(self, value: str) -> str:
        """Country, first digits of the national number and length stay; what comes out could be dialled."""
        digits = formats.digits_of(value)
        kept = formats.phone_kept_digits(value)
        places = len(digits) - kept

        def whole(number: int) -> str:
            return f"{digits[:kept]}{number:0{places}d}"

        drawn = self._keyed.permute(
            int(digits[kept:]),
            10**places,
            f"phone {digits[:kept]} {places}".encode(),
            lambda number: formats.is_phone(formats.regrouped(whole(number), value)),
        )
        return formats.regrouped(whole(drawn), value)

    def _uuid(self, value: str) -> str:
        """Version and variant stay, and capitals."""
        random = self._keyed.stream(b"uuid", value.lower().encode(), 16).hex()
        old = value.lower().replace("-", "")
        variant = "89ab"[int(random[16], 16) % 4] if old[16] in "89ab" else old[16]
        plain = f"{random[:12]}{old[12]}{random[13:16]}{variant}{random[17:]}"
        text = f"{plain[:8]}-{plain[8:12]}-{plain[12:16]}-{plain[16:20]}-{plain[20:]}"
        return text.upper() if value != value.lower() else text

    def _iban(self, value: str) -> str:
        plain = value.replace(" ", "")
        shape = shape_of_account(plain[4:])
        account = self._draw(
            plain[4:],
            shape,
            lambda drawn: formats.is_iban(formats.iban_of(plain[:2], drawn)),
        )
        return formats.regrouped_text(formats.iban_of(plain[:2], account), value)

    def _jwt(self, value: str) -> str:
        return formats.redacted_jwt(
            value, self.of, lambda length: self._keyed.stream(b"jwt", value.encode(), length)
        )


@lru_cache(maxsize=1024)
def _table(alphabet: str) -> tuple[bytes, bytes]:
    """Byte -> character (its number, beyond ASCII), and the bytes that would make some likelier than others."""
    codes = alphabet.encode() if alphabet.isascii() else bytes(range(len(alphabet)))
    limit = 256 // len(codes) * len(codes)
    return bytes(codes[byte % len(codes)] for byte in range(256)), bytes(range(limit, 256))


def shape_of_account(account: str) -> Shape:
    """Place by place, whatever its length: banks' formats say where digits and where letters stand."""
    alphabets = tuple(formats.ACCOUNT_ALPHABETS[char.isdigit()] for char in account)
    return Shape("account " + "".join("9" if char.isdigit() else "A" for char in account), alphabets)


def _local_fits(drawn: str, shape: Shape) -> bool:
    return shape_of(drawn).name == shape.name


def _number(value: str, shape: Shape) -> int:
    """The place of `value` among all of its shape."""
    number = 0
    for char, alphabet in zip(value, shape.alphabets, strict=True):
        number = number * len(alphabet) + alphabet.index(char)
    return number


def _spelled(number: int, shape: Shape) -> str:
    """The value of that shape at that place."""
    chars = []
    for alphabet in reversed(shape.alphabets):
        number, place = divmod(number, len(alphabet))
        chars.append(alphabet[place])
    return "".join(reversed(chars))
