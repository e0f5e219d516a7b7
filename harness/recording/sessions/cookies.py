"""The cookies of one client: which cookie of a request was set by which answer, and what goes out live in its place.

Takes the rule for cookies, requests' cookies and answers in order of time; gives slots and takes. A cookie has one slot
from the answer that set it first on: an answer to a request that carried it renews it, recorded and live. So two browsers
behind one address keep theirs apart.

* A cookie that a recorded answer set, and that the client then sent, goes out with its newest live value. Where no live
  answer set it, it goes out as recorded. Where the exchange that should have set it failed, the client falls out: the
  slot of a *guard*, which only an answer below 400 fills with nothing, stands before it.
* A cookie that no recorded answer set (or that the client changed since) goes out as recorded, until a live answer to a
  request that carried it sets it.
* Values without chance in them (`lang=en`), and loose cookies (of load balancers, analytics), have no guard, and nobody
  waits for them.

A cookie that only live answers set and that the recording never names is not sent. What a live answer deletes is sent
on where the recording sends it.
"""

from __future__ import annotations

import fnmatch
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness.model.recording import Exchange
from harness.recording.sessions.distinct import Strength, strength
from harness.recording.sessions.live import set_cookies
from harness.recording.sessions.rules import CookieRule
from harness.recording.sessions.steps import Slot, Take

MOST_VALUES = 2_000
"""Recorded values of cookies that are remembered for one client."""


@dataclass(frozen=True, slots=True)
class Cookie:
    """One cookie of one browser."""

    name: str
    slot: int


@dataclass(frozen=True, slots=True)
class Carried:
    """A cookie with the value that a request carries: whose answer set that value (-1: nobody waits) and its guard."""

    cookie: Cookie
    seq: int = -1
    guard: int = -1

    def slots(self, value: str) -> tuple[Slot, ...]:
        """What stands in the request in the value's place."""
        slot = Slot(self.cookie.slot, "raw", value)
        return (slot,) if self.guard < 0 else (Slot(self.guard, "raw"), slot)


class Jar:
    """See the module. `numbers` gives the planner's next slot."""

    def __init__(self, rule: CookieRule, numbers: Iterator[int]) -> None:
        self._rule = rule
        self._numbers = numbers
        self._values: OrderedDict[tuple[str, str], Carried] = OrderedDict()
        self._coming: dict[int, list[tuple[str, Carried]]] = {}

    def carried(self, name: str, value: str) -> Carried | None:
        """The cookie of a recorded request; None: as recorded."""
        if not self._rule.enabled:
            return None
        known = self._values.get((name, _plain(value)))
        if known is None and not self._is_loose(name):
            known = Carried(Cookie(name, next(self._numbers)))
            self._remember(value, known)
        return known

    def takes(self, exchange: Exchange, carried: Mapping[str, Cookie]) -> list[Take]:
        """What the live answer may set: the cookies that the request carried, and those that the recorded answer set."""
        if not self._rule.enabled:
            return []
        cookies = dict(carried)
        guard = -1
        takes: list[Take] = []
        coming: list[tuple[str, Carried]] = []
        for name, value, deleted in set_cookies(exchange.answer.headers):
            if deleted:
                continue
            cookie = cookies.setdefault(name, Cookie(name, next(self._numbers)))
            known = self._values.get((name, _plain(value)))
            if known is not None and known.cookie == cookie:
                continue  # renewed, not changed
            if self._is_loose(name) or strength(_plain(value)) is not Strength.STRONG:
                coming.append((value, Carried(cookie)))
                continue
            if guard < 0 and 100 <= exchange.answer.status < 400:
                guard = next(self._numbers)
                takes.append(Take(guard, "status", "ok"))
            coming.append((value, Carried(cookie, exchange.seq, guard)))
        if coming:
            self._coming[exchange.seq] = coming
        return takes + [Take(cookie.slot, "cookie", cookie.name) for cookie in cookies.values()]

    def arrive(self, seq: int) -> None:
        """The answer of that exchange is there: what it set can be carried from now on."""
        for value, carried in self._coming.pop(seq, ()):
            self._remember(value, carried)

    def _remember(self, value: str, carried: Carried) -> None:
        self._values[carried.cookie.name, _plain(value)] = carried
        if len(self._values) > MOST_VALUES:
            self._values.popitem(last=False)

    def _is_loose(self, name: str) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self._rule.loose)


def _plain(value: str) -> str:
    """Without quotes: some clients send them back and some do not."""
    return value[1:-1] if len(value) >= 2 and value[0] == value[-1] == '"' else value
