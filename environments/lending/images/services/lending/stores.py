"""PostgreSQL and Redis clients that give up early and recover at once.

Connections that were cut, stalled or refused never stay in a pool: every operation has a time limit, and one that
runs out of it closes its connection, so that the next operation starts on a new one.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import asyncpg
import redis.asyncio as redis

TRY_TIMEOUT_S = 0.1

STORE_ERRORS = (
    OSError,
    asyncio.TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    redis.RedisError,
)
"""Whatever a store may fail with; callers fall back or retry."""


class _Connection(asyncpg.Connection):  # type: ignore[misc]
    """Nothing here leaves session state behind, so a connection need not be reset after each use."""

    def get_reset_query(self) -> str:
        return ""


class Postgres:
    """A pool of connections; each operation, from taking a connection to giving it back, has the same time limit."""

    def __init__(self, timeout_s: float, connections: int = 8) -> None:
        self._timeout_s = timeout_s
        self._connections = connections
        self._pool: asyncpg.Pool | None = None

    async def start(self) -> None:
        """Connects when first used: a service can start before its database answers."""
        self._pool = await asyncpg.create_pool(
            host=os.environ.get("POSTGRES_HOST", "postgres"),
            user=os.environ.get("POSTGRES_USER", "lending"),
            password=os.environ["POSTGRES_PASSWORD"],
            database=os.environ.get("POSTGRES_DB", "lending"),
            ssl=False,
            min_size=0,
            max_size=self._connections,
            timeout=self._timeout_s,
            command_timeout=self._timeout_s,
            connection_class=_Connection,
        )

    async def close(self) -> None:
        if self._pool is not None:
            self._pool.terminate()

    async def row(self, sql: str, *values: Any) -> asyncpg.Record | None:
        """The first row of the result. Raises one of STORE_ERRORS."""
        assert self._pool is not None
        async with self._pool.acquire(timeout=self._timeout_s) as connection:
            return await connection.fetchrow(sql, *values)

    async def rows(self, sql: str, *values: Any) -> list[asyncpg.Record]:
        """All rows of the result. Raises one of STORE_ERRORS."""
        assert self._pool is not None
        async with self._pool.acquire(timeout=self._timeout_s) as connection:
            found: list[asyncpg.Record] = await connection.fetch(sql, *values)
            return found

    async def ping(self) -> None:
        await self.row("SELECT 1")


def connect_redis(timeout_s: float = TRY_TIMEOUT_S, connections: int = 64) -> redis.Redis:
    """A Redis client; connects when first used."""
    return redis.Redis(
        host=os.environ.get("REDIS_HOST", "redis"),
        socket_connect_timeout=timeout_s,
        socket_timeout=timeout_s,
        max_connections=connections,
        decode_responses=True,
    )
