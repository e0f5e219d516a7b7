"""pricing: the price of several pieces, by the rules in a file. `GET /price?list_price=12.5&quantity=3`."""

from __future__ import annotations

import json
import os
from pathlib import Path

from shop.web import Answer, HttpError, Request, number, serve

DISCOUNTS = Path("/etc/shop/discounts.json")
CENTS = {"euro": 1, "cent": 100}


def price(list_price: float, quantity: float, discounts: list[dict[str, float]], round_to: float) -> float:
    """In euro: the best discount that this quantity earns, rounded to the nearest step."""
    earned = max((step["percent"] for step in discounts if quantity >= step["from"]), default=0.0)
    exact = list_price * quantity * (1 - earned / 100)
    return round(round(exact / round_to) * round_to, 2)


def main() -> None:
    discounts = json.loads(DISCOUNTS.read_text())
    round_to = float(os.environ["ROUND_TO"])
    factor = CENTS[os.environ["UNIT"]]

    def answer(request: Request) -> Answer:
        if request.parts != ("price",):
            raise HttpError(404, "ask for /price")
        amount = price(number(request, "list_price"), number(request, "quantity"), discounts, round_to)
        return {"price": amount * factor}

    serve(answer)


if __name__ == "__main__":
    main()
