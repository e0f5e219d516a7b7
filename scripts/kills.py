"""`make kills`: SIGKILL a run at ten random moments, sweep, and look for anything left. Exits 0 when nothing ever was.

The moments come from a printed seed (`kills.py SEED`). "Left" is what the engine itself shows: containers in any state,
networks and volumes with the label `readiness.run`, and processes that carry this batch's mark in their environment.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import docker
from _runs import READINESS, READY_CHANGE, ROOT, build_datasets, fresh_folder, shown

KILLS = 10
LATEST_S = 120.0
SWEEP_LIMIT_S = 300
MARK = "READINESS_KILLS_MARK"


def main(arguments: list[str]) -> int:
    seed = int(arguments[0]) if arguments else random.SystemRandom().randrange(10**6)
    moments = random.Random(seed)
    print(f"[kills] seed {seed}; repeat with: .venv/bin/python scripts/kills.py {seed}", flush=True)
    build_datasets()
    folder = fresh_folder("kills")
    clean = 0
    print("| kill | after s | before the sweep | sweep exit | left |\n|---|---|---|---|---|", flush=True)
    for number in range(1, KILLS + 1):
        mark = f"{os.getpid()}-{number}"
        after_s = kill_one(folder / str(number), moments.uniform(0.5, LATEST_S), mark)
        before = left_over(mark)
        sweep = subprocess.run(
            [READINESS, "doctor", "--sweep"],
            cwd=ROOT,
            check=False,
            timeout=SWEEP_LIMIT_S,
            stdout=subprocess.DEVNULL,
        )
        left = left_over(mark)
        clean += not left and sweep.returncode == 0
        print(
            f"| {number} | {after_s:.1f} | {len(before)} | {sweep.returncode} | {', '.join(left) or '-'} |",
            flush=True,
        )
    print(f"\nnothing left {clean} times of {KILLS}")
    return 0 if clean == KILLS else 1


def kill_one(out: Path, after_s: float, mark: str) -> float:
    """Start a run and kill its process alone, not its children; gives the seconds that it lived."""
    started = time.monotonic()
    child = subprocess.Popen(
        [READINESS, "run", shown(READY_CHANGE), "--out", shown(out)],
        cwd=ROOT,
        env={**os.environ, MARK: mark},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        child.wait(timeout=after_s)
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGKILL)
        child.wait(timeout=30)
    return time.monotonic() - started


def left_over(mark: str) -> list[str]:
    """Names of what is there, by kind."""
    client = docker.from_env(timeout=60)
    labelled: dict[str, str | list[str] | bool] = {"label": "readiness.run"}
    try:
        names = [f"container {item.name}" for item in client.containers.list(all=True, filters=labelled)]
        names += [f"network {item.name}" for item in client.networks.list(filters=labelled)]
        names += [f"volume {item.name}" for item in client.volumes.list(filters=labelled)]
    finally:
        client.close()
    return names + [f"process {pid}" for pid in marked_processes(mark)]


def marked_processes(mark: str) -> list[int]:
    """Processes that inherited this kill's mark and still run."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
