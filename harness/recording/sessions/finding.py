"""Finds the session rules of a recording: values of answers that come back in later requests of the same client.

Takes exchanges in order of time, one at a time, and gives `SessionRules`. Memory is bounded by clients and by values a
client; values are kept as hashes alone.

Evidence decides. A value with much chance in it (`distinct.py`) that an answer gave, and that the client had not sent
before, makes a rule at once, unless most clients were given the same one: then it is a constant. What happens easily by
accident (small numbers) makes a rule only when it comes back several times, with differing values, and nearly always.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from harness.model.recording import Exchange
from harness.recording.sessions.answers import VALIDATORS, Candidate, candidates
from harness.recording.sessions.choosing import Match, Pair, TakeKey, UseKey, rules_of
from harness.recording.sessions.distinct import Strength, strength
from harness.recording.sessions.patterns import pattern_of
from harness.recording.sessions.places import CONDITIONS, Place, general_name, places
from harness.recording.sessions.rules import SessionRules
from harness.recording.sessions.times import arrived_ns, has_arrived

MOST_CLIENTS = 10_000
MOST_VALUES = 20_000
"""Of one client: values of answers, and values sent. What goes beyond makes no rule."""

MOST_COUNTED_VALUES = 500_000


def find_rules(exchanges: Iterable[Exchange], most_clients: int = MOST_CLIENTS) -> SessionRules:
    """The rules that these exchanges show, in the order in which they showed first. Clients without a name have none."""
    finder = _Finder(most_clients)
    for exchange in exchanges:
        if exchange.client:
            finder.see(exchange)
    return SessionRules(
        rules=rules_of(finder.strong, finder.weak, finder.place_clients, finder.value_clients)
    )


@dataclass(frozen=True, slots=True)
class _Origin:
    """The first answer that held a value, and all its places there, the best one first; `url` is what was asked for."""

    method: str
    pattern: str
    places: tuple[Candidate, ...]
    url: str = ""


@dataclass
class _Client:
    strong: dict[int, _Origin] = field(default_factory=dict)
    weak: OrderedDict[int, dict[TakeKey, str]] = field(default_factory=OrderedDict)
    had: set[TakeKey] = field(default_factory=set)
    sent: set[int] = field(default_factory=set)
    locations: dict[int, _Origin] = field(default_factory=dict)
    validators: dict[int, _Origin] = field(default_factory=dict)
    coming: list[tuple[int, int, _Origin]] = field(default_factory=list)


class _Finder:
    def __init__(self, most_clients: int) -> None:
        self.most_clients = most_clients
        self.clients: OrderedDict[str, _Client] = OrderedDict()
        self.strong: dict[tuple[str, str, UseKey], Pair] = {}
        self.weak: dict[UseKey, dict[TakeKey, Pair]] = defaultdict(dict)
        self.value_clients: dict[int, int] = {}
        self.place_clients: dict[TakeKey, int] = defaultdict(int)

    def see(self, exchange: Exchange) -> None:
        """The next exchange: what it carries is compared with what its client was given, then its answer is noted."""
        given = candidates(exchange)
        client = self.clients.get(exchange.client)
        if client is None:
            if not given:
                return  # logs have no answers: nothing to keep
            client = self.clients[exchange.client] = _Client()
            if len(self.clients) > self.most_clients:
                self.clients.popitem(last=False)
        self.clients.move_to_end(exchange.client)
        while client.coming and has_arrived(client.coming[0][0], exchange.at_ns):
            self._arrive(client, heapq.heappop(client.coming)[2])
        carried = list(places(exchange))
        known = self._compare(exchange, client, carried)
        own = {hash(place.value) for place in carried}
        if len(client.sent) < MOST_VALUES:
            client.sent |= own
        given = [one for one in given if hash(one.value) not in own]
        if given:
            pattern = pattern_of(exchange.path, exchange.route, known)
            origin = _Origin(exchange.method, pattern, tuple(given), exchange.path)
            heapq.heappush(client.coming, (arrived_ns(exchange), exchange.seq, origin))

    def _arrive(self, client: _Client, answer: _Origin) -> None:
        """From now on the client can send what this answer gave."""
        by_value: dict[int, list[Candidate]] = defaultdict(list)
        for one in answer.places:
            value = hash(one.value)
            key = TakeKey(answer.method, answer.pattern, one.source, one.general)
            if one.general in VALIDATORS and len(client.validators) < MOST_VALUES:
                client.validators[hash((answer.url, one.value))] = replace(answer, places=(one,))
            if one.strength is Strength.STRONG:
                if value not in client.sent:
                    by_value[value].append(one)
            elif one.strength is Strength.WEAK:
                client.weak.setdefault(value, {})[key] = one.path
                if len(client.weak) > MOST_VALUES:
                    client.weak.popitem(last=False)
            if key not in client.had and len(client.had) < MOST_VALUES:
                client.had.add(key)
                self.place_clients[key] += 1
            if one.source == "header" and one.general.startswith("location|"):
                _note_location(client, answer)
        for value, held in by_value.items():
            if value in client.strong or len(client.strong) >= MOST_VALUES:
                continue
            client.strong[value] = _Origin(answer.method, answer.pattern, tuple(held))
            if value in self.value_clients or len(self.value_clients) < MOST_COUNTED_VALUES:
                self.value_clients[value] = self.value_clients.get(value, 0) + 1

    def _compare(self, exchange: Exchange, client: _Client, carried: list[Place]) -> set[int]:
        """Counts what came back; gives the segments of the path that did."""
        if not (client.strong or client.weak or client.validators):
            return set()
        followed = client.locations.get(hash(exchange.path))
        known = {
            int(place.name[len("segment[") : -1])
            for place in carried
            if place.kind == "path"
            and (hash(place.value) in client.strong or (followed and _followed(followed, place)))
        }
        pattern = pattern_of(exchange.path, exchange.route, known)
        for place in carried:
            use = UseKey(exchange.method, pattern, place.kind, general_name(place))
            value = hash(place.value)
            origin = client.strong.get(value)
            if place.kind == "header" and place.name in CONDITIONS:
                origin = client.validators.get(hash((exchange.path, place.value)), origin)
            if origin is not None and _is_plain_cookie(origin, place):
                continue
            if origin is None and followed is not None and place.kind in ("path", "query"):
                origin = _followed(followed, place)
            if origin is not None:
                self._came_back(exchange, origin, use, place)
            else:
                self._perhaps_came_back(exchange, client, use, place)
        return known

    def _came_back(self, exchange: Exchange, origin: _Origin, use: UseKey, place: Place) -> None:
        key = (origin.method, origin.pattern, use)
        pair = self.strong.setdefault(key, Pair(order=exchange.seq))
        chance = strength(place.value) is Strength.STRONG
        pair.count(exchange.client, hash(place.value), digest_of(place.value) if chance else "")
        pair.held(tuple(Match(one.source, one.general, one.path) for one in origin.places))

    def _perhaps_came_back(self, exchange: Exchange, client: _Client, use: UseKey, place: Place) -> None:
        pairs: dict[TakeKey, Pair] = self.weak.get(use, {})
        holders = client.weak.get(hash(place.value), {})
        for key, pair in pairs.items():
            if key in client.had and key not in holders:
                pair.missed += 1
        for key, path in holders.items():
            pair = self.weak[use].setdefault(key, Pair(order=exchange.seq))
            pair.count(exchange.client, hash(place.value), "")
            pair.held((Match(key[2], key[3], path),))


def digest_of(value: str) -> str:
    """What a rule shows of a value with much chance in it."""
    return f"sha256:{hashlib.sha256(value.encode('utf-8', errors='replace')).hexdigest()[:16]}"


def _is_plain_cookie(origin: _Origin, place: Place) -> bool:
    """A cookie that comes back as itself: the rule for cookies does that."""
    return place.kind == "cookie" and any(
        one.source == "cookie" and one.general == place.name for one in origin.places
    )


def _note_location(client: _Client, answer: _Origin) -> None:
    """A Location that is asked for as it stands was followed, however little chance is in its ids."""
    held = [one for one in answer.places if one.source == "header" and one.general.startswith("location|")]
    if len(client.locations) < MOST_VALUES:
        client.locations[hash(held[0].whole)] = _Origin(answer.method, answer.pattern, tuple(held))


def _followed(origin: _Origin, place: Place) -> _Origin | None:
    """The part of the Location that this place of the path repeats."""
    part = f"segment[{place.name[len('segment[') : -1]}]" if place.kind == "path" else f"query[{place.name}]"
    held = tuple(
        one for one in origin.places if one.general == f"location|{part}" and one.value == place.value
    )
    return _Origin(origin.method, origin.pattern, held) if held else None
