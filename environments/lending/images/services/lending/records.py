"""Where decisions are kept: the ledger (PostgreSQL) and the stream of applications (Redis).

Both are keyed by the application's id. The first decision about an application stands, however often it is sent.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import redis.asyncio as redis
from redis.exceptions import RedisError

from lending.application import Application
from lending.stores import STORE_ERRORS, Postgres
from lending.web import log

STREAM = "applications"
STREAM_LENGTH = 100_000
LEDGER_TRIES = 2
BACKOFF_S = 0.02

COLUMNS = (
    "application_id",
    "applicant_id",
    "decision",
    "score",
    "approve_at",
    "score_max",
    "model_version",
    "rate",
    "pricing_version",
    "queue",
    "degraded",
    "degraded_reasons",
)
INSERT_SQL = (
    f"INSERT INTO ledger ({', '.join(COLUMNS)}) VALUES ({', '.join(f'${n + 1}' for n in range(len(COLUMNS)))}) "
    "ON CONFLICT (application_id) DO NOTHING RETURNING application_id"
)
RECORDED_SQL = f"SELECT {', '.join(COLUMNS)} FROM ledger WHERE application_id = $1"


class NotRecordedError(Exception):
    """The ledger or the stream did not take the decision; the text is its name."""


def ledger_row(applicant_id: str, decision: Mapping[str, Any]) -> tuple[Any, ...]:
    """The values of COLUMNS."""
    return tuple({**decision, "applicant_id": applicant_id}[name] for name in COLUMNS)


class Ledger:
    """The book of decisions."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def record(self, application: Application, decision: dict[str, Any]) -> dict[str, Any]:
        """The decision that now stands: this one, or an earlier one about the same application.

        Raises NotRecordedError after LEDGER_TRIES, except where a try ran out of time: then there is no time for more.
        """
        for attempt in range(LEDGER_TRIES):
            await asyncio.sleep(BACKOFF_S * attempt)
            try:
                if await self._postgres.row(INSERT_SQL, *ledger_row(application.applicant_id, decision)):
                    return decision
                earlier = await self._postgres.row(RECORDED_SQL, application.application_id)
                return {name: earlier[name] for name in decision} if earlier else decision
            except TimeoutError:
                log.warning("ledger: no answer in time")
                break
            except STORE_ERRORS as error:
                log.warning("ledger: %r", error)
        raise NotRecordedError("ledger")


class Stream:
    """The stream that feeds history and features."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client

    async def publish(self, application: Application, decision: dict[str, Any], in_ledger: bool) -> None:
        """Raises NotRecordedError."""
        entry = {
            "applicant_id": application.applicant_id,
            "application": json.dumps(dict(application.numbers)),
            "decision": json.dumps(decision),
            "in_ledger": int(in_ledger),
        }
        try:
            await self._redis.xadd(STREAM, entry, maxlen=STREAM_LENGTH, approximate=True)
        except (RedisError, OSError) as error:
            log.warning("stream: %r", error)
            raise NotRecordedError("stream") from error
