"""What the shop knows: members, sessions, form tokens, orders, notes, invoices. All in memory, nothing survives a restart.

Every method takes what a request said and gives what the answer shows, or raises `Refused` with the status. All of it
runs under one lock, which the web side holds.
"""

import random
import secrets
from dataclasses import dataclass, field

MOST_OPEN_FORMS = 200
"""A session remembers so many form tokens; each is good for one use."""


class Refused(Exception):  # noqa: N818
    """The request is not granted; `status` says how."""

    def __init__(self, status, reason):
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass
class Session:
    cookie: str = field(default_factory=secrets.token_urlsafe)
    member: str = ""
    forms: list = field(default_factory=list)


@dataclass
class Order:
    id: str
    member: str
    item: str
    quantity: int
    confirm_token: str
    version: str
    state: str = "open"
    invoice: int = 0

    def shown(self):
        return {
            "id": self.id,
            "item": self.item,
            "quantity": self.quantity,
            "state": self.state,
            "links": {"self": f"/api/orders/{self.id}"},
        }


class Shop:
    def __init__(self):
        self.members = {}
        self.sessions = {}
        self.bearers = {}
        self.orders = {}
        self.notes = {}
        self.invoices = {}
        self.next_invoice = random.SystemRandom().randrange(100, 9000)

    def session(self, cookie):
        """The session of that cookie. A cookie that this instance did not give is refused; none at all is a guest."""
        if not cookie:
            made = Session()
            self.sessions[made.cookie] = made
            return made
        if cookie not in self.sessions:
            raise Refused(401, "no such session")
        return self.sessions[cookie]

    def form_token(self, session):
        token = secrets.token_hex(16)
        session.forms = [*session.forms, token][-MOST_OPEN_FORMS:]
        return token

    def spend_form_token(self, session, token):
        if token not in session.forms:
            raise Refused(403, "form token is not of this session, or used")
        session.forms.remove(token)

    def join(self, name, password):
        if not name or not password:
            raise Refused(400, "name and password, please")
        if name in self.members:
            raise Refused(409, "this name is taken")
        self.members[name] = (secrets.token_hex(12), password)

    def login(self, guest, name, password):
        """A new session, with another cookie; the guest's is no good any more."""
        if name not in self.members or self.members[name][1] != password:
            raise Refused(401, "name or password is wrong")
        del self.sessions[guest.cookie]
        made = Session(member=name)
        self.sessions[made.cookie] = made
        return made

    def logout(self, session):
        del self.sessions[session.cookie]
        self.bearers = {token: owner for token, owner in self.bearers.items() if owner is not session}

    def bearer(self, session):
        token = secrets.token_urlsafe(32)
        self.bearers[token] = session
        return token

    def member_of(self, bearer):
        if bearer not in self.bearers:
            raise Refused(401, "no such token")
        return self.bearers[bearer].member

    def member_id(self, member):
        return self.members[member][0]

    def order(self, member, item, quantity):
        made = Order(
            f"o-{secrets.token_hex(5)}",
            member,
            item,
            quantity,
            secrets.token_urlsafe(18),
            secrets.token_hex(6),
        )
        self.orders[made.id] = made
        return made

    def find(self, member, order_id):
        order = self.orders.get(order_id)
        if order is None:
            raise Refused(404, "no such order")
        if order.member != member:
            raise Refused(403, "another member's order")
        return order

    def change(self, order, version, quantity):
        if not version:
            raise Refused(428, "If-Match, please")
        if version != f'"{order.version}"':
            raise Refused(412, "changed in the meantime")
        order.quantity, order.version = quantity, secrets.token_hex(6)

    def confirm(self, order, token):
        """Once. Makes an invoice, whose number is a small one."""
        if order.state != "open" or token != order.confirm_token:
            raise Refused(409, "confirmed already, or not with its token")
        order.state, order.version = "confirmed", secrets.token_hex(6)
        order.invoice = self.next_invoice
        self.invoices[order.invoice] = order
        self.next_invoice += 1
        return order.invoice

    def note(self, member, order_id, text):
        order = self.find(member, order_id)
        note_id = secrets.token_hex(8)
        self.notes[note_id] = (order.member, text, secrets.token_urlsafe(16))
        return note_id, self.notes[note_id][2]
