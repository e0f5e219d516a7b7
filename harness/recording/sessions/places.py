"""Every place of a request where a value stands: path segments, query, headers, cookies, JSON, form and multipart fields.

Takes an exchange, gives places with the decoded value, where exactly it is written and in which encoding, so that
finding can compare values and planning can put a slot there without touching another byte.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args
from urllib.parse import unquote_to_bytes

from harness.model.recording import Exchange, Headers
from harness.recording.sessions.json_leaves import json_leaves
from harness.recording.sessions.live import form_pairs, url_parts
from harness.recording.sessions.steps import Encoding

PlaceKind = Literal["path", "query", "header", "cookie", "json", "form", "multipart"]
KINDS: tuple[PlaceKind, ...] = get_args(PlaceKind)

PATH, BODY = -2, -1
"""Targets that are no header; a header's target is its place among the headers."""

MOST_BODY_BYTES = 4 * 2**20
"""Larger request bodies are sent as recorded."""

MOST_FIELD_CHARS = 256 * 1024

SILENT_HEADERS = frozenset(
    {
        "accept",
        "accept-charset",
        "accept-encoding",
        "accept-language",
        "cache-control",
        "content-encoding",
        "content-type",
        "date",
        "dnt",
        "from",
        "origin",
        "pragma",
        "priority",
        "range",
        "te",
        "trailer",
        "upgrade",
        "upgrade-insecure-requests",
        "user-agent",
        "via",
    }
)
"""Request headers that carry nothing that an answer gave."""

_INDEX = re.compile(r"\[\d+\]")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9-]*) +(\S+)")
_ETAGS = re.compile(r'(?:W/)?"[^"]*"')
_ETAG_HEADERS = frozenset({"if-match", "if-none-match", "if-range"})
VALIDATORS = frozenset({"etag", "last-modified"})
"""Headers of answers that a client sends back to the same URL by the rules of HTTP, however little chance is in them."""

CONDITIONS = _ETAG_HEADERS | {"if-modified-since", "if-unmodified-since"}
"""Request headers that repeat what an answer to the same URL said of its version."""

