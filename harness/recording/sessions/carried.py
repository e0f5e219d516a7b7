"""What the requests of a recording carry: of all that answers hold, only this can ever come back.

Takes requests, gives a set to ask. There are far fewer values in requests than in answers, so that finding goes through
the requests first, and then looks at those values of answers alone that stand in this set.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from harness.model.recording import Exchange, Headers
from harness.recording.sessions.places import Place, places_of_body, places_of_headers, places_of_path

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
                carried.add_path(exchange.path)
                carried.add_headers(exchange.headers)
                carried.add_body(exchange.headers, exchange.body)
        return carried

    @property
    def full(self) -> bool:
        """Whether no more exchanges are to be added."""
        return len(self._hashes) >= self._most

    def add_path(self, path: str) -> None:
        """The path as it stands, which a Location may give, and its parts."""
        self._hashes.add(hash(path))
        self._add(places_of_path(path))

    def add_headers(self, headers: Headers) -> None:
        """Values of headers, and of cookies."""
        self._add(places_of_headers(headers))

    def add_body(self, headers: Headers, body: bytes) -> None:
        """Values of its fields; the headers say what it is."""
        self._add(places_of_body(headers, body))

    def _add(self, places: Iterable[Place]) -> None:
        for place in places:
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
