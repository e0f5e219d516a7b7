"""Opens a stored recording, a folder NAME.recording, and gives its exchanges in bounded memory.

Takes the folder, gives a `StoredRecording`, which a run uses as it uses a `Recording` in memory. Files that do not have
the digests that `recording.json` names, and content that does not have the digest it claims, are refused.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from harness.errors import DefinitionError, Location, Problem
from harness.model.recording import Exchange, Headers, RecordedAnswer
from harness.model.recording_columns import STORED, ContentDigest
from harness.recording.bodies import ALTERED_FIX, BodyReader
from harness.recording.captured import header_pairs
from harness.recording.store_header import BODIES, EXCHANGES, HEADER, SESSIONS, VERSION, StoredHeader

BATCH_ROWS = 4_096
CHUNK_BYTES = 2**20


@dataclass(frozen=True)
class StoredRecording:
    """A recording in a folder. `digest` names all that decides what is replayed: exchanges, length and session rules."""

    folder: Path
    header: StoredHeader
    digest: str

    @property
    def name(self) -> str:
        return self.header.recording

    @property
    def attribution(self) -> str:
        return self.header.attribution

    @property
    def length_ns(self) -> int:
        return self.header.length_ns

    @property
    def count(self) -> int:
        return self.header.counts.exchanges

    @property
    def sessions_path(self) -> Path | None:
        """The session rules, where there are any."""
        path = self.folder / SESSIONS
        return path if path.exists() else None

    @property
    def bodies_path(self) -> Path:
        return self.folder / BODIES

    def offsets_ns(self) -> npt.NDArray[np.int64]:
        """When each was sent, since the start, ascending; 8 bytes an exchange."""
        offsets: npt.NDArray[np.int64] = (
            pq.read_table(self.folder / EXCHANGES, columns=["at_ns"]).column("at_ns").to_numpy()
        )
        return offsets

    def batches(self, columns: tuple[str, ...] | None = None) -> Iterator[pa.RecordBatch]:
        """All exchanges as batches of `STORED`, or of some of its columns."""
        with pq.ParquetFile(self.folder / EXCHANGES) as file:
            names = list(columns or STORED.names)
            schema = pa.schema([STORED.field(name) for name in names])
            for batch in file.iter_batches(batch_size=16 * BATCH_ROWS, columns=names):
                yield batch.cast(schema)

    def slice(self, first_seq: int, stop_seq: int) -> Iterator[Exchange]:
        """The exchanges `first_seq <= seq < stop_seq`, with their recorded answers, a few thousand in memory at once."""
        with BodyReader(self.bodies_path) as bodies:
            for batch, seq in self._rows(first_seq, stop_seq):
                yield from _exchanges(batch, seq, bodies)

    def requests(self) -> Iterator[Exchange]:
        """All of them without the bodies of their answers, which need not be read for them."""
        with BodyReader(self.bodies_path) as bodies:
            for batch, seq in self._rows(0, self.count):
                without = pa.nulls(batch.num_rows, STORED.field("answer_body").type)
                bare = batch.set_column(STORED.get_field_index("answer_body"), "answer_body", without)
                yield from _exchanges(bare, seq, bodies)

    def exchanges(self) -> Iterator[tuple[Exchange, bool]]:
        """All of them, each with whether its request's body is known (where not, it is empty)."""
        with BodyReader(self.bodies_path) as bodies:
            for batch, seq in self._rows(0, self.count):
                known = batch.column("body").is_valid().to_pylist()
                yield from zip(_exchanges(batch, seq, bodies), known, strict=True)

    def _rows(self, first_seq: int, stop_seq: int) -> Iterator[tuple[pa.RecordBatch, int]]:
        """Batches of these rows, each with the seq of its first."""
        with pq.ParquetFile(self.folder / EXCHANGES) as file:
            groups: list[int] = []
            before = seq = 0
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if before + rows > first_seq and before < stop_seq:
                    seq = before if not groups else seq
                    groups.append(group)
                before += rows
            for batch in file.iter_batches(batch_size=BATCH_ROWS, row_groups=groups) if groups else ():
                from_row, to_row = max(first_seq - seq, 0), min(stop_seq - seq, batch.num_rows)
                if from_row < to_row:
                    yield batch.slice(from_row, to_row - from_row), seq + from_row
                seq += batch.num_rows
                if seq >= stop_seq:
                    return


def open_recording(folder: Path, verify: bool = True) -> StoredRecording:
    """Raises DefinitionError for a recording that is altered, incomplete, or of a version that is not known here."""
    header = read_header(folder)
    if verify:
        _verify(folder, header)
    return StoredRecording(folder, header, whole_digest(header.digest, folder))


