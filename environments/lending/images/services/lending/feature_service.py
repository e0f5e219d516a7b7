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


class FeatureStores:
    """The online store and, behind it, the offline one."""

    def __init__(self) -> None:
        self.online = connect_redis()
        self.offline = Postgres(POSTGRES_TIMEOUT_S)

    async def connect(self, _app: web.Application) -> None:
        await self.offline.start()

    async def disconnect(self, _app: web.Application) -> None:
        await self.offline.close()
        await self.online.close()

    async def from_online(self, applicant_id: str) -> tuple[dict[str, float] | None, bool]:
        """The profile, if the online store has it, and whether the online store could be asked."""
        try:
            values = await self.online.hmget(f"features:{applicant_id}", FIELDS)
        except (RedisError, OSError) as error:
            log.warning("online store: %s", error)
            return None, False
        if None in values:
            return None, True
        return {name: float(value) for name, value in zip(FIELDS, values, strict=True)}, True

    async def from_offline(self, applicant_id: str) -> dict[str, float]:
        """The profile. Raises 503 when PostgreSQL does not answer either, 404 for an applicant it does not know."""
        try:
            row = await self.offline.row(PROFILE_SQL, applicant_id)
        except STORE_ERRORS as error:
            log.warning("postgres: %r", error)
            raise web.HTTPServiceUnavailable(reason="no feature store answers") from error
        if row is None:
            raise web.HTTPNotFound(reason=f"no applicant {applicant_id}")
        return {name: float(row[name]) for name in FIELDS}

    async def remember(self, applicant_id: str, profile: dict[str, float]) -> None:
        """What the online store lost (or never had) is put back; the next reader finds it there."""
        try:
            await self.online.hset(f"features:{applicant_id}", mapping=profile)
        except (RedisError, OSError) as error:
            log.warning("online store: %s", error)


def build() -> web.Application:
    stores = FeatureStores()

    async def features(request: web.Request) -> web.Response:
        """GET /features/ID -> features by name, where from, and whether the online store was out of reach."""
        applicant_id = request.match_info["applicant_id"]
        profile, reached = await stores.from_online(applicant_id)
        source = "redis" if profile is not None else "postgres"
        if profile is None:
            profile = await stores.from_offline(applicant_id)
            if reached:
                await stores.remember(applicant_id, profile)
        return web.json_response({"features": profile, "source": source, "degraded": not reached})

    app = make_app(must_have={"postgres": stores.offline.ping})
    app.router.add_get("/features/{applicant_id}", features)
    app.on_startup.append(stores.connect)
    app.on_cleanup.append(stores.disconnect)
    return app


if __name__ == "__main__":
    run(build(), "feature-service")
