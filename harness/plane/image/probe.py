"""Asks through one edge's Toxiproxy how long an answer takes; standard library alone, runs inside the plane.

Takes the port of the edge's Toxiproxy listener, the protocol and a limit in seconds; gives what happened and the
fastest of a few tries. An http probe is answered by HAProxy itself (`monitor-uri`), so the callee never sees it.
"""

from __future__ import annotations

import socket
import struct
import time

TRIES = 3
QUESTIONS = {
    "http": b"GET /.readiness-probe HTTP/1.1\r\nhost: readiness\r\nconnection: close\r\n\r\n",
    "redis": b"*1\r\n$4\r\nPING\r\n",
    "postgres": struct.pack("!II", 8, 80877103),  # SSLRequest: answered by one byte before any login
}


def probe(port: int, protocol: str, limit_s: float) -> dict[str, object]:
    """`outcome`, and the fastest `connect_ms` and `first_byte_ms` of up to TRIES tries within the limit."""
    deadline = time.monotonic() + limit_s
    best: dict[str, object] = {}
    tries = 0
    while tries < TRIES:
        started = time.monotonic()
        result = one_try(port, protocol, deadline)
        tries += 1
        if not best or _better(result, best):
            best = result
        took_s = time.monotonic() - started
        if result["outcome"] not in ("answered", "connected") or time.monotonic() + took_s > deadline:
            break
    return {**best, "tries": tries}


def _better(one: dict[str, object], other: dict[str, object]) -> bool:
    """Both answered and the one was faster; a failure after an answer counts more than the answer."""
    if one["outcome"] != other["outcome"]:
        return one["outcome"] not in ("answered", "connected")
    if one["first_byte_ms"] is not None:
        return one["first_byte_ms"] < other["first_byte_ms"]  # type: ignore[operator]
    return False


def one_try(port: int, protocol: str, deadline: float) -> dict[str, object]:
    """Connect, ask, wait for the first byte; never past the deadline."""
    result: dict[str, object] = {"outcome": "timed_out", "connect_ms": None, "first_byte_ms": None}
    question = QUESTIONS.get(protocol)
    started = time.monotonic()
    try:
        with socket.create_connection(("127.0.0.1", port), max(deadline - started, 0.01)) as connection:
            result["connect_ms"] = (time.monotonic() - started) * 1000
            if question is None:
                result["outcome"] = "connected"
                return result
            asked = time.monotonic()
            connection.sendall(question)
            connection.settimeout(max(deadline - time.monotonic(), 0.01))
            answer = connection.recv(1)
            result["first_byte_ms"] = (time.monotonic() - asked) * 1000 if answer else None
            result["outcome"] = "answered" if answer else "closed"
    except TimeoutError:
        result["outcome"] = "timed_out"
    except ConnectionRefusedError:
        result["outcome"] = "refused"
    except OSError:
        result["outcome"] = "closed"
    return result