def read_header(folder: Path) -> StoredHeader:
    """`recording.json` alone. Raises DefinitionError."""
    path = folder / HEADER
    if not folder.is_dir():
        what = "is no folder, so no stored recording" if folder.exists() else "there is no such recording"
        raise DefinitionError.at(folder, what, "name a folder that `readiness record` has made")
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        what = f"the folder holds no {HEADER}"
        raise DefinitionError.at(folder, what, "name a folder that `readiness record` has made") from None
    except OSError as error:
        raise DefinitionError.at(path, f"cannot be read: {error.strerror}", "make it readable") from error
    except ValueError as error:
        raise DefinitionError.at(path, f"no JSON: {error}", ALTERED_FIX) from error
    version = value.get("version") if isinstance(value, dict) else None
    if version != VERSION:
        what = f"version {version!r} of stored recordings is not known here; this is version {VERSION}"
        newer = isinstance(version, int) and version > VERSION
        fix = "install the pytest-readiness that made it, or a later one" if newer else ALTERED_FIX
        raise DefinitionError.at(path, what, fix)
    try:
        return StoredHeader.model_validate(value)
    except ValidationError as error:
        raise DefinitionError(
            Problem(
                Location(str(path)),
                f"{'.'.join(str(part) for part in detail['loc'])}: {detail['msg'].lower()}",
                ALTERED_FIX,
            )
            for detail in error.errors()
        ) from error


def whole_digest(content: str, folder: Path) -> str:
    """The content's digest, and the session rules' with it where there are any: they decide what is sent."""
    path = folder / SESSIONS
    if not path.exists():
        return content
    rules = hashlib.sha256(path.read_bytes()).hexdigest()
    return "sha256:" + hashlib.sha256(f"{content}\nsessions {rules}\n".encode()).hexdigest()


def _verify(folder: Path, header: StoredHeader) -> None:
    """Every file has its digest, and so has the content: what a report says of it is then true."""
    problems = []
    for name, expected in sorted(header.files.items()):
        path = folder / name
        if not path.is_file():
            problems.append(
                Problem(Location(str(path)), "is missing: the recording is not whole", ALTERED_FIX)
            )
        elif file_digest(path) != expected:
            problems.append(
                Problem(Location(str(path)), f"was altered: {HEADER} names another digest", ALTERED_FIX)
            )
    problems += [
        Problem(Location(str(folder / HEADER)), f"names no digest of {name}", ALTERED_FIX)
        for name in sorted({EXCHANGES, BODIES} - header.files.keys())
    ]
    if problems:
        raise DefinitionError(problems)
    found = _content(folder, header)
    if found != header.digest:
        what = f"was altered: its content has digest {found}, {HEADER} claims {header.digest}"
        raise DefinitionError.at(folder, what, ALTERED_FIX)
    if header.seal != header.sealed():
        what = "was altered: " + (
            "what it says does not have the digest that it names as its seal"
            if header.seal
            else "it names no seal"
        )
        raise DefinitionError.at(folder / HEADER, what, ALTERED_FIX)


def _content(folder: Path, header: StoredHeader) -> str:
    digest = ContentDigest()
    try:
        for batch in StoredRecording(folder, header, header.digest).batches():
            digest.update(batch)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise DefinitionError.at(folder / EXCHANGES, f"cannot be read: {error}", ALTERED_FIX) from error
    return digest.finish(header.length_ns)


def file_digest(path: Path) -> str:
    """SHA-256 as hex digits. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@functools.lru_cache(maxsize=4096)
def _headers(lines: str) -> Headers:
    return tuple(header_pairs(lines))


def _exchanges(batch: pa.RecordBatch, first_seq: int, bodies: BodyReader) -> Iterator[Exchange]:
    columns: dict[str, list[Any]] = {name: batch.column(name).to_pylist() for name in STORED.names}
    rows = zip(*(columns[name] for name in STORED.names), strict=True)
    for seq, row in enumerate(rows, start=first_seq):
        (at_ns, client, key, method, scheme, host, path, route, http, connection, headers, body, size) = row[
            :13
        ]
        (first_byte_ns, answered_ns, status, error, answer_headers, answer_body, answer_size) = row[13:]
        answer = RecordedAnswer(
            status,
            first_byte_ns,
            answered_ns,
            _headers(answer_headers),
            None if answer_body is None else bodies.get(answer_body),
            error,
            answer_size,
        )
        yield Exchange(
            seq,
            at_ns,
            client,
            key,
            method,
            path,
            route,
            _headers(headers),
            b"" if body is None else bodies.get(body),
            scheme,
            host,
            http,
            connection,
            answer,
            size,
        )
