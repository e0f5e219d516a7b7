"""What every HTTP service shares: request ids, JSON errors, `/healthz`, logs, and a clean end on SIGTERM."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import uvloop
from aiohttp import web

REQUEST_ID = "x-request-id"
PORT = 8080
HEALTH_TIMEOUT_S = 1.0
SHUTDOWN_S = 2.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Ping = Callable[[], Awaitable[object]]

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="-")
"""Of the request at hand; callees are given it, and every log line carries it."""

log = logging.getLogger("lending")


@web.middleware
async def trace(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Take the caller's request id or make one, and say in JSON what went wrong."""
    request_id.set(request.headers.get(REQUEST_ID) or uuid.uuid4().hex)
    try:
        response = await handler(request)
    except web.HTTPException as error:
        response = web.json_response({"error": error.reason}, status=error.status)
    except Exception:
        log.exception("unexpected error")
        response = web.json_response({"error": "internal error"}, status=500)
    response.headers[REQUEST_ID] = request_id.get()
    return response


def make_app(must_have: Mapping[str, Ping] | None = None) -> web.Application:
    """An application that is healthy when each of its must-have dependencies answers its ping."""

    async def healthz(_request: web.Request) -> web.Response:
        for name, ping in (must_have or {}).items():
            try:
                await asyncio.wait_for(ping(), HEALTH_TIMEOUT_S)
            except Exception as error:
                return web.json_response(
                    {"status": "not ready", "waiting_for": name, "error": repr(error)}, status=503
                )
        return web.json_response({"status": "ok"})

    app = web.Application(middlewares=[trace], client_max_size=64 * 1024)
    app.router.add_get("/healthz", healthz)
    return app


async def json_object(request: web.Request) -> dict[str, Any]:
    """The request's body. Raises 400 for anything but a JSON object."""
    try:
        body = await request.json()
    except ValueError as error:
        raise web.HTTPBadRequest(reason="the body is no JSON") from error
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(reason="the body is no JSON object")
    return body


def run(app: web.Application, greeting: str) -> None:
    """Serve until SIGTERM; requests under way are finished first."""
    start_logging()
    log.info("%s listens on port %d", greeting, PORT)
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    web.run_app(
        app, port=PORT, access_log=None, print=None, shutdown_timeout=SHUTDOWN_S, keepalive_timeout=75
    )


def start_logging() -> None:
    """One line an event on standard error, with the request's id."""
    make = logging.getLogRecordFactory()

    def with_request_id(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        record.request_id = request_id.get()
        return record

    logging.setLogRecordFactory(with_request_id)
    logging.basicConfig(
        level=os.environ.get("LOG_LEVEL", "INFO"),
        format="%(asctime)s %(levelname)s [%(request_id)s] %(message)s",
    )