_COOKIE = re.compile(r"\s*([^=;\s]+)\s*=\s*([^;]*?)\s*(?:;|$)")
_BOUNDARY = re.compile(r'boundary="?([^";,]+)"?', re.IGNORECASE)
_FIELD_NAME = re.compile(r'(?<![\w-])name="((?:[^"\\]|\\.)*)"|(?<![\w-])name=([^;\s]+)', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Place:
    """One value of a request. `name` as rules say it (with `|PART` for a part of a value); `start` and `stop` count
    characters of the target's text (`target_text`)."""

    kind: PlaceKind
    name: str
    value: str
    target: int
    start: int
    stop: int
    encoding: Encoding


@dataclass(frozen=True)
class BodyForm:
    """What a body is, and the codec in which its text has the places that `Place` names."""

    kind: Literal["json", "form", "multipart", ""]
    codec: Literal["utf-8", "latin-1"] = "latin-1"


def body_form(headers: Headers, body: bytes) -> BodyForm:
    """By the content type, or by its looks where there is none."""
    if not body or len(body) > MOST_BODY_BYTES:
        return BodyForm("")
    content_type = next((value.lower() for name, value in headers if name == "content-type"), "")
    if "json" in content_type or (not content_type and body[:1] in b"{["):
        try:
            body.decode("utf-8")
        except UnicodeDecodeError:
            return BodyForm("")
        return BodyForm("json", "utf-8")
    if "x-www-form-urlencoded" in content_type:
        return BodyForm("form")
    return BodyForm("multipart" if content_type.startswith("multipart/") else "")


def general_name(place: Place) -> str:
    """The name as rules write it: any item of a JSON list is `[*]`."""
    return _INDEX.sub("[*]", place.name) if place.kind == "json" else place.name


def target_text(exchange: Exchange, target: int) -> str:
    """The text that a place's `start` and `stop` count in."""
    if target == PATH:
        return exchange.path
    if target == BODY:
        return exchange.body.decode(body_form(exchange.headers, exchange.body).codec)
    return exchange.headers[target][1]


def places(exchange: Exchange, body: bool = True) -> Iterator[Place]:
    """All of them; a value and its parts (a URL's segments, what follows `Bearer`) are places of their own, the whole
    first."""
    yield from _places_of_path(exchange.path)
    yield from _places_of_headers(exchange.headers)
    if body and exchange.body:
        yield from _places_of_body(exchange.headers, exchange.body)


@functools.lru_cache(maxsize=4_096)
def _places_of_path(path: str) -> tuple[Place, ...]:
    """Segments and query."""
    return tuple(_of_path(path))


def _places_of_headers(headers: Headers) -> Iterator[Place]:
    """Headers and cookies."""
    for target, (name, value) in enumerate(headers):
        if name not in SILENT_HEADERS and not name.startswith("sec-"):
            yield from _of_header(name, value, target)


def _places_of_body(headers: Headers, body: bytes) -> Iterator[Place]:
    """Fields of a body that is JSON, a form or multipart."""
    form = body_form(headers, body)
    if not form.kind:
        return
    text = body.decode(form.codec)
    if form.kind == "json":
        yield from _of_json(text)
    elif form.kind == "form":
        yield from _of_form(text)
    else:
        content_type = next(value for name, value in headers if name == "content-type")
        yield from _of_multipart(text, content_type)


def _of_path(path: str) -> Iterator[Place]:
    for name, value, start, stop in url_parts(path):
        if name.startswith("segment"):
            yield Place("path", name, value, PATH, start, stop, "url")
        elif name.startswith("query"):
            field = name[len("query[") : -1]
            yield Place("query", field, value, PATH, start, stop, "url")
            yield from _nested("query", field, path, PATH, start, stop, "url+url")


@functools.lru_cache(maxsize=4_096)
def _of_header(name: str, value: str, target: int) -> tuple[Place, ...]:
    """Clients send most of their headers again and again."""
    return tuple(_of_cookies(value, target) if name == "cookie" else _of_plain_header(name, value, target))


def _of_plain_header(name: str, value: str, target: int) -> Iterator[Place]:
    if name in _ETAG_HEADERS:
        for tag in _ETAGS.finditer(value):
            yield Place("header", name, tag[0], target, tag.start(), tag.end(), "raw")
        return
    yield Place("header", name, value, target, 0, len(value), "raw")
    scheme = _SCHEME.fullmatch(value)
    if scheme is not None:
        yield Place("header", name, scheme[2], target, scheme.start(2), scheme.end(2), "raw")
    elif _is_url(value):
        for part, inner, start, stop in url_parts(value):
            if part != "path":
                yield Place("header", f"{name}|{part}", inner, target, start, stop, "url")


def _of_cookies(value: str, target: int) -> Iterator[Place]:
    for cookie in _COOKIE.finditer(value):
        if cookie[2]:
            yield Place("cookie", cookie[1], cookie[2], target, cookie.start(2), cookie.end(2), "raw")


def _of_form(text: str) -> Iterator[Place]:
    for name, value, start, stop in form_pairs(text):
        # __VIEWSTATE and its like are large.
        if stop - start <= MOST_FIELD_CHARS or name.startswith("__"):
            yield Place("form", name, value, BODY, start, stop, "form")
            yield from _nested("form", name, text, BODY, start, stop, "url+form")


def _of_json(text: str) -> Iterator[Place]:
    try:
        leaves = json_leaves(text)
    except (ValueError, RecursionError):
        return
    for leaf in leaves:
        if not leaf.is_string:
            if leaf.value not in ("true", "false", "null"):
                yield Place("json", leaf.path, leaf.value, BODY, leaf.start, leaf.stop, "json_value")
            continue
        yield Place("json", leaf.path, leaf.value, BODY, leaf.start, leaf.stop, "json")
        if _is_url(leaf.value) and text[leaf.start : leaf.stop] == leaf.value:
            for part, inner, start, stop in url_parts(leaf.value):
                if part != "path":
                    at = leaf.start
                    yield Place("json", f"{leaf.path}|{part}", inner, BODY, at + start, at + stop, "url")


def _of_multipart(text: str, content_type: str) -> Iterator[Place]:
    """Fields without a file name. A line break before the boundary belongs to the boundary (RFC 2046, 5.1.1)."""
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        return
    mark = f"--{boundary[1].strip()}"
    at = text.find(mark)
    while at >= 0:
        head_start = at + len(mark)
        at = text.find("\r\n" + mark, head_start)
        head_end = text.find("\r\n\r\n", head_start)
        if at < 0 or not head_start <= head_end < at:
            at = at + 2 if at >= 0 else -1
            continue
        head, start, stop = text[head_start:head_end], head_end + 4, at
        name = _FIELD_NAME.search(head)
        at += 2
        if name is None or "filename" in head.lower() or stop - start > MOST_FIELD_CHARS:
            continue
        value = text[start:stop].encode("latin-1").decode("utf-8", errors="replace")
        if value:
            yield Place("multipart", name[1] or name[2], value, BODY, start, stop, "raw")


def _is_url(value: str) -> bool:
    return value.startswith(("/", "http://", "https://"))


def _nested(
    kind: PlaceKind, name: str, text: str, target: int, start: int, stop: int, encoding: Encoding
) -> Iterator[Place]:
    """Parts of a URL that is itself encoded, as in `?next=%2Forders%2F7`."""
    raw = text[start:stop]
    if not raw.lower().startswith(("/", "%2f", "http%3a", "https%3a", "http:", "https:")):
        return
    decoded, at = _decoded_with_places(raw)
    if decoded is None or not _is_url(decoded):
        return
    for part, inner, begin, end in url_parts(decoded):
        if part != "path":
            yield Place(kind, f"{name}|{part}", inner, target, start + at[begin], start + at[end], encoding)


def _decoded_with_places(raw: str) -> tuple[str | None, list[int]]:
    """Percent-decoded ASCII, and for each of its characters (and its end) where it stands in `raw`."""
    at: list[int] = []
    here = 0
    while here < len(raw):
        at.append(here)
        here += 3 if raw[here] == "%" else 1
    at.append(len(raw))
    try:
        decoded = unquote_to_bytes(raw).decode("ascii")
    except UnicodeError:
        return None, at
    return (decoded if len(decoded) == len(at) - 1 else None), at
