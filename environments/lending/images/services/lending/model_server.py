"""model-server: scores an applicant's features with the model that was trained when the image was built."""

from __future__ import annotations

import os
from pathlib import Path

from aiohttp import web

from lending.scoring import Model, read_model
from lending.web import json_object, make_app, run


def build(model: Model) -> web.Application:
    async def score(request: web.Request) -> web.Response:
        """POST /score with the features by name -> score, approve_at, model_version (see scoring.Model)."""
        features = await json_object(request)
        try:
            return web.json_response(model.score(features))
        except KeyError as error:
            raise web.HTTPUnprocessableEntity(reason=f"no feature {error}") from error
        except (TypeError, ValueError) as error:
            raise web.HTTPUnprocessableEntity(reason="a feature is no number") from error

    app = make_app()
    app.router.add_post("/score", score)
    return app


if __name__ == "__main__":
    MODEL = read_model(Path(os.environ.get("MODEL_FILE", "/opt/lending/model.json")))
    run(build(MODEL), f"model-server with model {MODEL.version}")
