"""case-router: decides whether an application is settled automatically or joins the manual review queue."""

from __future__ import annotations

import os

from aiohttp import web

from lending.review import ReviewBand
from lending.web import json_object, make_app, run


def build(band: ReviewBand) -> web.Application:
    async def route(request: web.Request) -> web.Response:
        """POST /route with `model`, the model's answer as it came -> queue: auto or manual."""
        body = await json_object(request)
        try:
            queue = band.queue(float(body["model"]["score"]))
        except (KeyError, TypeError, ValueError) as error:
            raise web.HTTPUnprocessableEntity(reason=f"no usable model answer: {error!r}") from error
        return web.json_response({"queue": queue})

    app = make_app()
    app.router.add_post("/route", route)
    return app


if __name__ == "__main__":
    BAND = ReviewBand(
        float(os.environ.get("REVIEW_FROM", "0.10")), float(os.environ.get("REVIEW_TO", "0.75"))
    )
    run(build(BAND), f"case-router with review from {BAND.lowest} to {BAND.highest}")
