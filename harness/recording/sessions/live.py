"""Values out of a live answer, and live values into the next request: all that the load generator's child needs.

`take` gets what an answer said and gives the values of its slots; `fill` gets a template and these values and gives the
bytes to send. The recorded answers are read by the same functions when sessions are planned, so a value is found live
exactly where it was found in the recording. Fast, and of the standard library alone.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from harness.recording.sessions.steps import Slot, Take, Template

MOST_SEARCHED_BYTES = 16 * 2**20
"""Nothing is looked for beyond this much of an answer's body."""

_TAG = re.compile(
    r"<!--.*?-->|<script\b.*?</script\s*>|<(?:input|meta)\b(?:[^>\"']++|\"[^\"]*+\"|'[^']*+')*+>",
    re.DOTALL | re.IGNORECASE,
)
_STEP = re.compile(r'(?:^|\.)([^.\[\]"|]+)|\[(\d+)\]|\["((?:[^"\\]|\\.)*)"\]')
_PART = re.compile(r"path|decoded|segment\[\d+\]|query\[.+\]|fragment\[.+\]")
_XSSI = b")]}'"


def take(
    takes: Iterable[Take], status: int, headers: Iterable[tuple[str, str]], body: bytes
) -> dict[int, str]:
    """The value of every slot that this answer has one for, by the slot's number.

    `headers` as received, names in any case, repeated ones repeated; `body` without content and transfer encoding.
    Raises nothing, whatever the answer is.
    """
    answer = ReadAnswer(status, headers, body)
    found = {}
    for wanted in takes:
        value = answer.value(wanted.source, wanted.path)
        if value is not None:
            found[wanted.slot] = value
    return found


def fill(template: Template, values: Mapping[int, str]) -> bytes:
    """The bytes to send. Raises KeyError, with the slot's number, when there is no live value for it."""
    if len(template) == 1 and isinstance(template[0], bytes):
        return template[0]
    return b"".join(part if isinstance(part, bytes) else _written(part, values) for part in template)


def _written(slot: Slot, values: Mapping[int, str]) -> bytes:
    value = values.get(slot.number)
    if value is None:
        if slot.otherwise is None:
            raise KeyError(slot.number)
        value = slot.otherwise
    if slot.encoding == "raw":
        # A header or path cannot hold a line break; an answer's JSON can, and must not become a second header.
        return value.replace("\r", " ").replace("\n", " ").encode("utf-8", errors="surrogatepass")
    return _ENCODERS[slot.encoding](value).encode("utf-8", errors="surrogatepass")


def _url(value: str) -> str:
    return quote(value, safe="", errors="replace")


def _json_value(value: str) -> str:
    try:
        if value in ("true", "false", "null") or isinstance(json.loads(value), int | float):
            return value
    except ValueError:
        pass
    return json.dumps(value)


_ENCODERS: dict[str, Callable[[str], str]] = {
    "url": _url,
    "form": lambda value: quote_plus(value, errors="replace"),
    "json": lambda value: json.dumps(value)[1:-1],
    "json_value": _json_value,
    "url+url": lambda value: _url(_url(value)),
    "url+form": lambda value: quote_plus(_url(value)),
}


class ReadAnswer:
    """An answer whose parts are parsed when they are first asked for."""

    def __init__(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body[:MOST_SEARCHED_BYTES]

    def value(self, source: str, path: str) -> str | None:
        """What stands at that place, as text; None when there is nothing (or a container)."""
        if source == "status":
            return "" if 100 <= self.status < 400 else None
        if source == "text":
            found = _regex(path).search(self.text)
            return found[1] if found is not None else None
        whole, part = split_path(path)
        if source == "json":
            value = json_text(json_at(self.json, json_steps(whole)))
        elif source == "header":
            value = self.by_name.get(whole.lower())
        elif source == "cookie":
            value = self.cookies.get(whole)
        else:
            value = self.inputs.get(whole)
        return value if value is None or not part else part_of(value, part)

    @functools.cached_property
    def text(self) -> str:
        return self.body.decode("utf-8", errors="replace")

    @functools.cached_property
    def json(self) -> Any:
        """The body as JSON; None when it is none. Numbers with a fraction stay text, so that no digit is lost."""
        body = self.body
        if body.startswith(_XSSI):
            body = body.partition(b"\n")[2]
        try:
            return json.loads(body, parse_float=str)
        except (ValueError, RecursionError):
            return None

    @functools.cached_property
    def by_name(self) -> dict[str, str]:
        """Headers; of a repeated one the first."""
        found: dict[str, str] = {}
        for name, value in self.headers:
            found.setdefault(name.lower(), value)
        return found

    @functools.cached_property
    def cookies(self) -> dict[str, str]:
        """What this answer sets; what it deletes is not among them."""
        return {name: value for name, value, deleted in set_cookies(self.headers) if not deleted}

    @functools.cached_property
    def inputs(self) -> dict[str, str]:
        """Inputs by name, the second of a name as `NAME#2`; `<meta>` as `meta:NAME`."""
        return dict(html_values(self.text))


def split_path(path: str) -> tuple[str, str]:
    """A path and its part: `location|segment[2]`; only what is a part is split off."""
    whole, bar, part = path.rpartition("|")
    return (whole, part) if bar and _PART.fullmatch(part) else (path, "")


def set_cookies(headers: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str, bool]]:
    """Name, value and whether it deletes the cookie, for every Set-Cookie."""
    for header, text in headers:
        if header.lower() != "set-cookie":
            continue
        pair, _, attributes = text.partition(";")
        name, equals, value = pair.partition("=")
        if equals and name.strip():
            yield name.strip(), value.strip(), not value.strip() or _deletes(attributes.lower())


