"""What runs as process 1 of a plane container: brings it up, answers questions, dies when any part of it dies.

Takes `/etc/readiness/plane.json` and the configuration files beside it (written by `harness.plane.container`). Every
stage is printed to standard error; standard output belongs to HAProxy's request log alone. Afterwards it answers on
the access address: one JSON object a connection in, one out (`sample`, `haproxy`, `nft`, `probe`). That is faster by an
order of magnitude than starting a process through the container engine, so a sample a second disturbs nothing.
"""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from probe import probe

FOLDER = Path("/etc/readiness")
HAPROXY_SOCKET = "/run/haproxy.sock"
PIPE_BYTES = 1 << 20
START_LIMIT_S = 20.0
COMMAND_LIMIT_S = 5.0
REQUEST_LIMIT_BYTES = 1 << 20
F_SETPIPE_SZ = 1031


def say(text: str) -> None:
    print(f"plane: {text}", file=sys.stderr, flush=True)


def run(*command: str, stdin: str = "") -> str:
    """Output of a command; RuntimeError with its words when it fails or takes too long."""
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=COMMAND_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{' '.join(command)} took longer than {COMMAND_LIMIT_S:g} s") from None
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def wait_until(what: str, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while not ready():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not there after {START_LIMIT_S:g} s")
        time.sleep(0.02)


def add_addresses(wanted: list[str]) -> None:
    """Each address on the interface whose subnet holds it: interface names and their order cannot be foretold."""
    wait_until(f"interfaces for {', '.join(wanted)}", lambda: None not in map(_interface, wanted))
    for address in wanted:
        place = _interface(address)
        if place is not None and not place.has_it:
            run("ip", "address", "add", f"{address}/32", "dev", place.name)


class Interface(NamedTuple):
    name: str
    has_it: bool


def _interface(address: str) -> Interface | None:
    """The interface that `address` belongs on, and whether it has it already; None while there is none."""
    for link in json.loads(run("ip", "-j", "-4", "address")):
        for entry in link["addr_info"]:
            subnet = ipaddress.ip_interface(f"{entry['local']}/{entry['prefixlen']}").network
            if ipaddress.ip_address(address) in subnet:
                has_it = any(known["local"] == address for known in link["addr_info"])
                return Interface(link["ifname"], has_it)
    return None


def haproxy(command: str) -> str:
    """One command line on HAProxy's runtime socket (several commands apart by `;`)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(COMMAND_LIMIT_S)
        connection.connect(HAPROXY_SOCKET)
        connection.sendall(command.encode() + b"\n")
        chunks = []
        while chunk := connection.recv(1 << 16):
            chunks.append(chunk)
    return b"".join(chunks).decode("utf-8", "replace")


def sample(_question: dict[str, Any]) -> dict[str, Any]:
    """HAProxy's statistics (frontends and backends) and every packet counter, as close together as can be."""
    return {
        "counters": run("nft", "-j", "list", "counters", "table", "ip", "readiness"),
        "statistics": haproxy("show stat -1 3 -1"),
    }


ANSWERS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "sample": sample,
    "haproxy": lambda question: {"text": haproxy(question["command"])},
    "nft": lambda question: {"text": run("nft", *question["arguments"], stdin=question.get("script", ""))},
    "probe": lambda question: probe(question["port"], question["protocol"], question["limit_s"]),
}


class Handler(socketserver.StreamRequestHandler):
    """One question, one answer; a failure is an answer too."""

    timeout = 30

    def handle(self) -> None:
        try:
            question = json.loads(self.rfile.readline(REQUEST_LIMIT_BYTES))
            answer: dict[str, Any] = {"answer": ANSWERS[question["do"]](question)}
        except Exception as error:  # noqa: BLE001 - whatever went wrong is the answer
            answer = {"error": f"{type(error).__name__}: {error}"}
        self.wfile.write(json.dumps(answer).encode() + b"\n")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def start(what: str, *command: str, stdout: int | None = None) -> subprocess.Popen[bytes]:
    say(f"starting {what}")
    variables = {**os.environ, "LOG_LEVEL": "error"}  # Toxiproxy would write a line per connection
    return subprocess.Popen(command, stdout=stdout, env=variables)


def bring_up(plane: dict[str, Any]) -> dict[str, subprocess.Popen[bytes]]:
    """Everything in order; gives the two children by name. RuntimeError says what did not come up."""
    say(f"adding {len(plane['addresses'])} addresses")
    add_addresses(plane["addresses"])
    say("loading packet rules")
    run("nft", "-f", str(FOLDER / "rules.nft"))
    api = (f"-host={plane['access_address']}", f"-port={plane['toxiproxy_port']}")
    toxiproxy = start(
        "toxiproxy", "toxiproxy", *api, f"-config={FOLDER / 'toxiproxy.json'}", stdout=sys.stderr.fileno()
    )
    proxies = f"http://{plane['access_address']}:{plane['toxiproxy_port']}/proxies"
    wait_until("toxiproxy", lambda: _alive("toxiproxy", toxiproxy) and _proxies(proxies) == plane["edges"])
    server = start("haproxy", "haproxy", "-db", "-f", str(FOLDER / "haproxy.cfg"))
    wait_until("haproxy", lambda: _alive("haproxy", server) and _haproxy_answers())
    return {"toxiproxy": toxiproxy, "haproxy": server}


def _alive(what: str, child: subprocess.Popen[bytes]) -> bool:
    if child.poll() is not None:
        raise RuntimeError(f"{what} ended with exit code {child.returncode}")
    return True


def _proxies(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return len(json.load(answer))
    except OSError:
        return -1


def _haproxy_answers() -> bool:
    try:
        return "Uptime_sec" in haproxy("show info")
    except OSError:
        return False


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        fcntl.fcntl(sys.stdout.fileno(), F_SETPIPE_SZ, PIPE_BYTES)  # bursts of log lines must not be dropped
    except OSError as error:
        say(f"the log's pipe stays small ({error})")
    plane = json.loads((FOLDER / "plane.json").read_text())
    try:
        children = bring_up(plane)
        server = Server((plane["access_address"], plane["control_port"]), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        say("ready")
        while all(_alive(what, child) for what, child in children.items()):
            time.sleep(0.2)
    except (RuntimeError, OSError) as error:
        say(f"FAILED: {error}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
