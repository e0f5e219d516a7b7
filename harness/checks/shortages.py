"""Which resource ran short: what a load generator's figures say about why a replay was not faithful.

Takes the figures that generators leave (details of REPLAY events) and how long connecting took, gives clauses such as
"the generator's processor (it used 97 % of one)", the likeliest first; none where nothing shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Figures = Mapping[str, Any]

THROTTLED_SHARE = 0.02
"""Share of the time for which a control group held the generator back, from which it is named."""
WAITED_SHARE = 0.05
"""Share of the time for which the generator was ready to run and the machine's processors were not free."""
MANY_MAJOR_FAULTS = 100
"""Pages read back from disk: a generator touches all that it needs before it starts."""
NEAR_MEMORY_LIMIT = 0.95
SLOW_CONNECT_MS = 100.0


def number(figures: Figures, name: str) -> float | None:
    """A figure, None where it is missing or no number. Generators write -1 for what they cannot know."""
    value = figures.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        return None
    return float(value) if value >= 0 else None


def sending_processes(figures: Figures) -> tuple[Figures, ...]:
    """One mapping a process: the workers' own figures where there are workers, else those of the replay itself."""
    workers = figures.get("workers")
    if isinstance(workers, Sequence) and not isinstance(workers, str):
        found = tuple(worker for worker in workers if isinstance(worker, Mapping))
        if found:
            return found
    return (figures,)


def cpu_share(figures: Figures) -> float | None:
    """The largest share of one processor that a sending process used; None where one of them does not say.

    A worker that had nothing to send was done in a few milliseconds, all of which it computed: that is no load.
    """
    processes = sending_processes(figures)
    busy = [process for process in processes if process.get("planned") != 0] or processes
    shares = [number(process, "cpu_share") for process in busy]
    known = [share for share in shares if share is not None]
    return max(known) if len(known) == len(shares) else None


def shortages(
    replays: Sequence[Figures], connect_ms: npt.NDArray[np.float64], cpu_limit: float
) -> tuple[str, ...]:
    """What ran short in at least one of these replays. `connect_ms`: how long each request's connection took."""
    found: dict[str, str] = {}
    for figures in replays:
        for process in sending_processes(figures):
            # What a worker does not say of itself, the replay as a whole may.
            for name, words in _of_process({**figures, **process}, cpu_limit):
                found.setdefault(name, words)
        waits = number(figures, "requests_waited_for")
        if waits:
            found.setdefault(
                "reading", f"reading the recording ({waits:.0f} requests were due before they had been read)"
            )
        hits = number(figures, "in_flight_limit_hits")
        if hits:
            limit = number(figures, "in_flight_limit")
            said = f"the limit of {limit:.0f} requests" if limit else "the limit of requests"
            found.setdefault("connections", f"{said} in flight (met {hits:.0f} times)")
    known_ms = connect_ms[np.isfinite(connect_ms)]
    if len(known_ms):
        slow_ms = float(np.quantile(known_ms, 0.99))
        if slow_ms >= SLOW_CONNECT_MS:
            found["network"] = f"the network or the target (1 % of connections took {slow_ms:.0f} ms or more)"
    order = ("throttled", "connections", "memory", "cpu", "machine", "reading", "network")
    return tuple(found[name] for name in order if name in found)


def _of_process(figures: Figures, cpu_limit: float) -> Iterator[tuple[str, str]]:
    wall_ms = number(figures, "wall_ms") or 0.0
    throttled_ms, waited_ms = number(figures, "throttled_ms"), number(figures, "runqueue_wait_ms")
    share, faults = number(figures, "cpu_share"), number(figures, "major_faults")
    if wall_ms and throttled_ms and throttled_ms >= THROTTLED_SHARE * wall_ms:
        held = f"it was held back for {throttled_ms:.0f} of {wall_ms:.0f} ms"
        yield "throttled", f"the CPU limit of the generator's control group ({held})"
    if faults is not None and faults >= MANY_MAJOR_FAULTS:
        yield "memory", f"memory ({faults:.0f} pages of the generator were read back from disk)"
    memory, allowed = number(figures, "max_rss_bytes"), number(figures, "memory_limit_bytes")
    if memory and allowed and memory >= NEAR_MEMORY_LIMIT * allowed:
        yield (
            "memory",
            f"memory (the generator held {memory / 2**20:.0f} of the {allowed / 2**20:.0f} MiB it may have)",
        )
    if share is not None and share > cpu_limit:
        yield "cpu", f"the generator's own processor (it used {100 * share:.0f} % of one)"
    # The time for which a limit held it back counts as waiting as well.
    waited_ms = (waited_ms or 0) - (throttled_ms or 0)
    if wall_ms and waited_ms >= WAITED_SHARE * wall_ms:
        waited = f"the generator was ready and waited for one for {waited_ms:.0f} of {wall_ms:.0f} ms"
        yield "machine", f"the machine's processors ({waited})"
