"""catalog: what an article is called and costs by the list. `GET /articles/A-01`."""

from __future__ import annotations

import json
from pathlib import Path

from shop.web import Answer, HttpError, Request, serve

ARTICLES = Path("/etc/shop/articles.json")


def main() -> None:
    articles = json.loads(ARTICLES.read_text())

    def answer(request: Request) -> Answer:
        match request.parts:
            case ("articles", article) if article in articles:
                known = articles[article]
                return {"article": article, "name": known["name"], "list_price": known["list_price"]}
        raise HttpError(404, "no such article")

    serve(answer)


if __name__ == "__main__":
    main()
