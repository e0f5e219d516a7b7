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
_UNANSWERED_STATES = frozenset("CHQRT")
"""Second letter of HAProxy's termination, the stage reached: before D (data), nothing was sent back."""
_NO_REQUEST = "<BADREQ>"


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


def _row(line: dict[str, Any], names: dict[int, str]) -> dict[str, Any] | None:
    """None for what was no request: a connection that broke off before its headers were there."""
    if line["method"] == _NO_REQUEST:
        return None
    begin_us, end_us = int(line["begin_us"]), int(line["end_us"])
    termination = str(line["termination"])
    return {
        "edge": names[line["edge"]],
        "at_wall_ns": begin_us * 1000,
        "request_id": _text(line["id"]),
        "method": str(line["method"]),
        "path": _text(line["path"]),
        "status": _status(int(line["status"]), termination),
        "duration_ms": max(end_us - begin_us, 0) / 1000,
        "bytes_to_caller": int(line["bytes"]),
        "termination": termination,
        "fault": urllib.parse.unquote(_text(line["fault"])),
    }


def _text(value: str) -> str:
    return "" if value == _NOTHING else value


def _status(status: int, termination: str) -> int:
    """What the caller was answered: HAProxy notes a status of its own even when it only closed the connection."""
    return -1 if termination[1:2] in _UNANSWERED_STATES else status
