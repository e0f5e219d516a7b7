"""Values that turned out to be secret, looked for in everything else: a token of a header that a text repeats.

Takes secrets with their pseudonyms, searches whole columns of bytes at once (Aho-Corasick), and replaces what it finds, in
each of the spellings that a value has in traffic: as it is, percent-encoded, inside a JSON string, in HTML.

Only what is unlikely to be an ordinary word is looked for: `SECRET_CHARS` or more with letters and digits, or
`LONG_CHARS` or more. The number of secrets is bounded; the oldest are forgotten first, and counted.
"""

from __future__ import annotations

import bisect
import html
import json
import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from urllib.parse import quote, quote_plus

import ahocorasick_rs
import numpy as np

SECRET_CHARS = 8
LONG_CHARS = 16
ANYWHERE_CHARS = 16
"""Shorter ones count only where no letter and no digit is next to them."""
MOST_SECRETS = 20_000
FRESH_SECRETS = 4_000
"""The large set is made anew when so many new ones have come; until then they have a small one."""
FEW_PATTERNS = 500
"""An automaton of so many is made in a millisecond; of more, it is made of those alone whose ends stand in the text."""
TAIL_BYTES = 8
"""No spelling of a secret is shorter (`SECRET_CHARS`)."""
Spellings = tuple[tuple[bytes, bytes], ...]
Span = tuple[int, int, bytes]
"""Start, stop and what goes there."""
_SAME_EVERYWHERE = re.compile(r"[A-Za-z0-9._~-]+\Z")
_PERCENT = re.compile("%[0-9A-F]{2}")
_WORD = frozenset(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class KnownSecrets:
    """Bounded memory of secrets with their pseudonyms."""

    def __init__(self) -> None:
        self.dropped = 0
        self._all: OrderedDict[str, Spellings] = OrderedDict()
        self._settled: _Searched | None = None
        self._fresh: dict[str, Spellings] = {}
        self._fresh_searched: _Searched | None = None

    def __len__(self) -> int:
        return len(self._all)

    def add(self, secret: str, pseudonym: str) -> None:
        """Looked for from the next search on, where it can be told from an ordinary word."""
        if secret in self._all or not is_telling(secret) or secret == pseudonym:
            return
        if len(self._all) >= MOST_SECRETS:
            self._all.popitem(last=False)
            self.dropped += 1
        self._all[secret] = self._fresh[secret] = spellings(secret, pseudonym)
        self._fresh_searched = None

    def spans(self, data: bytes, edges: Sequence[int] = ()) -> list[Span]:
        """Where secrets stand in `data` and what goes there; in order, none within another.

        `edges`: where one text ends and another begins; no secret lies across.
        """
        found = [span for searched in self._searched() for span in searched.spans(data, edges)]
        found.sort(key=lambda span: (span[0], -span[1]))
        kept: list[Span] = []
        for span in found:
            if not kept or span[0] >= kept[-1][1]:
                kept.append(span)
        return kept

    def replaced(self, data: bytes) -> bytes:
        """`data` with pseudonyms for all secrets."""
        return spliced(data, self.spans(data))

    def _searched(self) -> list[_Searched]:
        if len(self._fresh) > FRESH_SECRETS:
            self._settled = _Searched(self._all.values())
            self._fresh, self._fresh_searched = {}, None
        if self._fresh and self._fresh_searched is None:
            self._fresh_searched = _Searched(self._fresh.values())
        return [searched for searched in (self._settled, self._fresh_searched) if searched is not None]


class _Searched:
    """Some secrets in all their spellings."""

    def __init__(self, secrets: Iterable[Spellings]) -> None:
        self._patterns: dict[bytes, bytes] = {}
        for written in secrets:
            self._patterns.update(written)
        self._ordered = list(self._patterns)
        self._automaton: _Automaton | None = None
        self._tails: Tails | None = None

    def spans(self, data: bytes, edges: Sequence[int]) -> list[Span]:
        return [
            (start, stop, self._patterns[pattern])
            for pattern, start, stop in self._found(data)
            if _counts(data, edges, start, stop)
        ]

    def _found(self, data: bytes) -> Iterable[tuple[bytes, int, int]]:
        """What does not stand in `data` has no part in what is found: without it the rest is found all the same."""
        if len(self._ordered) <= FEW_PATTERNS:
            if self._automaton is None:
                self._automaton = _Automaton(self._ordered)
            return self._automaton.found(data)
        if self._tails is None:
            self._tails = Tails(self._ordered)
        there = self._tails.standing_in(data)
        return _Automaton([self._ordered[number] for number in there]).found(data) if there else ()


class _Automaton:
    """Finds patterns, the leftmost and of those the longest."""

    def __init__(self, patterns: list[bytes]) -> None:
        self._ordered = patterns
        self._search = ahocorasick_rs.BytesAhoCorasick(
            patterns,
            matchkind=ahocorasick_rs.MatchKind.LeftmostLongest,
            implementation=ahocorasick_rs.Implementation.ContiguousNFA,
        )

    def found(self, data: bytes) -> list[tuple[bytes, int, int]]:
        return [
            (self._ordered[number], start, stop)
            for number, start, stop in self._search.find_matches_as_indexes(data)
        ]


class Tails:
    """The last bytes of many patterns, and which of them stand in a text: quicker than making an automaton of all."""

    BITS = 20
    CHUNK_BYTES = 2**18
    ODD = np.uint64(0x9E3779B97F4A7C15)

    def __init__(self, patterns: Sequence[bytes]) -> None:
        """Of patterns of `TAIL_BYTES` or more."""
        self._tails = np.frombuffer(b"".join(pattern[-TAIL_BYTES:] for pattern in patterns), np.uint64)
        self._may = np.zeros(2**self.BITS, bool)
        self._may[self._hashed(self._tails)] = True

    def standing_in(self, data: bytes) -> list[int]:
        """Numbers of the patterns whose last bytes stand somewhere in `data`; of all that stand in it, and few others."""
        found = [self._standing_in(data, first) for first in range(0, len(data), self.CHUNK_BYTES)]
        candidates = np.concatenate(found) if found else np.empty(0, np.uint64)
        if not len(candidates):
            return []
        numbers: list[int] = np.flatnonzero(np.isin(self._tails, candidates)).tolist()
        return numbers

    def _standing_in(self, data: bytes, first: int) -> np.ndarray:
        """All runs of `TAIL_BYTES` that begin in this chunk and may be a tail."""
        last = min(first + self.CHUNK_BYTES + TAIL_BYTES - 1, len(data))
        found = []
        for start in range(first, min(first + TAIL_BYTES, last - TAIL_BYTES + 1)):
            runs = np.frombuffer(data, np.uint64, (last - start) // TAIL_BYTES, start)
            found.append(runs[self._may[self._hashed(runs)]])
        return np.concatenate(found) if found else np.empty(0, np.uint64)

    def _hashed(self, runs: np.ndarray) -> np.ndarray:
        hashed: np.ndarray = (runs * self.ODD) >> np.uint64(64 - self.BITS)
        return hashed


def _counts(data: bytes, edges: Sequence[int], start: int, stop: int) -> bool:
    """Whether what stands there lies in one text, and is no part of a word."""
    low, high = _around(edges, start, len(data))
    return stop <= high and (stop - start >= ANYWHERE_CHARS or _alone(data, start, stop, low, high))


def spliced(data: bytes, spans: list[Span]) -> bytes:
    """`data` with other bytes at those places."""
    if not spans:
        return data
    pieces, end = [], 0
    for start, stop, new in spans:
        pieces += [data[end:start], new]
        end = stop
    pieces.append(data[end:])
    return b"".join(pieces)


def is_telling(secret: str) -> bool:
    """Whether a text that holds it holds it for no other reason."""
    length = len(secret)
    if length < SECRET_CHARS:
        return False
    if length >= LONG_CHARS:
        return len(set(secret)) >= SECRET_CHARS
    return any(char.isalpha() for char in secret) and any(char.isdigit() for char in secret)


def spellings(secret: str, pseudonym: str) -> Spellings:
    """How a secret is written in traffic, and its pseudonym, written the same way."""
    if _SAME_EVERYWHERE.match(secret):
        return ((secret.encode(), pseudonym.encode("utf-8", "replace")),)
    ways = (
        lambda text: text,
        lambda text: quote(text, safe=""),
        lambda text: quote(text, safe="/"),
        quote_plus,
        lambda text: _PERCENT.sub(lambda found: found.group().lower(), quote(text, safe="")),
        lambda text: quote(quote(text, safe=""), safe=""),
        lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
        lambda text: json.dumps(text)[1:-1],
        lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
        lambda text: _in_json(text, "&<>"),  # Go's
        lambda text: _in_json(text, "&<>='"),  # Gson's
        lambda text: _in_json(text, "&<>+'").replace("\\u002b", "\\u002B"),  # .NET's
        html.escape,
        lambda text: html.escape(text).replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
    )
    written: dict[bytes, bytes] = {}
    for way in ways:
        try:
            written.setdefault(way(secret).encode(), way(pseudonym).encode())
        except UnicodeEncodeError:  # a lone surrogate
            continue
    return tuple(written.items())


def _in_json(text: str, escaped: str) -> str:
    """As writers spell it that escape more than they must."""
    spelled = json.dumps(text, ensure_ascii=False)[1:-1]
    return "".join(f"\\u{ord(char):04x}" if char in escaped else char for char in spelled)


def _around(edges: Sequence[int], start: int, length: int) -> tuple[int, int]:
    """The text in which `start` lies."""
    place = bisect.bisect_right(edges, start)
    return (edges[place - 1] if place else 0), (edges[place] if place < len(edges) else length)


def _alone(data: bytes, start: int, stop: int, low: int, high: int) -> bool:
    """No letter and no digit next to it in its text."""
    before = start > low and data[start - 1] in _WORD and data[start] in _WORD
    after = stop < high and data[stop] in _WORD and data[stop - 1] in _WORD
    return not before and not after
