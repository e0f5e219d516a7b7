"""The plane's request log: one JSON line for every HTTP request that left an edge towards its callee.

Takes the container's log and the routes, gives rows for `EdgeRequests` (without arm, unit, turn and phase, with
`at_wall_ns` since the epoch). Paths come without their query, which may hold secrets. Lines that are no log lines are
what the plane said while starting; a log line that cannot be read is counted, never passed over in silence.
"""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.plane.routes import EdgeRoute

_MARK = b'{"edge":'
_NOTHING = "-"
_NO_REQUEST = "<BADREQ>"
_REFUSED = "PR"
NO_ANSWER = -1
"""Status of a request whose connection ended before anything was sent back. HAProxy notes a status of its own then."""


@dataclass(frozen=True)
class RequestLog:
    """`rows` in order of completion; `unreadable` lines began as a log line and did not end as one."""

    rows: tuple[dict[str, Any], ...]
    unreadable: int


def read_request_log(content: bytes, routes: Sequence[EdgeRoute]) -> RequestLog:
    """See the module's head."""
    names = {route.index: route.edge for route in routes}
    rows = []
    unreadable = 0
    for line in content.splitlines():
        if not line.startswith(_MARK):
            continue
        try:
            row = _row(json.loads(line), names)
        except (ValueError, KeyError, TypeError):
            unreadable += 1
        else:
            if row is not None:
                rows.append(row)
    return RequestLog(tuple(rows), unreadable)


def spoken(content: bytes) -> list[str]:
    """The lines of a log that are no requests: what the plane and its parts said."""
    lines = [line for line in content.splitlines() if not line.startswith(_MARK)]
    return [line.decode("utf-8", "replace").rstrip() for line in lines if line.strip()]


def _row(line: dict[str, Any], names: dict[int, str]) -> dict[str, Any] | None:
    """None for what was no request: a connection that broke off before its headers were there.

    A request so malformed that HAProxy answered it itself is a row (status 400, termination PR), without a beginning
    and without bytes.
    """
    refused = line["method"] == _NO_REQUEST and line["termination"] == _REFUSED
    if line["method"] == _NO_REQUEST and not refused:
        return None
    bytes_to_caller = int(line["bytes"])
    end_us = int(line["end_us"])
    begin_us = int(_text(line["begin_us"]) or end_us)
    return {
        "edge": names[line["edge"]],
        "at_wall_ns": begin_us * 1000,
        "request_id": _text(line["id"]),
        "method": str(line["method"]),
        "path": _text(line["path"]),
        "status": int(line["status"]) if bytes_to_caller or refused else NO_ANSWER,
        "duration_ms": max(end_us - begin_us, 0) / 1000,
        "bytes_to_caller": bytes_to_caller,
        "termination": str(line["termination"]),
        "fault": urllib.parse.unquote(_text(line["fault"])),
    }


def _text(value: str) -> str:
    return "" if value == _NOTHING else value
