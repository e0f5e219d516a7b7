"""A plane between a caller and three callees, each on a network of its own, for tests of the plane and of faults.

`PlaneWorld` is up for as long as its context lasts. The caller is a hand inside a container: the tests tell it over a
socket to open, talk on and close connections, so that what a caller sees is seen from where callers are.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

from harness.driver.base import Attachment, ContainerSpec, NetworkSpec
from harness.driver.docker import DockerDriver
from harness.environment.images import ensure_images
from harness.faults import FaultContext
from harness.model.plan import FaultWindow
from harness.plane.client import Plane
from harness.plane.container import PLANE_IMAGE, plane_files, plane_image_request, plane_ports
from harness.plane.routes import EdgeRoute

LABEL = "readiness.run"
HAND_PORT = 7000
SEED = 77

# name, caller, protocol, listen address within the caller's network, listen port, callee, callee port
EDGES = (
    ("client->web", "client", "http", 3, 8080, "web", 8080),
    ("caller->web", "caller", "http", 8, 8080, "web", 8080),
    ("caller->store", "caller", "redis", 9, 6379, "store", 6379),
    ("caller->store/stream", "caller", "tcp", 9, 9000, "store", 9000),
    ("caller->ledger", "caller", "postgres", 10, 5432, "ledger", 5432),
    ("caller->ledger/http", "caller", "http", 10, 8080, "ledger", 8080),
    ("caller->idle", "caller", "http", 11, 8080, "ledger", 8080),
)
NETWORKS = ("client", "caller", "web", "store", "ledger")

# Answers every protocol of the tests on its usual port; also the hand, on HAND_PORT.
SCRIPT = r"""
import http.client, http.server, json, socket, socketserver, threading, time

