"""Calling others: a time limit for every wait, a bounded number of tries, connections that are used again.

These are the habits that an edge's `tolerance:` in environment.yaml speaks of; the faults of a scenario test them.
"""

from __future__ import annotations

import collections
import contextlib
import json
import socket
import time
from http.client import HTTPConnection, HTTPException
from typing import Any

from shop.web import PORT, REQUEST_ID, HttpError

BACKOFF_S = 0.02


class UnavailableError(Exception):
    """No usable answer in time; the caller falls back."""


class Callee:
    """A service that is called over HTTP, by the name and port that it has in production.

    A try that broke off or was answered 5xx is repeated, as one connection may have grown stale. A try that ran out
    of time is not: a second one would double the wait and the load.
    """

    def __init__(self, name: str, timeout_s: float, retries: int = 1) -> None:
        self.name = name
        self._timeout_s = timeout_s
        self._retries = retries
        self._idle: collections.deque[HTTPConnection] = collections.deque()

    def get(self, path: str, request_id: str) -> dict[str, Any]:
        """The answer to the first try that succeeds. Raises UnavailableError, or HttpError for the callee's 4xx."""
        problem = ""
        for attempt in range(1 + self._retries):
            time.sleep(BACKOFF_S * attempt)
            try:
                return self._try(path, request_id)
            except TimeoutError:
                raise UnavailableError(f"{self.name}: no answer within {self._timeout_s} s") from None
            except (OSError, HTTPException, ValueError) as error:
                problem = f"{type(error).__name__}: {error}"
        raise UnavailableError(f"{self.name}: {problem}")

    def _try(self, path: str, request_id: str) -> dict[str, Any]:
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = HTTPConnection(self.name, PORT, timeout=self._timeout_s)
        try:
            connection.request("GET", path, headers={REQUEST_ID: request_id})
            response = connection.getresponse()
            content = response.read()
        except BaseException:
            connection.close()
            self._forget_idle()
            raise
        self._idle.append(connection)
        if response.status >= 500:
            raise HTTPException(f"status {response.status}")
        if response.status >= 400:
            raise HttpError(response.status, f"{self.name}: {content.decode(errors='replace')}")
        answer: dict[str, Any] = json.loads(content)
        return answer

    def _forget_idle(self) -> None:
        """When one connection broke, the idle ones to the same callee are no better."""
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().close()


def tell(host: str, port: int, line: str, timeout_s: float) -> None:
    """One line over plain TCP, acknowledged by `ok`. Raises UnavailableError."""
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            connection.settimeout(timeout_s)
            connection.sendall(f"{line}\n".encode())
            answer = connection.recv(16)
    except OSError as error:
        raise UnavailableError(f"{host}: {error}") from error
    if answer != b"ok\n":
        raise UnavailableError(f"{host}: {answer!r} is no acknowledgement")
