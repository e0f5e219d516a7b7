"""Pseudonyms of IP addresses: one IPv4 address for another of the same range, IPv6 ones in the documentation prefix.

Takes the address as written, gives another. A service that tells internal clients from the others goes on doing so:

* IPv4: a bijection within each of: 10/8, 172.16/12, 192.168/16, 100.64/10, and all the rest together. No range that is
  reserved for documentation could hold as many addresses as there may be clients; a pseudonym is a name, and nothing is
  ever sent to it. Loopback, link-local, multicast and 0.0.0.0 name nobody and stay.
* IPv6: 2001:db8::/32 with 96 bits of HMAC; unique local addresses (fc00::/7) get fd00::/8 with 120 bits. Loopback,
  link-local and multicast stay. An address gets the same pseudonym however it is spelled; IPv4 in IPv6 is changed inside.
"""

from __future__ import annotations

import bisect
import ipaddress
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness.recording.redaction.permutation import ROUNDS, Keyed, Numbers

PRIVATE_V4 = tuple(
    ipaddress.IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)
KEPT_V4 = tuple(
    ipaddress.IPv4Network(text) for text in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3")
)
_RANGES = tuple(
    sorted((int(net.network_address), int(net.broadcast_address)) for net in (*PRIVATE_V4, *KEPT_V4))
)
_STARTS = tuple(low for low, _ in _RANGES)
_KEPT_FROM = frozenset(int(net.network_address) for net in KEPT_V4)
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_V4 = re.compile(rf"(?:{_OCTET}\.){{3}}{_OCTET}\Z")
_V4_WHOLE = rf"^(?:{_OCTET}\.){{3}}{_OCTET}$"
"""RE2: the same."""
DOCUMENTATION_V6 = int(ipaddress.IPv6Address("2001:db8::"))
UNIQUE_LOCAL_V6 = int(ipaddress.IPv6Address("fd00::"))
MAPPED_V6 = 0xFFFF << 32


def is_v4(value: str) -> bool:
    return bool(_V4.match(value))


def v4_in(texts: pa.Array) -> pa.Array:
    """Which texts are IPv4 addresses."""
    return pc.match_substring_regex(texts, _V4_WHOLE)


def is_v6(value: str) -> bool:
    """Without a zone and without brackets."""
    if value.count(":") < 2 or len(value) > 45 or "%" in value:
        return False
    try:
        ipaddress.IPv6Address(value)
    except ValueError:
        return False
    return True


class Addresses:
    """IPv4 addresses of one key. The rounds' results are kept, so that many addresses cost little."""

    def __init__(self, keyed: Keyed) -> None:
        self._keyed = keyed
        self._blocks: dict[int, bytes] = {}
        self._table: np.ndarray | None = None

    def v4(self, value: str) -> str:
        a, b, c, d = value.split(".")
        number = self._number(int(a) << 24 | int(b) << 16 | int(c) << 8 | int(d))
        return f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"

    def _number(self, number: int) -> int:
        low, high = _range_of(number)
        if low < 0:  # none of the ranges: all such addresses together
            number = self._shuffled(number)
            while _range_of(number)[0] >= 0:
                number = self._shuffled(number)
            return number
        if low in _KEPT_FROM:
            return number
        return low + self._keyed.permute(number - low, high - low + 1, b"ipv4 %d" % low)

    def _shuffled(self, number: int) -> int:
        """A bijection of all 2**32 numbers."""
        high, low = number >> 16, number & 0xFFFF
        for turn in range(ROUNDS):
            high, low = low, high ^ self._round(turn, low)
        return high << 16 | low

    def _round(self, turn: int, half: int) -> int:
        """Two of the 32 bytes of one HMAC."""
        block = self._block(turn << 12 | half >> 4)
        place = (half & 15) * 2
        return block[place] << 8 | block[place + 1]

    def _block(self, number: int) -> bytes:
        block = self._blocks.get(number)
        if block is None:
            block = self._blocks[number] = self._keyed.digest(b"ipv4", number.to_bytes(4, "big"))
        return block

    def v4_many(self, texts: pa.Array) -> pa.Array:
        """What `v4` makes of each of many."""
        parts = pc.split_pattern(texts, ".").flatten().cast(pa.int64()).to_numpy()
        a, b, c, d = parts.reshape(-1, 4).T
        new = self._numbers(a << 24 | b << 16 | c << 8 | d)
        octets = [pa.array(new >> shift & 255).cast(pa.string()) for shift in (24, 16, 8, 0)]
        return pc.binary_join_element_wise(*octets, ".")

    def _numbers(self, numbers: Numbers) -> Numbers:
        new = numbers.copy()
        place = np.searchsorted(np.array(_STARTS), numbers, side="right") - 1
        high = np.array([high for _, high in _RANGES])
        place[(place >= 0) & (numbers > high[place])] = -1
        for number, (low, last) in enumerate(_RANGES):
            here = np.flatnonzero(place == number)
            if len(here) and low not in _KEPT_FROM:
                inside = self._keyed.permute_many(numbers[here] - low, last - low + 1, b"ipv4 %d" % low)
                new[here] = low + inside
        here = np.flatnonzero(place < 0)
        while len(here):
            new[here] = self._shuffled_many(new[here])
            place = np.searchsorted(np.array(_STARTS), new[here], side="right") - 1
            here = here[(place >= 0) & (new[here] <= high[place])]
        return new

    def _shuffled_many(self, numbers: Numbers) -> Numbers:
        if self._table is None:
            halves = (
                b"".join(self._block(turn << 12 | half) for half in range(4096)) for turn in range(ROUNDS)
            )
            self._table = np.array([np.frombuffer(drawn, ">u2") for drawn in halves], np.int64)
        high, low = numbers >> 16, numbers & 0xFFFF
        for turn in range(ROUNDS):
            high, low = low, high ^ self._table[turn][low]
        return high << 16 | low

    def v6(self, value: str) -> str:
        address = ipaddress.IPv6Address(value)
        number = int(address)
        if number >> 32 == 0xFFFF:
            return str(ipaddress.IPv6Address(MAPPED_V6 | self._number(number & 0xFFFFFFFF)))
        if address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified:
            return value
        digest = int.from_bytes(self._keyed.digest(b"ipv6", number.to_bytes(16, "big")), "big")
        if number >> 121 == 0xFC >> 1:
            return str(ipaddress.IPv6Address(UNIQUE_LOCAL_V6 | digest % 2**120))
        return str(ipaddress.IPv6Address(DOCUMENTATION_V6 | digest % 2**96))


def _range_of(number: int) -> tuple[int, int]:
    place = bisect.bisect_right(_STARTS, number) - 1
    return _RANGES[place] if place >= 0 and number <= _RANGES[place][1] else (-1, -1)
