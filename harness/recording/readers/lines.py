"""Blocks of whole lines from a text file: what the readers of logs and traces read through.

Takes a path, gives blocks of a few megabytes with the number of their first line; memory does not grow with the file,
nor with a line. gzip and Zstandard are undone as they are read, told by their first bytes. A byte order mark is left
out and CRLF becomes LF. A line that is too long is passed over and said to `Rejects`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from harness.recording.readers.bad_lines import TOO_LONG, reject
from harness.recording.readers.base import RECORD_LIMIT_BYTES, Rejects

BLOCK_BYTES = 4 * 2**20
LINE_FEED = 10

GZIP = b"\x1f\x8b"
ZSTANDARD = b"\x28\xb5\x2f\xfd"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Block:
    """Whole lines, each with its line feed. `ended` is False when the file's last line had none (it was added)."""

    data: bytes
    first: int
    """Number of its first line in the file, from 1."""
    ended: bool = True

    def bytes_array(self) -> npt.NDArray[np.uint8]:
        """The same bytes as numbers, without copying."""
        return np.frombuffer(self.data, np.uint8)

    def spans(self) -> tuple[Positions, Positions]:
        """`(starts, ends)` of its lines; a line is `data[start:end]`."""
        ends = np.flatnonzero(self.bytes_array() == LINE_FEED)
        return np.concatenate([np.zeros(min(len(ends), 1), np.int64), ends[:-1] + 1]), ends

    def is_cut(self, line: int) -> bool:
        """Whether this line (from 0) is the file's last one and never ended."""
        return not self.ended and line == self.data.count(b"\n") - 1


def first_bytes(head: bytes) -> bytes:
    """The beginning of the text in a file that begins with `head`: decompressed, without a byte order mark.

    Empty when it cannot be told.
    """
    if head.startswith(GZIP):
        try:
            head = zlib.decompressobj(wbits=31).decompress(head, len(head))
        except zlib.error:
            return b""
    elif head.startswith(ZSTANDARD):
        try:
            head = pa.CompressedInputStream(pa.BufferReader(head), "zstd").read(len(head))
        except OSError:
            return b""
    return head.removeprefix(BYTE_ORDER_MARK)


def read_blocks(path: Path, rejects: Rejects, block_bytes: int = BLOCK_BYTES) -> Iterator[Block]:
    """The file's lines in blocks of about `block_bytes`. Raises OSError when the file cannot be opened."""
    lines = _Lines(rejects)
    with _opened(path) as stream:
        while True:
            try:
                chunk = stream.read(block_bytes)
            except OSError as error:
                yield from lines.rest()
                rejects.broken(
                    f"cannot be read to its end: {_reason(error)}",
                    "the file is cut off or damaged: copy it again",
                )
                return
            if not chunk:
                break
            if lines.none_yet and chunk.startswith(UTF_16_MARKS):
                rejects.broken("UTF-16 text", "save the file as UTF-8")
                return
            yield from lines.of(chunk)
    if lines.none_yet:
        rejects.broken("the file is empty", "name a file that holds traffic")
    yield from lines.rest()


class _Lines:
    """Cuts what is read at line ends, and keeps the piece of a line that has not ended yet."""

    def __init__(self, rejects: Rejects) -> None:
        self.none_yet = True
        self._rejects = rejects
        self._number = 1
        self._begun: list[bytes] = []
        self._begun_bytes = 0
        self._too_long = False

    def of(self, chunk: bytes) -> Iterator[Block]:
        """At most one block: the lines that end in this chunk."""
        if self.none_yet:
            chunk = chunk.removeprefix(BYTE_ORDER_MARK)
            self.none_yet = False
        if self._too_long:
            end = chunk.find(b"\n") + 1
            if not end:
                return
            chunk = chunk[end:]
            self._end_too_long()
        end = chunk.rfind(b"\n") + 1
        if end:
            whole = b"".join((*self._begun, memoryview(chunk)[:end]))
            self._begun, self._begun_bytes = [], 0
            yield from self._block(whole)
        self._begin(chunk[end:])

    def rest(self) -> Iterator[Block]:
        """What is there when the file ends."""
        if self._too_long:
            self._end_too_long()
        elif self._begun:
            yield from self._block(b"".join((*self._begun, b"\n")), ended=False)

    def _begin(self, piece: bytes) -> None:
        if not piece:
            return
        self._begun.append(piece)
        self._begun_bytes += len(piece)
        if self._begun_bytes > RECORD_LIMIT_BYTES:
            self._begun, self._begun_bytes, self._too_long = [], 0, True

    def _end_too_long(self) -> None:
        reject(self._number, TOO_LONG, self._rejects)
        self._number += 1
        self._too_long = False

    def _block(self, data: bytes, ended: bool = True) -> Iterator[Block]:
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
        lines = np.count_nonzero(np.frombuffer(data, np.uint8) == LINE_FEED)
        first, self._number = self._number, self._number + int(lines)
        yield Block(data, first, ended)


def _opened(path: Path) -> Any:
    """A stream of the text. Raises OSError."""
    with path.open("rb") as file:
        magic = file.read(len(ZSTANDARD))
    compression = "gzip" if magic.startswith(GZIP) else "zstd" if magic == ZSTANDARD else None
    return pa.input_stream(str(path), compression=compression, buffer_size=None)


def _reason(error: OSError) -> str:
    return error.strerror or str(error).splitlines()[0]
