"""Canaries: one value for every place in which a recording can hold something private, and captures that hold them.

Takes nothing but chance, gives two captured files (a HAR and an access log) as bytes, with the list of what stands where.
A value is planted once and in one place, except for the one that stands everywhere: its pseudonym must be the same in all.
"""

from __future__ import annotations

import base64
import gzip
import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from harness.recording.redaction.formats import iban_of, luhn_digit

TARGET = "canary.example"
EVERYWHERE = "everywhere"
_LETTERS = "abcdefghijkmnopqrstuvwxyz"


@dataclass(frozen=True)
class Canary:
    """A value that must not be found. `listed`: rules or its format name it; others must stop an import."""

    place: str
    value: str
    listed: bool = True


@dataclass(frozen=True)
class Captures:
    """What was planted, and the files. Exchange k of the HAR holds the canary of `places[k]`."""

    canaries: tuple[Canary, ...]
    everywhere: str
    places: tuple[str, ...]
    har: bytes
    log: bytes


def plant() -> Captures:
    """Captures with a canary in every place whose values a rule or their own format gives away."""
    entries = _Entries()
    for make in (_targets, _headers, _cookies, _json, _forms, _texts, _answers, _everywhere):
        make(entries)
    log, in_log = _access_log()
    everywhere = next(item.value for item in entries.canaries if item.place == EVERYWHERE)
    return Captures(
        canaries=(*entries.canaries, *in_log),
        everywhere=everywhere,
        places=tuple(entries.places),
        har=entries.har(),
        log=log,
    )


def plant_unlisted() -> tuple[Captures, ...]:
    """One capture a place that nothing names: an import must refuse each of them."""
    made = []
    for place, entry in (
        ("an unlisted header", lambda value: {"headers": [("x-note", value)]}),
        ("an unlisted query parameter", lambda value: {"path": f"/items?ref={value}"}),
        ("an unlisted part of a path", lambda value: {"path": f"/reset/{value}/done"}),
        ("an unlisted JSON member", lambda value: {"json": {"reference": value}}),
        ("an unlisted form field", lambda value: {"form": f"ref={value}&b=2"}),
        ("an unlisted member of an answer", lambda value: {"answer_json": {"reference": value}}),
        ("an unlisted header of an answer", lambda value: {"answer_headers": [("x-note", value)]}),
        ("an AWS key in a text", lambda value: {"text": f"use {value} here"}),
    ):
        entries = _Entries()
        value = f"AKIA{secrets.token_hex(8).upper()}" if "AWS" in place else secrets.token_urlsafe(32)
        entries.add(Canary(place, value, listed=False), **entry(value))
        made.append(Captures(tuple(entries.canaries), "", tuple(entries.places), entries.har(), b""))
    return tuple(made)


class _Entries:
    """Entries of a HAR, one canary each."""

    def __init__(self) -> None:
        self.canaries: list[Canary] = []
        self.places: list[str] = []
        self._entries: list[dict[str, Any]] = []

    def put(self, place: str, make: Callable[[str], dict[str, Any]], value: str | None = None) -> None:
        """A canary of its own in what `make` says of an entry."""
        value = token() if value is None else value
        self.add(Canary(place, value), **make(value))

    def add(self, canary: Canary, **parts: Any) -> None:
        if canary not in self.canaries:
            self.canaries.append(canary)
        self.places.append(canary.place)
        self._entries.append(_entry(len(self._entries), **parts))

    def har(self) -> bytes:
        log = {"version": "1.2", "creator": {"name": "canaries", "version": "1"}, "entries": self._entries}
        return json.dumps({"log": log}).encode()


def token() -> str:
    """Unlike anything else: letters and digits, too long for chance."""
    return "Cnry" + "".join(secrets.choice(_LETTERS) + str(secrets.randbelow(10)) for _ in range(10))


def email() -> str:
    return f"{token().lower()}@{token().lower()}.com"


def card() -> str:
    body = "411111" + "".join(str(secrets.randbelow(10)) for _ in range(9))
    return body + luhn_digit(body)


