"""Traffic of made-up services: a token in every place of an answer, and in every place of a request. Holds no test.

A writer takes a token and gives what a service would answer, or what a client would send; written with another token
it is what a second instance of the service answers and expects.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from html import escape
from urllib.parse import quote, quote_plus

from harness.model.recording import Exchange, RecordedAnswer
from harness.recording.sessions.live import fill, take
from harness.recording.sessions.planning import SessionPlanner
from harness.recording.sessions.rules import SessionRules

MS = 1_000_000
RECORDED, LIVE = "Zm9vQmFy+9f3c1d7e/A==", 'q8LK2=/+&7hd"0s'
"""Every character that one of the encodings must escape."""
JSON = (("content-type", "application/json"),)
HTML = (("content-type", "text/html; charset=utf-8"),)
FORM = (("content-type", "application/x-www-form-urlencoded"),)
MULTIPART = (("content-type", "multipart/form-data; boundary=xYx"),)


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


NOTHING = Answer()


def url(token: str) -> str:
    return quote(token, safe="")


def document(value: object) -> bytes:
    return json.dumps(value, indent=1).encode()


def page(body: str) -> bytes:
    return f"<!doctype html><!-- <input name=t value=no> --><script>'<input name=t>'</script>{body}".encode()


SOURCES: dict[str, Callable[[str], Answer]] = {
    "json": lambda token: Answer(200, JSON, document({"state": "new", "access": {"value": token}})),
    "json in a list": lambda token: Answer(200, JSON, document({"rows": [{"kind": "a"}, {"ref": token}]})),
    "json, odd key": lambda token: Answer(200, JSON, document({"a.b": {"c[0]": token}})),
    "json at the root": lambda token: Answer(200, JSON, json.dumps(token).encode()),
    "json link's segment": lambda token: Answer(
        200, JSON, document({"links": {"next": f"/things/{url(token)}/edit"}})
    ),
    "json link's query": lambda token: Answer(
        200, JSON, document({"next": f"https://shop.example/x?lang=en&t={url(token)}"})
    ),
    "header": lambda token: Answer(204, (("x-csrf-token", token),)),
    "location's segment": lambda token: Answer(201, (("location", f"/things/{url(token)}"),)),
    "location's query": lambda token: Answer(
        302, (("location", f"https://shop.example/back?code={url(token)}&lang=en#top"),)
    ),
    "location's fragment": lambda token: Answer(302, (("location", f"/#token={url(token)}&type=x"),)),
    "cookie": lambda token: Answer(200, (("set-cookie", f"XSRF={url(token)}; Path=/; Secure"),)),
    "hidden input": lambda token: Answer(
        200, HTML, page(f"<form><input type='hidden' name=t value='{escape(token)}'></form>")
    ),
    "second input of a name": lambda token: Answer(
        200, HTML, page(f'<input name="t" value="one"><INPUT value="{escape(token)}" NAME="t" />')
    ),
    "meta": lambda token: Answer(200, HTML, page(f'<meta name="csrf-token" content="{escape(token)}">')),
    "json after a prefix": lambda token: Answer(200, JSON, b")]}',\n" + document({"t": token})),
}

USES: dict[str, Callable[[str], Request]] = {
    "path": lambda token: Request("GET", f"/things/{url(token)}/parts?page=2"),
    "query": lambda token: Request("GET", f"/things?lang=en&t={url(token)}"),
    "url in a query": lambda token: Request("GET", f"/go?next={url(f'/x/{url(token)}?a=b')}&lang=en"),
    "header": lambda token: Request("GET", "/things", (("accept", "*/*"), ("x-token", token))),
    "bearer": lambda token: Request("GET", "/things", (("authorization", f"Bearer {token}"),)),
    "referer's query": lambda token: Request(
        "GET", "/things", (("referer", f"https://shop.example/a?t={url(token)}"),)
    ),
    "cookie": lambda token: Request("GET", "/things", (("cookie", f"lang=en; seen={token}; x=y"),)),
    "json": lambda token: Request("POST", "/things", JSON, document({"n": 1, "auth": {"t": token}})),
    "json list": lambda token: Request("POST", "/things", JSON, document([{"t": "a"}, {"t": token}])),
    "form": lambda token: Request("POST", "/things", FORM, f"a=1&t={quote_plus(token)}&b=%C3%A9+x".encode()),
    "url in a form": lambda token: Request(
        "POST", "/things", FORM, f"next={quote_plus(f'/x/{url(token)}')}&b=2".encode()
    ),
    "multipart": lambda token: Request(
        "POST",
        "/things",
        MULTIPART,
        b'--xYx\r\nContent-Disposition: form-data; name="file"; filename="t"\r\n\r\n\x00\xff\r\n'
        + f'--xYx\r\nContent-Disposition: form-data; name="t"\r\n\r\n{token}\r\n--xYx--\r\n'.encode(),
    ),
}

START = Request("POST", "/begin", JSON, b"{}")


def exchange(
    seq: int, request: Request, answer: Answer = NOTHING, client: str = "c1", took_ms: int = 5
) -> Exchange:
    """`seq` also says when: one exchange each 10 ms."""
    at_ns = seq * 10 * MS
    recorded = RecordedAnswer(answer.status, -1, at_ns + took_ms * MS, answer.headers, answer.body)
    route = request.path.partition("?")[0]
    return Exchange(
        seq,
        at_ns,
        client,
        "",
        request.method,
        request.path,
        route,
        request.headers,
        request.body,
        answer=recorded,
    )


def numbered(exchanges: Sequence[Exchange]) -> list[Exchange]:
    return [replace(one, seq=seq) for seq, one in enumerate(sorted(exchanges, key=lambda one: one.at_ns))]


def replayed(
    exchanges: Sequence[Exchange], answers: Sequence[Answer | None], rules: SessionRules
) -> list[Request | None]:
    """What is sent when these are the live answers (None: there was none); None: the client fell out."""
    planner = SessionPlanner(rules)
    values: dict[str, dict[int, str]] = {}
    sent: list[Request | None] = []
    for one, answer in zip(exchanges, answers, strict=True):
        steps = planner.plan(one)
        own = values.setdefault(one.client, {})
        try:
            headers = tuple((name, fill(value, own).decode("latin-1")) for name, value in steps.headers)
            request = Request(one.method, fill(steps.path, own).decode(), headers, fill(steps.body, own))
        except KeyError:
            sent.append(None)
            continue
        sent.append(request)
        if answer is not None:
            own.update(take(steps.takes, answer.status, answer.headers, answer.body))
    return sent
