"""A plane between a caller and three callees, each on a network of its own, for tests of the plane and of faults.

`PlaneWorld` is up for as long as its context lasts; `lone_plane` is a plane with one edge and nobody at either end.
The caller is a hand inside a container: the tests tell it over a socket to open, talk on and close connections, so that
what a caller sees is seen from where callers are.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.driver.base import Attachment, ContainerSpec, NetworkSpec, SubnetTakenError
from harness.driver.docker import DockerDriver
from harness.environment.images import ensure_images
from harness.environment.journal import owner_label
from harness.faults import Applied, FaultContext, make_fault, validate_parameters
from harness.faults.toxiproxy import Toxiproxy
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
QUESTIONS = {"redis": "PING\r\n", "postgres": "\0\0\0\x08\x04\xd2\x16\x2f", "tcp": "hello"}

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
            connection.sendall(order["say"].encode("latin-1"))
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
        elif do == "forget":
            while kept: kept.popitem()[1].close()
            out["saw"] = "forgotten"
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
    except OSError as error: out["saw"] = str(error)
    if do == "get" and not isinstance(out["saw"], int):
        kept.pop(key, None)
        connection.close()
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


@dataclass(frozen=True)
class Seen:
    """What the caller saw: answered (then `text` is the answer), refused, timed out, end of file or reset."""

    what: str
    ms: float
    text: str = ""


@dataclass
class PlaneWorld:
    """What is up: `subnets[network]` is the first 24 bits of its addresses; services are .2, the plane is .3."""

    driver: DockerDriver
    run: str
    plane: Plane
    subnets: dict[str, str]

    def container(self, service: str) -> str:
        return f"{self.run}-{service}"

    def order(self, do: str, limit_s: float = 3.0, **more: object) -> dict[str, Any]:
        """Tell the caller's hand what to do; gives what it saw and how long that took."""
        with socket.create_connection((f"{self.subnets['caller']}.2", HAND_PORT), 5) as connection:
            connection.settimeout(limit_s + 10)
            connection.sendall(json.dumps({"do": do, "limit_s": limit_s, **more}).encode() + b"\n")
            answer: dict[str, Any] = json.loads(connection.makefile().readline())
            return answer

    def place(self, edge: str) -> dict[str, Any]:
        """Host and port that callers of this edge use."""
        route = self.plane.route(edge)
        return {"host": route.listen_address, "port": route.listen_port}

    def get(
        self, edge: str, path: str = "/", request_id: str | None = None, **more: object
    ) -> dict[str, Any]:
        """An HTTP request; with `key` on a connection that is kept under that name."""
        headers = {} if request_id is None else {"x-request-id": request_id}
        return self.order("get", path=path, headers=headers, **self.place(edge), **more)

    def ask(self, edge: str, live: str | None = None, limit_s: float = 0.5) -> Seen:
        """One question in the edge's protocol, on a new connection or on the live one of that name."""
        if self.plane.route(edge).protocol == "http":
            answer = self.get(edge, limit_s=limit_s, **({"key": live} if live else {}))
            if isinstance(answer["saw"], int):
                return Seen("answered", answer["ms"], str(answer["saw"]))
            return Seen(answer["saw"], answer["ms"])
        key = live or f"new-{secrets.token_hex(4)}"
        if live is None:
            opened = self.order("open", limit_s, key=key, **self.place(edge))
            if opened["saw"] != "connected":
                return Seen(opened["saw"], opened["ms"])
        answer = self.order("talk", limit_s, key=key, say=QUESTIONS[self.plane.route(edge).protocol])
        if live is None:
            self.order("close", key=key)
        return _seen(answer)

    def listen(self, edge: str, live: str, limit_s: float = 0.5) -> Seen:
        """What comes on a live connection without asking."""
        return _seen(self.order("listen", limit_s, key=live))

    def go_live(self, edge: str, name: str = "live") -> str:
        """A kept-alive connection that has answered once; gives its name."""
        if self.plane.route(edge).protocol != "http":
            assert self.order("open", key=name, **self.place(edge))["saw"] == "connected"
        assert self.ask(edge, name, 3.0).what == "answered"
        return name

    def apply(self, fault: str, on: str, **parameters: object) -> Applied:
        """Apply a fault to an edge, or to a service where the name is no edge's."""
        target = {"edge": on} if "->" in on else {"service": on}
        window = FaultWindow(
            name=f"{fault} of {on}",
            fault=fault,
            level=make_fault(fault).level,
            parameters=validate_parameters(fault, parameters),
            start_ns=0,
            stop_ns=1,
            cuts=make_fault(fault).cuts,
            **target,
        )
        container = self.container(on) if "service" in target else None
        return make_fault(fault).apply(FaultContext(self.plane, self.driver, container, window, SEED))

    def wait_answered(self, edge: str, limit_s: float = 10.0) -> None:
        """Until a new connection is answered: a service that was killed needs a moment."""
        deadline = time.monotonic() + limit_s
        while self.ask(edge).what != "answered":
            assert time.monotonic() < deadline, f"{edge} did not answer again within {limit_s} s"
            time.sleep(0.05)

    def harm_left(self) -> list[str]:
        """Whatever still stands on an edge or a service, read by other means than the faults' own."""
        rules = self.driver.execute(self.plane.container, ("nft", "list", "table", "ip", "readiness"))
        left = [line.strip() for line in rules.stdout.decode().splitlines() if _is_rule(line)]
        toxiproxy = Toxiproxy(self.plane.toxiproxy_url())
        for route in self.plane.routes:
            left += [f"{route.edge}: {toxic}" for toxic in toxiproxy.toxics(route.proxy_name)]
            left += [] if self.plane.requests.is_clear(route) else [f"{route.edge}: request rule"]
        states = {name: self.driver.status(self.container(name)).state for name in NETWORKS[1:]}
        return left + [f"{name} is {state}" for name, state in states.items() if state != "running"]

    def repair(self) -> None:
        """By force, after a test that failed, so that the next one starts from a whole world."""
        toxiproxy = Toxiproxy(self.plane.toxiproxy_url())
        for route in self.plane.routes:
            self.plane.packets.clear_edge(route)
            self.plane.packets.clear_callee(route.callee_address)
            self.plane.requests.clear(route)
            for toxic in toxiproxy.toxics(route.proxy_name):
                toxiproxy.remove(route.proxy_name, toxic.name)
        for name in NETWORKS[1:]:
            self.driver.unpause(self.container(name))
            self.driver.start_again(self.container(name))
            _wait_listening(f"{self.subnets[name]}.2")


