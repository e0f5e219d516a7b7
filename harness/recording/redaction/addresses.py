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

from harness.recording.redaction.permutation import ROUNDS, Keyed

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
_V4 = re.compile(r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?:\.(?!\Z)|\Z)){4}\Z")
DOCUMENTATION_V6 = int(ipaddress.IPv6Address("2001:db8::"))
UNIQUE_LOCAL_V6 = int(ipaddress.IPv6Address("fd00::"))
MAPPED_V6 = 0xFFFF << 32


def is_v4(value: str) -> bool:
    return bool(_V4.match(value))


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
        number = turn << 12 | half >> 4
        block = self._blocks.get(number)
        if block is None:
            block = self._blocks[number] = self._keyed.digest(b"ipv4", number.to_bytes(4, "big"))
        place = (half & 15) * 2
        return block[place] << 8 | block[place + 1]

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
