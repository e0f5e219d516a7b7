"""Processes that get too little CPU, by a limit of a control group. Holds no test."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def cpu_groups() -> Iterator[Path]:
    """Where a control group with a CPU limit may be made: version 1, then version 2."""
    yield Path("/sys/fs/cgroup/cpu")
    yield Path("/sys/fs/cgroup")


@contextmanager
def starved(pid: int, share: float) -> Iterator[None]:
    """The process in a group that gets this share of a core. Skips the test where no such group can be made."""
    period_us = 100_000
    quota_us = int(period_us * share)
    for root in cpu_groups():
        group = root / f"readiness-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            if (group / "cpu.cfs_quota_us").exists():
                (group / "cpu.cfs_period_us").write_text(str(period_us))
                (group / "cpu.cfs_quota_us").write_text(str(quota_us))
            else:
                (group / "cpu.max").write_text(f"{quota_us} {period_us}")
            (group / "cgroup.procs").write_text(str(pid))
        except OSError:
            group.rmdir()
            continue
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                (root / "cgroup.procs").write_text(str(pid))
            group.rmdir()
        return
    pytest.skip("no control group with a CPU limit can be made here")
