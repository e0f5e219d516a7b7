"""Wakes the event loop at an absolute time, to the precision of the kernel's timers and without spinning.

gevent's own sleep is up to 1 ms late, because libev rounds its waits up to whole milliseconds. A timerfd is due at a
nanosecond of the monotonic clock and becomes readable then, which ends the loop's wait at once; unlike sleeping it is
not subject to the process's timer slack.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable

import gevent
from gevent.hub import get_hub

_CLOCK_MONOTONIC = 1
_TFD_TIMER_ABSTIME = 1
_READ = 1
_FIRST = 2
"""libev's highest priority: what is due is sent before answers that came meanwhile are looked at."""

_libc = ctypes.CDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    _fields_ = (("sec", ctypes.c_long), ("nsec", ctypes.c_long))


class _ITimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Alarm:
    """Calls `ring` in the event loop at the time that was set last; `ring` must not block.

    `ring` sets the alarm anew or clears it, each time: until then it rings again in every turn of the loop.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        self._fd = _libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "no timer could be made")
        self._spec = _ITimerspec()
        self._pointer = ctypes.byref(self._spec)
        self._value = self._spec.value
        self._settime = _libc.timerfd_settime
        self._watcher = get_hub().loop.io(self._fd, _READ, True, _FIRST)
        self._watcher.start(ring)

    def set(self, at_ns: int) -> None:
        """Ring at this time of `time.monotonic_ns()`, at once where it has passed. Setting it stops it ringing."""
        self._value.sec, self._value.nsec = divmod(max(at_ns, 1), 1_000_000_000)
        self._settime(self._fd, _TFD_TIMER_ABSTIME, self._pointer, None)

    def clear(self) -> None:
        """Ring no more until it is set again."""
        self._value.sec = self._value.nsec = 0
        self._settime(self._fd, 0, self._pointer, None)

    def close(self) -> None:
        """May be called from any greenlet, `ring` included; once."""
        self._watcher.stop()
        self._watcher.close()
        os.close(self._fd)


def wait_until(at_ns: int) -> None:
    """Block this greenlet until then; for tests and loops of one greenlet."""
    event = gevent.event.Event()
    alarm = Alarm(event.set)
    try:
        alarm.set(at_ns)
        event.wait()
    finally:
        alarm.close()
