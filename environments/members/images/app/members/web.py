"""The shop over HTTP: pages with forms for people, JSON for programs. README.md lists the routes."""

import hashlib
import html
import json
import re
import threading
from email.parser import BytesParser
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, parse_qsl, urlsplit

from members.shop import Refused

RELEASE = "2026.03-7f3c9a1e"
"""The same in every instance and for every member: nobody's token."""

WORD = re.compile(rb"[A-Za-z0-9_-]{6,}")
MOST_WORDS = 1_000_000
MOST_BODY_BYTES = 1 << 20

ROUTES = []


def route(method, path):
    """Registers a handler; `{}` in its path is one segment, given as an argument."""
    pattern = re.compile(re.escape(path).replace(r"\{\}", "([^/]+)"))

    def register(function):
        ROUTES.append((method, pattern, function))
        return function

    return register


def handler(shop):
    """The request handler of one instance."""
    return type("Handler", (Handler,), {"shop": shop, "lock": threading.Lock(), "seen": set(), "counts": {}})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        self.serve()

    def do_POST(self):
        self.serve()

    def do_PUT(self):
        self.serve()

    def log_message(self, *_):
        pass

    def serve(self):
        length = int(self.headers.get("content-length") or 0)
        self.body = self.rfile.read(min(length, MOST_BODY_BYTES))
        self.url = urlsplit(self.path)
        self.query = dict(parse_qsl(self.url.query))
        self.extra = []
        with self.lock:
            if self.url.path not in ("/healthz", "/seen"):
                self.note_words()
            try:
                status, kind, content = self.dispatch()
            except Refused as refused:
                status, kind, content = refused.status, "application/json", {"error": refused.reason}
            except (ValueError, KeyError, TypeError):
                status, kind, content = 400, "application/json", {"error": "not understood"}
            counted = (self.command, self.url.path.split("/")[1], status)
            self.counts[counted] = self.counts.get(counted, 0) + 1
        self.answer(status, kind, content)

    def dispatch(self):
        for method, pattern, function in ROUTES:
            found = pattern.fullmatch(self.url.path)
            if found and method == self.command:
                return function(self, *found.groups())
        raise Refused(404, "no such page")

    def answer(self, status, kind, content):
        body = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        if status == 304:
            body = b""
        self.send_response(status)
        for name, value in (*self.extra, ("content-type", kind), ("content-length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def note_words(self):
        """Digests of every word that could be a token, wherever it stands in the request."""
        sent = b"\n".join(
            [
                self.path.encode(),
                *(value.encode("utf-8", "replace") for value in self.headers.values()),
                self.body,
            ]
        )
        for word in WORD.findall(sent):
            if len(self.seen) < MOST_WORDS:
                self.seen.add(hashlib.sha256(word).hexdigest())

    def session(self):
        """By the cookie; a guest gets one."""
        cookie = SimpleCookie(self.headers.get("cookie", "")).get("session")
        session = self.shop.session(cookie.value if cookie else "")
        if not cookie:
            self.set_session(session)
        return session

    def set_session(self, session):
        self.extra.append(("set-cookie", f"session={session.cookie}; Path=/; HttpOnly; SameSite=Lax"))

    def signed_in(self):
        session = self.session()
        if not session.member:
            raise Refused(401, "log in first")
        return session

    def form(self):
        return {
            name: values[0] for name, values in parse_qs(self.body.decode(), keep_blank_values=True).items()
        }

    def multipart(self):
        head = f"content-type: {self.headers['content-type']}\r\n\r\n".encode()
        parts = BytesParser().parsebytes(head + self.body).get_payload()
        return {
            part.get_param("name", header="content-disposition"): part.get_payload(decode=True).decode()
            for part in parts
        }

    def member(self):
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer":
            raise Refused(401, "a bearer token, please")
        return self.shop.member_of(token)

    def page(self, title, body, session):
        token = self.shop.form_token(session)
        text = (
            f'<!doctype html><html><head><title>{title}</title><meta name="release" content="{RELEASE}">'
            f'<meta name="csrf-token" content="{self.shop.form_token(session)}"></head><body><h1>{title}</h1>'
            f"{body.replace('CSRF', token)}</body></html>"
        )
        return 200, "text/html; charset=utf-8", text

    def redirect(self, status, location):
        self.extra.append(("location", location))
        return status, "text/plain", ""


def form_page(action, fields):
    inputs = "".join(f'<label>{name} <input name="{name}"></label>' for name in fields)
    return f'<form method="post" action="{action}"><input type="hidden" name="csrf_token" value="CSRF">{inputs}</form>'


@route("GET", "/healthz")
def healthz(_request):
    return 200, "application/json", {"status": "ok"}


@route("GET", "/seen")
def seen(request):
    """What a test asks in the end: digests of all words that were sent, and how requests ended."""
    counts = [[*counted, count] for counted, count in sorted(request.counts.items())]
    return 200, "application/json", {"words": sorted(request.seen), "counts": counts}


@route("GET", "/join")
def join_page(request):
    return request.page("Join", form_page("/join", ("name", "password")), request.session())


@route("POST", "/join")
def join(request):
    session, form = request.session(), request.form()
    request.shop.spend_form_token(session, form["csrf_token"])
    request.shop.join(form["name"], form["password"])
    return request.redirect(302, "/login")


@route("GET", "/login")
def login_page(request):
    return request.page("Log in", form_page("/login", ("name", "password")), request.session())


@route("POST", "/login")
def login(request):
    session, form = request.session(), request.form()
    request.shop.spend_form_token(session, form["csrf_token"])
    request.set_session(request.shop.login(session, form["name"], form["password"]))
    return request.redirect(302, "/account")


@route("GET", "/account")
def account(request):
    session = request.session()
    if not session.member:
        return request.redirect(302, "/login")
    body = f"<p>{html.escape(session.member)}</p>" + form_page("/logout", ())
    return request.page("Account", body, session)


@route("POST", "/account/notes")
def note(request):
    session, form = request.signed_in(), request.multipart()
    request.shop.spend_form_token(session, form["csrf_token"])
    note_id, proof = request.shop.note(session.member, form["order"], form["text"])
    return request.redirect(303, f"/account/notes/{note_id}?proof={proof}")


@route("GET", "/account/notes/{}")
def show_note(request, note_id):
    session = request.signed_in()
    member, text, proof = request.shop.notes.get(note_id, ("", "", ""))
    if member != session.member or request.query.get("proof") != proof:
        raise Refused(403, "not yours")
    return request.page("Note", f"<p>{html.escape(text)}</p>", session)


@route("POST", "/logout")
def logout(request):
    session = request.signed_in()
    request.shop.spend_form_token(session, request.form()["csrf_token"])
    request.shop.logout(session)
    request.extra.append(("set-cookie", "session=; Path=/; Max-Age=0"))
    return request.redirect(302, "/login")


@route("POST", "/api/token")
def token(request):
    """For the page's script: the session's cookie and the page's token in a header."""
    session = request.signed_in()
    request.shop.spend_form_token(session, request.headers.get("x-csrf-token", ""))
    shown = {"id": request.shop.member_id(session.member), "name": session.member}
    bearer = request.shop.bearer(session)
    return (
        200,
        "application/json",
        {"access_token": bearer, "token_type": "Bearer", "expires_in": 3600, "member": shown},
    )


@route("POST", "/api/orders")
def make_order(request):
    wanted = json.loads(request.body)
    order = request.shop.order(request.member(), str(wanted["item"]), int(wanted["quantity"]))
    request.extra.append(("location", f"/api/orders/{order.id}"))
    return 201, "application/json", {"order": order.shown(), "confirmation": {"token": order.confirm_token}}


@route("GET", "/api/orders")
def list_orders(request):
    member = request.member()
    if request.query.get("member") != request.shop.member_id(member):
        raise Refused(403, "not yours")
    mine = [order.shown() for order in request.shop.orders.values() if order.member == member]
    return 200, "application/json", {"orders": mine, "release": RELEASE}


@route("GET", "/api/orders/{}")
def show_order(request, order_id):
    order = request.shop.find(request.member(), order_id)
    tag = f'"{order.version}"'
    request.extra.append(("etag", tag))
    known = request.headers.get("if-none-match")
    if known and known != tag:
        raise Refused(412, "a version that never was, or is no more")
    return 304 if known else 200, "application/json", order.shown()


@route("PUT", "/api/orders/{}")
def change_order(request, order_id):
    order = request.shop.find(request.member(), order_id)
    request.shop.change(order, request.headers.get("if-match"), int(json.loads(request.body)["quantity"]))
    request.extra.append(("etag", f'"{order.version}"'))
    return 200, "application/json", order.shown()


@route("POST", "/api/orders/{}/confirm")
def confirm_order(request, order_id):
    order = request.shop.find(request.member(), order_id)
    invoice = request.shop.confirm(order, json.loads(request.body)["token"])
    return 200, "application/json", {"order": order.shown(), "invoice": {"number": invoice}}


@route("GET", "/api/invoices/{}")
def show_invoice(request, number):
    order = request.shop.invoices.get(int(number))
    if order is None or order.member != request.member():
        raise Refused(404, "no such invoice")
    return 200, "application/json", {"number": order.invoice, "order": order.id}
