"""The application of environments/members as a process, members who use it, and a small sequential replay. Holds no test.

`record` drives the application as people and their browsers would and gives what a capture of that traffic holds;
`replay` sends a recording's steps, one after another, taking live values from live answers.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from harness.model.recording import Exchange, RecordedAnswer
from harness.recording.sessions.live import fill, take
from harness.recording.sessions.planning import SessionPlanner
from harness.recording.sessions.rules import SessionRules

APP = Path(__file__).parents[2] / "environments" / "members" / "images" / "app"
LIMIT_S = 20
MEMBERS = ("ada", "ben", "cem", "dora")


@contextmanager
def members_app() -> Iterator[int]:
    """A fresh instance on 127.0.0.1; gives its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "members", "0"], cwd=APP, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(LIMIT_S)
        process.stdout.close()


@dataclass(frozen=True)
class Sent:
    """One request and its answer."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        return next(value for header, value in self.headers if header == name)

    def json(self) -> Any:
        return json.loads(self.body)

    def found(self, pattern: str) -> str:
        match = re.search(pattern, self.body.decode())
        assert match, f"no {pattern} in {self.body!r}"
        return match[1]


def send(
    port: int,
    method: str,
    path: str,
    headers: Sequence[tuple[str, str]],
    body: bytes,
    source: str = "127.0.0.1",
) -> Sent:
    connection = http.client.HTTPConnection("127.0.0.1", port, LIMIT_S, source_address=(source, 0))
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value.encode("latin-1"))
        if body or method in ("POST", "PUT"):
            connection.putheader("content-length", str(len(body)))
        connection.endheaders(body or None)
        answer = connection.getresponse()
        return Sent(answer.status, tuple((n.lower(), v) for n, v in answer.getheaders()), answer.read())
    finally:
        connection.close()


def seen(port: int) -> dict[str, Any]:
    """What the instance says of all that it was sent."""
    answer: dict[str, Any] = send(port, "GET", "/seen", (), b"").json()
    return answer


def digests(words: set[str]) -> set[str]:
    return {hashlib.sha256(word.encode()).hexdigest() for word in words}


@dataclass
class Browser:
    """One member's: keeps cookies, sends what pages and answers tell it to, notes every exchange and every token."""

    client: str
    send: Callable[[str, str, Sequence[tuple[str, str]], bytes], Sent]
    clock_ns: Callable[[], int]
    exchanges: list[Exchange] = field(default_factory=list)
    cookies: dict[str, str] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)

    def call(self, method: str, path: str, body: bytes = b"", **headers: str) -> Sent:
        written = [("user-agent", "members/1"), ("accept-language", "en")]
        written += [(name.replace("_", "-"), value) for name, value in headers.items()]
        if self.cookies and (path == "/api/token" or not path.startswith("/api/")):
            written.append(("cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items())))
        at_ns = self.clock_ns()
        sent = self.send(method, path, written, body)
        answer = RecordedAnswer(sent.status, -1, self.clock_ns(), sent.headers, sent.body)
        route = path.partition("?")[0]
        self.exchanges.append(
            Exchange(0, at_ns, self.client, "", method, path, route, tuple(written), body, answer=answer)
        )
        for name, value in sent.headers:
            if name == "set-cookie":
                cookie, _, token = value.partition(";")[0].partition("=")
                self.cookies[cookie] = self.token(token)
                if not token:
                    del self.cookies[cookie]
        return sent

    def form(self, path: str, page: Sent, **fields: str) -> Sent:
        token = self.token(page.found(r'name="csrf_token" value="(\w+)"'))
        body = urlencode({"csrf_token": token, **fields}).encode()
        return self.call("POST", path, body, content_type="application/x-www-form-urlencoded")

    def token(self, value: str) -> str:
        self.tokens.add(value)
        return value


def visit(browser: Browser, number: int) -> Iterator[None]:
    """What one member does, a step at a time."""
    name, password = browser.client, f"correct horse {number} & staple"
    yield from join(browser, name, password)
    account = browser.call("GET", "/account")
    csrf = browser.token(account.found(r'name="csrf-token" content="(\w+)"'))
    yield
    granted = browser.call("POST", "/api/token", x_csrf_token=csrf).json()
    bearer = f"Bearer {browser.token(granted['access_token'])}"
    member = browser.token(granted["member"]["id"])
    for item in range(1 + number % 2):
        yield
        yield from order(browser, bearer, f"tea {item}", account)
    browser.call("GET", f"/api/orders?{urlencode({'member': member})}", authorization=bearer)
    yield
    browser.form("/logout", account)
    browser.call("GET", "/api/orders", authorization=bearer)  # refused: 401 when recorded


def join(browser: Browser, name: str, password: str) -> Iterator[None]:
    page = browser.call("GET", "/join")
    yield
    browser.form("/join", page, name=name, password=password)
    page = browser.call("GET", "/login")
    yield
    browser.form("/login", page, name=name, password="wrong")
    page = browser.call("GET", "/login")
    yield
    browser.form("/login", page, name=name, password=password)


def order(browser: Browser, bearer: str, item: str, account: Sent) -> Iterator[None]:
    body = json.dumps({"item": item, "quantity": 1}).encode()
    kind = "application/json"
    made = browser.call("POST", "/api/orders", body, authorization=bearer, content_type=kind)
    path = made.header("location")
    order_id = browser.token(made.json()["order"]["id"])
    confirm = json.dumps({"token": browser.token(made.json()["confirmation"]["token"])}).encode()
    yield
    shown = browser.call(
        "GET", path, authorization=bearer, referer=f"http://members.example/orders/{order_id}"
    )
    tag = shown.header("etag")
    browser.token(tag.strip('"'))
    browser.call("GET", path, authorization=bearer, if_none_match=tag)
    yield
    changed = json.dumps({"quantity": 3}).encode()
    browser.call("PUT", path, changed, authorization=bearer, if_match=tag, content_type=kind)
    done = browser.call("POST", f"{path}/confirm", confirm, authorization=bearer, content_type=kind)
    number = done.json()["invoice"]["number"]
    yield
    browser.call("GET", f"/api/invoices/{number}", authorization=bearer)
    page = browser.call("GET", "/account")
    token = browser.token(page.found(r'name="csrf_token" value="(\w+)"'))
    fields = {"csrf_token": token, "order": order_id, "text": "for the garden, please"}
    parts = "".join(
        f'--frontier\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    note = browser.call(
        "POST", "/account/notes", f"{parts}--frontier--\r\n".encode(),
        content_type="multipart/form-data; boundary=frontier",
    )  # fmt: skip
    browser.tokens |= set(re.findall(r"[\w-]{8,}", note.header("location")))
    browser.call("GET", note.header("location"))


@dataclass(frozen=True)
class Recorded:
    exchanges: tuple[Exchange, ...]
    tokens: frozenset[str]


def record(port: int, members: Sequence[str] = MEMBERS, step_s: float = 0.0) -> Recorded:
    """All members use the application, in turns; the first two from one address, the others each from their own.

    `step_s`: how long nobody does anything after each step of a member.
    """
    start_ns = time.monotonic_ns()

    def browser(number: int, name: str) -> Browser:
        source = f"127.0.0.{max(number, 1)}"
        return Browser(
            name, lambda *request: send(port, *request, source), lambda: time.monotonic_ns() - start_ns
        )

    browsers = [browser(number, name) for number, name in enumerate(members)]
    visits = [visit(browser, number) for number, browser in enumerate(browsers)]
    while visits:
        for going in tuple(visits):
            if next(going, "over") == "over":
                visits.remove(going)
            time.sleep(step_s)
    found = sorted((one for browser in browsers for one in browser.exchanges), key=lambda one: one.at_ns)
    exchanges = tuple(replace(exchange, seq=seq) for seq, exchange in enumerate(found))
    return Recorded(exchanges, frozenset(token for b in browsers for token in b.tokens if token))


@dataclass(frozen=True)
class Replayed:
    statuses: dict[int, int]
    """By seq; 0: the client fell out."""


def replay(port: int, exchanges: Sequence[Exchange], rules: SessionRules) -> Replayed:
    """One request after another, in the order in which they were recorded."""
    planner = SessionPlanner(rules)
    values: dict[str, dict[int, str]] = {}
    statuses = {}
    for exchange in exchanges:
        steps = planner.plan(exchange)
        own = values.setdefault(exchange.client, {})
        try:
            path = fill(steps.path, own).decode("ascii")
            headers = [(name, fill(value, own).decode("latin-1")) for name, value in steps.headers]
            body = fill(steps.body, own)
        except KeyError:
            statuses[exchange.seq] = 0
            continue
        sent = send(port, exchange.method, path, headers, body)
        own.update(take(steps.takes, sent.status, sent.headers, sent.body))
        statuses[exchange.seq] = sent.status
    return Replayed(statuses)
