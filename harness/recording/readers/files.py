"""Files of captures, opened as streams of bytes: plain, gzip and Zstandard, told by their first bytes.

Takes a path, gives a stream whose `read` returns less only at the end. A compressed file that breaks off simply ends.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from harness.recording.readers.base import RECORD_LIMIT_BYTES
from harness.recording.readers.lines import GZIP, ZSTANDARD

EMPTY = "the file is empty"
EMPTY_FIX = "name a file that holds traffic"
TOO_LONG = f"longer than {RECORD_LIMIT_BYTES // 2**20} MiB"
_PIECE_BYTES = 2**18
"""So much at a time, so that little of what is whole is lost where a compressed file breaks off."""
CUT_FIX = "export or copy it again, or keep the whole records with --skip-bad"


class Opened:
    """The bytes of one file. `broke_off`: it was compressed, and its end is missing or damaged."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.broke_off = False

    def read(self, count: int, /) -> bytes:
        """The next bytes; none at the end."""
        parts: list[bytes] = []
        while count > 0 and not self.broke_off:
            try:
                part: bytes = self._stream.read(min(count, _PIECE_BYTES))
            except OSError:
                self.broke_off = True
                break
            if not part:
                break
            parts.append(part)
            count -= len(part)
        return b"".join(parts)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Opened]:
    """Raises OSError when the file cannot be opened."""
    with path.open("rb") as file:
        magic = file.read(len(ZSTANDARD))
    compression = "gzip" if magic.startswith(GZIP) else "zstd" if magic == ZSTANDARD else None
    with pa.input_stream(str(path), compression=compression, buffer_size=None) as stream:
        yield Opened(stream)
