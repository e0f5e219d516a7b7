"""Asks a running plane container questions over its control port; every answer has a limit.

Takes the driver (to find the published port) and the container's name. The other end is `image/inside.py`: one JSON
object a connection in, one out. The port is published on loopback alone and bound to the access address alone.
"""

from __future__ import annotations

import json
import socket
from typing import Any

from harness.driver.base import Driver, DriverError
from harness.model.environment import RESERVED_PORTS
from harness.plane.errors import PlaneError
from harness.plane.log import spoken

TOXIPROXY_PORT, CONTROL_PORT = RESERVED_PORTS
ANSWER_LIMIT_S = 8.0
_TAIL_LINES = 400
_LAST_WORDS = 15


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

    def last_words(self) -> str:
        """State of the container and what the plane said last, for the message of an error; requests left out."""
        try:
            state = self._driver.status(self.container).state
            if state == "gone":
                return "it is gone"
            lines = spoken(self._driver.logs(self.container, _TAIL_LINES))[-_LAST_WORDS:]
        except DriverError as error:
            return f"its state and log cannot be read: {error.what}"
        said = "\n    ".join(lines) if lines else "(nothing)"
        return f"it is {state}; its last lines:\n    {said}"

    def _ask(self, question: dict[str, Any], extra_s: float = 0.0) -> dict[str, Any]:
        what = f"{question['do']} on {self.container}"
        limit_s = ANSWER_LIMIT_S + extra_s
        try:
            reply = self._exchange(json.dumps(question).encode() + b"\n", limit_s)
            found = json.loads(reply)
        except TimeoutError:
            how = f"did not answer within {limit_s:g} s"
        except ValueError:
            how = "broke off its answer"
        except (OSError, DriverError) as error:
            how = f"does not answer ({error.what if isinstance(error, DriverError) else error})"
        else:
            if "error" not in found:
                answer: dict[str, Any] = found["answer"]
                return answer
            raise PlaneError(f"the plane refused: {what}: {found['error']}")
        raise PlaneError(f"the plane {how}: {what}; {self.last_words()}")

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
