"""What a second worker brings: the same load sent by a crew of one and of two, against a cheap local target.

Takes the target's URL (and a `Setting`), gives a `Table`. Rounds of one and two workers take turns. On a machine with
two cores the target and, with two workers, the other worker share what one worker has to itself, so a ratio of two is
out of reach; the row of CPU says what each had.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.model.quantities import Duration
from harness.model.recording import Exchange
from harness.recording.sessions.steps import Steps
from harness.replay.crew.crew import CrewOutcome, ReplayCrew
from harness.replay.crew.staff import CrewSetup
from harness.replay.generator import LEAD_NS, ReplayJob
from tests.benchmarks.setting import Setting
from tests.benchmarks.table import Table, median, spread

CLIENTS = 64
"""Of the closed loop: each sends its next request when the last one is answered."""

RATES = (1000, 4000, 8000, 16000)
OFFERED_PER_S = 30_000
"""Of the closed loop: more than is answered, so that no client waits for its time."""


@dataclass(frozen=True)
class Round:
    """One replay: answered requests a second, lateness in ms, and CPU of all workers, of one."""

    per_s: float
    late_p50_ms: float
    late_p99_ms: float
    cpu_share: float
    failed: int


def compare_workers(base_url: str, setting: Setting) -> Table:
    """Closed loop, then open loads, each by one and by two workers. Raises EngineError."""
    rounds, length_s = setting.count(5, 1), float(setting.count(3, 1))
    found: dict[tuple[str, int], list[Round]] = {}
    with tempfile.TemporaryDirectory() as work:
        crews = {
            workers: ReplayCrew("benchmark", Path(work, str(workers)), CrewSetup(workers))
            for workers in (1, 2)
        }
        try:
            for crew in crews.values():
                crew.start()
            for number in range(rounds):
                setting.progress.note(f"workers: round {number + 1}/{rounds}")
                for workers, crew in crews.items():
                    found.setdefault(("closed loop", workers), []).append(closed(crew, base_url, length_s))
                    for rate in RATES:
                        measured = opened(crew, base_url, rate, length_s, number)
                        found.setdefault((f"open, {rate}/s", workers), []).append(measured)
        finally:
            for crew in crews.values():
                crew.close()
    return _table(found)


def closed(crew: ReplayCrew, base_url: str, length_s: float) -> Round:
    """As fast as it goes: every client waits for its answer and sends again. What was answered, by how long it took."""
    outcome = crew.replay(_job(base_url, _chains(length_s), length_s * 20, plan=_after_the_last))
    answered_ns, sent_ns = _answered(outcome)
    span_s = (answered_ns.max() - sent_ns.min()) / 1e9
    failed = outcome.planned - len(answered_ns)
    return Round(len(answered_ns) / span_s, float("nan"), float("nan"), _cpu(outcome), failed)


def opened(crew: ReplayCrew, base_url: str, rate: int, length_s: float, seed: int) -> Round:
    """Poisson arrivals by many clients."""
    gaps_s = np.random.default_rng(seed).exponential(1 / rate, int(rate * length_s))
    at_ns = (np.cumsum(gaps_s) * 1e9).astype(np.int64)
    exchanges = (_exchange(seq, int(at), f"client-{seq % 997}") for seq, at in enumerate(at_ns))
    outcome = crew.replay(_job(base_url, exchanges, float(at_ns[-1]) / 1e9 + 0.1))
    detail = outcome.detail()
    per_s = detail["answered"] / (float(at_ns[-1]) / 1e9)
    failed = detail["planned"] - detail["answered"]
    return Round(per_s, detail["lag_p50_ms"], detail["lag_p99_ms"], _cpu(outcome), failed)


def _chains(length_s: float) -> Iterator[Exchange]:
    gap_ns = int(1e9 / OFFERED_PER_S)
    count = int(length_s * OFFERED_PER_S)
    return (_exchange(seq, seq * gap_ns, f"client-{seq % CLIENTS}") for seq in range(count))


def _after_the_last(exchange: Exchange) -> Steps:
    """This client's request before has to be answered first; no time to think."""
    waits_for = exchange.seq - CLIENTS
    return Steps((exchange.path.encode(),), (), (b"",), (), waits_for if waits_for >= 0 else -1)


def _exchange(seq: int, at_ns: int, client: str) -> Exchange:
    return Exchange(seq, at_ns, client, "", "GET", "/", "/", (), b"")


def _job(base_url: str, exchanges: Iterator[Exchange], length_s: float, **options: object) -> ReplayJob:
    start_ns = time.monotonic_ns() + LEAD_NS
    return ReplayJob(
        unit="load",
        turn=0,
        exchanges=exchanges,
        base_url=base_url,
        seed=1,
        recording_digest="sha256:benchmark",
        recording_from_ns=0,
        length_ns=int(length_s * 1e9),
        start_ns=start_ns,
        origin_ns=start_ns,
        timeout=Duration.of_s(5),
        grace=Duration.of_s(30),
        **options,  # type: ignore[arg-type]
    )


def _answered(outcome: CrewOutcome) -> tuple[np.ndarray, np.ndarray]:
    answered = outcome.answers.column("answered_ns").to_numpy()
    sent = outcome.answers.column("sent_ns").to_numpy()
    return answered[answered >= 0], sent[sent >= 0]


def _cpu(outcome: CrewOutcome) -> float:
    return float(sum(worker.resources["cpu_share"] for worker in outcome.workers))


def _table(found: dict[tuple[str, int], list[Round]]) -> Table:
    rows = []
    for load in dict.fromkeys(load for load, _ in found):
        one, two = found[load, 1], found[load, 2]
        for workers, measured in ((1, one), (2, two)):
            ratios = [b.per_s / a.per_s for a, b in zip(one, two, strict=True)]
            rows.append(
                (
                    load,
                    str(workers),
                    f"{median([m.per_s for m in measured]):.0f}",
                    f"{median(ratios):.2f} ({spread(ratios, 2)})" if workers == 2 else "1",
                    _ms([m.late_p50_ms for m in measured]),
                    _ms([m.late_p99_ms for m in measured]),
                    f"{100 * median([m.cpu_share for m in measured]):.0f} %",
                    str(sum(m.failed for m in measured)),
                )
            )
    caption = (
        f"One and two workers take turns, with one master each. Closed loop: {CLIENTS} clients, each sends when it has its "
        "answer. Open: Poisson arrivals; late is sent minus due. CPU is of all workers together, of one core. The target "
        "and the run's own process share the machine with the workers."
    )
    columns = (
        "load",
        "workers",
        "answered/s",
        "ratio (rounds)",
        "late p50 ms",
        "late p99 ms",
        "CPU",
        "failed",
    )
    return Table("workers: what a second one brings", caption, columns, tuple(rows))


def _ms(values: list[float]) -> str:
    known = [value for value in values if value == value]
    return f"{median(known):.2f}" if known else "-"
