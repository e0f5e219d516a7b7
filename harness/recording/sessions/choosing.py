"""From what came back how often to rules: which pairs of places are evidence, and from where each value is best taken.

Takes the counts that `finding.py` made, gives `SessionRule`s, named, ordered and written as generally as they hold.
"""

from __future__ import annotations

import functools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from harness.recording.sessions.patterns import ANY, OPEN, path_segments
from harness.recording.sessions.places import VALIDATORS, PlaceKind
from harness.recording.sessions.rules import SessionRule, Support, TakenFrom, UsedIn
from harness.recording.sessions.steps import Source

MOST_KEPT = 256
"""Values, clients and kinds of evidence that one pair keeps."""

MOST_EXAMPLES = 3
MOST_CONSTANT_SHARE = 0.5
"""A value that this share of the clients were given, and two at least, belongs to none of them."""

WEAK = {"same": (1, 0.5), "related": (2, 0.5), "": (3, 0.9)}
"""When small numbers are believed, by how the names of both places go together: differing values that were seen, and how
often the request carried what the answer gave, of the times when the client had been given something there."""

GENERAL_FROM = 3
"""So many routes with the same place make `*` of them."""


class TakeKey(NamedTuple):
    """A place in the answers of one route."""

    method: str
    pattern: str
    source: Source
    general: str


class UseKey(NamedTuple):
    """A place in the requests of one route; indices in JSON are `[*]`."""

    method: str
    pattern: str
    kind: PlaceKind
    name: str


class Match(NamedTuple):
    """One of the places of an answer that held the value."""

    source: Source
    general: str
    path: str


@dataclass
class Pair:
    """What came back from one route's answers in one place of requests, and how often."""

    order: int
    uses: int = 0
    missed: int = 0
    values: set[int] = field(default_factory=set)
    clients: set[str] = field(default_factory=set)
    holders: Counter[tuple[tuple[Source, str], ...]] = field(default_factory=Counter)
    concrete: dict[tuple[Source, str], set[str]] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)

    def count(self, client: str, value: int, example: str) -> None:
        """One more use."""
        self.uses += 1
        if len(self.values) < MOST_KEPT:
            if value not in self.values and example and len(self.examples) < MOST_EXAMPLES:
                self.examples.append(example)
            self.values.add(value)
        if len(self.clients) < MOST_KEPT:
            self.clients.add(client)

    def held(self, matches: Iterable[Match]) -> None:
        """All places of the answer that held the value, the best first."""
        matches = tuple(matches)
        places = tuple(dict.fromkeys((match.source, match.general) for match in matches))
        if len(self.holders) < MOST_KEPT or places in self.holders:
            self.holders[places] += 1
        for match in matches:
            paths = self.concrete.setdefault((match.source, match.general), set())
            if len(paths) < 2:
                paths.add(match.path)

    @property
    def support(self) -> Support:
        return Support(uses=self.uses, values=len(self.values), clients=len(self.clients))


@dataclass(frozen=True)
class _Chosen:
    """One taken place with one use."""

    order: int
    taken: TakeKey
    path: str
    use: UseKey
    support: Support
    examples: tuple[str, ...]


def rules_of(
    strong: Mapping[tuple[str, str, UseKey], Pair],
    weak: Mapping[UseKey, Mapping[TakeKey, Pair]],
    place_clients: Mapping[TakeKey, int],
    value_clients: Mapping[int, int],
) -> tuple[SessionRule, ...]:
    """The rules that these pairs are evidence for. `place_clients`: how many clients were given something at a place;
    `value_clients`: how many were given that value."""
    chosen: list[_Chosen] = []
    for (method, pattern, use), pair in strong.items():
        for source, general in _cover(pair.holders):
            taken = TakeKey(method, pattern, source, general)
            constant = _is_constant(pair, place_clients.get(taken, 1), value_clients)
            if general in VALIDATORS or not constant:
                chosen.append(_choice(pair, taken, use))
    settled = {(one.taken.method, one.taken.pattern, one.use) for one in chosen}
    for use, pairs in weak.items():
        believed = {taken: pair for taken, pair in pairs.items() if _is_believed(taken, use, pair)}
        by_route: dict[tuple[str, str], list[TakeKey]] = defaultdict(list)
        for taken in believed:
            by_route[taken.method, taken.pattern].append(taken)
        for route, takes in by_route.items():
            if (*route, use) not in settled:
                best = max(takes, key=lambda taken: (believed[taken].uses, -len(taken.general), taken))
                chosen.append(_choice(believed[best], best, use))
    return _written(sorted(chosen, key=lambda one: one.order))


