"""The answers of one job on the parent's side, while the load generator still appends them to a file.

Takes the file and whoever watches, gives a table. Rows are read as they come, so that a generator that dies or hangs
leaves behind all that it had recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from harness.replay.answer_table import ANSWERS, Answers, AnswersReader

Watch = Callable[[Answers], None]
"""Told about five times a second what came back since the last time; in the thread that called `replay`."""


class Gathering:
    """`readable` is False from the first row on that could not be read. Of one thread at a time."""

    def __init__(self, file: Path, watch: Watch | None) -> None:
        """Makes the file. Raises OSError."""
        file.touch()
        self.readable = True
        self._reader = AnswersReader(file)
        self._tables: list[pa.Table] = []
        self._watch = watch

    def look(self) -> None:
        """Read what was written since the last time, and tell whoever watches."""
        if not self.readable:
            return
        try:
            new = self._reader.more()
        except (OSError, ValueError):
            self.readable = False
            return
        if new.num_rows:
            self._tables.append(new)
            if self._watch is not None:
                self._watch(Answers(new.filter(new.column("over"))))

    def table(self) -> pa.Table:
        """All rows of `answer_table.ANSWERS` until now."""
        self.look()
        return pa.concat_tables(self._tables) if self._tables else ANSWERS.empty_table()
