"""storefront: one offer, put together from what catalog, pricing and stock say. `GET /offers/A-01?quantity=3`.

Without catalog there is no offer. Without the others there is one all the same, and it says so: `degraded` is true
and `degraded_reasons` names what is missing.
"""

from __future__ import annotations

import contextlib
import os

from shop.callees import Callee, UnavailableError, tell
from shop.web import Answer, HttpError, Request, number, serve

TELL_TIMEOUT_S = 0.15


def main() -> None:
    timeout_s = int(os.environ["TIMEOUT_MS"]) / 1000
    catalog, pricing, stock = (Callee(name, timeout_s) for name in ("catalog", "pricing", "stock"))

    def answer(request: Request) -> Answer:
        match request.parts:
            case ("offers", article):
                return offer(article, int(number(request, "quantity")), request.request_id)
        raise HttpError(404, "ask for /offers/ARTICLE?quantity=N")

    def offer(article: str, quantity: int, request_id: str) -> Answer:
        try:
            known = catalog.get(f"/articles/{article}", request_id)
        except UnavailableError as error:
            raise HttpError(503, str(error)) from error
        missing = []
        list_price = known["list_price"]
        try:
            price = pricing.get(f"/price?list_price={list_price}&quantity={quantity}", request_id)["price"]
        except UnavailableError:
            price = round(list_price * quantity, 2)
            missing.append("pricing")
        try:
            found = stock.get(f"/stock/{article}", request_id)
        except UnavailableError:
            found = {"left": None, "viewed": None}
        if found["left"] is None:
            missing.append("stock")
        elif found["viewed"] is None:
            missing.append("views")
        # A view that nobody counted is no reason to keep a customer waiting.
        with contextlib.suppress(UnavailableError):
            tell("stock", 7000, f"viewed {article}", TELL_TIMEOUT_S)
        return {
            "article": article,
            "name": known["name"],
            "quantity": quantity,
            "price": price,
            "available": None if found["left"] is None else found["left"] >= quantity,
            "viewed": found["viewed"],
            "degraded": bool(missing),
            "degraded_reasons": missing,
        }

    serve(answer)


if __name__ == "__main__":
    main()
