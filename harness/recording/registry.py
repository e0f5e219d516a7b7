"""The formats of captured traffic that can be imported: one line each.

Takes a file, gives its reader. To add a format: write the class (`readers/base.py` says what it needs) and name it here.
"""

from __future__ import annotations

import stat
from pathlib import Path

from harness.errors import DefinitionError
from harness.recording.problems import did_you_mean
from harness.recording.readers.access_log import AccessLogReader
from harness.recording.readers.base import HEAD_BYTES, Reader
from harness.recording.readers.csv_trace import CsvTraceReader
from harness.recording.readers.goreplay import GoReplayReader
from harness.recording.readers.har import HarReader
from harness.recording.readers.json_log import JsonLogReader
from harness.recording.readers.mitm import MitmReader
from harness.recording.readers.ndjson import NdjsonReader
from harness.recording.store_header import HEADER

READERS: tuple[Reader, ...] = (
    MitmReader(),
    GoReplayReader(),
    NdjsonReader(),
    HarReader(),
    JsonLogReader(),
    AccessLogReader(),
    CsvTraceReader(),
)
"""In the order in which they are asked whether a file is theirs: formats that are surer of themselves come first."""


def reader_named(name: str) -> Reader:
    """Raises DefinitionError for a format that is not known."""
    for reader in READERS:
        if reader.name == name:
            return reader
    names = [reader.name for reader in READERS]
    fix = did_you_mean(name, names)
    raise DefinitionError.at(
        "--format", f"unknown format {name!r}", fix if fix.startswith("known") else f"{fix}\n{formats()}"
    )


def reader_of(path: Path) -> Reader:
    """The first that recognises the file. Raises DefinitionError where none does, or it cannot be read."""
    head = read_head(path)
    if not head.strip():
        raise DefinitionError.at(path, "the file is empty", "give a file with captured traffic")
    for reader in READERS:
        if reader.recognises(path, head):
            return reader
    raise DefinitionError.at(path, "its format is not recognised", f"name it with --format:\n{formats()}")


def read_head(path: Path) -> bytes:
    """The first `HEAD_BYTES`. Raises DefinitionError for what is no file that can be read twice."""
    try:
        if (path / HEADER).is_file():
            raise DefinitionError.at(path, "is a stored recording already", "give what it is to be made of")
        if not stat.S_ISREG(path.stat().st_mode):
            raise DefinitionError.at(path, "is no file", "give a file with captured traffic")
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        raise DefinitionError.at(path, what, "give the path of a file that you may read") from error


def formats() -> str:
    """A line a format, for messages."""
    width = max(len(reader.name) for reader in READERS)
    return "\n".join(f"    {reader.name:<{width}}  {reader.summary}" for reader in READERS)
