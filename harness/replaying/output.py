"""The files of a replay: `replay.json`, all that was found, and `exchanges.parquet`, every request in the history's form.

Takes the folder that the user names, gives the result with its files; both are there whole or not at all.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow.parquet as pq

from harness.errors import DefinitionError
from harness.model.history import Exchanges
from harness.replaying.result import ReplayResult

RESULT, EXCHANGES = "replay.json", "exchanges.parquet"


@dataclass(frozen=True)
class Output:
    """`folder` None: nothing is kept."""

    folder: Path | None

    @classmethod
    def at(cls, folder: Path | None) -> Output:
        """Raises DefinitionError where another replay has left its files, or nothing can be written."""
        if folder is None:
            return cls(None)
        if folder.exists() and not folder.is_dir():
            raise DefinitionError.at(folder, "is no folder", "name a folder with --out")
        there = [name for name in (RESULT, EXCHANGES) if (folder / name).exists()]
        if there:
            raise DefinitionError.at(
                folder, f"holds {' and '.join(there)} already", "name another folder with --out"
            )
        parent = next((path for path in (folder, *folder.parents) if path.exists()), Path())
        if not os.access(parent, os.W_OK):
            raise DefinitionError.at(parent, "cannot be written to", "name another folder with --out")
        return cls(folder)

    def written(self, result: ReplayResult, rows: Exchanges) -> ReplayResult:
        """The result, knowing its files. Raises OSError."""
        if self.folder is None:
            return result
        self.folder.mkdir(parents=True, exist_ok=True)
        whole = replace(result, files=(self.folder / RESULT, self.folder / EXCHANGES))
        text = json.dumps(whole.values(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        hidden = [self.folder / f".{name}.part" for name in (EXCHANGES, RESULT)]
        try:
            pq.write_table(rows.table, hidden[0])
            hidden[1].write_text(text, encoding="utf-8")
            hidden[0].rename(self.folder / EXCHANGES)
            hidden[1].rename(self.folder / RESULT)
        finally:
            for path in hidden:
                path.unlink(missing_ok=True)
        return whole
