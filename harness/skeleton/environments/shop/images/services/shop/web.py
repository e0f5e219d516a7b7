"""The HTTP server of every service here: JSON, keep-alive, `/healthz`, request ids, a clean end on SIGTERM.

Nothing in it is asked for by the harness: an image of yours that listens on a port will do.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

PORT = 8080
IDLE_S = 75.0
REQUEST_ID = "x-request-id"


@dataclass(frozen=True)
class Request:
    """What was asked. `parts` are the path's, decoded: `/offers/A-01` is `("offers", "A-01")`."""

    parts: tuple[str, ...]
    query: Mapping[str, str]
    request_id: str


class HttpError(Exception):
    """Answer with this status instead."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)


Answer = dict[str, Any]
Service = Callable[[Request], Answer]


class Handler(BaseHTTPRequestHandler):
    """One connection: requests one after another, until the caller has gone or was silent for IDLE_S."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_S
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave in one packet
    service: Service

    def do_GET(self) -> None:
        status, answer = self._answer()
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _answer(self) -> tuple[int, Answer]:
        url = urlsplit(self.path)
        if url.path == "/healthz":
            return 200, {"status": "ok"}
        parts = tuple(unquote(part) for part in url.path.strip("/").split("/"))
        request = Request(parts, dict(parse_qsl(url.query)), self.headers.get(REQUEST_ID, "-"))
        try:
            return 200, type(self).service(request)
        except HttpError as error:
            return error.status, {"error": str(error)}
        except Exception as error:
            print(f"[{request.request_id}] {self.path}: {error!r}", file=sys.stderr, flush=True)
            return 500, {"error": "internal error"}

    def log_message(self, *_args: object) -> None:
        """No line a request: the harness sees every request on its edge."""


class Server(ThreadingHTTPServer):
    """One daemon thread a connection; a burst of connections waits rather than being refused."""

    daemon_threads = True
    request_queue_size = 256


def serve(service: Service) -> None:
    """Answer requests until SIGTERM, which a process with number 1 does not heed unless told to."""
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    handler = type("ServiceHandler", (Handler,), {"service": staticmethod(service)})
    with Server(("", PORT), handler) as server:
        print(f"listening on port {PORT}", flush=True)
        server.serve_forever()


def number(request: Request, name: str) -> float:
    """A number of the query. Raises HttpError 400."""
    try:
        return float(request.query[name])
    except (KeyError, ValueError):
        raise HttpError(400, f"give {name}, a number") from None
