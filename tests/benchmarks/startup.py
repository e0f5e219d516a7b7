"""How long one arm of `lending` takes until it is healthy, beside `docker compose up --wait` on the same graph.

Takes a setting, gives one table. Images are there before anything is timed; every repetition starts from nothing, and
the ways take turns in rotating order. Where no compose can be had, plain containers are what is compared with.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import synthetic
from harness.loading import load_dataset, load_environment
from synthetic import DatasetBundle
from tests.benchmarks.arms import Bench, Graph, bench, ready_graph
from tests.benchmarks.compose import Compose, find_composes, write_compose_file
from tests.benchmarks.plain import up_plain
from tests.benchmarks.setting import DATASET, LENDING, Setting
from tests.benchmarks.table import Table, median, spread

PLAIN = "plain containers, health polled"

Up = Callable[[Bench], None]


def measure(setting: Setting) -> tuple[Table, ...]:
    """Every way up, each as often as the setting says."""
    graph = ready_graph(load_environment(LENDING), setting)
    definition = load_dataset(DATASET)
    dataset = synthetic.find_or_build(definition.path, definition.value, setting.progress.note)
    composes = find_composes(setting.compose)
    ways = _ways(graph, dataset, composes)
    times_s: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for repetition in range(setting.count(4, 1)):
        first = repetition % len(names)
        for name in (*names[first:], *names[:first]):
            times_s[name].append(_timed(ways[name]))
            setting.progress.note(f"{name}: {times_s[name][-1]:.2f} s")
    return (_table(times_s, str(composes[0]) if composes else PLAIN, len(graph.services)),)


def _ways(graph: Graph, dataset: DatasetBundle, composes: Sequence[Compose]) -> Mapping[str, Up]:
    """By the name of its row."""
    empty = graph.unseeded()

    def by(compose: Compose) -> Up:
        def up(found: Bench) -> None:
            with tempfile.TemporaryDirectory(prefix="readiness-bench-") as folder:
                compose.up(write_compose_file(empty, found.run_id, Path(folder)), found.run_id)

        return up

    return {
        "one arm: plane, services, data": lambda found: found.arm(graph, dataset).up(),
        "one arm: plane, services": lambda found: found.arm(empty).up(),
        **{str(compose): by(compose) for compose in composes},
        PLAIN: lambda found: up_plain(empty, found),
    }


def _timed(up: Up) -> float:
    """Seconds until healthy; taking it down is not counted."""
    with bench() as found:
        started_s = time.perf_counter()
        up(found)
        return time.perf_counter() - started_s


def _table(times_s: Mapping[str, list[float]], reference: str, services: int) -> Table:
    reference_s = median(times_s[reference])
    caption = (
        f"Until all {services} services are healthy; images present, everything else new each time; the ways took turns "
        "in rotating order. All but the first start the same images with the same commands, limits, start order and "
        "health checks, and no data; compose and the last row on one network and without a plane. The last row is what "
        "the containers alone need, started by the project's own driver."
    )
    if reference == PLAIN:
        caption += " No compose answered here, so that row is the nearest to compare with."
    return Table(
        title="Start-up of `lending` (s)",
        caption=caption,
        columns=("what", "times", "median", "range", f"ratio to {reference.split(' (')[0]}"),
        rows=tuple(
            (
                name,
                str(len(values)),
                f"{median(values):.2f}",
                spread(values, 2),
                f"{median(values) / reference_s:.2f}",
            )
            for name, values in times_s.items()
        ),
    )
