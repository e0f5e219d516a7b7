"""What a crew's master and its workers say to each other, as data of Locust's custom messages, and how it is sealed.

Locust's port takes messages from anybody. Ours carry a MAC made with a key that comes from a shared token and from one
number used once of either side, and they are counted, so that a stranger can neither give an order, nor add a record,
nor repeat either. They are sealed, not encrypted: who reads the network reads the answers. Stands on the standard
library alone.
"""

from __future__ import annotations

import hmac
import json
import secrets
from dataclasses import asdict, dataclass, field
from typing import Any

from harness.replay.crew.orders import Part, Rendering, typed
from harness.replay.protocol import Order, Reply

MESSAGE = "readiness"
"""The one type of custom message that a crew registers with Locust."""

VERSION = 1
"""Of these messages; a worker of another version is refused."""


@dataclass(frozen=True)
class Hello:
    """A worker's first word. `clock` names the monotonic clock that it reads, `recording` is the digest of its copy
    (empty: it is given its share by the master's own machine)."""

    version: int
    name: str
    pid: int
    host: str
    clock: str
    recording: str
    nonce: str


@dataclass(frozen=True)
class Welcome:
    """The master's answer to `Hello`."""

    nonce: str


@dataclass(frozen=True)
class Refused:
    """The master will not work with this worker."""

    why: str


@dataclass(frozen=True)
class Ping:
    """The master asks for the worker's clock; times are of the master's."""

    asked_ns: int


@dataclass(frozen=True)
class Pong:
    """The worker's answer; `came_ns` and `replied_ns` are of the worker's clock."""

    asked_ns: int
    came_ns: int
    replied_ns: int


@dataclass(frozen=True)
class Assign:
    """Send share `worker` of `workers` of a unit. `order` is that of a lone child, but its start is of the worker's own
    clock, and its files are the worker's business. The rest as in `orders.Unit`.
    """

    worker: int
    workers: int
    order: Order
    rendering: Rendering
    part: Part | None


@dataclass(frozen=True)
class Answers:
    """Blocks of the answers file (see `answers`) as they came, beside this message; times are of the worker's clock."""

    number: int


@dataclass(frozen=True)
class Finished:
    """The share is over: `reply` is what a lone child would have replied, `requests` a digest of what it was to send."""

    number: int
    reply: Reply
    requests: str


@dataclass(frozen=True)
class Stop:
    """Send no more of this unit, and report what there is."""

    number: int


@dataclass(frozen=True)
class Bye:
    """The crew is dismissed."""


Message = Hello | Welcome | Refused | Ping | Pong | Assign | Answers | Finished | Stop | Bye
_KINDS: dict[str, type[Message]] = {
    kind.__name__: kind
    for kind in (Hello, Welcome, Refused, Ping, Pong, Assign, Answers, Finished, Stop, Bye)
}


class Unsealed(ValueError):  # noqa: N818 - a finding about a message
    """A message that nobody with the token wrote, or that came a second time."""


def _typed(fields: dict[str, Any]) -> dict[str, Any]:
    if "reply" in fields:
        fields["reply"] = Reply(**fields["reply"])
    return typed(fields)


def new_token() -> str:
    """A token for one crew, to be given to its workers by a way that others do not read."""
    return secrets.token_urlsafe(24)


def new_nonce() -> str:
    """A number used once."""
    return secrets.token_hex(16)


@dataclass
class Seal:
    """One side of one conversation. `join` makes its key, once both numbers used once are known."""

    token: str
    me: str
    peer: str
    _key: bytes = b""
    _sent: int = 0
    _got: int = field(default=0)

    def join(self, hello_nonce: str, welcome_nonce: str) -> None:
        """From now on messages are sealed for this conversation alone."""
        self._key = hmac.digest(self.token.encode(), f"{hello_nonce} {welcome_nonce}".encode(), "sha256")
        self._sent = self._got = 0

    def close(self, message: Message, blocks: bytes = b"") -> dict[str, Any]:
        """The message as the data of a Locust message."""
        self._sent += 1
        body = json.dumps({"kind": type(message).__name__, **asdict(message)}).encode()
        mac = self._mac(self.me, self._sent, body, blocks)
        return {"count": self._sent, "body": body, "blocks": blocks, "mac": mac}

    def open(self, data: object) -> tuple[Message, bytes]:
        """What `close` of the other side was given. Raises Unsealed."""
        try:
            count, body, blocks, mac = (data[name] for name in ("count", "body", "blocks", "mac"))  # type: ignore[index]
            if not isinstance(count, int) or not hmac.compare_digest(
                mac, self._mac(self.peer, count, body, blocks)
            ):
                raise Unsealed("it is not sealed with this crew's token")
            if count <= self._got:
                raise Unsealed("it came before")
            fields = json.loads(body)
            message = _KINDS[fields.pop("kind")](**_typed(fields))
        except Unsealed:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Unsealed(f"it cannot be read: {error}") from error
        self._got = count
        return message, blocks

    def _mac(self, sender: str, count: int, body: bytes, blocks: bytes) -> bytes:
        seal = hmac.new(self._key or self.token.encode(), digestmod="sha256")
        seal.update(f"{sender} {count} {len(body)}\n".encode())
        seal.update(body)
        seal.update(blocks)
        return seal.digest()


def conversation(token: str, worker: str, at_master: bool) -> Seal:
    """The seal of the master's or the worker's side; `worker` is Locust's id of the worker."""
    return Seal(token, "master", worker) if at_master else Seal(token, worker, "master")
