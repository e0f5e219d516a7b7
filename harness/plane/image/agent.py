"""PID 1 of the plane: adds the edges' addresses, loads the packet rules, runs Toxiproxy and HAProxy, answers on a port.

A script of the standard library alone. Reads /etc/plane/agent.json; ends the container when either proxy ends. Its
HTTP interface offers these operations and nothing else:

  GET    /ready                       200 when both proxies accept connections
  GET    /packets                     {"edges": {index: packets}, "rules": {index: packets}}
  POST   /rules/INDEX/drop|reset      harm every packet that the caller sends to this edge
  DELETE /rules/INDEX                 take that back; no error when there is none
  GET    /probe/INDEX?limit_ms=1500   what a stream on this edge meets right now
"""

from __future__ import annotations

import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

FOLDER = Path("/etc/plane")
TABLE = "readiness"
HARM = {"drop": "drop", "reset": "reject with tcp reset"}
PROBE_PATH = "/.readiness-probe"
HELLO = {
    "http": f"GET {PROBE_PATH} HTTP/1.0\r\n\r\n".encode(),
    "redis": b"PING\r\n",
    "postgres": b"\x00\x00\x00\x08\x04\xd2\x16\x2f",  # SSLRequest: the server answers one byte before any login
}


class Plane:
    """What the agent knows and can do. One lock, because rules are added and removed from several threads."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.access_address: str = settings["access_address"]
        self.toxiproxy_port: int = settings["toxiproxy_port"]
        self.edges: dict[int, dict[str, Any]] = {edge["index"]: edge for edge in settings["edges"]}
        self.lock = threading.Lock()

    def add_addresses(self) -> None:
        """Each edge's address on the interface whose network holds it; there may be none to add."""
        links = json.loads(run("ip", "-j", "-4", "address", "show"))
        nets = [
            (ipaddress.ip_interface(f"{info['local']}/{info['prefixlen']}"), link["ifname"])
            for link in links
            for info in link["addr_info"]
        ]
        present = {str(interface.ip) for interface, _ in nets}
        for address in sorted({edge["address"] for edge in self.edges.values()} - present):
            device = next(
                name for interface, name in nets if ipaddress.ip_address(address) in interface.network
            )
            run("ip", "address", "add", f"{address}/32", "dev", device)

    def load_rules(self) -> None:
        """Two chains: one counts every packet of an edge, then one holds the faults, each with its own counter."""
        match = "ip daddr {address} tcp dport {port}"
        counts = "\n".join(
            f'    {match.format(**edge)} counter comment "edge {index}"' for index, edge in self.edges.items()
        )
        nft(
            f"table inet {TABLE} {{\n"
            f"  chain counts {{\n    type filter hook input priority -10; policy accept;\n{counts}\n  }}\n"
            "  chain faults {\n    type filter hook input priority 0; policy accept;\n  }\n}\n"
        )

    def packets(self) -> dict[str, dict[str, int]]:
        """Packets that each edge's counter and each fault's rule have seen."""
        found: dict[str, dict[str, int]] = {"edges": {}, "rules": {}}
        for rule in self._rules():
            kind, _, index = rule.get("comment", "").partition(" ")
            counter = next(part["counter"] for part in rule["expr"] if "counter" in part)
            found["edges" if kind == "edge" else "rules"][index] = counter["packets"]
        return found

    def harm(self, index: int, kind: str) -> None:
        edge = self.edges[index]
        with self.lock:
            if not self._handles(index):
                nft(
                    f"add rule inet {TABLE} faults ip daddr {edge['address']} tcp dport {edge['port']} "
                    f'counter {HARM[kind]} comment "rule {index}"\n'
                )

    def heal(self, index: int) -> None:
        with self.lock:
            for handle in self._handles(index):
                nft(f"delete rule inet {TABLE} faults handle {handle}\n")

    def _handles(self, index: int) -> list[int]:
        return [rule["handle"] for rule in self._rules() if rule.get("comment") == f"rule {index}"]

    def _rules(self) -> list[dict[str, Any]]:
        listing = json.loads(run("nft", "-j", "-a", "list", "table", "inet", TABLE))
        return [item["rule"] for item in listing["nftables"] if "rule" in item]

    def probe(self, index: int, limit_ms: int) -> dict[str, Any]:
        """Say hello through this edge's Toxiproxy listener and wait for the first byte of an answer."""
        edge = self.edges[index]
        started = time.monotonic()
        facts: dict[str, Any] = {"outcome": "answered", "connect_ms": None, "first_byte_ms": None}
        try:
            with socket.create_connection(("127.0.0.1", edge["stream_port"]), limit_ms / 1000) as stream:
                facts["connect_ms"] = since_ms(started)
                hello = HELLO.get(edge["protocol"])
                if hello is None:
                    return facts | {"outcome": "connected"}
                stream.settimeout(limit_ms / 1000)
                stream.sendall(hello)
                if not stream.recv(1):
                    return facts | {"outcome": "closed"}
                facts["first_byte_ms"] = since_ms(started)
        except ConnectionRefusedError:
            facts["outcome"] = "refused"
        except TimeoutError:
            facts["outcome"] = "timed out"
        except OSError:
            facts["outcome"] = "closed"
        return facts

    def ready(self) -> bool:
        addresses = [(self.access_address, self.toxiproxy_port)]
        addresses += [(edge["address"], edge["port"]) for edge in self.edges.values()]
        for address in addresses:
            try:
                socket.create_connection(address, 1).close()
            except OSError:
                return False
        return True


