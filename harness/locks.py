"""One at a time on this machine: a lock file that a process holds while it does what another must not do beside it.

Takes the lock's name and what to tell a person who waits; gives a context manager. The kernel lets go of the lock when its
process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness.errors import EngineError
from harness.state import state_directory

POLL_S = 0.5


@contextmanager
def one_at_a_time(name: str, doing: str, limit_s: float, progress: Callable[[str], None]) -> Iterator[None]:
    """Hold `STATE/NAME.lock`; wait up to `limit_s` for whoever holds it. Raises EngineError when that was not enough.

    `doing` ends the sentence "another process is …".
    """
    folder = state_directory()
    path = folder / f"{name}.lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = path.open("w")
    except OSError as error:
        raise EngineError(
            f"cannot write {path}: {error.strerror or error}",
            "make room there or point READINESS_STATE_DIR to another folder",
        ) from error
    with lock:
        deadline = time.monotonic() + limit_s
        told = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    progress(f"another process is {doing}; waiting for it")
                    told = True
            if time.monotonic() > deadline:
                raise EngineError(
                    f"another process has been {doing} for more than {limit_s:g} s",
                    f"end it, then try again (lock: {path})",
                )
            time.sleep(POLL_S)
        yield
