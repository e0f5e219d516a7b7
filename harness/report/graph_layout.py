"""Places a service graph on a plane: layers from left to right, few crossings, long edges routed around boxes.

Takes node names and directed edges, gives positions in pixels. The classic three steps of layered drawing
(Sugiyama, Tagawa, Toda 1981): layers by longest path, order inside a layer by the neighbours' mean, then
coordinates. Everything is decided by the order of the input, so that the same graph is always drawn the same way.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

COLUMN_PX = 196.0
ROW_PX = 62.0
BOX_WIDTH_PX, BOX_HEIGHT_PX = 128.0, 36.0
MARGIN_PX = 12.0
SWEEPS = 8

Pair = tuple[str, str]
Point = tuple[float, float]


@dataclass(frozen=True)
class Layout:
    """Centres of the boxes, and for each edge its way: points from the caller's box to the callee's."""

    width: float
    height: float
    centres: Mapping[str, Point]
    ways: tuple[tuple[Point, ...], ...]


def lay_out(nodes: Sequence[str], edges: Sequence[Pair], first: str) -> Layout:
    """`first` stands in the leftmost layer. Edges may be several between a pair, and may form cycles."""
    layer = _layers(nodes, edges, first)
    chains = [_chain(index, edge, layer) for index, edge in enumerate(edges)]
    ordered = _order(layer, chains)
    centres = _place(ordered, chains)
    boxes = {name: centres[name] for name in nodes}
    ways = tuple(_way(chain, centres, edges, index) for index, chain in enumerate(chains))
    right = max(x for x, _ in centres.values()) + BOX_WIDTH_PX / 2 + MARGIN_PX
    bottom = max(y for _, y in centres.values()) + BOX_HEIGHT_PX / 2 + MARGIN_PX
    return Layout(right, bottom, boxes, ways)


def _layers(nodes: Sequence[str], edges: Sequence[Pair], first: str) -> dict[str, int]:
    """Longest path from a node that nothing calls; edges that would close a cycle are left out of the count."""
    callees: dict[str, list[str]] = {node: [] for node in nodes}
    for caller, callee in edges:
        if caller != callee and callee not in callees[caller]:
            callees[caller].append(callee)
    layer: dict[str, int] = dict.fromkeys(nodes, 0)
    called = {callee for _, callee in edges}
    roots = [first, *(node for node in nodes if node not in called and node != first)]
    for root in [*roots, *nodes]:
        if root in roots or (layer[root] == 0 and root in called):
            _deepen(root, callees, layer, (root,))
    for root in roots[
        1:
    ]:  # a service that nobody calls stands just left of what it calls, not at the far left
        if callees[root]:
            layer[root] = max(1, min(layer[callee] for callee in callees[root]) - 1)
    return layer


def _deepen(
    node: str, callees: Mapping[str, list[str]], layer: dict[str, int], path: tuple[str, ...]
) -> None:
    for callee in callees[node]:
        if callee not in path and layer[callee] < layer[node] + 1:
            layer[callee] = layer[node] + 1
            _deepen(callee, callees, layer, (*path, callee))


@dataclass(frozen=True)
class _Chain:
    """An edge as stops in neighbouring layers: its two boxes and a bend in every layer between them."""

    stops: tuple[str, ...]
    layers: tuple[int, ...]


def _chain(index: int, edge: Pair, layer: Mapping[str, int]) -> _Chain:
    caller, callee = edge
    low, high = layer[caller], layer[callee]
    step = 1 if high >= low else -1
    between = tuple(range(low + step, high, step)) if low != high else ()
    bends = tuple(f"\0bend {index} {number}" for number in between)
    return _Chain((caller, *bends, callee), (low, *between, high))


def _order(layer: Mapping[str, int], chains: Sequence[_Chain]) -> list[list[str]]:
    """Stops of each layer from top to bottom, moved to the mean of their neighbours forth and back."""
    columns: list[list[str]] = [[] for _ in range(max(layer.values()) + 1)]
    for node, number in layer.items():
        columns[number].append(node)
    neighbours: dict[str, list[tuple[str, int]]] = {}
    for chain in chains:
        for stop, number in zip(chain.stops, chain.layers, strict=True):
            if stop not in layer:
                columns[number].append(stop)
        for (a, la), (b, lb) in itertools.pairwise(zip(chain.stops, chain.layers, strict=True)):
            neighbours.setdefault(a, []).append((b, lb))
            neighbours.setdefault(b, []).append((a, la))
    best, fewest = [list(column) for column in columns], _crossings(columns, neighbours)
    for sweep in range(SWEEPS):
        forth = sweep % 2 == 0
        indices = range(1, len(columns)) if forth else range(len(columns) - 2, -1, -1)
        for index in indices:
            _sort_by_neighbours(columns, index, index - 1 if forth else index + 1, neighbours)
        crossings = _crossings(columns, neighbours)
        if crossings < fewest:
            best, fewest = [list(column) for column in columns], crossings
    return best


def _sort_by_neighbours(
    columns: list[list[str]], index: int, beside: int, neighbours: Mapping[str, list[tuple[str, int]]]
) -> None:
    place = {stop: position for position, stop in enumerate(columns[beside])}
    mean = {}
    for position, stop in enumerate(columns[index]):
        found = [place[other] for other, layer in neighbours.get(stop, []) if layer == beside]
        mean[stop] = sum(found) / len(found) if found else float(position)
    columns[index].sort(key=lambda stop: mean[stop])


def _crossings(columns: Sequence[Sequence[str]], neighbours: Mapping[str, list[tuple[str, int]]]) -> int:
    total = 0
    for index in range(len(columns) - 1):
        right = {stop: position for position, stop in enumerate(columns[index + 1])}
        lines = [
            (position, right[other])
            for position, stop in enumerate(columns[index])
            for other, layer in neighbours.get(stop, [])
            if layer == index + 1
        ]
        total += sum(
            1 for i, a in enumerate(lines) for b in lines[i + 1 :] if (a[0] - b[0]) * (a[1] - b[1]) < 0
        )
    return total


def _place(columns: Sequence[Sequence[str]], chains: Sequence[_Chain]) -> dict[str, Point]:
    """Each stop as near to the mean height of its neighbours as the order and the row height allow."""
    beside: dict[str, list[str]] = {}
    for chain in chains:
        for a, b in itertools.pairwise(chain.stops):
            beside.setdefault(a, []).append(b)
            beside.setdefault(b, []).append(a)
    height = {stop: float(row) for column in columns for row, stop in enumerate(column)}
    for _ in range(SWEEPS):
        for column in columns:
            wanted = [
                sum(height[other] for other in beside[stop]) / len(beside[stop])
                if stop in beside
                else height[stop]
                for stop in column
            ]
            height |= dict(zip(column, _spread(wanted), strict=True))
    lowest = min(height.values())
    return {
        stop: (
            round(MARGIN_PX + BOX_WIDTH_PX / 2 + index * COLUMN_PX, 1),
            round(MARGIN_PX + BOX_HEIGHT_PX / 2 + (height[stop] - lowest) * ROW_PX, 1),
        )
        for index, column in enumerate(columns)
        for stop in column
    }


def _spread(wanted: Sequence[float]) -> list[float]:
    """Rows in this order, at least one apart, that deviate from the wanted ones as evenly as one pass can make it."""
    blocks: list[
        list[float]
    ] = []  # [sum of (wanted - offset), count]; blocks that touch are merged to their mean
    for value in wanted:
        blocks.append([value, 1.0])
        while len(blocks) > 1:
            (sum_a, count_a), (sum_b, count_b) = blocks[-2], blocks[-1]
            if sum_a / count_a + count_a <= sum_b / count_b + 1e-9:
                break
            blocks[-2:] = [[sum_a + sum_b - count_a * count_b, count_a + count_b]]
    rows = []
    for total, number in blocks:
        rows += [total / number + offset for offset in range(int(number))]
    return rows


def _way(chain: _Chain, centres: Mapping[str, Point], edges: Sequence[Pair], index: int) -> tuple[Point, ...]:
    """From the edge of one box to the edge of the other; parallel edges leave a little apart."""
    twins = [number for number, edge in enumerate(edges) if edge == edges[index]]
    apart = 14.0 * (twins.index(index) - (len(twins) - 1) / 2)
    points = [centres[stop] for stop in chain.stops]
    (x1, y1), (x2, y2) = points[0], points[-1]
    half = BOX_WIDTH_PX / 2
    if x1 == x2:  # the same layer (or the same box): out on the right and back in on the right
        bulge = x1 + half + 26 + abs(apart)
        return ((x1 + half, y1 + apart), (bulge, y1 + apart), (bulge, y2 + apart), (x2 + half, y2 + apart))
    side = half if x2 > x1 else -half
    bends = [point for x, y in points[1:-1] for point in ((x - side, y + apart), (x + side, y + apart))]
    return ((x1 + side, y1 + apart), *bends, (x2 - side, y2 + apart))
