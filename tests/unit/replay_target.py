"""A small HTTP server to replay against: it notes what it gets, and misbehaves on request."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Got:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Target:
    """Serves on 127.0.0.1 from `with` to its end; `got` in order of arrival."""

    got: list[Got] = field(default_factory=list)
    _server: Any = None

    def __enter__(self) -> Target:  # noqa: C901 - the handler's methods belong together
        target = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # One write an answer: two would meet Nagle's algorithm and a delayed acknowledgement.
            wbufsize = -1

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                target.got.append(
                    Got(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
                )
                url = urlsplit(self.path)
                misbehave = getattr(self, "do_" + url.path.strip("/"), None)
                if misbehave is not None:
                    misbehave(parse_qs(url.query))
                else:
                    self.say(200, json.dumps({"path": self.path}).encode())

            def say(self, status: int, body: bytes, promised: int | None = None, **headers: str) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body) if promised is None else promised))
                self.end_headers()
                self.wfile.write(body)
                self.wfile.flush()

            def do_wait(self, query: dict[str, list[str]]) -> None:
                time.sleep(float(query["s"][0]))
                self.say(200, b"late")

            def do_status(self, query: dict[str, list[str]]) -> None:
                self.say(int(query["code"][0]), b"\xff\xfe no text", Location="/elsewhere")

            def do_hangup(self, _: object) -> None:
                self.close_connection = True

            def do_half(self, _: object) -> None:
                self.say(200, b"{", promised=100)
                self.close_connection = True

            def do_garbage(self, _: object) -> None:
                self.wfile.write(b"this is not HTTP\r\n\r\n")
                self.wfile.flush()
                self.close_connection = True

            def do_cookie(self, _: object) -> None:
                self.say(200, b"", **{"Set-Cookie": "session=1"})

            def do_big(self, query: dict[str, list[str]]) -> None:
                self.say(200, b"x" * int(query["bytes"][0]))

            do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 512
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_: object) -> None:
                """A generator that was killed hangs up in mid-answer; that is what some tests are for."""

        self._server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"


if __name__ == "__main__":
    with Target() as standing:
        print(standing.url, flush=True)
        threading.Event().wait()
