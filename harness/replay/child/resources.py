"""What the sending process used of the machine, and what it had to wait for: the figures of `protocol.RESOURCES`.

Takes nothing, gives numbers; what this machine does not tell is -1. A figure that ran short says why requests were late.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

UNLIMITED_BYTES = 2**60
"""Version 1 of control groups writes "no limit" as a huge number."""


@dataclass(frozen=True)
class Usage:
    """Readings of counters at one moment; differences of two say what was used between them."""

    cpu_ns: int
    wall_ns: int
    waited_ns: int
    throttled_ns: int
    throttled_periods: int
    major_faults: int

    def since(self, before: Usage) -> dict[str, float]:
        """Figures of the time between."""
        cpu_ns, wall_ns = self.cpu_ns - before.cpu_ns, self.wall_ns - before.wall_ns
        return {
            "cpu_ms": cpu_ns / 1e6,
            "wall_ms": wall_ns / 1e6,
            "cpu_share": cpu_ns / wall_ns if wall_ns else 0.0,
            "runqueue_wait_ms": _between(before.waited_ns, self.waited_ns, 1e6),
            "throttled_ms": _between(before.throttled_ns, self.throttled_ns, 1e6),
            "throttled_periods": _between(before.throttled_periods, self.throttled_periods, 1),
            "major_faults": self.major_faults - before.major_faults,
        }


def _between(before: int, after: int, unit: float) -> float:
    return -1 if before < 0 or after < 0 else (after - before) / unit


def usage() -> Usage:
    """As of now."""
    throttled_ns, periods = throttling()
    return Usage(
        cpu_ns=time.process_time_ns(),
        wall_ns=time.monotonic_ns(),
        waited_ns=runqueue_wait_ns(),
        throttled_ns=throttled_ns,
        throttled_periods=periods,
        major_faults=resource.getrusage(resource.RUSAGE_SELF).ru_majflt,
    )


def runqueue_wait_ns() -> int:
    """How long the first thread, the one that sends, has been ready and had no core; -1: the kernel does not say."""
    try:
        return int(Path(f"/proc/self/task/{os.getpid()}/schedstat").read_text("ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return -1


def throttling() -> tuple[int, int]:
    """Nanoseconds and periods in which a CPU limit stopped the process, its group's and all groups' above; -1: unknown."""
    known = False
    stopped_ns = periods = 0
    for folder in control_groups("cpu"):
        fields = _fields(folder / "cpu.stat")
        if "nr_throttled" in fields:
            known = True
            periods += fields["nr_throttled"]
            stopped_ns += fields.get("throttled_time", fields.get("throttled_usec", 0) * 1000)
    return (stopped_ns, periods) if known else (-1, -1)


def memory_limit_bytes() -> int:
    """The least limit of the process's groups; -1: none, or not known."""
    limits = []
    for folder in control_groups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            try:
                limits.append(int((folder / name).read_text("ascii")))
            except (OSError, ValueError):
                continue
    return min([limit for limit in limits if limit < UNLIMITED_BYTES], default=-1)


def most_memory_bytes() -> int:
    """High-water mark of this process since it began (not of who started it, as getrusage has it); -1: not known."""
    try:
        for line in Path("/proc/self/status").read_text("ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return -1


def control_groups(controller: str) -> Iterator[Path]:
    """Folders of this process's groups with that controller, from its own up to the root; both versions."""
    try:
        memberships = Path("/proc/self/cgroup").read_text("utf-8").splitlines()
        mounts = Path("/proc/self/mountinfo").read_text("utf-8").splitlines()
    except OSError:
        return
    roots = list(_roots(mounts, controller))
    for membership in memberships:
        _, names, path = membership.split(":", 2)
        version = 2 if not names else 1
        if names and controller not in names.split(","):
            continue
        for root, root_version in roots:
            if root_version == version:
                group = root / path.lstrip("/")
                if not group.is_dir():
                    group = root  # inside a container, that shows its own part of the tree alone
                yield group
                yield from (parent for parent in group.parents if parent == root or root in parent.parents)


def _roots(mounts: list[str], controller: str) -> Iterator[tuple[Path, int]]:
    for mount in mounts:
        before, _, after = mount.partition(" - ")
        kind, _, options = after.split(" ", 2)
        place = Path(before.split(" ")[4])
        if kind == "cgroup2":
            yield place, 2
        elif kind == "cgroup" and controller in options.split(","):
            yield place, 1


def _fields(path: Path) -> dict[str, int]:
    try:
        pairs = [line.split() for line in path.read_text("ascii").splitlines()]
        return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}
    except (OSError, ValueError):
        return {}
