"""Every value of a recorded answer that a later request could carry.

Takes an exchange, gives candidates: where each stands (as a `Take` says it), where it stands in general (a list's items
alike), and what its coming back would mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from harness.model.recording import Exchange
from harness.recording.sessions.distinct import Strength, is_variable, strength
from harness.recording.sessions.json_leaves import json_path
from harness.recording.sessions.live import (
    ReadAnswer,
    html_values,
    json_at,
    json_steps,
    json_text,
    set_cookies,
    url_parts,
)
from harness.recording.sessions.steps import Source

MOST_CANDIDATES = 4096
"""Of one answer; what comes later in it is not looked at."""

MOST_ITEMS = 256
MOST_BODY_BYTES = 8 * 2**20

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

VALIDATORS = frozenset({"etag", "last-modified"})
"""Headers that a client sends back to the same URL by the rules of HTTP, however little chance is in them."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """`general` is `path` with `[*]` for every index; `whole` the path and query of the URL that this is a part of."""

    source: Source
    path: str
    general: str
    value: str
    strength: Strength
    whole: str = ""


def candidates(exchange: Exchange) -> list[Candidate]:
    """In order of preference: where several hold one value, the first is the best place to take it from."""
    answer = exchange.answer
    if answer.status < 100 or not (answer.headers or answer.body):
        return []
    found: list[Candidate] = []
    body = answer.body if answer.body is not None and len(answer.body) <= MOST_BODY_BYTES else b""
    read = ReadAnswer(answer.status, answer.headers, body)
    content_type = read.by_name.get("content-type", "").lower()
    for one in _all(read, content_type, body):
        found.append(one)
        if len(found) >= MOST_CANDIDATES:
            break
    return found


def _all(read: ReadAnswer, content_type: str, body: bytes) -> Iterator[Candidate]:
    if "json" in content_type or (not content_type and body[:1] in (b"{", b"[")):
        yield from _of_json(read.json, ())
    for name, value in read.by_name.items():
        if name not in SILENT_HEADERS and not name.startswith("x-amz-cf-"):
            yield from _of_header(name, value)
    for name, value, deleted in set_cookies(read.headers):
        if not deleted:
            # Scripts that read a cookie decode it, as often as not one in which there is nothing to decode.
            yield from _of_text("cookie", f"{name}|decoded", f"{name}|decoded", value, name, decode=True)
            yield from _of_text("cookie", name, name, value, name)
    if "html" in content_type or (not content_type and body.lstrip()[:1] == b"<"):
        for name, value in html_values(read.text):
            yield from _of_text("html", name, name, value, name)


def _of_header(name: str, value: str) -> Iterator[Candidate]:
    if name in VALIDATORS:
        yield Candidate("header", name, name, value, strength(value))
    else:
        yield from _of_text("header", name, name, value, name)


def _of_json(value: Any, steps: tuple[str | int, ...]) -> Iterator[Candidate]:
    if isinstance(value, dict):
        for key, member in value.items():
            if not (
                isinstance(member, dict | list) and is_variable(key)
            ):  # rules cannot name a key that varies
                yield from _of_json(member, (*steps, key))
    elif isinstance(value, list):
        for number, item in enumerate(value[:MOST_ITEMS]):
            yield from _of_json(item, (*steps, number))
    else:
        text = None if isinstance(value, bool) else json_text(value)
        if text:
            path = json_path(steps)
            name = next((step for step in reversed(steps) if isinstance(step, str)), "")
            yield from _of_text("json", path, _INDEX.sub("[*]", path), text, name)


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


_INDEX = re.compile(r"\[\d+\]")
_URL = re.compile(r"(?:https?:)?//|/|\?")


def _of_text(
    source: Source, path: str, general: str, value: str, name: str, decode: bool = False
) -> Iterator[Candidate]:
    """The value itself, and its parts where it is a URL."""
    if decode:
        value = unquote(value)
    meaning = strength(value, name)
    if meaning is not Strength.NONE:
        yield Candidate(source, path, general, value, meaning)
    if not decode and len(value) <= 4096 and _URL.match(value):
        whole = ""
        for part, inner, _, _ in url_parts(value):
            whole = inner if part == "path" else whole
            meaning = strength(inner, part)
            if part != "path" and meaning is not Strength.NONE:
                yield Candidate(source, f"{path}|{part}", f"{general}|{part}", inner, meaning, whole)
