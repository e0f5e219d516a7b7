"""A crew's worker whose monotonic clock differs from the machine's, as that of another machine does.

`READINESS_TEST_SKEW_NS` ahead, and `READINESS_TEST_DRIFT` seconds a second faster.
"""

from __future__ import annotations

import os
import time

AHEAD_NS = int(os.environ.get("READINESS_TEST_SKEW_NS", "0"))
DRIFT = float(os.environ.get("READINESS_TEST_DRIFT", "0"))


def skew() -> None:
    """Before anything else is imported, so that nobody holds on to the true clock; the kernel's timers have it still."""
    true_ns = time.monotonic_ns
    began_ns = true_ns()

    def monotonic_ns() -> int:
        now_ns = true_ns()
        return now_ns + AHEAD_NS + int((now_ns - began_ns) * DRIFT)

    time.monotonic_ns = monotonic_ns
    from harness.replay.child import alarm

    set_alarm = alarm.Alarm.set

    def set_true(self: alarm.Alarm, at_ns: int) -> None:
        set_alarm(self, int((at_ns - AHEAD_NS - began_ns) / (1 + DRIFT)) + began_ns)

    alarm.Alarm.set = set_true  # type: ignore[method-assign]


if __name__ == "__main__":
    skew()
    from harness.replay.crew.worker import main

    main()
