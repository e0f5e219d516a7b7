"""How late the replay sends beside other load generators, and how much one process of it can send.

Takes a setting, gives tables. The server is pinned to one core and every generator in turn to another; lateness is
when the kernel took a request in for the server, less when it was due. All rows come from one run, in rounds in which
the generators take turns.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from harness.replay.generator import ReplayChild
from tests.benchmarks.replay_loads import WARMUP_NS, Load, azure, constant, poisson
from tests.benchmarks.replay_tools import Sent, Tool, tools
from tests.benchmarks.replay_workers import compare_workers
from tests.benchmarks.setting import ROOT, Setting
from tests.benchmarks.table import Table, median

RATES = (200, 500, 1000)
Array = npt.NDArray[np.float64]

NGINX = """
worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 1h;
  client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
  uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
  server {{ listen 127.0.0.1:{port}; default_type application/json;
    location / {{ return 200 '{{"decision": "approve", "score": 0.71234}}'; }} }}
}}
"""
NGINX_PORT = 18_480


def measure(setting: Setting) -> tuple[Table, ...]:
    """Lateness, throughput, and what a second worker brings."""
    before = os.sched_getaffinity(0)
    cores = sorted(before)
    generator_core, server_core = cores[0], cores[-1]
    os.sched_setaffinity(0, {generator_core})
    try:
        tables = [_lateness_table(setting, server_core), _throughput_table(setting, server_core)]
    finally:
        os.sched_setaffinity(0, before)
    if _nginx_path() is not None:
        with _nginx(server_core) as url:
            tables.append(compare_workers(url, setting))
    return tuple(tables)


# -- lateness


def _lateness_table(setting: Setting, server_core: int) -> Table:
    seconds, rounds = setting.count(16, 3), setting.count(2, 1)
    loads: list[Load] = [make(rate, seconds) for make in (constant, poisson) for rate in RATES]
    recorded = azure(setting.count(60, 6))
    loads += [recorded] if recorded is not None else []
    late: dict[tuple[str, str], list[Array]] = {}
    cpu_ms: dict[tuple[str, str], list[float]] = {}
    with TemporaryDirectory() as folder, _child(Path(folder)) as child:
        there, missing = tools(child, setting.progress.note)
        for round_ in range(rounds):
            for load in loads:
                order = there if round_ % 2 == 0 else there[::-1]
                for tool in order:
                    if load.kind != "constant" and not tool.shapes:
                        continue
                    setting.progress.note(f"round {round_ + 1}/{rounds}: {load.name}, {tool.name}")
                    with _arrivals(server_core) as url:
                        sent = tool.send(load, url)
                        late.setdefault((load.name, tool.name), []).append(_late_ms(load, sent, url))
                    cpu_ms.setdefault((load.name, tool.name), []).append(sent.cpu_ms)
    rows = []
    for load in loads:
        ours = np.concatenate(late[load.name, there[0].name])
        for tool in there:
            if (load.name, tool.name) not in late:
                continue
            found = np.concatenate(late[load.name, tool.name])
            each_us = 1000 * sum(cpu_ms[load.name, tool.name]) / (rounds * len(load.offsets_ns))
            rows.append(_lateness_row(load, tool, found, ours, each_us))
    gone = f" Not there and not to be built: {', '.join(missing)}." if missing else ""
    without = "" if recorded is not None else " The Azure trace is not there."
    return Table(
        f"Lateness of requests, {seconds} s a round, {rounds} rounds",
        "Arrival at the server's kernel less due time, ms; the first second of each round is not counted. Generators "
        "share one core in turn, the server has another; all at one priority. Ratios: that tool's over this replay's. "
        "vegeta and k6 send at a constant rate alone and do not say when they began: their earliest request counts as "
        "punctual, where the others are held to the clock. Azure ×10: the trace's busiest minute, ten times as fast."
        + gone
        + without,
        ("load", "generator", "p50", "p99", "max", "p50 ratio", "p99 ratio", "CPU a request"),
        tuple(rows),
        left=2,
    )


def _lateness_row(load: Load, tool: Tool, late: Array, ours: Array, each_us: float) -> tuple[str, ...]:
    p50, p99 = np.quantile(late, [0.5, 0.99])
    our_p50, our_p99 = np.quantile(ours, [0.5, 0.99])
    return (
        load.name,
        tool.name,
        f"{p50:.2f}",
        f"{p99:.2f}",
        f"{late.max():.1f}",
        f"{p50 / our_p50:.1f}",
        f"{p99 / our_p99:.1f}",
        f"{each_us:.0f} µs",
    )


def _late_ms(load: Load, sent: Sent, url: str) -> Array:
    """Of the requests after the warm-up. Raises OSError when some never arrived."""
    with urllib.request.urlopen(f"{url}/END", timeout=60) as answer:
        lines = answer.read().split(b"\n")
    arrived: dict[int, int] = {}
    for line in lines:
        path, _, at_ns = line.partition(b" ")
        if path[1:].isdigit():
            arrived[int(path[1:])] = int(at_ns)
    wanted = [k for k, at_ns in enumerate(load.offsets_ns.tolist()) if at_ns >= WARMUP_NS]
    lost = [k for k in wanted if k not in arrived]
    if len(lost) > len(wanted) // 100:
        raise OSError(f"{len(lost)} of {len(wanted)} requests of {load.name} never arrived")
    kept = [k for k in wanted if k in arrived]
    late = np.array([arrived[k] for k in kept], float) - load.offsets_ns[kept]
    return (late - (sent.began_ns if sent.began_ns is not None else late.min())) / 1e6


@contextmanager
def _child(folder: Path) -> Iterator[ReplayChild]:
    child = ReplayChild("bench", folder)
    child.start()
    try:
        yield child
    finally:
        child.close()


@contextmanager
def _arrivals(core: int) -> Iterator[str]:
    """The server that says when each request arrived: its URL."""
    command = [sys.executable, "-m", "tests.benchmarks.arrivals", str(core)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        try:
            assert server.stdout is not None
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.kill()


# -- throughput


def _throughput_table(setting: Setting, server_core: int) -> Table:
    seconds, rounds = setting.count(6, 1), setting.count(3, 1)
    caption = (
        "Closed loop, 32 requests under way, one process pinned to one core, nginx with one worker on another: "
        "requests a second, median of the rounds. Ratio: over plain Locust's."
    )
    columns = ("client", "requests/s", "rounds", "ratio")
    title = "Throughput of one process, closed loop"
    if _nginx_path() is None:
        return Table(title, "Not measured: there is no nginx here.", columns, ())
    found: dict[str, list[float]] = {}
    with _nginx(server_core) as url:
        ways = {
            "plain Locust FastHttpUser": ("plain_locust", "closed", url, str(seconds)),
            "this replay's client, Locust users": ("closed_replay", url, str(seconds), "users"),
            "this replay's client, callbacks": ("closed_replay", url, str(seconds), "callbacks"),
        }
        for round_ in range(rounds):
            for name, (module, *arguments) in ways.items():
                setting.progress.note(f"round {round_ + 1}/{rounds}: {name}")
                command = [sys.executable, "-m", f"tests.benchmarks.{module}", *arguments]
                found.setdefault(name, []).append(_figure(command))
            if (wrk := shutil.which("wrk")) is not None:
                found.setdefault("wrk (one thread, in C)", []).append(_wrk(wrk, url, seconds))
    plain = median(found["plain Locust FastHttpUser"])
    rows = tuple(
        (name, f"{median(each):,.0f}", f"{min(each):,.0f}-{max(each):,.0f}", f"{median(each) / plain:.1f}")
        for name, each in found.items()
    )
    return Table(title, caption, columns, rows)


def _figure(command: list[str]) -> float:
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, cwd=ROOT).stdout
    return float(said.split()[-1])


def _wrk(path: str, url: str, seconds: int) -> float:
    command = [path, "-t1", "-c32", f"-d{seconds}", url]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    return float(next(line for line in said.splitlines() if line.startswith("Requests/sec")).split()[1])


def _nginx_path() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@contextmanager
def _nginx(core: int) -> Iterator[str]:
    """A fixed answer of 41 bytes, one worker on that core: its URL."""
    path = _nginx_path()
    assert path is not None
    with TemporaryDirectory() as folder:
        config = Path(folder) / "nginx.conf"
        config.write_text(NGINX.format(folder=folder, port=NGINX_PORT), "ascii")
        with subprocess.Popen([path, "-c", str(config), "-p", folder]) as server:
            try:
                os.sched_setaffinity(server.pid, {core})
                time.sleep(0.5)
                for worker in _children(server.pid):
                    os.sched_setaffinity(worker, {core})
                yield f"http://127.0.0.1:{NGINX_PORT}"
            finally:
                server.send_signal(signal.SIGTERM)


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]
    return []
