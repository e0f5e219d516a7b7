"""Turns a recording's exchanges into steps: requests with slots where values of live answers go.

Takes session rules and exchanges in order of time, gives `Steps` (what the load generator sends and looks for). The
recorded answers are read as the live ones will be (`live.py`): where a recorded request carries what a recorded answer
gave, by a rule, the live request carries what the live answer gives there. State is kept a client and is bounded.

Pairs of places alone decide where a slot may go, and equal values where it does go: a request that carried something
else than the answer gave stays as it was recorded.

A *thread* is what hangs together by values: a request belongs to the thread of the answer that it carries something of.
One client may have several (people behind one address); only within a thread does a request wait for the answer before.
"""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from harness.model.recording import Exchange
from harness.recording.sessions.answers import concrete_paths
from harness.recording.sessions.cookies import Cookie, Jar
from harness.recording.sessions.live import ReadAnswer, split_path
from harness.recording.sessions.patterns import ANY, matches
from harness.recording.sessions.places import BODY, PATH, Place, body_form, general_name, places
from harness.recording.sessions.rules import SessionRules
from harness.recording.sessions.steps import Slot, Steps, Take, Template
from harness.recording.sessions.times import arrived_ns, has_arrived

MOST_CLIENTS = 50_000
MOST_VALUES = 10_000
"""Kept a client; the oldest are forgotten first, and requests that carry them stay as recorded."""

MOST_TAKES = 512
"""Of one answer."""

_BODY_KINDS = frozenset({"json", "form", "multipart"})


@dataclass(frozen=True, slots=True)
class _Held:
    """A slot that a recorded answer gave its value to."""

    slot: int
    seq: int
    path: str


@dataclass
class _Thread:
    """The answer of it that arrived last."""

    last_seq: int = -1
    last_ns: int = 0


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a recorded answer gives from when it arrived: by rule and hash of the value."""

    seq: int
    thread: _Thread
    held: tuple[tuple[int, int, _Held], ...]


@dataclass
class _Client:
    jar: Jar
    values: OrderedDict[tuple[int, int], list[_Held]] = field(default_factory=OrderedDict)
    coming: list[tuple[int, int, _Answer]] = field(default_factory=list)
    threads: OrderedDict[int, _Thread] = field(default_factory=OrderedDict)
    """By seq, of answers that gave something."""


@dataclass(frozen=True, slots=True)
class _Put:
    """Slots in a request's text, and whose answer they need (-1: none)."""

    place: Place
    slots: tuple[Slot, ...]
    seq: int
    cookie: Cookie | None = None


class SessionPlanner:
    """Plans a recording's exchanges one after another. Exchanges whose client is not known stay as recorded."""

    def __init__(self, rules: SessionRules, most_clients: int = MOST_CLIENTS) -> None:
        self._rules = rules.enabled
        self._cookies = rules.cookies
        self._most_clients = most_clients
        self._clients: OrderedDict[str, _Client] = OrderedDict()
        self._numbers = itertools.count()
        self._uses: dict[tuple[str, str], list[tuple[int, str, str]]] = defaultdict(list)
        for number, rule in enumerate(self._rules):
            for use in rule.used_in:
                name = use.name.lower() if use.place == "header" else use.name
                self._uses[use.place, name].append((number, use.method, use.route))
        self._reads_bodies = any(kind in _BODY_KINDS for kind, _ in self._uses)

    def plan(self, exchange: Exchange) -> Steps:
        """The exchange's steps. Call it for every exchange that is sent, in order of time."""
        if not exchange.client or not (self._rules or self._cookies.enabled):
            return _steps(exchange, [])
        client = self._client(exchange.client)
        while client.coming and has_arrived(client.coming[0][0], exchange.at_ns):
            self._arrive(client, *heapq.heappop(client.coming))
        puts = _without_overlaps(self._puts(exchange, client))
        carried = sorted({put.seq for put in puts if put.seq in client.threads}, reverse=True)
        thread = client.threads[carried[0]] if carried else _Thread()
        takes = self._takes(exchange, client, thread, puts)
        if not carried:
            return _steps(exchange, puts, takes)
        needs = tuple(seq for seq in carried if seq != thread.last_seq)
        think_ns = max(exchange.at_ns - thread.last_ns, 0)
        return _steps(exchange, puts, takes, thread.last_seq, think_ns, needs)

    def forget(self, client: str) -> None:
        """That client sends nothing more; its memory is freed."""
        self._clients.pop(client, None)

    def _client(self, name: str) -> _Client:
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = _Client(Jar(self._cookies, self._numbers))
            if len(self._clients) > self._most_clients:
                self._clients.popitem(last=False)
        self._clients.move_to_end(name)
        return client

    def _arrive(self, client: _Client, at_ns: int, _: int, answer: _Answer) -> None:
        for rule, value, held in answer.held:
            known = client.values.setdefault((rule, value), [])
            known.append(held)
            del known[:-4]
            client.values.move_to_end((rule, value))
        while len(client.values) > MOST_VALUES:
            client.values.popitem(last=False)
        client.jar.arrive(answer.seq)
        answer.thread.last_seq, answer.thread.last_ns = answer.seq, at_ns

    def _puts(self, exchange: Exchange, client: _Client) -> Iterator[_Put]:
        for place in places(exchange, body=self._reads_bodies):
            held = self._held(exchange, client, place)
            if held is not None:
                yield _Put(place, (Slot(held.slot, place.encoding),), held.seq)
            elif place.kind == "cookie":
                carried = client.jar.carried(place.name, place.value)
                if carried is not None:
                    yield _Put(place, carried.slots(place.value), carried.seq, carried.cookie)

    def _held(self, exchange: Exchange, client: _Client, place: Place) -> _Held | None:
        """The newest slot with this recorded value that a rule allows here; one of the same path before others."""
        uses = self._uses.get((place.kind, place.name), [])
        general = general_name(place)
        if general != place.name:
            uses = uses + self._uses.get((place.kind, general), [])
        found: list[_Held] = []
        for rule, method, route in uses:
            known = client.values.get((rule, hash(place.value)))
            if known and method in (ANY, exchange.method) and matches(route, _bare(exchange.path)):
                found += known
        return max(found, key=lambda held: (held.path == _bare(exchange.path), held.seq), default=None)

    def _takes(
        self, exchange: Exchange, client: _Client, thread: _Thread, puts: list[_Put]
    ) -> tuple[Take, ...]:
        """What is looked for in the live answer; what the recorded one gives is noted for when it arrived."""
        answer = exchange.answer
        read = ReadAnswer(answer.status, answer.headers, answer.body or b"")
        slots: dict[tuple[str, str], Take] = {}
        held: list[tuple[int, int, _Held]] = []
        for number, rule in enumerate(self._rules):
            taken = rule.taken_from
            if taken.method not in (ANY, exchange.method) or not matches(taken.route, _bare(exchange.path)):
                continue
            for path in _paths(read, taken.source, taken.path):
                value = read.value(taken.source, path)
                if value is None or len(slots) >= MOST_TAKES:
                    continue
                take = slots.get((taken.source, path))
                if take is None:
                    take = slots[taken.source, path] = Take(next(self._numbers), taken.source, path)
                held.append((number, hash(value), _Held(take.slot, exchange.seq, _bare(exchange.path))))
        cookies = {put.cookie.name: put.cookie for put in puts if put.cookie is not None}
        takes = (*slots.values(), *client.jar.takes(exchange, cookies))
        if answer.status >= 100:
            given = _Answer(exchange.seq, thread, tuple(held))
            heapq.heappush(client.coming, (arrived_ns(exchange), exchange.seq, given))
            if takes:
                client.threads[exchange.seq] = thread
                if len(client.threads) > MOST_VALUES:
                    client.threads.popitem(last=False)
        return takes


