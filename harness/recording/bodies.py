"""The bodies of a stored recording: each once, by its SHA-256, in compressed blocks, in one SQLite file.

Takes columns of bodies, gives columns of digests; takes a digest, gives the body. A body that no longer has its digest
is never given. Bodies that came one after another lie in one block: they resemble each other, so that a block is far
smaller than they are, and they are read one after another again. Memory is bounded: the file grows, the process does not.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from harness.errors import DefinitionError
from harness.model.recording_columns import BODY_DIGEST

EMPTY_DIGEST = hashlib.sha256(b"").digest()
"""The empty body is everywhere, so it is not kept."""
BLOCK_BYTES = 128 * 2**10
"""A block is full with this much, uncompressed; a longer body is one by itself."""
LEVEL = 3
"""Of zstd's compression."""
RECENT_DIGESTS = 65_536
"""So many digests are remembered as kept already; another repetition is found in the file."""
CACHED_BYTES = 16 * 2**20
"""Blocks that were read lately and are likely to be read again."""
ALTERED_FIX = "copy the recording again, or import it again from its source"

_TABLES = """
CREATE TABLE bodies (
    digest BLOB PRIMARY KEY, block INTEGER NOT NULL, start INTEGER NOT NULL, size INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE blocks (block INTEGER PRIMARY KEY, size INTEGER NOT NULL, zstd BLOB NOT NULL);
"""


class BodyWriter:
    """Writes a new `bodies.sqlite`. Nothing is flushed in between: a recording that is not finished is thrown away."""

    def __init__(self, path: Path) -> None:
        self._codec = pa.Codec("zstd", compression_level=LEVEL)
        self._recent: OrderedDict[bytes, None] = OrderedDict()
        self._block = bytearray()
        self._number = 0
        self._parent: tuple[Path, BodyReader] | None = None
        # One thread at a time uses it, not always the same one.
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for pragma in (
            "journal_mode = OFF",
            "synchronous = OFF",
            "temp_store = MEMORY",
            "cache_size = -32768",
        ):
            self._database.execute(f"PRAGMA {pragma}")
        self._database.executescript(_TABLES)
        self._database.execute("BEGIN")

    def keep(self, column: Any) -> Any:
        """Keep each body of a binary column; gives their digests. Null stays null."""
        if column.null_count == len(column):
            return pa.nulls(len(column), BODY_DIGEST)
        encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        digests = []
        for body in encoded.dictionary:
            content = body.as_buffer()
            digest = hashlib.sha256(content).digest()
            digests.append(digest)
            if not self._seen(digest):
                self._add(digest, content)
        return pc.take(pa.array(digests, BODY_DIGEST), encoded.indices)

    def copy(self, digests: Iterable[Any], parent: Path) -> None:
        """Take over the bodies of these columns of digests from another recording's file. Raises DefinitionError."""
        for column in digests:
            for digest in pc.unique(column).to_pylist():
                if digest is not None and not self._seen(digest):
                    self._add(digest, self._of(parent).get(digest))

    def _of(self, parent: Path) -> BodyReader:
        if self._parent is None or self._parent[0] != parent:
            self._close_parent()
            self._parent = (parent, BodyReader(parent))
        return self._parent[1]

    def _seen(self, digest: bytes) -> bool:
        if digest in self._recent:
            self._recent.move_to_end(digest)
            return True
        self._recent[digest] = None
        if len(self._recent) > RECENT_DIGESTS:
            self._recent.popitem(last=False)
        return digest == EMPTY_DIGEST

    def _add(self, digest: bytes, body: Any) -> None:
        """At the end of the block under way, unless the file has it already."""
        row = (digest, self._number, len(self._block), len(body))
        if self._database.execute("INSERT OR IGNORE INTO bodies VALUES (?, ?, ?, ?)", row).rowcount:
            self._block += memoryview(body)
            if len(self._block) >= BLOCK_BYTES:
                self._end_block()

    def _end_block(self) -> None:
        block = bytes(self._block)
        packed = self._codec.compress(block, asbytes=True)
        row = (self._number, len(block), packed if len(packed) < len(block) else block)
        self._database.execute("INSERT INTO blocks VALUES (?, ?, ?)", row)
        self._block = bytearray()
        self._number += 1

    def finish(self) -> tuple[int, int]:
        """Close the file; gives the count and the total size of the bodies in it."""
        if self._block:
            self._end_block()
        count, size = self._database.execute("SELECT count(*), coalesce(sum(size), 0) FROM bodies").fetchone()
        self._database.execute("COMMIT")
        self.close()
        return int(count), int(size)

    def close(self) -> None:
        """Without `finish`: give up."""
        self._close_parent()
        with contextlib.suppress(sqlite3.Error):
            self._database.close()

    def _close_parent(self) -> None:
        if self._parent is not None:
            self._parent[1].close()
        self._parent = None


class BodyReader:
    """Reads a `bodies.sqlite`, with a small cache. Of one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._codec = pa.Codec("zstd")
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._cached_bytes = 0
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        self._database = sqlite3.connect(uri, uri=True, check_same_thread=False)

    def get(self, digest: bytes) -> bytes:
        """The body. Raises DefinitionError where the file has it not, or has another one in its place."""
        if digest == EMPTY_DIGEST:
            return b""
        try:
            place = "SELECT block, start, size FROM bodies WHERE digest = ?"
            row = self._database.execute(place, (digest,)).fetchone()
            if row is None:
                raise ValueError("is missing")
            number, start, size = row
            body = self._whole(number)[start : start + size]
            if hashlib.sha256(body).digest() != digest:
                raise ValueError("was altered")
        except (ValueError, TypeError, OSError, sqlite3.Error) as error:
            what = f"body {digest.hex()[:12]}… cannot be used: {error}"
            raise DefinitionError.at(self._path, what, ALTERED_FIX) from error
        return body

    def _whole(self, number: int) -> bytes:
        """The block."""
        if number in self._blocks:
            self._blocks.move_to_end(number)
            return self._blocks[number]
        row = self._database.execute("SELECT size, zstd FROM blocks WHERE block = ?", (number,)).fetchone()
        if row is None:
            raise ValueError("its block is missing")
        size, packed = row
        block: bytes = packed
        if len(packed) < size:
            block = self._codec.decompress(packed, decompressed_size=size, asbytes=True)
        self._blocks[number] = block
        self._cached_bytes += len(block)
        while self._cached_bytes > CACHED_BYTES and len(self._blocks) > 1:
            self._cached_bytes -= len(self._blocks.popitem(last=False)[1])
        return block

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
