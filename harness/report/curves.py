"""Smooth lines for the service graph, and a place on each of them where its number covers no other number.

Takes the ways that `graph_layout` found, gives SVG path data and points. Pure arithmetic, in pixels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from harness.report.graph_layout import Point

Cubic = tuple[Point, Point, Point, Point]
CLEAR_PX = 23.0
"""Numbers this far apart do not touch, rings included."""
PLACES = (0.5, 0.38, 0.62, 0.28, 0.72, 0.2, 0.8)


def curves(way: Sequence[Point]) -> tuple[Cubic, ...]:
    """Cubic pieces through the points, level where they meet a box; a way within one layer is one bulge."""
    if len(way) == 4 and way[1][0] == way[2][0]:
        return ((way[0], way[1], way[2], way[3]),)
    pieces = []
    for (x1, y1), (x2, y2) in itertools.pairwise(way):
        half = (x1 + x2) / 2
        pieces.append(((x1, y1), (half, y1), (half, y2), (x2, y2)))
    return tuple(pieces)


def path(pieces: Sequence[Cubic]) -> str:
    """SVG path data."""
    start = pieces[0][0]
    parts = [f"M{_px(start)}"]
    parts += [f"C{_px(a)} {_px(b)} {_px(end)}" for _, a, b, end in pieces]
    return " ".join(parts)


def places(ways: Sequence[Sequence[Cubic]]) -> tuple[Point, ...]:
    """One point on each line, as far from the points already chosen as need be."""
    chosen: list[Point] = []
    for pieces in ways:
        candidates = [_at(piece, t) for t in PLACES for piece in (pieces[0], pieces[-1])]
        clear = (point for point in candidates if _distance(point, chosen) >= CLEAR_PX)
        chosen.append(next(clear, max(candidates, key=lambda point: _distance(point, chosen))))
    return tuple(chosen)


def _distance(point: Point, others: Sequence[Point]) -> float:
    return min((math.dist(point, other) for other in others), default=math.inf)


def _at(piece: Cubic, t: float) -> Point:
    """The point of a cubic Bézier curve at `t` from 0 to 1."""
    weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
    x, y = (sum(w * p[axis] for w, p in zip(weights, piece, strict=True)) for axis in (0, 1))
    return round(x, 1), round(y, 1)


def _px(point: Point) -> str:
    return f"{round(point[0], 1)},{round(point[1], 1)}"
