"""Searches files of any kind for values that must not be in them, in all the ways in which a value can be written.

Takes values with a word for each, and files or folders; gives which value was found where, by its word and never by
itself. Parquet is read page by page, SQLite row by row, compressed content is opened, wherever it stands.
"""

from __future__ import annotations

import base64
import bisect
import contextlib
import html
import json
import sqlite3
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote, quote_plus

import ahocorasick_rs
import pyarrow as pa
import pyarrow.parquet as pq

CHUNK_BYTES = 8 * 2**20
OVERLAP_BYTES = 16 * 1024
"""No form of a value may be longer, or it could lie across two chunks unseen."""
MOST_DEPTH = 4
UNPACKED_LIMIT_BYTES = 256 * 2**20
LEAST_CHARS = 6
"""A shorter value is found everywhere by chance."""
ALONE_CHARS = 12
"""A shorter form counts only where neither a letter nor a digit is next to it."""


@dataclass(frozen=True)
class Hit:
    """`word` names the value. `where` is the file, `within` the place in it, `form` how the value was written."""

    word: str
    where: str
    within: str
    form: str


@dataclass(frozen=True)
class Searched:
    """What a search went through. `unread`: files that could not be read, so that nobody knows what is in them."""

    hits: tuple[Hit, ...]
    files: int
    bytes: int
    unread: tuple[str, ...]


def forms(value: str) -> Iterator[tuple[str, bytes]]:
    """Every way in which `value` may be written, with a word for it."""
    data = value.encode("utf-8", "surrogatepass")
    yield "as it is", data
    for form, text in (
        ("in small letters", value.lower()),
        ("in capitals", value.upper()),
        ("capitals and small letters swapped", value.swapcase()),
        ("backwards", value[::-1]),
        ("percent-encoded", quote(value, safe="")),
        ("percent-encoded", quote_plus(value)),
        ("percent-encoded twice", quote(quote(value, safe=""), safe="")),
        ("percent-encoded", quote(value, safe="").lower()),
        ("in JSON", json.dumps(value)[1:-1]),
        ("in JSON", json.dumps(value, ensure_ascii=False)[1:-1]),
        ("in JSON", json.dumps(value)[1:-1].replace("/", "\\/")),
        ("in HTML", html.escape(value)),
    ):
        yield form, text.encode("utf-8", "surrogatepass")
    yield "in UTF-16", value.encode("utf-16-le", "surrogatepass")
    yield "in hexadecimal", data.hex().encode()
    yield "in hexadecimal", data.hex().upper().encode()
    yield "percent-encoded", "".join(f"%{byte:02X}" for byte in data).encode()
    yield from _in_base64(data)


