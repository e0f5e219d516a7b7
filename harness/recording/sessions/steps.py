"""What a request takes from earlier live answers, and what its own answer gives to later requests.

Takes nothing, gives plain values that the load generator's child process can use without any other module. A *slot* is
one value of one recorded answer; its number is unique within a client. A request's texts are templates: bytes as
recorded, with slots where a value of a live answer goes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Encoding = Literal["raw", "url", "form", "json"]
"""How a live value is written where it goes: as it is, percent-encoded, form-encoded, or inside a JSON string."""


@dataclass(frozen=True)
class Slot:
    """Where a live value goes."""

    number: int
    encoding: Encoding


Template = tuple[bytes | Slot, ...]
"""Literal bytes and slots, joined when the request is sent."""


@dataclass(frozen=True)
class Take:
    """Where in this exchange's live answer a slot's value is found.

    `source` json: a dotted path with [index]; header and cookie: a name; html: `input[name]`'s name or `meta:name`;
    text: a regular expression with one group. See README.md of this folder.
    """

    slot: int
    source: Literal["json", "header", "cookie", "html", "text"]
    path: str


@dataclass(frozen=True)
class Steps:
    """One exchange with its slots. `waits_for` is the seq of the last answer that it carries something of, or -1;
    `think_ns` the recorded time between that answer and this request."""

    path: Template
    headers: tuple[tuple[str, Template], ...]
    body: Template
    takes: tuple[Take, ...] = ()
    waits_for: int = -1
    think_ns: int = 0
