"""Asks through one edge's Toxiproxy how long an answer takes; standard library alone, runs inside the plane.

Takes the port of the edge's Toxiproxy listener, the protocol and a limit in seconds; gives what happened and the
fastest of a few tries. An http probe is answered by HAProxy itself (`monitor-uri`), so the callee never sees it.
"""

from __future__ import annotations

import socket
import struct
import time
from typing import Any

TRIES = 3
QUESTIONS = {
    "http": b"GET /.readiness-probe HTTP/1.1\r\nhost: readiness\r\nconnection: close\r\n\r\n",
    "redis": b"*1\r\n$4\r\nPING\r\n",
    "postgres": struct.pack("!II", 8, 80877103),  # SSLRequest: answered by one byte before any login
}


def probe(port: int, protocol: str, limit_s: float) -> dict[str, Any]:
    """`outcome`, the fastest `connect_ms` and `first_byte_ms` of up to TRIES tries within the limit, and `tries`."""
    deadline = time.monotonic() + limit_s
    best = one_try(port, protocol, deadline)
    tries = 1
    while best["outcome"] == "answered" and tries < TRIES:
        if time.monotonic() + best["first_byte_ms"] / 1000 > deadline:
            break
        result = one_try(port, protocol, deadline)
        tries += 1
        if result["outcome"] != "answered" or result["first_byte_ms"] < best["first_byte_ms"]:
            best = result
    return {**best, "tries": tries}


def one_try(port: int, protocol: str, deadline: float) -> dict[str, Any]:
    """Connect, ask, wait for the first byte; never past the deadline."""
    result: dict[str, Any] = {"outcome": "timed_out", "connect_ms": None, "first_byte_ms": None}
    question = QUESTIONS.get(protocol)
    started = time.monotonic()
    try:
        with socket.create_connection(("127.0.0.1", port), max(deadline - started, 0.01)) as connection:
            result["connect_ms"] = round((time.monotonic() - started) * 1000, 3)
            if question is None:
                return result | {"outcome": "connected"}
            asked = time.monotonic()
            connection.sendall(question)
            connection.settimeout(max(deadline - time.monotonic(), 0.01))
            if not connection.recv(1):
                return result | {"outcome": "closed"}
            return result | {
                "outcome": "answered",
                "first_byte_ms": round((time.monotonic() - asked) * 1000, 3),
            }
    except TimeoutError:
        return result
    except ConnectionRefusedError:
        return result | {"outcome": "refused"}
    except OSError:
        return result | {"outcome": "closed"}
