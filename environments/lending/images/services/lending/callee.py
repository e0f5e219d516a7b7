"""Calling another service over HTTP: pooled connections, a time limit per try, bounded retries."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

from lending.web import REQUEST_ID, request_id

BACKOFF_S = 0.02
POOL = 64
IDLE_S = 30.0


class UnavailableError(Exception):
    """The callee gave no usable answer in time; the caller falls back."""


class Callee:
    """One service that is called. All its operations are idempotent, so a try may be repeated.

    A try that broke off or was answered 5xx is repeated at once, as a connection may have grown stale or a single
    replica may be gone. A try that ran out of time is not: a second one would only double the wait and the load.
    """

    def __init__(self, name: str, url: str, timeout_s: float, retries: int = 1) -> None:
        self.name = name
        self._url = url.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._retries = retries
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        connector = aiohttp.TCPConnector(limit=POOL, keepalive_timeout=IDLE_S)
        self._session = aiohttp.ClientSession(connector=connector)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str) -> dict[str, Any]:
        return await self._call("GET", path, None)

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return await self._call("POST", path, body)

    async def _call(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        """The answer to the first try that succeeds. Raises UnavailableError."""
        problem = ""
        for attempt in range(1 + self._retries):
            await asyncio.sleep(BACKOFF_S * attempt)
            try:
                return await self._try(method, path, body)
            except TimeoutError:
                raise UnavailableError(f"{self.name}: no answer within {self._timeout.total} s") from None
            except (aiohttp.ClientError, OSError, ValueError) as error:
                problem = f"{type(error).__name__}: {error}"
        raise UnavailableError(f"{self.name}: {problem}")

    async def _try(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        assert self._session is not None
        headers = {REQUEST_ID: request_id.get()}
        async with self._session.request(
            method, self._url + path, json=body, headers=headers, timeout=self._timeout
        ) as response:
            if 400 <= response.status < 500:  # it will not change its mind
                raise UnavailableError(f"{self.name}: {response.status} {await response.text()}")
            response.raise_for_status()
            answer: dict[str, Any] = await response.json()
            return answer
