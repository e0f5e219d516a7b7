"""What the requests of a recording carry: of all that answers hold, only this can ever come back.

Takes requests, gives a set to ask. There are far fewer values in requests than in answers, so that finding goes through
the requests first, and then looks at those values of answers alone that stand in this set.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from harness.model.recording import Exchange
from harness.recording.sessions.places import places

MOST_CARRIED = 2_000_000
"""Differing values, kept as hashes: about 130 MB. Finding ends at the exchange where there would be more."""

_INTEGER = re.compile(r"0|-?[1-9]\d{0,300}", re.ASCII)


class Carried:
    """Knows texts, and the whole numbers that they are, by their hashes."""

    def __init__(self, most: int = MOST_CARRIED) -> None:
        self.exchanges = 0
        """From so many, the first of the recording, they were gathered."""
        self._hashes: set[int] = set()
        self._most = most

    @classmethod
    def by(cls, exchanges: Iterable[Exchange], most: int = MOST_CARRIED) -> Carried:
        """What these carry, or the first of them."""
        carried = cls(most)
        for exchange in exchanges:
            if carried.full:
                break
            carried.exchanges += 1
            if exchange.client:
                carried._add(exchange)
        return carried

    @property
    def full(self) -> bool:
        """Whether no more exchanges are to be added."""
        return len(self._hashes) >= self._most

    def _add(self, exchange: Exchange) -> None:
        self._hashes.add(hash(exchange.path))  # as it stands: a Location may give it
        for place in places(exchange):
            value = place.value
            if len(value) < 8 and value.isalpha():
                continue  # a word, of which there are many and which is never evidence
            self._hashes.add(hash(value))
            if _INTEGER.fullmatch(value):
                self._hashes.add(hash(int(value)))

    def __contains__(self, value: str | int) -> bool:
        return hash(value) in self._hashes

    def among(self, values: Iterable[str | int]) -> set[str | int]:
        """Those of them that are carried."""
        hashes = self._hashes
        return {value for value in values if hash(value) in hashes}

    def no_one_of(self, values: Iterable[object]) -> bool:
        """Whether none of them is carried."""
        return self._hashes.isdisjoint(map(hash, values))
