"""Finds the session rules of a recording: values of answers that come back in later requests of the same client.

Takes exchanges in order of time, twice; gives `SessionRules`. The first time what requests carry is gathered, the second
time what answers gave is compared with it: values that no request carries are passed over quickly (`glance.py`). Memory is
bounded by clients, by values a client and by values at all; they are kept as hashes alone.

Evidence decides. A value with much chance in it (`distinct.py`) that an answer gave, and that the client had not sent
before, makes a rule at once, unless most clients were given the same one: then it is a constant. What happens easily by
accident (small numbers) makes a rule only when it comes back several times, with differing values, and nearly always.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import OrderedDict, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from harness.model.recording import Exchange
from harness.recording.sessions.answers import Candidate, given
from harness.recording.sessions.carried import Carried
from harness.recording.sessions.choosing import Match, Pair, TakeKey, UseKey, may_be_believed, rules_of
from harness.recording.sessions.distinct import Strength, strength
from harness.recording.sessions.glance import Had
from harness.recording.sessions.patterns import pattern_of
from harness.recording.sessions.places import CONDITIONS, VALIDATORS, Place, general_name, places
from harness.recording.sessions.rules import SessionRules
from harness.recording.sessions.steps import Source
from harness.recording.sessions.times import arrived_ns, has_arrived

MOST_CLIENTS = 10_000
MOST_VALUES = 20_000
"""Of one client: values of answers, values sent, and places where it was given something. More make no rule."""

MOST_COUNTED_VALUES = 500_000
MOST_NOTED = 4_000_000
"""Of all clients together: values sent, places and routes; about 300 MB. Finding ends where there would be more."""

ROUTE_WEIGHT = 8
"""A route of one client takes as much memory as so many values."""


def find_rules(
    exchanges: Iterable[Exchange], most_clients: int = MOST_CLIENTS, carried: Carried | None = None
) -> SessionRules:
    """The rules that these exchanges show, in the order in which they showed first. Clients without a name have none.

    `carried`: what the same exchanges carry, where that was gathered already; else they have to give themselves twice.
    """
    if carried is None:
        if iter(exchanges) is exchanges:
            raise TypeError("an iterator gives its exchanges once; give a sequence, or what they carry")
        carried = Carried.by(exchanges)
    finder = _Finder(most_clients, carried)
    searched = None
    for number, exchange in enumerate(exchanges):
        if number >= carried.exchanges or finder.noted >= MOST_NOTED:
            searched = number
            break
        if exchange.client:
            finder.see(exchange)
    rules = rules_of(finder.strong, finder.weak, finder.place_clients, finder.value_clients)
    return SessionRules(searched=searched, rules=rules)


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
    had: dict[tuple[str, str], Had] = field(default_factory=dict)
    places: int = 0
    """In `had`, at all routes together."""
    sent: set[int] = field(default_factory=set)
    locations: dict[int, _Origin] = field(default_factory=dict)
    validators: dict[int, _Origin] = field(default_factory=dict)
    coming: list[tuple[int, int, _Origin, Collection[tuple[Source, str]]]] = field(default_factory=list)

    def size(self) -> int:
        """What it takes in memory, in values."""
        return len(self.sent) + self.places + ROUTE_WEIGHT * len(self.had)

    def had_of(self, method: str, pattern: str) -> Had:
        """Where a route has given it something."""
        had = self.had.get((method, pattern))
        if had is None:
            had = Had()
            if len(self.had) < MOST_VALUES:
                self.had[method, pattern] = had
        return had

    def was_given(self, key: TakeKey) -> bool:
        """Whether it was given something there."""
        had = self.had.get((key.method, key.pattern))
        return had is not None and had.has(key.source, key.general)


class _Finder:
    def __init__(self, most_clients: int, carried: Carried) -> None:
        self.most_clients = most_clients
        self.carried = carried
        self.noted = 0
        self.clients: OrderedDict[str, _Client] = OrderedDict()
        self.strong: dict[tuple[str, str, UseKey], Pair] = {}
        self.weak: dict[UseKey, dict[TakeKey, Pair]] = defaultdict(dict)
        self.value_clients: dict[int, int] = {}
        self.place_clients: dict[TakeKey, int] = defaultdict(int)

    def see(self, exchange: Exchange) -> None:
        """The next exchange: what it carries is compared with what its client was given, then its answer is noted."""
        known_client = self.clients.get(exchange.client)
        client = known_client or _Client()
        size = client.size()
        while client.coming and has_arrived(client.coming[0][0], exchange.at_ns):
            self._arrive(client, *heapq.heappop(client.coming)[2:])
        carried = list(places(exchange)) if client is known_client or exchange.answer.status >= 100 else []
        known = self._compare(exchange, client, carried)
        pattern = pattern_of(exchange.path, exchange.route, known)
        found = given(exchange, self.carried, client.had_of(exchange.method, pattern))
        if known_client is None:
            if not found:
                return  # logs have no answers: nothing to keep
            self._remember(exchange.client, client)
        self.clients.move_to_end(exchange.client)
        own = {hash(place.value) for place in carried}
        if len(client.sent) < MOST_VALUES:
            client.sent |= own
        self.noted += client.size() - size
        values = tuple(one for one in found.values if hash(one.value) not in own)
        if values or found.fresh:
            origin = _Origin(exchange.method, pattern, values, exchange.path)
            heapq.heappush(client.coming, (arrived_ns(exchange), exchange.seq, origin, found.fresh))

    def _remember(self, name: str, client: _Client) -> None:
        self.clients[name] = client
        if len(self.clients) > self.most_clients:
            _, forgotten = self.clients.popitem(last=False)
            self.noted -= forgotten.size()

    def _arrive(self, client: _Client, answer: _Origin, fresh: Iterable[tuple[Source, str]]) -> None:
        """From now on the client can send what this answer gave."""
        by_value: dict[int, list[Candidate]] = defaultdict(list)
        for source, general in fresh:
            self._note_place(client, answer, source, general)
        for one in answer.places:
            value = hash(one.value)
            if one.general in VALIDATORS and len(client.validators) < MOST_VALUES:
                client.validators[hash((answer.url, one.value))] = replace(answer, places=(one,))
            if one.strength is Strength.STRONG:
                if value not in client.sent:
                    by_value[value].append(one)
            elif one.strength is Strength.WEAK and (one.source != "json" or may_be_believed(one.general)):
                key = TakeKey(answer.method, answer.pattern, one.source, one.general)
                client.weak.setdefault(value, {})[key] = one.path
                if len(client.weak) > MOST_VALUES:
                    client.weak.popitem(last=False)
            self._note_place(client, answer, one.source, one.general)
            if one.source == "header" and one.general.startswith("location|"):
                _note_location(client, answer)
        for value, held in by_value.items():
            if value in client.strong or len(client.strong) >= MOST_VALUES:
                continue
            client.strong[value] = _Origin(answer.method, answer.pattern, tuple(held))
            if value in self.value_clients or len(self.value_clients) < MOST_COUNTED_VALUES:
                self.value_clients[value] = self.value_clients.get(value, 0) + 1

    def _note_place(self, client: _Client, answer: _Origin, source: Source, general: str) -> None:
        had = client.had_of(answer.method, answer.pattern)
        if not had.has(source, general) and client.places < MOST_VALUES:
            client.places += 1
            had.note(source, general)
            self.place_clients[TakeKey(answer.method, answer.pattern, source, general)] += 1

    def _compare(self, exchange: Exchange, client: _Client, carried: list[Place]) -> set[int]:
        """Counts what came back; gives the segments of the path that did."""
        if not client.had:
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
            value = hash(place.value)
            origin = client.strong.get(value)
            if place.kind == "header" and place.name in CONDITIONS:
                origin = client.validators.get(hash((exchange.path, place.value)), origin)
            if origin is not None and _is_plain_cookie(origin, place):
                continue
            if origin is None and followed is not None and place.kind in ("path", "query"):
                origin = _followed(followed, place)
            if origin is not None or value in client.weak or self.weak:
                use = UseKey(exchange.method, pattern, place.kind, general_name(place))
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
            if key not in holders and client.was_given(key):
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