def _choice(pair: Pair, taken: TakeKey, use: UseKey) -> _Chosen:
    paths = pair.concrete[taken.source, taken.general]
    path = next(iter(paths)) if len(paths) == 1 else taken.general
    return _Chosen(pair.order, taken, path, use, pair.support, tuple(pair.examples))


def _cover(holders: Counter[tuple[tuple[Source, str], ...]]) -> list[tuple[Source, str]]:
    """The fewest places from which every value could have been taken: each time the one that held most of the rest."""
    left = dict(holders)
    best: list[tuple[Source, str]] = []
    while left:
        totals: dict[tuple[Source, str], tuple[int, bool, int]] = {}
        for places, count in left.items():
            for rank, place in enumerate(places):
                so_far, _, least = totals.get(place, (0, False, rank))
                totals[place] = (so_far + count, "[*]" not in place[1], min(least, rank))
        place = max(totals, key=lambda name: (totals[name][0], totals[name][1], -totals[name][2]))
        best.append(place)
        left = {places: count for places, count in left.items() if place not in places}
    return best


def _is_constant(pair: Pair, clients: int, value_clients: Mapping[int, int]) -> bool:
    """Whether nearly all its values went to most clients alike."""
    if clients < 2:
        return False
    least = max(2.0, MOST_CONSTANT_SHARE * clients)
    shared = sum(1 for value in pair.values if value_clients.get(value, 1) >= least)
    return shared >= 0.9 * len(pair.values)


def _is_believed(taken: TakeKey, use: UseKey, pair: Pair) -> bool:
    """Whether small numbers came back so often that it was no accident."""
    relation = _relation(taken, use)
    if "[*]" in taken.general and not relation:
        return False  # a list of small numbers holds any small number
    least, share = WEAK["related" if relation and "[*]" in taken.general else relation]
    return len(pair.values) >= least and pair.uses >= share * (pair.uses + pair.missed)


@functools.lru_cache(maxsize=65_536)
def may_be_believed(general: str) -> bool:
    """Whether small numbers at this place of answers can make a rule at all, whatever request carries them.

    Those in lists cannot unless the place is called an identifier: `_relation` gives nothing then.
    """
    return "[*]" not in general or _plain(general).endswith(_IDENTIFIERS)


_IDENTIFIERS = ("id", "key", "number", "no", "code", "token", "ref", "uuid", "version", "revision")


def _relation(taken: TakeKey, use: UseKey) -> Literal["same", "related", ""]:
    """Whether both places speak of the same thing: `order.id`, or `id` of `POST /orders`, with `/orders/{}` or
    `order_id` do; `id` with `/invoices/{}` or `number` with `invoice_number` may."""
    given = _plain(taken.general)
    if taken.source == "header" and "|" in taken.general:
        return "related" if use.kind == "path" else ""
    if not given.endswith(_IDENTIFIERS):
        return ""
    things = {_singular(word) for word in (*_names(taken.general)[:-1], *_literals(taken.pattern)[-1:])}
    if use.kind == "path":
        segments = path_segments(use.pattern)
        at = int(use.name[len("segment[") : -1])
        thing = _singular(segments[at - 1]) if at else ""
        return "same" if thing in things or given in {thing + end for end in _IDENTIFIERS} else "related"
    wanted = _plain(use.name)
    if wanted in {thing + end for thing in things for end in ("", given)} or (
        wanted == given and given not in _IDENTIFIERS
    ):
        return "same"
    return "related" if wanted.endswith(given) or given.endswith(wanted) else ""


