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
from collections.abc import Iterable, Sequence
from urllib.parse import quote, quote_plus

import ahocorasick_rs

SECRET_CHARS = 8
LONG_CHARS = 16
ANYWHERE_CHARS = 16
"""Shorter ones count only where no letter and no digit is next to them."""
MOST_SECRETS = 20_000
FRESH_SECRETS = 4_000
"""The large automaton is built anew when so many new ones have come; until then they have a small one."""
Span = tuple[int, int, bytes]
"""Start, stop and what goes there."""
_SAME_EVERYWHERE = re.compile(r"[A-Za-z0-9._~-]+\Z")
_WORD = frozenset(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class KnownSecrets:
    """Bounded memory of secrets with their pseudonyms."""

    def __init__(self) -> None:
        self.dropped = 0
        self._all: dict[str, str] = {}
        self._settled: _Automaton | None = None
        self._fresh: dict[str, str] = {}
        self._fresh_automaton: _Automaton | None = None

    def __len__(self) -> int:
        return len(self._all)

    def add(self, secret: str, pseudonym: str) -> None:
        """Looked for from the next search on, where it can be told from an ordinary word."""
        if secret in self._all or not is_telling(secret) or secret == pseudonym:
            return
        if len(self._all) >= MOST_SECRETS:
            oldest = next(iter(self._all))
            del self._all[oldest]
            self.dropped += 1
        self._all[secret] = pseudonym
        self._fresh[secret] = pseudonym
        self._fresh_automaton = None

    def spans(self, data: bytes, edges: Sequence[int] = ()) -> list[Span]:
        """Where secrets stand in `data` and what goes there; in order, none within another.

        `edges`: where one text ends and another begins; no secret lies across.
        """
        found = [span for automaton in self._automata() for span in automaton.spans(data, edges)]
        found.sort(key=lambda span: (span[0], -span[1]))
        kept: list[Span] = []
        for span in found:
            if not kept or span[0] >= kept[-1][1]:
                kept.append(span)
        return kept

    def replaced(self, data: bytes) -> bytes:
        """`data` with pseudonyms for all secrets."""
        return spliced(data, self.spans(data))

    def _automata(self) -> list[_Automaton]:
        if len(self._fresh) > FRESH_SECRETS:
            self._settled = _Automaton(self._all.items())
            self._fresh, self._fresh_automaton = {}, None
        if self._fresh and self._fresh_automaton is None:
            self._fresh_automaton = _Automaton(self._fresh.items())
        return [automaton for automaton in (self._settled, self._fresh_automaton) if automaton is not None]


class _Automaton:
    """Some secrets in all their spellings."""

    def __init__(self, secrets: Iterable[tuple[str, str]]) -> None:
        self._patterns: dict[bytes, bytes] = {}
        for secret, pseudonym in secrets:
            self._patterns.update(spellings(secret, pseudonym))
        self._ordered = list(self._patterns)
        self._search = ahocorasick_rs.BytesAhoCorasick(
            self._ordered,
            matchkind=ahocorasick_rs.MatchKind.LeftmostLongest,
            implementation=ahocorasick_rs.Implementation.ContiguousNFA,
        )

    def spans(self, data: bytes, edges: Sequence[int]) -> list[Span]:
        found: list[Span] = []
        for number, start, stop in self._search.find_matches_as_indexes(data):
            low, high = _around(edges, start, len(data))
            if stop <= high and (stop - start >= ANYWHERE_CHARS or _alone(data, start, stop, low, high)):
                found.append((start, stop, self._patterns[self._ordered[number]]))
        return found


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


def spellings(secret: str, pseudonym: str) -> dict[bytes, bytes]:
    """How a secret is written in traffic -> its pseudonym, written the same way."""
    if _SAME_EVERYWHERE.match(secret):
        return {secret.encode(): pseudonym.encode("utf-8", "replace")}
    ways = (
        lambda text: text,
        lambda text: quote(text, safe=""),
        lambda text: quote(text, safe="/"),
        quote_plus,
        lambda text: quote(text, safe="").replace("%2F", "%2f").replace("%2B", "%2b").replace("%3D", "%3d"),
        lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
        lambda text: json.dumps(text)[1:-1],
        lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
        html.escape,
    )
    written: dict[bytes, bytes] = {}
    for way in ways:
        try:
            written.setdefault(way(secret).encode(), way(pseudonym).encode())
        except UnicodeEncodeError:  # a lone surrogate
            continue
    return written


def _around(edges: Sequence[int], start: int, length: int) -> tuple[int, int]:
    """The text in which `start` lies."""
    place = bisect.bisect_right(edges, start)
    return (edges[place - 1] if place else 0), (edges[place] if place < len(edges) else length)


def _alone(data: bytes, start: int, stop: int, low: int, high: int) -> bool:
    """No letter and no digit next to it in its text."""
    before = start > low and data[start - 1] in _WORD and data[start] in _WORD
    after = stop < high and data[stop] in _WORD and data[stop - 1] in _WORD
    return not before and not after
