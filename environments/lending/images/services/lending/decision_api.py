"""decision-api: decides an application, prices it, finds its queue, and records all of it.

Each step has a fallback, and an answer that used one says so (`degraded`, `degraded_reasons`). What must not happen
is an answer that was recorded nowhere: without ledger and stream the application is refused with 503.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from aiohttp import web

from lending import rules
from lending.application import Application, BadApplicationError, read_application
from lending.callee import Callee, UnavailableError
from lending.records import Ledger, NotRecordedError, Stream
from lending.stores import Postgres, connect_redis
from lending.web import json_object, log, make_app, run

STANDARD_RATE = {"rate": 8.0, "pricing_version": "standard"}
EVERYTHING_TO_A_PERSON = {"queue": "manual"}


class Decisions:
    """The services and stores that a decision needs."""

    def __init__(self) -> None:
        self.features = Callee("feature-service", "http://feature-service:8080", timeout_s=0.35)
        self.model = Callee("model-server", "http://model-server:8080", timeout_s=0.25)
        self.pricing = Callee("pricing-service", "http://pricing-service:8080", timeout_s=0.20)
        self.router = Callee("case-router", "http://case-router:8080", timeout_s=0.20)
        self.postgres = Postgres(timeout_s=0.25)
        self.redis = connect_redis()
        self.ledger = Ledger(self.postgres)
        self.stream = Stream(self.redis)

    def callees(self) -> tuple[Callee, ...]:
        return (self.features, self.model, self.pricing, self.router)

    async def start(self, _app: web.Application) -> None:
        for callee in self.callees():
            await callee.start()
        await self.postgres.start()

    async def close(self, _app: web.Application) -> None:
        for callee in self.callees():
            await callee.close()
        await self.postgres.close()
        await self.redis.close()

    async def decide(self, application: Application) -> dict[str, Any]:
        """The decision as it is answered and recorded. Raises NotRecordedError."""
        reasons: list[str] = []
        profile = await self._profile(application, reasons)
        model = await self._score({**application.numbers, **profile}, reasons)
        price, queue = await asyncio.gather(
            self._or_else(
                self.pricing.post("/rate", {"model": model}), STANDARD_RATE, "pricing-service", reasons
            ),
            self._or_else(
                self.router.post("/route", {"model": model}), EVERYTHING_TO_A_PERSON, "case-router", reasons
            ),
        )
        decision = {
            "application_id": application.application_id,
            "decision": "approve" if model["score"] >= model["approve_at"] else "decline",
            "score": model["score"],
            "approve_at": model["approve_at"],
            "score_max": model.get("score_max", 1.0),
            "model_version": model["model_version"],
            "rate": price["rate"],
            "pricing_version": price["pricing_version"],
            "queue": queue["queue"],
            "degraded": bool(reasons),
            "degraded_reasons": reasons,
        }
        return await self._record(application, decision)

    async def _profile(self, application: Application, reasons: list[str]) -> dict[str, float]:
        answer = await self._or_else(
            self.features.get(f"/features/{application.applicant_id}"),
            {"features": rules.TYPICAL_PROFILE, "degraded": False},
            "feature-service",
            reasons,
        )
        if answer["degraded"]:
            reasons.append("feature-store")
        return answer["features"]

    async def _score(self, features: dict[str, float], reasons: list[str]) -> dict[str, Any]:
        by_rules = {
            "model_version": rules.VERSION,
            "score": rules.rules_score(features),
            "approve_at": rules.APPROVE_AT,
        }
        return await self._or_else(self.model.post("/score", features), by_rules, "model-server", reasons)

    async def _or_else(
        self, call: Awaitable[dict[str, Any]], fallback: dict[str, Any], callee: str, reasons: list[str]
    ) -> dict[str, Any]:
        """The callee's answer, or the fallback and a reason."""
        try:
            return await call
        except UnavailableError as error:
            log.warning("fallback: %s", error)
            reasons.append(callee)
            return fallback

    async def _record(self, application: Application, decision: dict[str, Any]) -> dict[str, Any]:
        """In the ledger and in the stream; without the ledger the stream is enough, as the ingestor fills it in."""
        missing: list[str] = []
        try:
            decision = await self.ledger.record(application, decision)
        except NotRecordedError:
            missing.append("ledger")
        try:
            await self.stream.publish(application, decision, in_ledger=not missing)
        except NotRecordedError:
            missing.append("stream")
        if len(missing) == 2:
            raise NotRecordedError("neither ledger nor stream took the decision")
        reasons = [*decision["degraded_reasons"], *missing]
        return {**decision, "degraded": bool(reasons), "degraded_reasons": reasons}


def build() -> web.Application:
    decisions = Decisions()

    async def apply(request: web.Request) -> web.Response:
        """POST /applications with the form (application.LIMITS) -> the decision."""
        try:
            application = read_application(await json_object(request))
        except BadApplicationError as error:
            raise web.HTTPUnprocessableEntity(reason=str(error)) from error
        try:
            return web.json_response(await decisions.decide(application))
        except NotRecordedError as error:
            raise web.HTTPServiceUnavailable(reason=str(error)) from error

    app = make_app(must_have={"postgres": decisions.postgres.ping, "redis": decisions.redis.ping})
    app.router.add_post("/applications", apply)
    app.on_startup.append(decisions.start)
    app.on_cleanup.append(decisions.close)
    return app


if __name__ == "__main__":
    run(build(), "decision-api")