def _literals(pattern: str) -> list[str]:
    return [word for word in pattern.strip("/").split("/") if word not in (OPEN, ANY, "")]


def _singular(word: str) -> str:
    plain = re.sub(r"[^a-z0-9]", "", word.lower())
    return plain[:-3] + "y" if plain.endswith("ies") else plain.removesuffix("s")


def _names(path: str) -> list[str]:
    """The keys of a path, without indices."""
    return re.findall(r"[A-Za-z0-9_-]+", re.sub(r"\[[\d*]+\]", "", path.partition("|")[0]))


def _plain(path: str) -> str:
    """The last name of a path, letters and digits alone."""
    return re.sub(r"[^a-z0-9]", "", (_names(path) or [""])[-1].lower())


def _written(chosen: list[_Chosen]) -> tuple[SessionRule, ...]:
    """One rule for each place that values are taken from."""
    taken_routes: dict[tuple[Source, str], set[tuple[str, str]]] = defaultdict(set)
    for one in chosen:
        taken_routes[one.taken.source, one.path].add((one.taken.method, one.taken.pattern))
    grouped: dict[TakeKey, list[_Chosen]] = defaultdict(list)
    for one in chosen:
        method, pattern = one.taken.method, one.taken.pattern
        everywhere = len(taken_routes[one.taken.source, one.path]) >= GENERAL_FROM
        if everywhere and one.taken.source in ("html", "header", "cookie"):
            method, pattern = ANY, ANY
        grouped[TakeKey(method, pattern, one.taken.source, one.path)].append(one)
    names: Counter[str] = Counter()
    rules = []
    for taken, uses in grouped.items():
        name = _name(taken)
        names[name] += 1
        examples = tuple(dict.fromkeys(example for one in uses for example in one.examples))
        rules.append(
            SessionRule(
                name=name if names[name] == 1 else f"{name}.{names[name]}",
                taken_from=TakenFrom(
                    method=taken.method, route=taken.pattern, source=taken.source, path=taken.general
                ),
                used_in=_uses(uses),
                examples=examples[:MOST_EXAMPLES],
            )
        )
    return tuple(rules)


def _uses(chosen: list[_Chosen]) -> tuple[UsedIn, ...]:
    """The uses, with `*` for the route where a place is the same on several routes."""
    routes: dict[tuple[PlaceKind, str], set[tuple[str, str]]] = defaultdict(set)
    for one in chosen:
        routes[one.use.kind, one.use.name].add((one.use.method, one.use.pattern))
    merged: dict[UseKey, Support] = {}
    for one in chosen:
        use = one.use
        if use.kind not in ("path", "json") and len(routes[use.kind, use.name]) >= GENERAL_FROM:
            use = UseKey(ANY, ANY, use.kind, use.name)
        merged[use] = _sum(merged.get(use), one.support)
    return tuple(
        UsedIn(method=use.method, route=use.pattern, place=use.kind, name=use.name, support=support)
        for use, support in merged.items()
    )


def _sum(one: Support | None, other: Support) -> Support:
    """Uses add up; of values and clients at least so many."""
    if one is None:
        return other
    return Support(
        uses=one.uses + other.uses,
        values=max(one.values, other.values),
        clients=max(one.clients, other.clients),
    )


def _name(taken: TakeKey) -> str:
    """Such as `orders-id`: the route's last word and the value's own."""
    parts = [*_literals(taken.pattern)[-1:], *re.split(r"[^A-Za-z0-9]+", taken.general.split("|")[0])[-2:]]
    name = re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")
    return name[:50].strip("-") or "value"
