"""Sets up a process that sends: its limits and priority, its timers, its memory, and its end with its parent."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import resource
import signal
from typing import NoReturn

from gevent.monkey import get_original

MOST_IN_FLIGHT = 4096
"""Requests under way at once, where the limit on open files allows as many connections."""

SPARE_FILES = 64
PARENT_CHECK_S = 0.5
NICE = -5
SLICE_NS = 100_000
"""The least that the kernel grants."""

_PR_SET_TIMERSLACK = 29


def settle_in(parent: int) -> int:
    """For a process of its own; gives how many requests may be under way at once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when Ctrl-C ends a unit
    prefer()
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)  # the kernel's default lets waits end 50 us late
    get_original("_thread", "start_new_thread")(end_with_parent, (parent,))
    return room()


class _SchedulingAttributes(ctypes.Structure):
    """`struct sched_attr` of sched_setattr(2)."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime_ns", ctypes.c_uint64),
        ("deadline_ns", ctypes.c_uint64),
        ("period_ns", ctypes.c_uint64),
    )


def prefer() -> None:
    """As far as is permitted: a generator must not wait for the services that it puts under load.

    A higher priority, and (Linux 6.12) short slices of time, for which the kernel lets it run sooner when it wakes. Not a
    real-time priority, though that would halve what lateness remains: it would evade a limit on CPU that somebody set.
    """
    with contextlib.suppress(OSError):
        os.nice(NICE)
    number = {"x86_64": 314, "aarch64": 274}.get(os.uname().machine)
    if number is not None:
        nice = os.getpriority(os.PRIO_PROCESS, 0)
        wanted = _SchedulingAttributes(ctypes.sizeof(_SchedulingAttributes), 0, 0, nice, 0, SLICE_NS, 0, 0)
        ctypes.CDLL(None).syscall(number, 0, ctypes.byref(wanted), 0)


def room() -> int:
    """How many connections fit under the limit on open files, which is raised as far as is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_IN_FLIGHT + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return MOST_IN_FLIGHT if soft == resource.RLIM_INFINITY else min(MOST_IN_FLIGHT, soft - SPARE_FILES)


def end_with_parent(parent: int) -> NoReturn:
    """In a thread of its own that gevent does not know, so that it works even while the loop is busy.

    Not PR_SET_PDEATHSIG: that fires when the *thread* that started the child ends, and the parent may use several.
    """
    sleep = get_original("time", "sleep")
    while os.getppid() == parent:
        sleep(PARENT_CHECK_S)
    os._exit(1)


def tidy_memory() -> None:
    """Collect while nothing is being sent, and never else: a collection in the middle made requests 24-30 ms late."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.disable()
