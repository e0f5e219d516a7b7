"""Writes offers.ndjson beside this file: what customers of the example shop ask for, the same at every call.

A recording of yours comes from what your service was really asked, such as an access log: turn each line of it into
one line like those below. Here the requests are made up: evenly spread arrivals with some jitter, a few customers,
some articles wanted more than others.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

PER_SECOND = 40
LENGTH_S = 24
ARTICLES = 12
CUSTOMERS = 25


def lines() -> Iterator[dict[str, object]]:
    """The header, then one exchange a line, in order of time."""
    count = PER_SECOND * LENGTH_S
    yield {
        "format": 1,
        "recording": "offers",
        "source": "made up by make_offers.py",
        "attribution": "none needed",
        "exchanges": count,
        "length_ns": LENGTH_S * 1_000_000_000,
    }
    rng = random.Random(1)
    for number in range(count):
        article = min(rng.randint(1, ARTICLES), rng.randint(1, ARTICLES))
        quantity = rng.choice((1, 1, 1, 2, 2, 4, 6, 12))
        yield {
            "at_ns": int((number + rng.random()) * 1000 / PER_SECOND) * 1_000_000,
            "path": f"/offers/A-{article:02}?quantity={quantity}",
            "route": "/offers/{article}",
            "client": f"C-{rng.randint(1, CUSTOMERS):02}",
        }


if __name__ == "__main__":
    target = Path(__file__).with_name("offers.ndjson")
    target.write_text("".join(json.dumps(line) + "\n" for line in lines()), encoding="utf-8")
    print(f"wrote {target}")