def account() -> str:
    return iban_of("DE", "".join(str(secrets.randbelow(10)) for _ in range(18)))


def jwt() -> str:
    parts = ({"alg": "HS256", "typ": "JWT"}, {"sub": token(), "exp": 2_000_000_000})
    spelled = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*spelled, secrets.token_urlsafe(32)])


def address() -> str:
    return f"81.{secrets.randbelow(256)}.{secrets.randbelow(256)}.{1 + secrets.randbelow(254)}"


def _targets(entries: _Entries) -> None:
    entries.put("path", lambda value: {"path": f"/users/{value}/orders"}, email())
    entries.put(
        "path, percent-encoded", lambda value: {"path": f"/users/{value.replace('@', '%40')}"}, email()
    )
    entries.put("parameter of a path", lambda value: {"path": f"/cart;jsessionid={value}?a=1"})
    entries.put("query", lambda value: {"path": f"/items?page=2&access_token={value}"})
    entries.put(
        "query by its format", lambda value: {"path": f"/find?q={value.replace('@', '%40')}"}, email()
    )
    entries.put("query in a query", lambda value: {"path": f"/login?next=%2Fa%3Fapi_key%3D{value}"})


def _headers(entries: _Entries) -> None:
    def header(name: str, around: str = "{}") -> Callable[[str], dict[str, Any]]:
        return lambda value: {"headers": [(name, around.format(value))]}

    entries.put("header authorization, bearer", header("Authorization", "Bearer {}"))
    entries.put("header authorization, basic: user", _basic("{}:x"))
    entries.put("header authorization, basic: password", _basic("anna:{}"))
    entries.put("header proxy-authorization", header("Proxy-Authorization", "Bearer {}"))
    entries.put(
        "header authorization, parameters", header("Authorization", 'Digest username="a", response="{}"')
    )
    entries.put("header x-api-key", header("X-Api-Key"))
    entries.put("header x-csrf-token", header("X-CSRF-Token"))
    entries.put("header x-forwarded-for", header("X-Forwarded-For", "{}, 10.1.1.1"), address())
    entries.put("header forwarded", header("Forwarded", 'for="{}";proto=https'), address())
    entries.put("header by its format", header("X-Contact", "mail {} please"), email())
    entries.put("header, JWT", header("X-Assertion", "{}"), jwt())
    entries.put("referer's query", header("Referer", "https://search.example/?words={}"))
    entries.put("credentials in a URL", header("Referer", "https://anna:{}@shop.example/"))
    entries.put(
        "credentials in a URL of a text", lambda value: {"text": f"see ftp://bob:{value}@files.example/x"}
    )


def _basic(around: str) -> Callable[[str], dict[str, Any]]:
    def make(value: str) -> dict[str, Any]:
        pair = base64.b64encode(around.format(value).encode()).decode()
        return {"headers": [("Authorization", f"Basic {pair}")]}

    return make


def _cookies(entries: _Entries) -> None:
    entries.put("cookie", lambda value: {"headers": [("Cookie", f"theme=dark; sid={value}; lang=en")]})
    entries.put(
        "cookie, percent-encoded", lambda value: {"headers": [("Cookie", f"connect.sid=s%3A{value}%2Fx")]}
    )
    entries.put(
        "set-cookie", lambda value: {"answer_headers": [("Set-Cookie", f"sid={value}; Path=/; HttpOnly")]}
    )
    entries.put("location's query", lambda value: {"answer_headers": [("Location", f"/cb?code={value}&b=1")]})
    entries.put(
        "location's fragment",
        lambda value: {"answer_headers": [("Location", f"/cb#access_token={value}&b=1")]},
    )


