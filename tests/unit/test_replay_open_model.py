"""What makes the generator's figures trustworthy: who waited is counted, and a generator that was too slow says so."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from harness.checks.shortages import shortages
from harness.replay.generator import LEAD_NS
from tests.unit.replay_target import Target
from tests.unit.replays import history, job, recording, running_child
from tests.unit.starving import starved

RATE = 200
USERS = 5
SECONDS = 8
FROZEN_FROM_S, FROZEN_S = 3.0, 2.0


@contextmanager
def served() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A target in a process of its own, which can be frozen, and its URL."""
    command = [sys.executable, "-m", "tests.unit.replay_target"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server, server.stdout.readline().strip()
        finally:
            server.send_signal(signal.SIGCONT)
            server.kill()


@contextmanager
def closed_loop(url: str, start_ns: int) -> Iterator[subprocess.Popen[str]]:
    arguments = [url, str(USERS), str(RATE), str(SECONDS)]
    command = [sys.executable, "-m", "tests.unit.closed_loop", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as loop:
        try:
            assert loop.stdin is not None
            assert loop.stdout is not None
            assert loop.stdout.readline().strip() == "ready"
            loop.stdin.write(f"{start_ns / 1e9}\n")
            loop.stdin.flush()
            yield loop
        finally:
            loop.kill()


def test_a_frozen_service_is_charged_for_everybody_who_had_to_wait(tmp_path: Path) -> None:
    """Coordinated omission: 200 requests/s, the service frozen for 2 s. A closed loop sees a slow request per user; the
    replay of the same rate sees that every fourth request of these 8 s would have had to wait."""
    with served() as (server, url), running_child(tmp_path) as child:
        start_ns = time.monotonic_ns() + 3 * LEAD_NS
        with closed_loop(url, start_ns) as loop:
            of = recording(*["/x"] * (RATE * SECONDS), every_ms=1000 / RATE, method="GET")
            frozen_s = (start_ns - time.monotonic_ns()) / 1e9 + FROZEN_FROM_S
            timers = [
                threading.Timer(frozen_s, server.send_signal, [signal.SIGSTOP]),
                threading.Timer(frozen_s + FROZEN_S, server.send_signal, [signal.SIGCONT]),
            ]
            for timer in timers:
                timer.start()
            outcome = child.replay(job(of, url, timeout_s=10, start_ns=start_ns, origin_ns=start_ns))
            assert loop.stdout is not None
            closed_ms = np.array(json.loads(loop.stdout.readline()))
    open_ms = history(outcome).latency_ms()
    assert outcome.answered == RATE * SECONDS
    p90, p95, p99 = np.quantile(open_ms, [0.9, 0.95, 0.99])
    assert p90 > 1000
    assert p95 > 1400
    assert p99 > 1800
    # The closed loop: a quarter of the requests was never made, and hardly any that was made had to wait.
    assert len(closed_ms) < 0.85 * RATE * SECONDS
    assert (closed_ms > 500).sum() <= USERS
    assert np.quantile(closed_ms, 0.99) < 500


# -- a generator that gets too little CPU


def test_a_generator_starved_of_cpu_says_so_and_why(tmp_path: Path) -> None:
    """Its record shows how late it was, and its figures name the limit that made it so."""
    with Target() as target, running_child(tmp_path) as child:
        of = recording(*["/x"] * 900, every_ms=2)
        with starved(child.pid, 0.02):
            outcome = child.replay(job(of, target.url, timeout_s=20))
    figures = outcome.detail()
    assert np.nanquantile(history(outcome).lag_ms(), 0.99) == pytest.approx(figures["lag_p99_ms"])
    assert figures["lag_p99_ms"] > 100
    assert figures["throttled_periods"] > 3
    assert figures["throttled_ms"] > 300
    [first, *_] = shortages([figures], np.array([]), 0.8)
    assert "CPU limit" in first


def test_a_generator_that_must_wait_for_a_core_says_for_how_long(tmp_path: Path) -> None:
    """Three busy processes on its only core, at a higher priority: as long as the kernel itself says."""
    core = {min(os.sched_getaffinity(0))}
    with Target() as target, running_child(tmp_path) as child, contextlib.ExitStack() as busy:
        schedstat = Path(f"/proc/{child.pid}/schedstat")
        if not schedstat.exists():
            pytest.skip("this kernel does not say how long a process waited for a core")
        os.sched_setaffinity(child.pid, core)
        os.setpriority(os.PRIO_PROCESS, child.pid, 10)
        for _ in range(3):
            process = busy.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            busy.callback(process.kill)
            os.sched_setaffinity(process.pid, core)
        before_ns = int(schedstat.read_text().split()[1])
        outcome = child.replay(job(recording(*["/x"] * 400, every_ms=5), target.url))
        waited_ms = (int(schedstat.read_text().split()[1]) - before_ns) / 1e6
    assert 0 < outcome.detail()["runqueue_wait_ms"] <= waited_ms
