"""pricing-service: the rate for an application, from the model's answer and this release's rate card."""

from __future__ import annotations

import os
from pathlib import Path

from aiohttp import web

from lending.rate_card import RateCard, read_rate_card
from lending.web import json_object, make_app, run


def build(card: RateCard) -> web.Application:
    async def price(request: web.Request) -> web.Response:
        """POST /rate with `model`, the model's answer as it came -> rate (percent a year), pricing_version."""
        body = await json_object(request)
        try:
            rate = card.rate_percent(body["model"])
        except (KeyError, TypeError, ValueError) as error:
            raise web.HTTPUnprocessableEntity(reason=f"no usable model answer: {error!r}") from error
        return web.json_response({"rate": rate, "pricing_version": card.version})

    app = make_app()
    app.router.add_post("/rate", price)
    return app


if __name__ == "__main__":
    CARD = read_rate_card(Path(os.environ.get("RATE_CARD", "/opt/lending/rate_card.json")))
    run(build(CARD), f"pricing-service {CARD.version}")
