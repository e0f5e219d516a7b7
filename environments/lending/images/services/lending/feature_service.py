"""feature-service: an applicant's credit profile from the online store (Redis), else from PostgreSQL."""

from __future__ import annotations

from aiohttp import web
from redis.exceptions import RedisError

from lending.rules import TYPICAL_PROFILE
from lending.stores import STORE_ERRORS, Postgres, connect_redis
from lending.web import log, make_app, run

FIELDS = tuple(TYPICAL_PROFILE)
PROFILE_SQL = f"SELECT {', '.join(FIELDS)} FROM credit_profiles WHERE applicant_id = $1"
POSTGRES_TIMEOUT_S = 0.15


def build() -> web.Application:
    online = connect_redis()
    postgres = Postgres(POSTGRES_TIMEOUT_S)

    async def from_redis(applicant_id: str) -> tuple[dict[str, float] | None, bool]:
        """The profile, if the online store has it, and whether the online store could be asked."""
        try:
            values = await online.hmget(f"features:{applicant_id}", FIELDS)
        except (RedisError, OSError) as error:
            log.warning("online store: %s", error)
            return None, False
        if None in values:
            return None, True
        return {name: float(value) for name, value in zip(FIELDS, values)}, True

    async def features(request: web.Request) -> web.Response:
        """GET /features/ID -> features by name, where from, and whether the online store was out of reach."""
        applicant_id = request.match_info["applicant_id"]
        profile, reached = await from_redis(applicant_id)
        source = "redis"
        if profile is None:
            source = "postgres"
            try:
                row = await postgres.row(PROFILE_SQL, applicant_id)
            except STORE_ERRORS as error:
                log.warning("postgres: %r", error)
                raise web.HTTPServiceUnavailable(reason="no feature store answers") from error
            if row is None:
                raise web.HTTPNotFound(reason=f"no applicant {applicant_id}")
            profile = {name: float(row[name]) for name in FIELDS}
            if reached:
                await remember(applicant_id, profile)
        return web.json_response({"features": profile, "source": source, "degraded": not reached})

    async def remember(applicant_id: str, profile: dict[str, float]) -> None:
        """What the online store lost (or never had) is put back; the next reader finds it there."""
        try:
            await online.hset(f"features:{applicant_id}", mapping=profile)
        except (RedisError, OSError) as error:
            log.warning("online store: %s", error)

    async def connect(_app: web.Application) -> None:
        await postgres.start()

    async def disconnect(_app: web.Application) -> None:
        await postgres.close()
        await online.close()

    app = make_app(must_have={"postgres": postgres.ping})
    app.router.add_get("/features/{applicant_id}", features)
    app.on_startup.append(connect)
    app.on_cleanup.append(disconnect)
    return app


if __name__ == "__main__":
    run(build(), "feature-service")
