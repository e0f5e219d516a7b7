"""The drawing of a service graph: every box apart, every edge drawn, the same every time."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from harness.report.curves import curves, path, places
from harness.report.graph_layout import BOX_HEIGHT_PX, BOX_WIDTH_PX, Layout, lay_out
from tests.unit import test_report_sample as samples


def overlapping(layout: Layout) -> list[tuple[str, str]]:
    return [
        (a, b)
        for (a, (ax, ay)), (b, (bx, by)) in itertools.combinations(layout.centres.items(), 2)
        if abs(ax - bx) < BOX_WIDTH_PX and abs(ay - by) < BOX_HEIGHT_PX
    ]


def through_boxes(layout: Layout, edges: list[tuple[str, str]]) -> list[tuple[str, str, str]]:
    """Edges that run through the middle of a box that is not theirs."""
    found = []
    for (caller, callee), way in zip(edges, layout.ways, strict=True):
        for piece in curves(way):
            for step in range(41):
                t = step / 40
                weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
                x, y = (sum(w * p[axis] for w, p in zip(weights, piece, strict=True)) for axis in (0, 1))
                for name, (bx, by) in layout.centres.items():
                    inside = abs(x - bx) < BOX_WIDTH_PX / 2 - 2 and abs(y - by) < BOX_HEIGHT_PX / 2 - 2
                    if inside and name not in (caller, callee):
                        found.append((caller, callee, name))
    return found


def test_lending_is_drawn_from_left_to_right_without_anything_in_the_way() -> None:
    environment = samples.environment()
    edges = [(edge.caller, edge.callee) for edge in environment.all_edges()]
    layout = lay_out(("client", *environment.services), edges, "client")
    assert overlapping(layout) == []
    assert through_boxes(layout, edges) == []
    for caller, callee in edges:
        assert layout.centres[caller][0] < layout.centres[callee][0], (caller, callee)
    assert all(x <= layout.width and y <= layout.height for x, y in layout.centres.values())


def test_numbers_of_edges_do_not_cover_each_other() -> None:
    environment = samples.environment()
    edges = [(edge.caller, edge.callee) for edge in environment.all_edges()]
    layout = lay_out(("client", *environment.services), edges, "client")
    points = places([curves(way) for way in layout.ways])
    assert min(math.dist(a, b) for a, b in itertools.combinations(points, 2)) >= 18


@pytest.mark.parametrize("seed", range(25))
def test_any_graph_can_be_drawn(seed: int) -> None:
    """Cycles, self-calls, several edges between a pair, services that nobody calls."""
    dice = random.Random(seed)
    nodes = ["client", *(f"service-{n}" for n in range(dice.randrange(1, 14)))]
    edges = [(dice.choice(nodes), dice.choice(nodes[1:])) for _ in range(dice.randrange(0, 26))]
    layout = lay_out(nodes, edges, "client")
    assert overlapping(layout) == []
    assert len(layout.ways) == len(edges)
    assert layout.centres["client"][0] == min(x for x, _ in layout.centres.values())
    for way in layout.ways:
        assert all(math.isfinite(number) for point in way for number in point)
        assert path(curves(way)).startswith("M")
    assert lay_out(nodes, edges, "client") == layout


def test_a_graph_of_one_service_and_no_edge() -> None:
    layout = lay_out(("client", "only"), [], "client")
    assert overlapping(layout) == []
    assert places([]) == ()
