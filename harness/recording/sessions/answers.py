"""The values of a recorded answer that a request carries.

Takes an exchange and what requests carry, gives candidates: where each stands (as a `Take` says it), where it stands in
general (a list's items alike), and what its coming back would mean.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from pydantic_core import from_json

from harness.model.recording import Exchange
from harness.recording.sessions.carried import Carried
from harness.recording.sessions.distinct import Strength, is_variable, strength
from harness.recording.sessions.glance import MOST_ITEMS, Had, glance, parts_of_url
from harness.recording.sessions.json_leaves import json_path
from harness.recording.sessions.live import ReadAnswer, html_values, json_at, json_steps, set_cookies
from harness.recording.sessions.places import VALIDATORS
from harness.recording.sessions.steps import Source

MOST_CANDIDATES = 4096
"""Of one answer; what comes later in it is not looked at."""

MOST_BODY_BYTES = 8 * 2**20

_INDEX = re.compile(r"\[\d+\]")

SILENT_HEADERS = frozenset(
    {
        "accept-ranges",
        "access-control-allow-headers",
        "access-control-allow-methods",
        "access-control-allow-origin",
        "access-control-expose-headers",
        "age",
        "allow",
        "alt-svc",
        "cache-control",
        "connection",
        "content-encoding",
        "content-language",
        "content-length",
        "content-range",
        "content-security-policy",
        "content-type",
        "date",
        "expires",
        "keep-alive",
        "nel",
        "p3p",
        "pragma",
        "report-to",
        "retry-after",
        "server",
        "server-timing",
        "set-cookie",
        "strict-transport-security",
        "timing-allow-origin",
        "transfer-encoding",
        "vary",
        "via",
        "x-powered-by",
    }
)
"""Answer headers that say nothing that a client sends back."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """`general` is `path` with `[*]` for every index; `whole` the path and query of the URL that this is a part of."""

    source: Source
    path: str
    general: str
    value: str
    strength: Strength
    whole: str = ""


@dataclass(slots=True)
class Given:
    """What an answer gives. `values`: those that some request carries, in order of preference: where several hold one
    value, the first is the best place to take it from. `fresh`: other places at which the client was given nothing yet."""

    values: list[Candidate] = field(default_factory=list)
    fresh: set[tuple[Source, str]] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.values or self.fresh)


def reads_body(content_type: str) -> bool:
    """Whether anything is looked for in such a body. Nothing said: it may be JSON or HTML."""
    content_type = content_type.lower()
    return not content_type or "json" in content_type or "html" in content_type


def given(exchange: Exchange, carried: Carried, had: Had) -> Given:
    """What the exchange's answer gives to a client that had been given something at the places `had`."""
    answer = exchange.answer
    if answer.status < 100 or not (answer.headers or answer.body):
        return Given()
    body = answer.body if answer.body is not None and len(answer.body) <= MOST_BODY_BYTES else b""
    look = _Look(carried, had)
    look.answer(ReadAnswer(answer.status, answer.headers, body))
    return look.given


class _Look:
    """Gathers what counts in one answer."""

    def __init__(self, carried: Carried, had: Had) -> None:
        self.given = Given()
        self._carried = carried
        self._had = had

    def answer(self, read: ReadAnswer) -> None:
        content_type, body = read.by_name.get("content-type", "").lower(), read.body
        if "json" in content_type or (not content_type and body[:1] in (b"{", b"[")):
            self._json(_parsed(read))
        for name, value in read.by_name.items():
            if name in VALIDATORS:
                self._validator(name, value)
            elif name not in SILENT_HEADERS and not name.startswith("x-amz-cf-"):
                self._text("header", name, name, value, name)
        for name, value, deleted in set_cookies(read.headers):
            if not deleted:
                # Scripts that read a cookie decode it, as often as not one in which there is nothing to decode.
                self._value("cookie", f"{name}|decoded", f"{name}|decoded", unquote(value), name)
                self._text("cookie", name, name, value, name)
        if "html" in content_type or (not content_type and body.lstrip()[:1] == b"<"):
            for name, value in html_values(read.text):
                self._text("html", name, name, value, name)

    def _validator(self, name: str, value: str) -> None:
        if value in self._carried:
            self.given.values.append(Candidate("header", name, name, value, strength(value)))
        elif not self._had.has("header", name):
            self.given.fresh.add(("header", name))

    def _json(self, document: Any) -> None:
        seen = glance(document, self._carried, self._had)
        if seen.hits:
            self._leaves(document, (), seen.hits)
        self.given.fresh.update(("json", general) for general in seen.fresh)

    def _leaves(self, value: Any, steps: tuple[str | int, ...], hits: Collection[str | int]) -> None:
        """Where in the document the hits stand, in its order."""
        if isinstance(value, dict):
            for key, member in value.items():
                if not (isinstance(member, dict | list) and is_variable(key)):
                    self._leaves(member, (*steps, key), hits)
        elif isinstance(value, list):
            for number, item in enumerate(value[:MOST_ITEMS]):
                self._leaves(item, (*steps, number), hits)
        elif type(value) in (str, int) and value in hits and len(self.given.values) < MOST_CANDIDATES:
            path = json_path(steps)
            name = next((step for step in reversed(steps) if isinstance(step, str)), "")
            self._text("json", path, _INDEX.sub("[*]", path), str(value), name)

    def _text(self, source: Source, path: str, general: str, value: str, name: str) -> None:
        """The value itself, and its parts where it is a URL."""
        self._value(source, path, general, value, name)
        whole = ""
        for part, inner in parts_of_url(value):
            if part == "path":
                whole = inner
            else:
                self._value(source, f"{path}|{part}", f"{general}|{part}", inner, part, whole)

    def _value(self, source: Source, path: str, general: str, value: str, name: str, whole: str = "") -> None:
        is_carried = value in self._carried
        if not is_carried and self._had.has(source, general):
            return
        meaning = strength(value, name)
        if meaning is Strength.NONE:
            return
        if is_carried:
            self.given.values.append(Candidate(source, path, general, value, meaning, whole))
        else:
            self.given.fresh.add((source, general))


def _parsed(read: ReadAnswer) -> Any:
    """The body as JSON, by a parser twice as fast as the one for live answers; what that alone can read, by that."""
    try:
        return from_json(read.body, cache_strings="keys")
    except ValueError:
        return read.json


def concrete_paths(document: Any, path: str) -> list[str]:
    """The paths in this document that `a[*].b` stands for, at most `MOST_ITEMS`; the path itself where it has no star."""
    if "[*]" not in path:
        return [path]
    before, _, after = path.partition("[*]")
    items = json_at(document, json_steps(before or "$"))
    if not isinstance(items, list):
        return []
    paths: list[str] = []
    for number in range(min(len(items), MOST_ITEMS)):
        paths += concrete_paths(document, f"{before}[{number}]{after}")
        if len(paths) >= MOST_ITEMS:
            break
    return paths[:MOST_ITEMS]
