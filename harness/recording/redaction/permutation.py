"""Keyed bijections of small sets, and keyed choices from large ones: what every pseudonym is drawn with.

Takes a key, a number below a bound and a tweak (what kind of value it is), gives another number below the bound.

* Below 2**96 values: a Feistel network whose round function is HMAC-SHA256, so two values never get the same pseudonym;
  whoever holds the key can go back, as they could by trying all values with any keyed function.
* From 2**96 on: HMAC-SHA256 alone. No way leads back, and two of a billion values meet with a chance of 10**-11.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

ONE_WAY_BITS = 96
ROUNDS = 8
CYCLE_BELOW = 2**20
"""Below so many values chance would leave some as they are; one cycle through all of them leaves none."""
SMALL_SIDE = 4096
"""Where the halves of a number have so few values, what the rounds make of them is kept."""
MOST_KEPT = 2**16

Numbers = np.ndarray[tuple[int], np.dtype[np.int64]]


class Keyed:
    """Everything that depends on the key."""

    def __init__(self, key: bytes) -> None:
        self._mac = hmac.new(key, b"", "sha256")
        self._kept: dict[bytes, dict[int, int]] = {}
        """Tweak -> what rounds make of halves."""
        self._kept_count = 0
        self._tables: dict[tuple[int, bytes], np.ndarray] = {}

    def digest(self, purpose: bytes, message: bytes) -> bytes:
        """HMAC-SHA256 of both, never the same for two pairs."""
        mac = self._mac.copy()
        mac.update(len(purpose).to_bytes(4, "big") + purpose + message)
        return mac.digest()

    def stream(self, purpose: bytes, message: bytes, length: int) -> bytes:
        """`length` bytes that nobody without the key can tell from chance."""
        return hashlib.shake_256(self.digest(purpose, message)).digest(length)

    def permute(
        self, number: int, bound: int, tweak: bytes, fits: Callable[[int], bool] | None = None
    ) -> int:
        """The pseudonym of `number` below `bound`: itself only where nothing else `fits`.

        `fits` must hold for `number`; then the map is a bijection of the numbers that fit.
        """
        step = self._cycle if bound < CYCLE_BELOW else self._shuffle
        result = step(number, bound, tweak)
        while fits is not None and result != number and not fits(result):
            result = step(result, bound, tweak)
        return result

    def permute_many(self, numbers: Numbers, bound: int, tweak: bytes) -> Numbers:
        """What `permute` makes of each of many numbers below a bound of `SMALL_SIDE` squared or less."""
        if bound < CYCLE_BELOW:
            places = self._shuffle_many(numbers, bound, tweak, back=True)
            return self._shuffle_many((places + 1) % bound, bound, tweak)
        return self._shuffle_many(numbers, bound, tweak)

    def _cycle(self, number: int, bound: int, tweak: bytes) -> int:
        """One step on a secret cycle through all numbers."""
        place = self._shuffle(number, bound, tweak, back=True)
        return self._shuffle((place + 1) % bound, bound, tweak)

    def _shuffle(self, number: int, bound: int, tweak: bytes, back: bool = False) -> int:
        """A secret bijection of the numbers below `bound`; steps that lead beyond it are walked on."""
        if bound <= 1:
            return number
        left, right = _sides(bound)
        rounds = self._back if back else self._forth
        result = rounds(number, left, right, tweak)
        while result >= bound:
            result = rounds(result, left, right, tweak)
        return result

    def _forth(self, number: int, left: int, right: int, tweak: bytes) -> int:
        high, low = divmod(number, right)
        for turn in range(0, ROUNDS, 2):
            high = (high + self._round(tweak, turn, low)) % left
            low = (low + self._round(tweak, turn + 1, high)) % right
        return high * right + low

    def _back(self, number: int, left: int, right: int, tweak: bytes) -> int:
        high, low = divmod(number, right)
        for turn in range(ROUNDS - 2, -1, -2):
            low = (low - self._round(tweak, turn + 1, high)) % right
            high = (high - self._round(tweak, turn, low)) % left
        return high * right + low

    def _shuffle_many(self, numbers: Numbers, bound: int, tweak: bytes, back: bool = False) -> Numbers:
        left, right = _sides(bound)
        rounds = self._table(bound, tweak)
        result = (
            _back_many(numbers, left, right, rounds) if back else _forth_many(numbers, left, right, rounds)
        )
        beyond = np.flatnonzero(result >= bound)
        if len(beyond):
            result[beyond] = self._shuffle_many(result[beyond], bound, tweak, back)
        return result

    def _table(self, bound: int, tweak: bytes) -> np.ndarray:
        """What each round makes of each half."""
        key = (bound, tweak)
        if key not in self._tables:
            left, right = _sides(bound)
            assert left <= SMALL_SIDE
            assert right <= SMALL_SIDE
            table = np.zeros((ROUNDS, max(left, right)), np.int64)
            for turn in range(ROUNDS):
                halves, others = (left, right) if turn % 2 else (right, left)
                table[turn, :halves] = self._all_drawn(tweak, turn, halves, others)
            self._tables[key] = table
        return self._tables[key]

    def _round(self, tweak: bytes, turn: int, half: int) -> int:
        if half >= SMALL_SIDE:
            return self._drawn(tweak, turn, half)
        kept = self._kept.setdefault(tweak, {})
        place = half * ROUNDS + turn
        if place not in kept:
            if self._kept_count >= MOST_KEPT:
                self._kept, self._kept_count, kept = {tweak: {}}, 0, {}
            self._kept_count += 1
            kept[place] = self._drawn(tweak, turn, half)
        return kept[place]

    def _drawn(self, tweak: bytes, turn: int, half: int) -> int:
        mac = self._mac.copy()
        mac.update(b"%d:%d:%b:%d" % (turn, len(tweak), tweak, half))
        return int.from_bytes(mac.digest(), "big")

    def _all_drawn(self, tweak: bytes, turn: int, halves: int, others: int) -> list[int]:
        """`_drawn` of each half, below `others`."""
        begun = self._mac.copy()
        begun.update(b"%d:%d:%b:" % (turn, len(tweak), tweak))
        drawn = []
        for half in range(halves):
            mac = begun.copy()
            mac.update(b"%d" % half)
            drawn.append(int.from_bytes(mac.digest(), "big") % others)
        return drawn


@lru_cache(maxsize=4096)
def _sides(bound: int) -> tuple[int, int]:
    """Two numbers that are about equal and whose product is at least `bound`, by less than either."""
    left = math.isqrt(bound - 1) + 1
    return left, -(-bound // left)


def _forth_many(numbers: Numbers, left: int, right: int, rounds: np.ndarray) -> Numbers:
    high, low = np.divmod(numbers, right)
    for turn in range(0, ROUNDS, 2):
        high = (high + rounds[turn][low]) % left
        low = (low + rounds[turn + 1][high]) % right
    return high * right + low


def _back_many(numbers: Numbers, left: int, right: int, rounds: np.ndarray) -> Numbers:
    high, low = np.divmod(numbers, right)
    for turn in range(ROUNDS - 2, -1, -2):
        low = (low - rounds[turn + 1][high]) % right
        high = (high - rounds[turn][low]) % left
    return high * right + low
