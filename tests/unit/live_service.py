"""A real service for recordings to stand before, and what tests need to know of the machine. Holds no test."""

from __future__ import annotations

import datetime as dt
import gzip
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

BINARY = bytes(range(256)) * 300
PAGE = b"<p>caf\xc3\xa9</p>" * 400


class Service(BaseHTTPRequestHandler):
    """A service with all kinds of answers; it keeps what it saw."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, str, list[tuple[str, str]], bytes]]

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def _answer(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _serve(self) -> None:
        self.seen.append((self.command, self.path, self.headers.items(), self._body()))
        match self.path.partition("?")[0]:
            case "/gzip":
                self._answer(
                    200, gzip.compress(PAGE), ("Content-Encoding", "gzip"), ("Content-Type", "text/html")
                )
            case "/chunked":
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for part in (b"one", BINARY, b"three"):
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                self.wfile.write(b"0\r\n\r\n")
            case "/cookies":
                self._answer(
                    302,
                    b"",
                    ("Set-Cookie", "a=1; Path=/"),
                    ("Set-Cookie", "b=2"),
                    ("Location", self._self("/next")),
                )
            case "/slow":
                time.sleep(0.8)
                self._answer(200, b"late")
            case "/cut":
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
            case "/missing":
                self._answer(404, b"no")
            case _:
                self._answer(200, BINARY, ("Content-Type", "application/octet-stream"))

    def _self(self, path: str) -> str:
        return f"http://{self.headers['host']}{path}"

    do_GET = do_POST = do_PUT = do_HEAD = _serve  # noqa: N815 - http.server's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextmanager
def service(context: ssl.SSLContext | None = None) -> Iterator[tuple[int, list]]:
    seen: list = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("One", (Service,), {"seen": seen}))
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1], seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def proxy_of(port: int) -> int:
    """The process that listens there."""
    inodes = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, state, inode = line.split()[1], line.split()[3], line.split()[9]
        if state == "0A" and int(local.partition(":")[2], 16) == port:
            inodes.add(f"socket:[{inode}]")
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and any(str(fd.readlink()) in inodes for fd in (entry / "fd").iterdir()):
                return int(entry.name)
    raise AssertionError(f"nobody listens on {port}")


def certificate_in(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's context for `localhost`, and the file of its certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "service.pem", folder / "service.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, private)
    return context, certificate
