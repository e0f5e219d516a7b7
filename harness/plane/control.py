"""Asks a running plane container questions over its control port; every answer has a limit.

Takes the driver (to find the published port) and the container's name. The other end is `image/inside.py`: one JSON
object a connection in, one out. The port is published on loopback alone and bound to the access address alone.
"""

from __future__ import annotations

import json
import socket
from typing import Any

from harness.driver.base import Driver
from harness.plane.errors import PlaneError

CONTROL_PORT = 61_475
TOXIPROXY_PORT = 61_474
"""Both above the ports that kernels hand out and below nothing that services use."""
ANSWER_LIMIT_S = 8.0


class Control:
    """See the module's head. Safe to use from several threads."""

    def __init__(self, driver: Driver, container: str) -> None:
        self._driver = driver
        self.container = container
        self._address: tuple[str, int] | None = None

    def toxiproxy_url(self) -> str:
        """Base address of the plane's Toxiproxy on this machine."""
        host, port = self._driver.published(self.container, TOXIPROXY_PORT)
        return f"http://{host}:{port}"

    def sample(self) -> tuple[str, str]:
        """HAProxy's statistics (CSV) and nftables' counters (JSON), taken together."""
        answer = self._ask({"do": "sample"})
        return str(answer["statistics"]), str(answer["counters"])

    def haproxy(self, command: str) -> str:
        """What HAProxy's runtime socket answered."""
        return str(self._ask({"do": "haproxy", "command": command})["text"])

    def nft(self, arguments: tuple[str, ...], script: str = "") -> str:
        """What nft printed. Raises PlaneError with its words when it failed."""
        return str(self._ask({"do": "nft", "arguments": arguments, "script": script})["text"])

    def probe(self, port: int, protocol: str, limit_s: float) -> dict[str, Any]:
        question = {"do": "probe", "port": port, "protocol": protocol, "limit_s": limit_s}
        return self._ask(question, limit_s)

    def _ask(self, question: dict[str, Any], extra_s: float = 0.0) -> dict[str, Any]:
        what = f"{question['do']} on {self.container}"
        try:
            reply = self._exchange(json.dumps(question).encode() + b"\n", ANSWER_LIMIT_S + extra_s)
        except TimeoutError:
            limit_s = ANSWER_LIMIT_S + extra_s
            raise PlaneError(f"the plane did not answer within {limit_s:g} s: {what}") from None
        except OSError as error:
            raise PlaneError(f"the plane does not answer ({error}): {what}") from error
        try:
            found = json.loads(reply)
        except ValueError:
            raise PlaneError(f"the plane broke off its answer after {len(reply)} bytes: {what}") from None
        if "error" in found:
            raise PlaneError(f"the plane refused: {what}: {found['error']}")
        answer: dict[str, Any] = found["answer"]
        return answer

    def _exchange(self, question: bytes, limit_s: float) -> bytes:
        if self._address is None:
            self._address = self._driver.published(self.container, CONTROL_PORT)
        chunks = []
        with socket.create_connection(self._address, limit_s) as connection:
            connection.settimeout(limit_s)
            connection.sendall(question)
            while chunk := connection.recv(1 << 16):
                chunks.append(chunk)
        return b"".join(chunks)
