"""A small HTTP server to replay against: it notes what it gets, and misbehaves on request."""

from __future__ import annotations

import gzip
import json
import ssl
import threading
import time
import zlib
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import brotli  # type: ignore[import-untyped]


@dataclass
class Got:
    """One request as it arrived; `port` is the other end of the connection on which it did."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    version: str = "HTTP/1.1"
    port: int = 0


@dataclass
class Target:
    """Serves on 127.0.0.1 from `with` to its end; `got` in order of arrival."""

    got: list[Got] = field(default_factory=list)
    tls: ssl.SSLContext | None = None
    _server: Any = None

    def __enter__(self) -> Target:  # noqa: C901 - the handler's methods belong together
        target = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # One write an answer: two would meet Nagle's algorithm and a delayed acknowledgement.
            wbufsize = -1

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {k.lower(): v for k, v in self.headers.items()}
                version, port = self.request_version, self.client_address[1]
                target.got.append(Got(self.command, self.path, headers, body, version, port))
                url = urlsplit(self.path)
                if self.command == "HEAD":
                    self.say(200, b"", promised=5)
                    return
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

            def do_zero(self, _: object) -> None:
                self.wfile.write(b"HTTP/1.1 000 Nothing\r\nContent-Length: 0\r\n\r\n")
                self.wfile.flush()

            def do_cookie(self, _: object) -> None:
                self.say(200, b"", **{"Set-Cookie": "session=1"})

            def do_gzip(self, query: dict[str, list[str]]) -> None:
                self.say(200, gzip.compress(query["text"][0].encode()), **{"Content-Encoding": "gzip"})

            def do_encoded(self, query: dict[str, list[str]]) -> None:
                """An encoded body that ends so many bytes too soon, or whole."""
                encoding, text = query["as"][0], b"0123456789" * 9
                body = {"gzip": gzip.compress, "deflate": zlib.compress, "br": brotli.compress}[encoding](
                    text
                )
                self.say(200, body[: len(body) - int(query["short"][0])], **{"Content-Encoding": encoding})

            def do_none(self, _: object) -> None:
                self.wfile.write(b"HTTP/1.1 204 No Content\r\n\r\n")
                self.wfile.flush()

            def do_until_end(self, _: object) -> None:
                self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\nall of it")
                self.wfile.flush()
                self.close_connection = True

            def do_chunked(self, _: object) -> None:
                self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                for piece in (b"3\r\nabc\r\n", b"4\r\ndefg\r\n", b"0\r\n\r\n"):
                    self.wfile.write(piece)
                    self.wfile.flush()
                    time.sleep(0.02)

            def do_login(self, query: dict[str, list[str]]) -> None:
                """After `s` seconds, a token of its own for every user; an error with `code`."""
                time.sleep(float(query.get("s", ["0"])[0]))
                token = f"live-token-of-{query['user'][0]}"
                self.say(int(query.get("code", ["200"])[0]), json.dumps({"token": token}).encode())

            def do_big(self, query: dict[str, list[str]]) -> None:
                self.say(200, b"x" * int(query["bytes"][0]))

            do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 512
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_: object) -> None:
                """A generator that was killed hangs up in mid-answer; that is what some tests are for."""

        self._server = Server(("127.0.0.1", 0), Handler)
        if self.tls is not None:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self._server.server_port}"


if __name__ == "__main__":
    with Target() as standing:
        print(standing.url, flush=True)
        threading.Event().wait()