class Web(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    def answer(self):
        length = int(self.headers.get("content-length", 0))
        body = self.rfile.read(length)
        if self.path.startswith("/slow"): time.sleep(1)
        if self.path.startswith("/hangup"): self.close_connection = True; return
        content = json.dumps({"path": self.path, "got": len(body), "headers": dict(self.headers)}).encode()
        self.send_response(418 if self.path == "/teapot" else 200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
    do_GET = do_POST = answer
    def log_message(self, *args): pass

def lines(answer):
    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            while data := self.request.recv(65536):
                self.request.sendall(answer(data))
    return Handler

kept = {}

def hand(order):
    do, key = order["do"], order.get("key")
    started = time.monotonic()
    out = {}
    try:
        if do == "open":
            connection = socket.create_connection((order["host"], order["port"]), order["limit_s"])
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            kept[key] = connection
            out["saw"] = "connected"
        elif do == "talk":
            connection = kept[key]
            connection.settimeout(order["limit_s"])
            connection.sendall(order["say"].encode())
            data = connection.recv(65536)
            out["saw"] = data.decode("latin-1") if data else "end of file"
        elif do == "listen":
            connection = kept[key]
            connection.settimeout(order["limit_s"])
            data = connection.recv(65536)
            out["saw"] = data.decode("latin-1") if data else "end of file"
        elif do == "close":
            kept.pop(key).close()
            out["saw"] = "closed"
        elif do == "get":
            connection = kept.get(key) or http.client.HTTPConnection(order["host"], order["port"])
            if key: kept[key] = connection
            connection.timeout = order["limit_s"]
            if connection.sock is None: connection.connect()
            connection.sock.settimeout(order["limit_s"])
            if key: connection.auto_open = 0
            body = b"x" * order.get("body_bytes", 0)
            connection.request("POST" if body else "GET", order["path"], body or None, order.get("headers", {}))
            answer = connection.getresponse()
            out["saw"], out["body"] = answer.status, answer.read().decode()
            if not key: connection.close()
    except TimeoutError: out["saw"] = "timed out"
    except ConnectionRefusedError: out["saw"] = "refused"
    except (ConnectionResetError, BrokenPipeError) as error:
        out["saw"] = "end of file" if isinstance(error, http.client.RemoteDisconnected) else "reset"
    except Exception as error: out["saw"] = repr(error)
    if key and do == "get" and not isinstance(out["saw"], int): kept.pop(key, None)
    out["ms"] = (time.monotonic() - started) * 1000
    return out

class Hand(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(json.dumps(hand(json.loads(line))).encode() + b"\n")

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 512

SERVERS = {8080: Web, 6379: lines(lambda data: b"+PONG\r\n"), 9000: lines(lambda data: data),
           5432: lines(lambda data: b"N"), 7000: Hand}
for port, handler in SERVERS.items():
    threading.Thread(target=Server(("", port), handler).serve_forever).start()
"""


@dataclass
class PlaneWorld:
    """What is up: `addresses[network]` is the first 24 bits of its addresses; services are .2, the plane is .3."""

    driver: DockerDriver
    run: str
    plane: Plane
    subnets: dict[str, str]

    def container(self, service: str) -> str:
        return f"{self.run}-{service}"

    def order(self, do: str, limit_s: float = 3.0, **more: object) -> dict[str, object]:
        """Tell the caller's hand what to do; gives what it saw and how long that took."""
        with socket.create_connection((f"{self.subnets['caller']}.2", HAND_PORT), 5) as connection:
            connection.settimeout(limit_s + 10)
            connection.sendall(json.dumps({"do": do, "limit_s": limit_s, **more}).encode() + b"\n")
            return json.loads(connection.makefile().readline())

    def place(self, edge: str) -> dict[str, object]:
        """Host and port that callers of this edge use."""
        route = self.plane.route(edge)
        return {"host": route.listen_address, "port": route.listen_port}

    def get(
        self, edge: str, path: str = "/", request_id: str | None = None, **more: object
    ) -> dict[str, object]:
        headers = {} if request_id is None else {"x-request-id": request_id}
        return self.order("get", path=path, headers=headers, **self.place(edge), **more)

    def context(
        self, fault: str, edge: str | None = None, service: str | None = None, parameters: str = "{}"
    ):
        """What a fault needs for a window on this target."""
        window = FaultWindow(
            name=f"{fault} of {edge or service}",
            fault=fault,
            level="packets",
            edge=edge,
            service=service,
            parameters=parameters,
            start_ns=0,
            stop_ns=1,
            cuts=False,
        )
        container = self.container(service) if service else None
        return FaultContext(self.plane, self.driver, container, window, SEED)


def routes(subnets: dict[str, str]) -> tuple[EdgeRoute, ...]:
    return tuple(
        EdgeRoute(
            index=index,
            edge=name,
            caller=caller,
            protocol=protocol,
            listen_address=f"{subnets[caller]}.{last}",
            listen_port=port,
            callee_address=f"{subnets[callee]}.2",
            callee_port=callee_port,
        )
        for index, (name, caller, protocol, last, port, callee, callee_port) in enumerate(EDGES)
    )


def _wait_listening(address: str) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection((address, HAND_PORT), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


@contextlib.contextmanager
def plane_world() -> Iterator[PlaneWorld]:
    """Up, ready, and gone afterwards, however the test ends."""
    ensure_images([plane_image_request()])
    driver = DockerDriver()
    run = f"test-{secrets.token_hex(4)}"
    block = 200 + secrets.randbelow(50)
    subnets = {name: f"10.{block}.{100 + number}" for number, name in enumerate(NETWORKS)}
    try:
        for name, subnet in subnets.items():
            spec = NetworkSpec(
                f"{run}-{name}", f"{subnet}.0/26", f"{subnet}.0/29", name != "client", {LABEL: run}
            )
            driver.create_network(spec)
        layout = routes(subnets)
        driver.start(
            ContainerSpec(
                name=f"{run}-plane",
                image=PLANE_IMAGE,
                networks=tuple(
                    Attachment(f"{run}-{name}", f"{subnet}.3") for name, subnet in subnets.items()
                ),
                files=dict(plane_files(layout, f"{subnets['client']}.3", SEED)),
                labels={LABEL: run},
                publish=(8080, *plane_ports()),
                capabilities=("NET_ADMIN",),
            )
        )
        for name in NETWORKS[1:]:
            driver.start(
                ContainerSpec(
                    name=f"{run}-{name}",
                    image=PLANE_IMAGE,
                    networks=(Attachment(f"{run}-{name}", f"{subnets[name]}.2"),),
                    command=("python3", "-u", "-c", SCRIPT),
                    labels={LABEL: run},
                )
            )
        plane = Plane(driver, f"{run}-plane", layout)
        plane.wait_ready()
        for name in NETWORKS[1:]:
            _wait_listening(f"{subnets[name]}.2")
        yield PlaneWorld(driver, run, plane, subnets)
    finally:
        for item in sorted(driver.owned(LABEL, run)):
            kind, name = item.split()
            driver.remove(name) if kind == "container" else driver.remove_network(name)
