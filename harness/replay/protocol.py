"""What the replay's parent and its child say to each other: one JSON object a line, and two files per order.

Both sides import this module, so it stands on the standard library alone.

The child: `harness.replay.child` is a package that alone imports Locust and gevent; `python -m harness.replay.child
PARENT_PID` takes orders on standard input. One class carries out one order in any process that has a Locust
`Environment` (with or without a runner), so that Locust's own workers use the very same one:

    from harness.replay.child.replay import Replay, heat, make_environment
    from harness.replay.child.process import settle_in, tidy_memory
    most_in_flight = settle_in(parent_pid)             # once per process: limits, priority, timer slack
    environment = make_environment()                   # or one of your own; requests are reported to environment.events
    heat(environment)                                  # once per process: no first request pays for late imports
    memory = Memory()                                  # once per process: what clients got from live answers
    reply = Replay(environment, order, most_in_flight, memory).run()      # blocks its greenlet; raises OSError, ValueError
    replay.stop()                                      # from another greenlet: send no more, answer what is under way

Files of an order (paths are in `Order`, on the machine of the process that carries it out):

* `requests_file`: a stream of frames (`frames.py`) in order of time, ended by an end frame; an ordinary file, or a FIFO
  that the parent writes to while the child sends (`feeding.Feeder`). The child reads ahead a bounded amount.
* `answers_file`: blocks (`answers.py`), appended every `FLUSH_S`; each block stands alone, so a file that a killed child
  leaves ends at its last whole block, and blocks may be carried elsewhere and put one after another. Times in it are
  the `time.monotonic_ns()` of the process that wrote it.

`Reply.resources` holds the figures of `RESOURCES`: of the whole process while the order ran.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

BODY_LIMIT_BYTES = 64 * 1024
"""Longer answers are cut, so that no service can fill the history."""

FLUSH_S = 0.2
"""How often the child's answers reach the file: the most that a killed child takes with it."""

RESOURCES: Mapping[str, str] = {
    "cpu_ms": "CPU time, user and system, all threads",
    "wall_ms": "time from the order until its last answer",
    "cpu_share": "cpu_ms / wall_ms",
    "busiest_cpu_share": "the greatest such share in any stretch of 0.2 s",
    "runqueue_wait_ms": "time that the sending thread was ready to run and had to wait for a core; -1: not known",
    "throttled_ms": "time that a cgroup's CPU limit stopped the process; -1: not known",
    "throttled_periods": "how many periods of that limit it was stopped in; -1: not known",
    "major_faults": "page faults that had to read from disk",
    "max_rss_bytes": "most memory that the process held since it began; -1: not known",
    "memory_limit_bytes": "least memory limit of its cgroups; -1: none, or not known",
    "most_in_flight": "most requests under way at once",
    "in_flight_limit": "how many may be",
    "in_flight_limit_hits": "requests that were not sent because so many were under way",
    "in_flight_limit_first_ns": "when that first happened, monotonic clock of the process; -1: never",
    "in_flight_limit_last_ns": "when that last happened; -1: never",
    "connections_opened": "connections begun, also such as failed",
    "sent_bytes": "written to connections, without TLS",
    "received_bytes": "read from connections, without TLS",
    "requests_waited_for": "how often a due time came and the request had not been handed over yet",
}
"""Names and meanings of what `Reply.resources` holds; all are numbers."""


@dataclass(frozen=True)
class Order:
    """Replay one unit. Times are `time.monotonic_ns()`, which all processes of a machine share.

    `fields`: dotted paths (`a.b[0].c`) of the JSON fields that are kept of each answer, and nothing else; empty: its text.
    `insecure`: any certificate will do; `ca_file`: PEM file of those that may sign one (empty: the system's).
    `keeps_sessions`: clients still have what earlier orders of this process that said so gave them (tokens, ids, cookies);
    the slots of all such orders are of one planner.
    """

    number: int
    requests_file: str
    answers_file: str
    base_url: str
    start_ns: int
    length_ns: int
    timeout_ns: int
    fields: tuple[str, ...] = ()
    insecure: bool = False
    ca_file: str = ""
    keeps_sessions: bool = False


@dataclass(frozen=True)
class Reply:
    """What the child says: `ready` once (number 0), then for each order `done`, or `failed` with the reason."""

    number: int
    kind: Literal["ready", "done", "failed"]
    reason: str = ""
    resources: Mapping[str, float] = field(default_factory=dict)


def encode(message: Order | Reply) -> str:
    """One line, with its end."""
    return json.dumps(asdict(message)) + "\n"


def decode_order(line: str) -> Order:
    """Raises ValueError or TypeError for anything that `encode` did not write."""
    fields: dict[str, Any] = json.loads(line)
    return Order(**{**fields, "fields": tuple(fields.get("fields", ()))})


def decode_reply(line: str) -> Reply:
    """Raises ValueError or TypeError for anything that `encode` did not write."""
    return Reply(**json.loads(line))
