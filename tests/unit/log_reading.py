"""What the tests of the readers of logs and traces share: read a file to its end, with what was wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from harness.recording.captured import CAPTURED
from harness.recording.readers.base import HEAD_BYTES, Reader, Rejects, Source

UNKNOWN: dict[str, Any] = {
    field.name: "" if field.type == pa.string() else None if field.type == pa.binary() else -1
    for field in CAPTURED
}


@dataclass(frozen=True)
class Read:
    """`rows` as `CAPTURED` has them, `skipped` by reason, `said` every problem as it is shown."""

    rows: list[dict[str, Any]]
    skipped: dict[str, int]
    said: list[str]

    def known(self) -> list[dict[str, Any]]:
        """The rows without what the source did not say."""
        return [{name: value for name, value in row.items() if value != UNKNOWN[name]} for row in self.rows]


def read(reader: Reader, path: Path, /, skip_bad: bool = False, **options: str) -> Read:
    """Every batch; `__` in an option's name stands for a dot."""
    rejects = Rejects(path, skip_bad)
    source = Source(path, {name.replace("__", "."): text for name, text in options.items()})
    rows: list[dict[str, Any]] = []
    for batch in reader.read(source, rejects):
        assert batch.schema.names == CAPTURED.names
        assert batch.num_rows > 0
        batch.validate(full=True)
        for field in CAPTURED:
            found = batch.schema.field(field.name).type
            assert field.type in (found, getattr(found, "value_type", None)), field.name
        rows += batch.to_pylist()
    said = [str(problem).replace(str(path.parent), "FOLDER") for problem in rejects.problems.found()]
    return Read(rows, rejects.skipped, said)


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def recognises(reader: Reader, path: Path) -> bool:
    with path.open("rb") as file:
        return reader.recognises(path, file.read(HEAD_BYTES))
