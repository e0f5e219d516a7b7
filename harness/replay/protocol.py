"""What the replay's parent and its child say to each other: one JSON object a line, and two files per unit.

Both sides import this module, so it stands on the standard library alone. The parent writes the unit's requests to a
file and sends an `Order`; the child appends a line to the answers file when a request goes out and another when it
comes back, so that a child that is killed leaves what it had seen.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

BODY_LIMIT_BYTES = 64 * 1024
"""Longer answers are cut, so that no service can fill the history."""

FLUSH_S = 0.2
"""How often the child's answers reach the file: the most that a killed child takes with it."""


@dataclass(frozen=True)
class Order:
    """Replay one unit. Times are `time.monotonic_ns()`, which all processes of a machine share."""

    number: int
    requests_file: str
    answers_file: str
    base_url: str
    start_ns: int
    length_ns: int
    timeout_ns: int


@dataclass(frozen=True)
class Reply:
    """What the child says: `ready` once (number 0), then for each order `done`, or `failed` with the reason.

    `cpu_ns` is what the whole process used while the order ran.
    """

    number: int
    kind: Literal["ready", "done", "failed"]
    reason: str = ""
    cpu_ns: int = 0
    wall_ns: int = 0
    most_in_flight: int = 0


def encode(message: Order | Reply) -> str:
    """One line, with its end."""
    return json.dumps(asdict(message)) + "\n"


def decode_order(line: str) -> Order:
    """Raises ValueError or TypeError for anything that `encode` did not write."""
    return Order(**json.loads(line))


def decode_reply(line: str) -> Reply:
    """Raises ValueError or TypeError for anything that `encode` did not write."""
    return Reply(**json.loads(line))


@dataclass(frozen=True)
class Request:
    """One request as the child needs it; `offset_ns` from the unit's start."""

    seq: int
    offset_ns: int
    method: str
    path: str
    route: str
    headers: dict[str, str]
    body: bytes


def write_requests(path: Path, requests: Iterable[Request]) -> None:
    """The unit's requests, one JSON array a line. Raises OSError."""
    with path.open("w", encoding="utf-8") as file:
        for item in requests:
            body = base64.b64encode(item.body).decode("ascii")
            line = [item.seq, item.offset_ns, item.method, item.path, item.route, item.headers, body]
            file.write(json.dumps(line) + "\n")


def read_requests(path: Path) -> Iterator[Request]:
    """What `write_requests` wrote. Raises OSError, ValueError."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            seq, offset_ns, method, target, route, headers, body = json.loads(line)
            yield Request(seq, offset_ns, method, target, route, headers, base64.b64decode(body))


@dataclass(frozen=True)
class Answer:
    """What became of one request; `answered_ns` -1, status 0 and an error when there was no answer."""

    seq: int
    sent_ns: int
    answered_ns: int
    status: int
    error: str
    body: str


def sent_line(seq: int, sent_ns: int) -> bytes:
    """Line of the answers file: this request went out."""
    return b"[%d,%d]\n" % (seq, sent_ns)


def answer_line(answer: Answer) -> bytes:
    """Line of the answers file: this request is over."""
    fields = [answer.seq, answer.sent_ns, answer.answered_ns, answer.status, answer.error, answer.body]
    return json.dumps(fields, separators=(",", ":")).encode("ascii") + b"\n"


def read_answers(path: Path) -> tuple[dict[int, Answer], dict[int, int]]:
    """Answers by seq, and when each request that has none went out. A last line cut off by a kill is left out.

    Raises OSError, and ValueError for a broken line elsewhere.
    """
    answers: dict[int, Answer] = {}
    sent: dict[int, int] = {}
    for line in path.read_bytes().splitlines(keepends=True):
        if not line.endswith(b"\n"):
            break
        fields: list[Any] = json.loads(line)
        if len(fields) == 2:
            sent[fields[0]] = fields[1]
        else:
            answers[fields[0]] = Answer(*fields)
    return answers, {seq: sent_ns for seq, sent_ns in sent.items() if seq not in answers}