def plan_all(exchanges: Iterable[Exchange], rules: SessionRules) -> dict[int, Steps]:
    """The steps of all these exchanges, in order of time, by seq: planned once for all arms and units of a run."""
    planner = SessionPlanner(rules)
    return {exchange.seq: planner.plan(exchange) for exchange in exchanges}


def _paths(read: ReadAnswer, source: str, path: str) -> list[str]:
    if source != "json" or "[*]" not in path:
        return [path]
    whole, part = split_path(path)
    return [f"{one}|{part}" if part else one for one in concrete_paths(read.json, whole)]


def _bare(path: str) -> str:
    return path.partition("?")[0]


def _without_overlaps(puts: Iterator[_Put]) -> list[_Put]:
    """Of places that lie within each other the first, which is the larger one; in order of the text."""
    kept: list[_Put] = []
    for put in puts:
        here = put.place
        if all(
            other.place.target != here.target
            or other.place.stop <= here.start
            or here.stop <= other.place.start
            for other in kept
        ):
            kept.append(put)
    return sorted(kept, key=lambda put: (put.place.target, put.place.start))


def _steps(
    exchange: Exchange,
    puts: list[_Put],
    takes: tuple[Take, ...] = (),
    waits_for: int = -1,
    think_ns: int = 0,
    needs: tuple[int, ...] = (),
) -> Steps:
    by_target: dict[int, list[_Put]] = defaultdict(list)
    for put in puts:
        by_target[put.place.target].append(put)
    headers = tuple(
        (name, _template(value, by_target.get(target, ())) if target in by_target else (_bytes(value),))
        for target, (name, value) in enumerate(exchange.headers)
    )
    body: Template = (exchange.body,) if exchange.body else ()
    if BODY in by_target:
        codec = body_form(exchange.headers, exchange.body).codec
        body = _template(exchange.body.decode(codec), by_target[BODY], codec)
    return Steps(_template(exchange.path, by_target[PATH]), headers, body, takes, waits_for, think_ns, needs)


def _template(text: str, puts: list[_Put] | tuple[()], codec: str = "") -> Template:
    parts: list[bytes | Slot] = []
    at = 0
    for put in puts:
        start = put.place.start
        if text[at:start]:
            parts.append(_bytes(text[at:start], codec))
        parts += put.slots
        at = put.place.stop
    if text[at:] or not parts:
        parts.append(_bytes(text[at:], codec))
    return tuple(parts)


def _bytes(text: str, codec: str = "") -> bytes:
    """As a request carries it: headers in Latin-1, whatever they hold beyond that in UTF-8."""
    try:
        return text.encode(codec or "latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", errors="surrogatepass")