def _seen(answer: dict[str, Any]) -> Seen:
    bad = ("timed out", "refused", "end of file", "reset")
    saw = str(answer["saw"])
    return Seen(saw, answer["ms"]) if saw in bad else Seen("answered", answer["ms"], saw)


def _is_rule(line: str) -> bool:
    """A statement that does something to packets; not a counter, a jump to a fault's place, or a chain's head."""
    return any(word in line for word in ("drop", "reject", "accept")) and "type filter" not in line


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


def _create_networks(driver: DockerDriver, run: str, names: tuple[str, ...]) -> dict[str, str]:
    """Name -> first 24 bits; somewhere that nothing else uses. The first is the plane's access."""
    for _ in range(20):
        block = f"10.{200 + secrets.randbelow(50)}"
        start = secrets.randbelow(240)
        subnets = {name: f"{block}.{start + number}" for number, name in enumerate(names)}
        try:
            for name, subnet in subnets.items():
                spec = NetworkSpec(
                    f"{run}-{name}",
                    f"{subnet}.0/26",
                    f"{subnet}.0/29",
                    name != names[0],
                    {LABEL: run, **owner_label()},
                )
                driver.create_network(spec)
        except SubnetTakenError:
            _remove_all(driver, run)
        else:
            return subnets
    raise AssertionError("no free addresses after 20 tries")


def _remove_all(driver: DockerDriver, run: str) -> None:
    for item in sorted(driver.owned(LABEL, run)):
        kind, name = item.split()
        driver.remove(name) if kind == "container" else driver.remove_network(name)
    assert driver.owned(LABEL, run) == ()


@contextlib.contextmanager
def plane_world() -> Iterator[PlaneWorld]:
    """Up, ready, and gone afterwards, however the test ends."""
    ensure_images([plane_image_request()])
    driver = DockerDriver()
    run = f"test-{secrets.token_hex(4)}"
    try:
        subnets = _create_networks(driver, run, NETWORKS)
        layout = routes(subnets)
        driver.start(plane_spec(run, subnets, plane_files(layout, f"{subnets['client']}.3", SEED)))
        for name in NETWORKS[1:]:
            driver.start(
                ContainerSpec(
                    name=f"{run}-{name}",
                    image=PLANE_IMAGE,
                    networks=(Attachment(f"{run}-{name}", f"{subnets[name]}.2"),),
                    command=("python3", "-u", "-c", SCRIPT),
                    labels={LABEL: run, **owner_label()},
                )
            )
        plane = Plane(driver, f"{run}-plane", layout)
        plane.wait_ready()
        for name in NETWORKS[1:]:
            _wait_listening(f"{subnets[name]}.2")
        yield PlaneWorld(driver, run, plane, subnets)
    finally:
        _remove_all(driver, run)


def plane_spec(run: str, subnets: Mapping[str, str], files: Mapping[str, bytes]) -> ContainerSpec:
    return ContainerSpec(
        name=f"{run}-plane",
        image=PLANE_IMAGE,
        networks=tuple(Attachment(f"{run}-{name}", f"{subnet}.3") for name, subnet in subnets.items()),
        files=dict(files),
        labels={LABEL: run, **owner_label()},
        publish=(8080, *plane_ports()),
        capabilities=("NET_ADMIN",),
    )


@contextlib.contextmanager
def lone_plane(**other_files: bytes) -> Iterator[tuple[DockerDriver, Plane]]:
    """A plane with one edge; `other_files` replace files of /etc/readiness by name (dots as underscores)."""
    ensure_images([plane_image_request()])
    driver = DockerDriver()
    run = f"test-{secrets.token_hex(4)}"
    try:
        subnets = _create_networks(driver, run, ("client",))
        address = f"{subnets['client']}.3"
        layout = (EdgeRoute(0, "client->web", "client", "http", address, 8080, address, 9),)
        files = dict(plane_files(layout, address, SEED))
        files |= {f"/etc/readiness/{name.replace('_', '.')}": text for name, text in other_files.items()}
        driver.start(plane_spec(run, subnets, files))
        yield driver, Plane(driver, f"{run}-plane", layout)
    finally:
        _remove_all(driver, run)