def _json(entries: _Entries) -> None:
    entries.put("json", lambda value: {"json": {"user": {"password": value, "age": 3}}})
    entries.put("json by its format", lambda value: {"json": {"contact": value}}, email())
    entries.put("json, card", lambda value: {"json": {"number": value}}, card())
    entries.put("json, card as a number", lambda value: {"json": {"number": int(value)}}, card())
    entries.put("json, IBAN", lambda value: {"json": {"account": value}}, account())
    entries.put("json, JWT", lambda value: {"json": {"assertion": value}}, jwt())
    entries.put("json in json", lambda value: {"json": {"inner": json.dumps({"refresh_token": value})}})
    entries.put("json in base64", lambda value: {"json": {"inner": _encoded(json.dumps({"secret": value}))}})
    entries.put("json, name of a member", lambda value: {"json": {value: 1}}, email())
    entries.put("json, odd layout", lambda value: {"text": f'{{"token" :"{value}",\n "a":1.50}}'})
    entries.put("json, escaped name", lambda value: {"text": f'{{"t\\u006fken":"{value}"}}'})
    entries.put("json, broken", lambda value: {"text": f'{{"a": 1, "token": "{value}", "b": '})
    entries.put("json lines", lambda value: {"text": f'{{"a":1}}\n{{"api_key":"{value}"}}\n'})
    entries.put(
        "json, compressed", lambda value: {"bytes": gzip.compress(json.dumps({"token": value}).encode())}
    )


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _forms(entries: _Entries) -> None:
    entries.put("form", lambda value: {"form": f"user=anna&password={value}&remember=1"})
    entries.put(
        "form by its format", lambda value: {"form": f"contact={value.replace('@', '%40')}&a=b"}, email()
    )
    entries.put("multipart", lambda value: {"parts": [("password", "", value), ("a", "", "b")]})
    entries.put(
        "multipart, file", lambda value: {"parts": [("a", "data.json", json.dumps({"token": value}))]}
    )
    entries.put(
        "multipart by its format", lambda value: {"parts": [("note", "", f"write to {value}")]}, email()
    )
    entries.put("multipart, broken", lambda value: {"parts": [("secret", "", value)], "cut": 9})


def _texts(entries: _Entries) -> None:
    entries.put("text", lambda value: {"text": f"level=info password={value} user=anna"})
    entries.put(
        "xml", lambda value: {"text": f"<login><user>anna</user><password>{value}</password></login>"}
    )
    entries.put(
        "graphql",
        lambda value: {"json": {"query": f'mutation {{ login(user: "a", password: "{value}") {{ id }} }}'}},
    )
    entries.put("no UTF-8", lambda value: {"bytes": b"\xff\xfe\x00password=" + value.encode() + b"\x00\x80"})


def _answers(entries: _Entries) -> None:
    entries.put("answer, json", lambda value: {"answer_json": {"data": {"accessToken": value}}})
    entries.put("answer by its format", lambda value: {"answer_json": {"owner": value}}, email())
    entries.put(
        "answer, html input",
        lambda value: {"answer_text": f'<input type="hidden" name="csrf_token" value="{value}">'},
    )
    entries.put(
        "answer, html meta", lambda value: {"answer_text": f'<meta content="{value}" name="csrf-token">'}
    )
    entries.put(
        "answer, script",
        lambda value: {"answer_text": f'<script>window.conf = {{apiKey: "{value}"}}</script>'},
    )
    entries.put("answer header", lambda value: {"answer_headers": [("X-Auth-Token", value)]})
    value = token()  # known from one place, shown in another, and shown before it is known
    entries.add(Canary("answer's text, known from a later header", value), answer_text=f"you are {value} now")
    entries.add(
        Canary("answer's text, known from a later header", value),
        headers=[("Authorization", f"Bearer {value}")],
    )


def _everywhere(entries: _Entries) -> None:
    """One client's token in every place that names it."""
    value = token()
    canary = Canary(EVERYWHERE, value)
    for parts in (
        {"headers": [("Authorization", f"Bearer {value}")]},
        {"headers": [("X-Api-Key", value)]},
        {"headers": [("Cookie", f"sid={value}")]},
        {"path": f"/a?token={value}"},
        {"json": {"session": value}},
        {"form": f"access_token={value}"},
        {"parts": [("token", "", value)]},
        {"answer_headers": [("Set-Cookie", f"sid={value}; Secure")]},
        {"answer_json": {"token": value}},
        {"answer_text": f"<p>{value}</p>"},
        {"path": f"/tokens/{value}"},
    ):
        entries.add(canary, **parts)


