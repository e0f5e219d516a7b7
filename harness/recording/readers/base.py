"""What a reader of captured traffic is: one format, one file, one class, one line in `registry.py`.

A reader streams: it never holds more than a few megabytes of its file, and gives record batches of `CAPTURED`. What is
wrong with a record goes to `Rejects`, with the record's number; nothing that a record says (a query, a header's value, a
body) may stand in a message, because messages end up in logs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from harness.errors import Location
from harness.recording.problems import Problems

HEAD_BYTES = 64 * 1024
RECORD_LIMIT_BYTES = 64 * 2**20
"""A longer line or record is a bad record, whatever the format: it is passed over without being held in memory."""


@dataclass(frozen=True)
class Source:
    """One file to read. `options` are the reader's own, from the command line or from a definition."""

    path: Path
    options: Mapping[str, str] = field(default_factory=dict)


class Rejects:
    """Bad records of one source: problems that refuse the import, or, when bad ones are to be skipped, counts by reason."""

    def __init__(self, path: Path, skip: bool) -> None:
        self.path = path
        self.skip = skip
        self.problems = Problems()
        self.skipped: dict[str, int] = {}

    def bad(self, number: int, what: str, fix: str, line: int | None = None, count: int = 1) -> None:
        """Record `number` (1-based; records, not lines) cannot be used. `what` names no value that may be private."""
        if self.skip:
            self.skipped[what] = self.skipped.get(what, 0) + count
        else:
            self.problems.add(Location(str(self.path), line), f"record {number}: {what}", fix)

    def left_out(self, reason: str, count: int = 1) -> None:
        """Right, and yet nothing that a replay could send (a WebSocket, a `data:` URL): counted, never a problem."""
        self.skipped[reason] = self.skipped.get(reason, 0) + count

    def broken(self, what: str, fix: str) -> None:
        """The file as a whole cannot be used; skipping does not help. What was read before it is not used either."""
        self.problems.add(Location(str(self.path)), what, fix)


class Reader(Protocol):
    """One format of captured traffic."""

    name: str
    """As given to `--format`."""
    summary: str
    """One line: whose format this is."""
    unknown: str
    """One line: what the format cannot say, such as "no bodies, no time of the answer"."""

    is_log: bool
    """Whether its records hold little besides addresses and paths, and a capture's headers and bodies hardly ever."""

    def recognises(self, path: Path, head: bytes) -> bool:
        """Whether a file with this name and these first `HEAD_BYTES` is of this format. Cheap; must not raise."""

    def read(self, source: Source, rejects: Rejects) -> Iterator[pa.RecordBatch]:
        """Batches of `CAPTURED` in the order of the file. Raises OSError; everything else goes to `rejects`."""
