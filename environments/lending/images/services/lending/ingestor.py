"""ingestor: carries applications from the Redis stream into PostgreSQL and the online features.

Each batch is written to history and ledger first, then to the features, then acknowledged. A batch that fails is read
again, so everything here may happen twice and counts once.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence

import redis.asyncio as redis
from aiohttp import web
from redis.exceptions import ResponseError

from lending.records import INSERT_SQL, STREAM, ledger_row
from lending.stores import STORE_ERRORS, Postgres, connect_redis
from lending.web import log, make_app, run

GROUP, CONSUMER = "ingestor", "ingestor-1"
BATCH = 100
WAIT_MS = 250
TIMEOUT_S = 1.0
LINGER_S = 0.1  # a few applications a batch cost far less than one each
PAUSE_AFTER_ERROR_S = 0.25

HISTORY_SQL = (
    "INSERT INTO application_history (application_id, applicant_id, application) "
    "SELECT * FROM unnest($1::text[], $2::text[], $3::jsonb[]) ON CONFLICT (application_id) DO NOTHING "
    "RETURNING application_id, applicant_id"
)

Entry = tuple[str, dict[str, str]]


class Ingestor:
    """One consumer of the stream's consumer group."""

    def __init__(self) -> None:
        self.redis: redis.Redis = connect_redis(TIMEOUT_S, connections=4)
        self.postgres = Postgres(TIMEOUT_S, connections=2)
        self._task: asyncio.Task[None] | None = None

    async def start(self, _app: web.Application) -> None:
        await self.postgres.start()
        self._task = asyncio.create_task(self._consume())

    async def close(self, _app: web.Application) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.postgres.close()
        await self.redis.close()

    async def _consume(self) -> None:
        """For ever: first what was read and never acknowledged, then what is new."""
        unfinished = True
        while True:
            try:
                if unfinished:
                    await self._make_group()
                entries = await self._read("0" if unfinished else ">")
                await self._ingest(entries)
                unfinished = unfinished and bool(entries)
                await asyncio.sleep(LINGER_S)
            except STORE_ERRORS as error:
                log.warning("will read again: %r", error)
                unfinished = True
                await asyncio.sleep(PAUSE_AFTER_ERROR_S)

    async def _make_group(self) -> None:
        try:
            await self.redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def _read(self, start: str) -> list[Entry]:
        answer = await self.redis.xreadgroup(GROUP, CONSUMER, {STREAM: start}, count=BATCH, block=WAIT_MS)
        return answer[0][1] if answer else []

    async def _ingest(self, entries: Sequence[Entry]) -> None:
        """Write, then acknowledge. An entry that was trimmed away meanwhile has no fields and is only acknowledged."""
        if not entries:
            return
        applications = [fields for _, fields in entries if fields]
        decisions = [json.loads(fields["decision"]) for fields in applications]
        for fields, decision in zip(applications, decisions, strict=True):
            if fields["in_ledger"] == "0":
                await self.postgres.row(INSERT_SQL, *ledger_row(fields["applicant_id"], decision))
        new = await self.postgres.rows(
            HISTORY_SQL,
            [decision["application_id"] for decision in decisions],
            [fields["applicant_id"] for fields in applications],
            [fields["application"] for fields in applications],
        )
        pipeline = self.redis.pipeline(transaction=True)
        for row in new:
            pipeline.hincrby(f"features:{row['applicant_id']}", "applications_seen", 1)
            pipeline.hset(f"features:{row['applicant_id']}", "last_seen", int(time.time()))
        pipeline.xack(STREAM, GROUP, *(entry_id for entry_id, _ in entries))
        await pipeline.execute()


def build() -> web.Application:
    ingestor = Ingestor()
    app = make_app(must_have={"redis": ingestor.redis.ping, "postgres": ingestor.postgres.ping})
    app.on_startup.append(ingestor.start)
    app.on_cleanup.append(ingestor.close)
    return app


if __name__ == "__main__":
    run(build(), "ingestor")
