"""Jobs for the load generator, and what its tests ask of their outcomes. Not collected by pytest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.model.history import Exchanges
from harness.model.quantities import Duration
from harness.model.recording import Exchange, Recording
from harness.replay.generator import LEAD_NS, ReplayChild, ReplayJob, ReplayOutcome

SECOND_NS = 1_000_000_000
START_LEAD_NS = LEAD_NS // 4


def recording(*paths: str, every_ms: float = 5, method: str = "POST", **fields: object) -> Recording:
    """One exchange per path, `every_ms` apart."""
    exchanges = [
        Exchange(
            seq=0,
            at_ns=int(index * every_ms * 1e6),
            client=f"client-{index % 3}",
            key=f"K-{index}",
            method=method,
            path=path,
            route=path.partition("?")[0],
            headers=(("content-type", "application/json"), ("x-channel", "web")),
            body=b'{"number": %d}' % index if method == "POST" else b"",
        )
        for index, path in enumerate(paths)
    ]
    return Recording.of("test", "made here", exchanges)


def job(of: Recording, url: str, timeout_s: float = 5.0, **changes: object) -> ReplayJob:
    start_ns = time.monotonic_ns() + START_LEAD_NS
    values: dict[str, object] = {
        "unit": "steady",
        "turn": 0,
        "exchanges": of.exchanges,
        "base_url": url,
        "seed": 7,
        "recording_digest": of.digest,
        "recording_from_ns": 0,
        "length_ns": of.length_ns,
        "start_ns": start_ns,
        "origin_ns": start_ns - 3 * SECOND_NS,
        "timeout": Duration.of_s(timeout_s),
    }
    return ReplayJob(**(values | changes))  # type: ignore[arg-type]


def history(outcome: ReplayOutcome) -> Exchanges:
    return outcome.exchanges(lambda _: "steady")


def errors(outcome: ReplayOutcome) -> list[str]:
    return [row["error"] for row in history(outcome).rows()]


def eventually(happened: Callable[[], bool], within_s: float = 15.0) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if happened():
            return True
        time.sleep(0.02)
    return False


def gone(pid: int) -> bool:
    """True for a zombie too: in a container nobody may be there to reap an orphan."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@contextmanager
def running_child(folder: Path) -> Iterator[ReplayChild]:
    """A generator that is ready, and gone afterwards."""
    child = ReplayChild("baseline", folder)
    child.start()
    try:
        yield child
    finally:
        child.abort()
        child.close()
