"""What an arm of `lending` holds in memory: each service, then the plane and the generator apart.

Takes a setting, gives one table. Containers: cgroup memory as the engine tells it, without the page cache that the
kernel gives back when asked (what `docker stats` shows). The generator is a process: its proportional share (PSS).
"""

from __future__ import annotations

import re
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import synthetic
from harness.environment.image_engine import connect
from harness.environment.stack import ArmStack
from harness.errors import EngineError
from harness.loading import load_dataset, load_environment, load_scenario, resolve
from harness.model.quantities import Duration
from harness.model.recording import Traffic
from harness.recording.load import load_recording
from harness.replay.generator import LEAD_NS, ReplayChild, ReplayJob, ReplayOutcome
from tests.benchmarks.arms import bench, ready_graph
from tests.benchmarks.setting import DATASET, LENDING, SCENARIO, Setting
from tests.benchmarks.table import Table

MIB = 2**20
SAMPLE_EVERY_S = 1.0
GENERATOR, PLANE = "generator", "plane"

Sample = dict[str, int]
"""Bytes by service."""


def measure(setting: Setting) -> tuple[Table, ...]:
    """Once after the start, then the most of each during a stretch of the demo's own load."""
    graph = ready_graph(load_environment(LENDING), setting)
    definition = load_dataset(DATASET)
    dataset = synthetic.find_or_build(definition.path, definition.value, setting.progress.note)
    scenario = load_scenario(SCENARIO)
    recording = load_recording(resolve(scenario, ("recording",), scenario.value.recording), dataset.table)
    length_s = setting.count(20, 4)
    with bench() as found, tempfile.TemporaryDirectory(prefix="readiness-bench-") as work:
        stack = found.arm(graph, dataset)
        child = ReplayChild("benchmark", Path(work))
        try:
            stack.up()
            child.start()
            found.journal.process("generator benchmark", child.pid)
            calm = _sample(stack, child)
            setting.progress.note(f"{length_s} s of load")
            most, outcome = _most_under_load(stack, child, _job(stack, recording, length_s))
        finally:
            child.close()
    limits = {name: service.limits.memory.bytes for name, service in graph.environment.services.items()}
    return (_table(calm, most, limits, outcome, length_s),)


def _job(stack: ArmStack, recording: Traffic, length_s: int) -> ReplayJob:
    start_ns = time.monotonic_ns() + LEAD_NS
    length_ns = length_s * 1_000_000_000
    return ReplayJob(
        unit="memory",
        turn=0,
        exchanges=recording.slice(0, int(np.searchsorted(recording.offsets_ns(), length_ns))),
        base_url=stack.entry_url("api"),
        seed=0,
        recording_digest=recording.digest,
        recording_from_ns=0,
        length_ns=length_ns,
        start_ns=start_ns,
        origin_ns=start_ns,
        timeout=Duration.of_s(5),
    )


def _most_under_load(stack: ArmStack, child: ReplayChild, job: ReplayJob) -> tuple[Sample, ReplayOutcome]:
    """The most of each, sampled once a second while the load runs."""
    most: Sample = {}
    with ThreadPoolExecutor(max_workers=1) as pool:
        replay: Future[ReplayOutcome] = pool.submit(child.replay, job)
        try:
            while not replay.done():
                for name, used in _sample(stack, child).items():
                    most[name] = max(used, most.get(name, 0))
                time.sleep(SAMPLE_EVERY_S)
        except BaseException:
            child.abort()
            raise
    return most, replay.result()


def _sample(stack: ArmStack, child: ReplayChild) -> Sample:
    client = connect()
    used = {
        name: container_bytes(client.stats(stack.container(name), stream=False, one_shot=True))
        for name in (*stack.services, PLANE)
    }
    return {**used, GENERATOR: process_bytes(child.pid)}


def container_bytes(stats: dict[str, Any]) -> int:
    """Usage without inactive page cache, on cgroup version 1 and 2. Raises EngineError for a container that is gone."""
    memory = stats.get("memory_stats") or {}
    if "usage" not in memory:
        raise EngineError(f"{stats.get('name', 'a container')} tells no memory", "see `docker ps -a`")
    details = memory.get("stats") or {}
    return int(memory["usage"]) - int(details.get("total_inactive_file", details.get("inactive_file", 0)))


def process_bytes(pid: int) -> int:
    """A process's memory, shared pages divided among those who share them. Raises EngineError when it is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError as error:
        raise EngineError(f"the memory of process {pid} cannot be read: {error}", "run it again") from error
    found = re.search(r"^Pss:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _table(calm: Sample, most: Sample, limits: Sample, outcome: ReplayOutcome, length_s: int) -> Table:
    def row(name: str, limit: int | None, parts: tuple[str, ...]) -> tuple[str, ...]:
        sums = [sum(sample[part] for part in parts) for sample in (calm, most)]
        return (name, f"{limit / MIB:.0f}" if limit else "none", *(f"{used / MIB:.1f}" for used in sums))

    services = tuple(limits)
    rows = [row(name, limit, (name,)) for name, limit in limits.items()]
    rows += [
        row(f"all {len(services)} services", sum(limits.values()), services),
        row("the plane", None, (PLANE,)),
        row("the generator", None, (GENERATOR,)),
        row("everything", None, (*services, PLANE, GENERATOR)),
    ]
    rate = outcome.planned / length_s
    return Table(
        title="Memory of one arm of `lending` (MiB)",
        caption=(
            f"`under load`: the most of each during {length_s} s of the demo's recording ({rate:.0f} requests/s, "
            f"{outcome.answered} of {outcome.planned} answered), one sample a second; sums add these up. Containers: cgroup "
            "memory without inactive page cache, as `docker stats` shows it. Generator: its process's PSS. Not in it: the "
            "engine's own process for each container."
        ),
        columns=("what", "limit", "after start", "under load"),
        rows=tuple(rows),
    )
