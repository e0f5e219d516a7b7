"""What a request takes from earlier live answers, and what its own answer gives to later requests.

Takes nothing, gives plain values that the load generator's child process can use without any other module; all fields
are numbers and text, so that they travel as JSON. A *slot* is one value that the live answers of a client give; its
number is unique among all clients of one planner. A request's texts are templates: bytes as recorded, with slots where
a live value goes.

For whoever sends (`live.py` does the work):

* Keep one `values: dict[int, str]` a client. When an answer is there: `values.update(take(steps.takes, ...))`. A slot
  may be taken more than once; the latest value counts (a cookie that the service renews).
* Before sending: `fill(template, values)` for path, headers and body. `KeyError`: an answer that this request needs
  did not bring its value, so the client *falls out*: the request is not sent (`client fell out`). Later requests of the
  client are tried in the same way: those that need nothing that is missing are sent.
* `waits_for` keeps the order of a client whose requests carry live values: the request is due at max(scheduled, that
  exchange's answer + `think_ns`), and not before the exchanges in `needs` are over either, whose values it carries (they
  differ from `waits_for` where a client had several requests under way). An exchange that failed, or was left out
  because the client fell out, counts as answered when that was known. One that is not under way any more, or never was
  part of what is sent (a slice), is not waited for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Encoding = Literal["raw", "url", "form", "json", "json_value", "url+url", "url+form"]
"""How a live value is written where it goes: as it is; percent-encoded; form-encoded; inside a JSON string; as a JSON
value (a number stays one, anything else is quoted); percent-encoded twice, for a URL within a query; percent-encoded
and then form-encoded, for a URL within a form."""


@dataclass(frozen=True)
class Slot:
    """Where a live value goes. `otherwise`: what is written while there is none (a cookie that no live answer set);
    without it the request cannot be sent."""

    number: int
    encoding: Encoding
    otherwise: str | None = None


Template = tuple[bytes | Slot, ...]
"""Literal bytes and slots, joined when the request is sent."""

Source = Literal["json", "header", "cookie", "html", "text", "status"]


@dataclass(frozen=True)
class Take:
    """Where in this exchange's live answer a slot's value is found.

    `source` json: a dotted path with [index]; header and cookie: a name; html: the name of an `<input>`, or
    `meta:NAME`; text: a regular expression with one group; status: `ok`, which gives an empty text when the answer's
    status is below 400 (it guards what makes no sense after a failure). All but text and status may end in `|PART`, a
    part of the value: `segment[N]`, `query[NAME]`, `fragment[NAME]` or `path` of a URL, or `decoded`. README.md of
    this folder shows each.
    """

    slot: int
    source: Source
    path: str


@dataclass(frozen=True)
class Steps:
    """One exchange with its slots. `waits_for` is the seq of the last answer in its thread (README.md) that the client
    had before it sent this request (-1: it carries nothing live), `think_ns` the recorded time between the two; `needs`
    are the seqs of other answers that it carries something of."""

    path: Template
    headers: tuple[tuple[str, Template], ...]
    body: Template
    takes: tuple[Take, ...] = ()
    waits_for: int = -1
    think_ns: int = 0
    needs: tuple[int, ...] = ()
