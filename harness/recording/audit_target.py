"""A server on 127.0.0.1 that answers everything with 200 and keeps every byte it was sent.

Gives its address and what it received. For audits: what a replay sends is an artefact like any other.
"""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

ANSWER = b"{}"
MOST_BODY_BYTES = 2**20


class RecordingTarget:
    """A context: serves while it is entered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pieces: list[bytes] = []
        self.requests = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def received(self) -> bytes:
        with self._lock:
            return b"\n".join(self._pieces)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    def _keep(self, data: bytes) -> None:
        with self._lock:
            self._pieces.append(data)
            self.requests += 1

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        keep = self._keep

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                length = min(int(self.headers.get("content-length") or 0), MOST_BODY_BYTES)
                body = self.rfile.read(length)
                keep(f"{self.requestline}\n{self.headers}".encode("utf-8", "surrogateescape") + body)
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(ANSWER)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(ANSWER)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = _answer  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        return Handler
