"""The load generators that the replay is compared with, each as one function: send this load to that server.

Ours and plain Locust send any load, and say when they began; vegeta and k6 send at a constant rate and do not say it.
All are pinned to one core and run at one priority. vegeta and k6 are taken from the path, or built once from their Go
modules into `.state/bench`.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.model.quantities import Duration
from harness.model.recording import Exchange
from harness.replay.generator import LEAD_NS, ReplayChild, ReplayJob
from tests.benchmarks.replay_loads import Load
from tests.benchmarks.setting import ROOT

TOOLS_DIR = ROOT / ".state" / "bench"
BUILD_LIMIT_S = 900
MODULES = {"vegeta": "github.com/tsenart/vegeta/v12@latest", "k6": "go.k6.io/k6@latest"}
PREFERRED = "import os, sys; from harness.replay.child.process import prefer; prefer(); os.execvp(sys.argv[1], sys.argv[1:])"
"""Runs a command as the scheduler treats our own generator."""

TIMEOUT_S = 5.0

K6_SCRIPT = """
import http from 'k6/http';
import exec from 'k6/execution';
export const options = { discardResponseBodies: true, scenarios: { load: {
  executor: 'constant-arrival-rate', rate: RATE, timeUnit: '1s', duration: 'SECONDSs',
  preAllocatedVUs: 200, maxVUs: 1000 } } };
export default function () {
  http.get('URL/' + exec.scenario.iterationInTest, { tags: { name: 'load' } });
}
"""


@dataclass(frozen=True)
class Sent:
    """`began_ns`: when offset 0 was due, on the wall clock; None: the tool does not say. CPU of all its processes."""

    began_ns: int | None
    cpu_ms: float


@dataclass(frozen=True)
class Tool:
    """`send` blocks until the load was sent and answered. `shapes`: it can send other loads than constant ones."""

    name: str
    send: Callable[[Load, str], Sent]
    shapes: bool


def found(name: str) -> str | None:
    """Path of vegeta or k6: on the path, built before, or built now; None where there is no Go or no network."""
    there = shutil.which(name) or shutil.which(name, path=str(TOOLS_DIR))
    if there is not None or shutil.which("go") is None:
        return there
    TOOLS_DIR.mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run(
            ["go", "install", MODULES[name]],
            env={**os.environ, "GOBIN": str(TOOLS_DIR)},
            capture_output=True,
            timeout=BUILD_LIMIT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return shutil.which(name, path=str(TOOLS_DIR))


def ours(child: ReplayChild) -> Callable[[Load, str], Sent]:
    """The replay as a run uses it: requests handed over by this process while the child sends."""

    def exchanges(load: Load) -> Iterator[Exchange]:
        for k, at_ns in enumerate(load.offsets_ns.tolist()):
            yield Exchange(k, at_ns, "", "", "GET", f"/{k}", "/", (), b"")

    def send(load: Load, url: str) -> Sent:
        start_ns = time.monotonic_ns() + LEAD_NS
        wall_ns = time.time_ns() - time.monotonic_ns() + start_ns
        job = ReplayJob(
            unit=load.name,
            turn=0,
            exchanges=exchanges(load),
            base_url=url,
            seed=0,
            recording_digest="bench",
            recording_from_ns=0,
            length_ns=load.length_ns,
            start_ns=start_ns,
            origin_ns=start_ns,
            timeout=Duration.of_s(TIMEOUT_S),
        )
        cpu_ns = time.process_time_ns()
        outcome = child.replay(job)
        cpu_ms = (time.process_time_ns() - cpu_ns) / 1e6 + outcome.resources["cpu_ms"]
        return Sent(wall_ns, cpu_ms)

    return send


def locust(collector: bool) -> Callable[[Load, str], Sent]:
    def send(load: Load, url: str) -> Sent:
        word = "collector" if collector else "no-collector"
        command = [sys.executable, "-m", "tests.benchmarks.plain_locust", "open", url, word]
        said, cpu_ms = _run(command, "".join(f"{at_ns}\n" for at_ns in load.offsets_ns.tolist()))
        return Sent(int(said.split()[-1]), cpu_ms)

    return send


def vegeta(path: str) -> Callable[[Load, str], Sent]:
    def send(load: Load, url: str) -> Sent:
        with TemporaryDirectory() as folder:
            targets = Path(folder) / "targets"
            targets.write_text("".join(f"GET {url}/{k}\n" for k in range(len(load.offsets_ns))), "ascii")
            seconds = len(load.offsets_ns) / load.rate
            command = [path, "attack", f"-rate={load.rate:.0f}/1s", f"-duration={seconds:.3f}s"]
            command += ["-timeout=5s", f"-targets={targets}", f"-output={folder}/results"]
            return Sent(None, _run(command)[1])

    return send


def k6(path: str) -> Callable[[Load, str], Sent]:
    def send(load: Load, url: str) -> Sent:
        with TemporaryDirectory() as folder:
            script = Path(folder) / "load.js"
            seconds = len(load.offsets_ns) / load.rate
            text = K6_SCRIPT.replace("RATE", f"{load.rate:.0f}").replace("SECONDS", f"{seconds:.0f}")
            script.write_text(text.replace("URL", url), "ascii")
            command = [path, "run", "--quiet", "--no-usage-report", "--no-summary", str(script)]
            return Sent(None, _run(command)[1])

    return send


def _run(command: list[str], given: str = "") -> tuple[str, float]:
    """Standard output and CPU in ms. Raises CalledProcessError."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", PREFERRED, *command],
        input=given,
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.stdout, cpu_s * 1000


def tools(child: ReplayChild, said: Callable[[str], None]) -> tuple[list[Tool], list[str]]:
    """All that are there, ours first; and the names of those that are not."""
    there = [
        Tool("this replay", ours(child), shapes=True),
        Tool("plain Locust", locust(collector=True), shapes=True),
        Tool("Locust, collector off", locust(collector=False), shapes=True),
    ]
    missing = []
    for name, make in (("vegeta", vegeta), ("k6", k6)):
        said(f"looking for {name}, or building it")
        path = found(name)
        if path is None:
            missing.append(name)
        else:
            there.append(Tool(name, make(path), shapes=False))
    return there, missing