def _deletes(attributes: str) -> bool:
    """Max-Age up to 0, or a date of the epoch's first years, as frameworks write it."""
    age = re.search(r"max-age\s*=\s*\"?(-?\d+)", attributes)
    if age is not None:
        return int(age[1]) <= 0
    return re.search(r"expires\s*=[^;]*\b19[67]\d\b", attributes) is not None


class _Attributes(HTMLParser):
    """Attributes of the one tag that it is fed."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self.found = {name: value or "" for name, value in reversed(attrs)}


def html_values(text: str) -> Iterator[tuple[str, str]]:
    """Name and value of every input and meta tag, as `ReadAnswer.inputs` names them. Comments and scripts are passed over.

    The parser sees the tags alone: whole pages would cost it milliseconds.
    """
    counts: dict[str, int] = {}
    for tag in _TAG.finditer(text):
        written = tag[0]
        if written[1] == "!" or written[1:7].lower() == "script":
            continue
        parser = _Attributes()
        parser.feed(written)
        attributes = parser.found
        if written[1:6].lower() == "input":
            name, value = attributes.get("name", ""), attributes.get("value")
        else:
            name, value = attributes.get("name") or attributes.get("property", ""), attributes.get("content")
            name = f"meta:{name}" if name else ""
        if name and value is not None:
            counts[name] = counts.get(name, 0) + 1
            yield (name if counts[name] == 1 else f"{name}#{counts[name]}"), value


@functools.lru_cache(maxsize=4096)
def json_steps(path: str) -> tuple[str | int, ...] | None:
    """The keys and indices of `a.b[0]["c.d"]`; `$` is the document itself. None for what is no such path."""
    if path == "$":
        return ()
    steps: list[str | int] = []
    at = 0
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            return None
        if step[1] is not None:
            steps.append(step[1])
        else:
            steps.append(int(step[2]) if step[2] is not None else json.loads(f'"{step[3]}"'))
        at = step.end()
    return tuple(steps)


def json_at(document: Any, steps: tuple[str | int, ...] | None) -> Any:
    """What stands there; None when nothing does."""
    if steps is None:
        return None
    try:
        for step in steps:
            document = document[step] if not isinstance(document, str) else None
    except (LookupError, TypeError):
        return None
    return document


def json_text(value: Any) -> str | None:
    """A leaf as text; None for null and for containers."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else None


def part_of(value: str, part: str) -> str | None:
    """A part of a value, decoded: see `Take`."""
    if part == "decoded":
        return unquote(value)
    for name, text, _, _ in url_parts(value):
        if name == part:
            return text
    return None


def url_parts(url: str) -> Iterator[tuple[str, str, int, int]]:
    """The parts of a URL or of a path: name, decoded value, and where it stands (`path` from its slash to its query's
    end). Empty ones are left out."""
    start = _path_start(url)
    hash_at = url.find("#", start)
    end = hash_at if hash_at >= 0 else len(url)
    mark = url.find("?", start, end)
    path_end = mark if mark >= 0 else end
    if url[start:end]:
        yield "path", url[start:end], start, end
    at = start + 1 if url.startswith("/", start) else start
    for number, segment in enumerate(url[at:path_end].split("/")):
        if segment:
            yield f"segment[{number}]", unquote(segment), at, at + len(segment)
        at += len(segment) + 1
    if mark >= 0:
        yield from _pairs("query", url, mark + 1, end)
    if hash_at >= 0 and "=" in url[hash_at:]:
        yield from _pairs("fragment", url, hash_at + 1, len(url))


def _path_start(url: str) -> int:
    """Where the path begins: after scheme and host, where the URL has them."""
    scheme = re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://|//", url)
    if scheme is None:
        return 0
    host_end = re.compile(r"[/?#]|$").search(url, scheme.end())
    return host_end.start() if host_end is not None else len(url)


def _pairs(kind: str, text: str, start: int, stop: int) -> Iterator[tuple[str, str, int, int]]:
    for name, value, begin, end in form_pairs(text[start:stop]):
        yield f"{kind}[{name}]", value, start + begin, start + end


def form_pairs(text: str) -> Iterator[tuple[str, str, int, int]]:
    """Name, decoded value and the value's place in `a=b&c=d`; empty values are left out, the second of a name is `NAME#2`."""
    at = 0
    counts: dict[str, int] = {}
    for pair in text.split("&"):
        name, equals, value = pair.partition("=")
        if equals and value:
            name = unquote_plus(name)
            counts[name] = counts.get(name, 0) + 1
            named = name if counts[name] == 1 else f"{name}#{counts[name]}"
            yield named, unquote_plus(value), at + len(pair) - len(value), at + len(pair)
        at += len(pair) + 1


@functools.lru_cache(maxsize=256)
def _regex(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
