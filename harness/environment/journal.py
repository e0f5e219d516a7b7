"""The write-ahead journal of a run: what is about to be started or harmed, on disk before it happens.

One file per run, `STATE/runs/RUN/journal.jsonl`, one JSON object a line. A run that ends well undoes everything and
removes its journal; after a kill, `readiness doctor --sweep` reads it (containers and networks carry labels as well,
so the sweep needs the journal only for processes).
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path
from typing import IO, Literal

from harness.errors import EngineError
from harness.state import state_directory

OWNER_LABEL = "readiness.owner"
"""`PID:START_TICKS` of the process that made a container or network."""

Kind = Literal["process", "container", "network", "fault"]


def process_start_ticks(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot (proc(5), field 22); None when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[19])


def owner_label() -> dict[str, str]:
    """Label of what this process makes in the engine: it tells a live run from one that is gone, wherever its journal is."""
    return {OWNER_LABEL: f"{os.getpid()}:{process_start_ticks(os.getpid())}"}


class Journal:
    """Append-only; every line is on disk before the call returns. Safe to use from several threads."""

    def __init__(self, run_id: str) -> None:
        self.path = state_directory() / "runs" / run_id / "journal.jsonl"
        self._lock = threading.Lock()
        self._open: dict[tuple[str, str], None] = {}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file: IO[str] = self.path.open("a", encoding="utf-8")
        except OSError as error:
            raise EngineError(
                f"cannot write the run's journal {self.path}: {error}",
                "make room there or point READINESS_STATE_DIR to another folder",
            ) from error
        self.process("run", os.getpid())

    def starting(self, kind: Kind, name: str) -> None:
        """Call before the thing is started or harmed."""
        self._write({"action": "start", "kind": kind, "name": name})
        self._open[kind, name] = None

    def process(self, name: str, pid: int) -> None:
        """A process of this run; its start time tells it from a later process with the same id."""
        self._write(
            {
                "action": "start",
                "kind": "process",
                "name": name,
                "pid": pid,
                "pid_start_ticks": process_start_ticks(pid),
            }
        )

    def undone(self, kind: Kind, name: str) -> None:
        """Call after the thing is gone or healed."""
        self._write({"action": "undo", "kind": kind, "name": name})
        self._open.pop((kind, name), None)

    def still_open(self) -> tuple[str, ...]:
        """What was started and not undone."""
        return tuple(f"{kind} {name}" for kind, name in self._open)

    def close(self) -> None:
        """Remove the journal when nothing is left to undo; keep it for the sweep otherwise."""
        with self._lock:
            self._file.close()
        if not self._open:
            shutil.rmtree(self.path.parent, ignore_errors=True)

    def _write(self, entry: dict[str, object]) -> None:
        line = json.dumps(entry, sort_keys=True) + "\n"
        try:
            with self._lock:
                self._file.write(line)
                self._file.flush()
                os.fsync(self._file.fileno())
        except (OSError, ValueError) as error:
            raise EngineError(
                f"cannot write the run's journal {self.path}: {error}",
                "make room on that disk; `readiness doctor --sweep` removes what the run left",
            ) from error
