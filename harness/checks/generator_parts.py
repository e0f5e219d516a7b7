"""What the load generators say of themselves, held against the policy: requests in flight, processor, workers, clocks.

Takes the details of REPLAY events, adds parts. A generator that does not say what it should is a problem, not a pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.checks.base import percent
from harness.checks.judged_parts import Parts, said_ms
from harness.checks.shortages import Figures, cpu_share, number, sending_processes
from harness.model.policy import Policy


def measure_generators(replays: Sequence[Figures], policy: Policy, generator: str, parts: Parts) -> None:
    """`generator` as sentences name it."""
    finished = [figures for figures in replays if figures.get("finished") is not False]
    known = [number(figures, "in_flight_limit_hits") for figures in replays]
    hits = [item for item in known if item is not None]
    if len(hits) < len(finished):
        parts.problems.append(f"{generator} did not say whether it met its limit of requests in flight")
    most = max((number(figures, "most_in_flight") or 0 for figures in replays), default=0)
    parts.add(
        "in_flight",
        "met the limit of requests in flight",
        sum(hits) if hits else None,
        policy.in_flight_limit_hits,
        f"{generator} met its limit of requests in flight {sum(hits):.0f} times",
        note=f"at most {most:.0f} in flight",
    )
    shares = [cpu_share(figures) for figures in replays]
    used = [share for share in shares if share is not None]
    if len(used) < len(finished):
        parts.problems.append(f"{generator} did not say how much CPU it used")
    cpu = max(used, default=None)
    parts.add(
        "cpu",
        "processor used by the generator, of one",
        cpu,
        policy.generator_cpu,
        f"{generator} used {percent(cpu or 0)} of a processor, {percent(policy.generator_cpu)} is allowed",
        unit="share",
    )
    workers = [worker for figures in replays for worker in _workers(figures)]
    if workers:
        _crew(workers, policy, generator, parts)


def _workers(figures: Figures) -> tuple[Figures, ...]:
    return tuple(worker for worker in sending_processes(figures) if worker is not figures)


def _crew(workers: Sequence[Figures], policy: Policy, generator: str, parts: Parts) -> None:
    for name in dict.fromkeys(_name(worker) for worker in workers if worker.get("finished") is False):
        parts.problems.append(f"{name} of {generator} did not finish")
    lags = [(number(worker, "lag_p99_ms"), _name(worker)) for worker in workers]
    lag, slowest = max(((value, name) for value, name in lags if value is not None), default=(None, ""))
    parts.add(
        "worker_lag",
        "lateness of 99 % of the slowest worker's, at most",
        lag,
        policy.schedule_lag_p99.ms,
        f"{slowest} of {generator} sent 1 % of its requests more than {said_ms(lag)} late, "
        f"{policy.schedule_lag_p99} is allowed",
        unit="ms",
    )
    unsure = [(number(worker, "offset_uncertainty_ns"), _name(worker)) for worker in workers]
    for name in dict.fromkeys(name for value, name in unsure if value is None):
        parts.problems.append(f"how far the clock of {name} of {generator} is off was not measured")
    worst, name = max(((value, name) for value, name in unsure if value is not None), default=(None, ""))
    parts.add(
        "clock",
        "clock of a worker, known to",
        None if worst is None else worst / 1e6,
        policy.clock_uncertainty.ms,
        f"the clock of {name} of {generator} is known to {(worst or 0) / 1e6:.1f} ms only, "
        f"{policy.clock_uncertainty} is allowed",
        unit="ms",
    )


def _name(worker: Mapping[str, Any]) -> str:
    return f"worker {worker.get('name', 'without a name')}"