def _in_base64(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Wherever it begins in what was encoded; without the characters that its neighbours decide."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + data)
        start = (before * 8 + 5) // 6
        stop = (before + len(data)) * 8 // 6
        core = encoded[start:stop]
        if len(core) >= LEAST_CHARS:
            yield "in base64", core
            yield "in base64", core.replace(b"+", b"-").replace(b"/", b"_")


class Needles:
    """Values to look for."""

    def __init__(self, values: Iterable[tuple[str, str]]) -> None:
        """Pairs of a word and a value."""
        self._patterns: dict[bytes, tuple[str, str]] = {}
        self.too_short: list[str] = []
        for word, value in values:
            if len(value) < LEAST_CHARS:
                self.too_short.append(word)
                continue
            for form, pattern in forms(value):
                self._patterns.setdefault(pattern, (word, form))
        self._ordered = list(self._patterns)
        self._automaton = (
            ahocorasick_rs.BytesAhoCorasick(
                self._ordered, implementation=ahocorasick_rs.Implementation.ContiguousNFA
            )
            if self._ordered
            else None
        )

    def __bool__(self) -> bool:
        return self._automaton is not None

    def find(self, data: bytes, edges: list[int] | None = None) -> set[tuple[str, str]]:
        """Words and forms. `edges`: where one text ends and another begins."""
        return {told for told, _, _ in self._matches(data, edges)}

    def masked(self, text: str) -> str:
        """The text with the word of each value in its place: names of files and tables are told, values never are."""
        data = text.encode("utf-8", "surrogateescape")
        masked, end = b"", 0
        for (word, _), start, stop in sorted(self._matches(data), key=lambda match: (match[1], -match[2])):
            if start >= end:
                masked += data[end:start] + f"[{word}]".encode()
            end = max(end, stop)
        return (masked + data[end:]).decode("utf-8", "surrogateescape")

    def _matches(
        self, data: bytes, edges: list[int] | None = None
    ) -> Iterator[tuple[tuple[str, str], int, int]]:
        if self._automaton is None:
            return
        for number, start, stop in self._automaton.find_matches_as_indexes(data, overlapping=True):
            if stop - start >= ALONE_CHARS or _alone(data, start, stop, edges):
                yield self._patterns[self._ordered[number]], start, stop


def _alone(data: bytes, start: int, stop: int, edges: list[int] | None) -> bool:
    low, high = 0, len(data)
    if edges:
        place = bisect.bisect_right(edges, start)
        low = edges[place - 1] if place else 0
        high = edges[place] if place < len(edges) else len(data)
    before = data[start - 1 : start] if start > low else b""
    after = data[stop : stop + 1] if stop < high else b""
    return not before.isalnum() and not after.isalnum()


class Search:
    """One search through many files."""

    def __init__(self, needles: Needles) -> None:
        self._needles = needles
        self._hits: dict[tuple[str, str, str], Hit] = {}
        self._unread: list[str] = []
        self._files = 0
        self._bytes = 0

    def path(self, path: Path, name: str | None = None, leave_out: tuple[Path, ...] = ()) -> None:
        """A file, or all files below a folder but those in `leave_out`; `name` is what to call it."""
        left_out = tuple(item.resolve() for item in leave_out)
        if path.is_dir() and not path.is_symlink():
            for item in sorted(path.rglob("*")):
                where = f"{name or path}/{item.relative_to(path)}"
                resolved = item.resolve()
                if (
                    item.is_file()
                    and not item.is_symlink()
                    and not any(resolved.is_relative_to(out) for out in left_out)
                ):
                    self._file(item, where)
                folder = where.rpartition("/")[0]
                self.data(item.name.encode("utf-8", "surrogateescape"), folder, "name of a file")
            return
        self._file(path, name or str(path))

    def data(
        self, data: bytes, where: str, within: str = "", depth: int = 0, edges: list[int] | None = None
    ) -> None:
        """Bytes that are not in a file, or a part of one."""
        self._bytes += len(data) if depth == 0 else 0
        for word, form in self._needles.find(data, edges):
            self._hits.setdefault((word, where, within), Hit(word, where, within, form))
        if depth < MOST_DEPTH:
            for kind, unpacked in unpacked_in(data):
                self.data(unpacked, where, f"{within}, {kind}".strip(", "), depth + 1)

    def result(self) -> Searched:
        told = self._needles.masked
        found = {replace(hit, where=told(hit.where), within=told(hit.within)) for hit in self._hits.values()}
        hits = sorted(found, key=lambda hit: (hit.word, hit.where, hit.within, hit.form))
        return Searched(tuple(hits), self._files, self._bytes, tuple(map(told, self._unread)))

    def _file(self, path: Path, name: str) -> None:
        self._files += 1
        try:
            self._raw(path, name)
            with path.open("rb") as file:
                head = file.read(16)
            if head[:4] == b"PAR1":
                self._parquet(path, name)
            elif head[:15] == b"SQLite format 3":
                self._sqlite(path, name)
            elif head[:4] == b"PK\x03\x04":
                self._zip(path, name)
        except (OSError, pa.ArrowException, sqlite3.Error, zipfile.BadZipFile) as error:
            self._unread.append(f"{name}: {getattr(error, 'strerror', None) or type(error).__name__}")

    def _raw(self, path: Path, name: str) -> None:
        tail = b""
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                self._bytes += len(chunk)
                self.data(tail + chunk, name, depth=0 if path.stat().st_size <= CHUNK_BYTES else MOST_DEPTH)
                tail = chunk[-OVERLAP_BYTES:]
        if path.stat().st_size > CHUNK_BYTES:
            self._whole(path, name)

    def _whole(self, path: Path, name: str) -> None:
        """A large file that is compressed as a whole."""
        with path.open("rb") as file:
            head = file.read(4)
        coding = "gzip" if head[:2] == b"\x1f\x8b" else "zstd" if head == ZSTD else ""
        if not coding:
            return
        tail = b""
        with pa.CompressedInputStream(pa.OSFile(str(path)), coding) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                self.data(tail + chunk, name, coding, MOST_DEPTH)
                tail = chunk[-OVERLAP_BYTES:]

    def _parquet(self, path: Path, name: str) -> None:
        with pq.ParquetFile(path) as file:
            for key, value in (file.metadata.metadata or {}).items():
                self.data(key + b"\n" + value, name, "metadata", 1)
            for batch in file.iter_batches(batch_size=65_536):
                for column in batch.schema.names:
                    self._column(batch.column(column), name, f"column {column}")

    def _column(self, column: pa.Array, name: str, within: str) -> None:
        if pa.types.is_dictionary(column.type):
            column = column.dictionary
        if pa.types.is_nested(column.type):
            self.data(
                "\n".join(repr(value) for value in column.to_pylist()).encode(), name, within, MOST_DEPTH
            )
            return
        if not (pa.types.is_string(column.type) or pa.types.is_binary(column.type)):
            column = column.cast(pa.string()) if pa.types.is_primitive(column.type) else column
        values = {value for value in column.to_pylist() if value is not None}
        texts = [value if isinstance(value, bytes) else str(value).encode() for value in values]
        edges, end = [], 0
        for text in texts:
            edges.append(end)
            end += len(text)
        self.data(b"".join(texts), name, within, MOST_DEPTH, edges)
        for text in texts:
            for kind, unpacked in unpacked_in(text):
                self.data(unpacked, name, f"{within}, {kind}", 1)

    def _sqlite(self, path: Path, name: str) -> None:
        with contextlib.closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as database:
            tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (table,) in tables:
                quoted = table.replace('"', '""')
                for row in database.execute(f'SELECT * FROM "{quoted}"'):
                    for value in row:
                        if isinstance(value, bytes | str):
                            data = (
                                value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
                            )
                            self.data(data, name, f"table {table}", 1)

    def _zip(self, path: Path, name: str) -> None:
        with zipfile.ZipFile(path) as archive:
            for item in archive.infolist():
                self.data(item.filename.encode("utf-8", "surrogateescape"), name, "name of a file in it", 1)
                if item.file_size <= UNPACKED_LIMIT_BYTES:
                    self.data(archive.read(item), name, item.filename, 1)


ZSTD = b"\x28\xb5\x2f\xfd"
_MAGICS = ((b"\x1f\x8b\x08", "gzip"), (ZSTD, "zstd"))


def unpacked_in(data: bytes) -> Iterator[tuple[str, bytes]]:
    """What is compressed in `data`, as a whole or from some place on."""
    for magic, coding in _MAGICS:
        start = data.find(magic)
        while start >= 0:
            unpacked = _unpacked(data[start:], coding)
            if unpacked:
                yield coding, unpacked
            start = data.find(magic, start + 4)
    if data[:1] == b"\x78":
        with contextlib.suppress(zlib.error):
            yield "zlib", zlib.decompressobj().decompress(data, UNPACKED_LIMIT_BYTES)


def _unpacked(data: bytes, coding: str) -> bytes:
    """As much of it as can be read."""
    if coding == "gzip":
        try:
            return zlib.decompressobj(31).decompress(data, UNPACKED_LIMIT_BYTES)
        except zlib.error:
            return b""
    pieces = []
    try:
        with pa.CompressedInputStream(pa.BufferReader(data), coding) as stream:
            while piece := stream.read(2**20):
                pieces.append(piece)
                if len(pieces) * 2**20 > UNPACKED_LIMIT_BYTES:
                    break
    except (OSError, pa.ArrowException):
        pass  # what came before the end of the frame counts
    return b"".join(pieces)