def _access_log() -> tuple[bytes, Iterator[Canary]]:
    """Lines as Apache writes them, a canary each."""
    planted = {
        "log, address of the client": address(),
        "log, query": token(),
        "log, referer's query": token(),
        "log, path": email(),
    }
    client, query, words, mail = planted.values()
    lines = (
        (client, "/a", "-"),
        ("10.9.8.7", f"/b?api_key={query}", "-"),
        ("10.9.8.7", "/c", f"https://search.example/?q={words}"),
        ("10.9.8.7", f"/d/{mail}", "-"),
    )
    text = "".join(
        f'{who} - - [01/Mar/2026:10:00:1{number} +0000] "GET {path} HTTP/1.1" 200 12 "{referer}" "curl/8"\n'
        for number, (who, path, referer) in enumerate(lines)
    )
    return text.encode(), (Canary(place, value) for place, value in planted.items())


def _entry(number: int, **parts: Any) -> dict[str, Any]:
    """One entry of a HAR, 20 ms after the one before."""
    path = parts.get("path", f"/step/{number}")
    post = _post(parts)
    headers = [("Accept", "*/*"), *parts.get("headers", ())]
    if post is not None:
        headers.append(("Content-Type", post["mimeType"]))
    answer, kind = _answer(parts)
    request = {
        "method": "GET" if post is None else "POST",
        "url": f"https://{TARGET}{path}",
        "httpVersion": "HTTP/1.1",
        "headers": _pairs(headers),
        "queryString": [],
        "cookies": [],
        "headersSize": -1,
        "bodySize": -1,
    }
    content = {"size": len(answer), "mimeType": kind, "text": answer}
    response = {
        "status": 200,
        "statusText": "OK",
        "httpVersion": "HTTP/1.1",
        "headers": _pairs([("Content-Type", kind), *parts.get("answer_headers", ())]),
        "cookies": [],
        "content": content,
        "redirectURL": "",
        "headersSize": -1,
        "bodySize": -1,
    }
    return {
        "startedDateTime": f"2026-03-01T10:00:{number // 50:02d}.{number % 50 * 20:03d}Z",
        "time": 5,
        "request": request if post is None else {**request, "postData": post},
        "response": response,
        "cache": {},
        "timings": {"send": 1, "wait": 3, "receive": 1},
    }


def _pairs(headers: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in headers]


def _post(parts: dict[str, Any]) -> dict[str, Any] | None:
    if "json" in parts:
        return {"mimeType": "application/json", "text": json.dumps(parts["json"])}
    if "form" in parts:
        return {"mimeType": "application/x-www-form-urlencoded", "text": parts["form"]}
    if "text" in parts:
        return {"mimeType": "text/plain", "text": parts["text"]}
    if "bytes" in parts:
        text = base64.b64encode(parts["bytes"]).decode()
        return {"mimeType": "application/octet-stream", "text": text, "encoding": "base64"}
    if "parts" in parts:
        body = "".join(
            f'--XYZ\r\nContent-Disposition: form-data; name="{name}"'
            + (f'; filename="{file}"\r\nContent-Type: application/json' if file else "")
            + f"\r\n\r\n{content}\r\n"
            for name, file, content in parts["parts"]
        )
        body = (body + "--XYZ--\r\n")[: -parts["cut"] or None] if "cut" in parts else body + "--XYZ--\r\n"
        return {"mimeType": "multipart/form-data; boundary=XYZ", "text": body}
    return None


def _answer(parts: dict[str, Any]) -> tuple[str, str]:
    if "answer_json" in parts:
        return json.dumps(parts["answer_json"]), "application/json"
    return parts.get("answer_text", "{}"), "text/html" if "answer_text" in parts else "application/json"