class Handler(BaseHTTPRequestHandler):
    """The interface in the module's head."""

    plane: Plane
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        words = parts.path.strip("/").split("/")
        if words == ["ready"]:
            self.answer(200 if self.plane.ready() else 503, {})
        elif words == ["packets"]:
            self.attempt(self.plane.packets)
        elif words[0] == "probe":
            limit_ms = int(parse_qs(parts.query).get("limit_ms", ["1500"])[0])
            self.attempt(lambda: self.plane.probe(int(words[1]), min(limit_ms, 10_000)))
        else:
            self.answer(404, {"error": "no such thing"})

    def do_POST(self) -> None:
        words = self.path.strip("/").split("/")
        self.attempt(lambda: self.plane.harm(int(words[1]), words[2]))

    def do_DELETE(self) -> None:
        words = self.path.strip("/").split("/")
        self.attempt(lambda: self.plane.heal(int(words[1])))

    def attempt(self, operation: Any) -> None:
        try:
            self.answer(200, operation() or {})
        except Exception as error:  # noqa: BLE001 - whatever went wrong is the answer
            self.answer(500, {"error": f"{type(error).__name__}: {error}"})

    def answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: standard output belongs to the request log."""


def since_ms(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 3)


def run(*command: str, stdin: str | None = None) -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=10, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def nft(script: str) -> None:
    run("nft", "-f", "-", stdin=script)


def main() -> None:
    settings = json.loads((FOLDER / "agent.json").read_text())
    plane = Plane(settings)
    plane.add_addresses()
    plane.load_rules()
    toxiproxy = ["toxiproxy", f"-host={plane.access_address}", f"-port={plane.toxiproxy_port}"]
    toxiproxy.append(f"-config={FOLDER / 'toxiproxy.json'}")
    quiet = {**os.environ, "LOG_LEVEL": "error"}
    proxies = [
        subprocess.Popen(toxiproxy, stdout=sys.stderr, env=quiet),
        subprocess.Popen(["haproxy", "-db", "-f", str(FOLDER / "haproxy.cfg")]),
    ]
    Handler.plane = plane
    server = ThreadingHTTPServer((plane.access_address, settings["agent_port"]), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    while all(proxy.poll() is None for proxy in proxies):
        time.sleep(0.2)
    for proxy in proxies:
        print(f"the plane ends: {proxy.args} has status {proxy.returncode}", file=sys.stderr, flush=True)
    os._exit(1)


if __name__ == "__main__":
    main()
