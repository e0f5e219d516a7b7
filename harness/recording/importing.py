"""`readiness record import`: files of any known format in, one stored recording out.

Takes an `ImportRequest`, gives a `StoredRecording`, or one DefinitionError with what is wrong in all files; then nothing
is left behind. Everything streams: reader, redaction, naming and store hold a few batches each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from harness.errors import DefinitionError, Location, Problem
from harness.interrupts import interruptible
from harness.model.recording_lines import RecordingHeader
from harness.recording.intake import Intake, Tally
from harness.recording.naming import RoutePattern
from harness.recording.plain import PLAIN_FORMAT, read_plain_header
from harness.recording.readers.base import Reader, Rejects, Source
from harness.recording.redaction import Redactor, default_rules, key_fingerprint, load_or_make_key, load_rules
from harness.recording.registry import read_head, reader_named, reader_of
from harness.recording.sessions.carried import Carried
from harness.recording.sessions.finding import find_rules
from harness.recording.sessions.rules import write_rules
from harness.recording.store import StoredRecording, file_digest
from harness.recording.store_header import SESSIONS, SourceFile
from harness.recording.store_writer import RecordingWriter, Said, stored_name

NOT_SAID = "not said"
"""Attribution where the user gave none."""


@dataclass(frozen=True)
class ImportRequest:
    """What to import and how. `rules` and `key`: files of the redaction's; None: the built-in rules, the user's own key."""

    files: tuple[Path, ...]
    out: Path
    name: str | None = None
    attribution: str | None = None
    format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    skip_bad: bool = False
    routes: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    rules: Path | None = None
    key: Path | None = None
    http1: bool = False
    """What went over HTTP/2 or 3 is to be sent over HTTP/1.1."""
    sessions: bool = True
    """Values of answers that come back in later requests are looked for, where answers are known."""
    redacted: bool = False
    """The files hold nothing private (any more): take them as they are."""


@dataclass(frozen=True)
class Pace:
    """How far an import is: exchanges so far, the file that is being read, and the size of those before it."""

    exchanges: int
    file: Path
    done_bytes: int


HELD_BYTES = 128 * 2**20
"""Of captures that redaction reads before anything is written: larger ones are read twice."""

Watch = Callable[[Pace], None]
Chosen = Sequence[tuple[Path, Reader]]


def import_files(request: ImportRequest, watch: Watch = lambda _: None) -> StoredRecording:
    """Raises DefinitionError, and Interrupted at Ctrl-C; either way nothing is left behind."""
    name = stored_name(request.out, request.name)
    chosen = _choose(request)
    routes = tuple(RoutePattern.parse(text) for text in request.routes)
    redaction = Redaction.of(request)
    with interruptible(), RecordingWriter(request.out) as writer:
        held = redaction.learn(chosen, request)
        intake = Intake(writer, redaction, routes, request.hosts, request.http1)
        sources = _read(chosen, held, request, intake, redaction, watch)
        _not_empty(chosen, sources)
        own = _own_header(chosen)
        traffic = writer.finish_traffic(own.length_ns or 0 if own is not None else 0)
        if request.sessions:
            find_sessions(traffic)
        said = Said(
            attribution=request.attribution or (own.attribution if own is not None else NOT_SAID),
            clock=own.clock if own is not None else None,
            start_ns=own.start_ns if own is not None else None,
            sources=sources,
            done=("HTTP/2 and HTTP/3 taken for HTTP/1.1",) if request.http1 else (),
            redaction=redaction.values(),
        )
        return writer.finish(name, said)


def _choose(request: ImportRequest) -> Chosen:
    """Each file with its reader. Raises DefinitionError with all that are not recognised."""
    problems: list[Problem] = []
    chosen: list[tuple[Path, Reader]] = []
    if not request.files:
        raise DefinitionError.at("FILE", "no file to import", "name at least one")
    for path in request.files:
        try:
            if request.format is None:
                chosen.append((path, reader_of(path)))
            else:
                reader = reader_named(request.format)
                read_head(path)
                chosen.append((path, reader))
        except DefinitionError as error:
            problems += [problem for problem in error.problems if problem not in problems]
    if problems:
        raise DefinitionError(problems)
    return chosen


def _read(
    chosen: Chosen,
    held: Mapping[int, Held],
    request: ImportRequest,
    intake: Intake,
    redaction: Redaction,
    watch: Watch,
) -> tuple[SourceFile, ...]:
    """All files, one after another, those that are held not again. Raises DefinitionError with all their problems."""
    problems: list[Problem] = []
    sources: list[SourceFile] = []
    done = done_bytes = 0
    with ThreadPoolExecutor(max_workers=2) as beside:
        for number, (path, reader) in enumerate(chosen):
            digest = beside.submit(file_digest, path)
            # Two, because the reader is ahead, in a thread of its own.
            unread, unsendable = Rejects(path, request.skip_bad), Rejects(path, request.skip_bad)
            tally = Tally(number)
            if number in held:
                unread, batches = held[number].rejects, iter(held[number].batches)
            else:
                batches = reader.read(Source(path, request.options), unread)
            for batch in _ahead(batches, beside):
                intake.take(batch, tally, unsendable, writes=not problems)
                watch(Pace(done + tally.exchanges, path, done_bytes))
            problems += unread.problems.found() + unsendable.problems.found() + redaction.problems(path)
            done, done_bytes = done + tally.exchanges, done_bytes + path.stat().st_size
            sources.append(
                SourceFile(
                    file=path.name,
                    sha256=digest.result(),
                    size_bytes=path.stat().st_size,
                    reader=reader.name,
                    unknown=reader.unknown,
                    exchanges=tally.exchanges,
                    steps_back=tally.steps_back,
                    skipped=dict(Counter(unread.skipped) + Counter(unsendable.skipped)),
                    left_out=tally.left_out,
                )
            )
    if problems:
        raise DefinitionError(problems)
    return tuple(sources)


def _ahead(batches: Iterator[pa.RecordBatch], beside: Executor) -> Iterator[pa.RecordBatch]:
    """The batches, each read while the one before it is worked on."""
    coming = beside.submit(next, batches, None)
    try:
        while (batch := coming.result()) is not None:
            coming = beside.submit(next, batches, None)
            yield batch
    finally:
        wait([coming])
        if isinstance(batches, Generator):  # what it holds open is not left to chance
            batches.close()


def _not_empty(chosen: Chosen, sources: Sequence[SourceFile]) -> None:
    """Raises DefinitionError where no exchange is left."""
    if any(source.exchanges for source in sources):
        return
    problems = []
    for (path, _), source in zip(chosen, sources, strict=True):
        left = {**source.skipped, **source.left_out}
        why = ", ".join(f"{count} {reason}" for reason, count in left.items())
        what = f"no exchange is left of it ({why})" if why else "it holds no exchange"
        problems.append(Problem(Location(str(path)), what, "give a file with traffic that can be sent again"))
    raise DefinitionError(problems)


def _own_header(chosen: Chosen) -> RecordingHeader | None:
    """The first line of a file of the project's own format, where it is the only file."""
    ((path, reader), *others) = chosen
    return read_plain_header(path) if not others and reader.name == PLAIN_FORMAT else None


def find_sessions(traffic: StoredRecording) -> None:
    """Write the session rules that the recording shows, where it knows answers."""
    if any(_knows_answers(batch) for batch in traffic.batches(("answer_headers", "answer_body"))):
        carried = Carried.by(traffic.requests())
        write_rules(find_rules(traffic.slice(0, traffic.count), carried=carried), traffic.folder / SESSIONS)


def _knows_answers(batch: pa.RecordBatch) -> bool:
    """Whether it has headers or bodies of answers."""
    headers, bodies = batch.column("answer_headers"), batch.column("answer_body")
    texts = headers.dictionary if pa.types.is_dictionary(headers.type) else headers
    return bodies.null_count < len(bodies) or bool(pc.any(pc.not_equal(texts, "")).as_py())


@dataclass(frozen=True)
class Held:
    """All that a reader gave of one file."""

    rejects: Rejects
    batches: tuple[pa.RecordBatch, ...]


class Redaction:
    """The redactor of one import, and what it has to say file by file."""

    def __init__(self, redactor: Redactor | None, key: str = "") -> None:
        self._redactor = redactor
        self._key = key
        self._records_before = 0

    @classmethod
    def of(cls, request: ImportRequest) -> Redaction:
        """Raises DefinitionError for rules or a key that cannot be used."""
        if request.redacted:
            return cls(None)
        rules = load_rules(request.rules) if request.rules is not None else default_rules()
        key = load_or_make_key(request.key)
        return cls(Redactor(rules, key), key_fingerprint(key))

    def learn(self, chosen: Chosen, request: ImportRequest) -> dict[int, Held]:
        """Find the secrets of captures with headers or bodies before anything is written. Gives what was read, by the
        file's number, of those that are small enough to be held in memory.

        What a later header or field shows to be a secret is then known in the texts before it. Logs are not read for it:
        they hold little besides addresses and paths, and in those a secret has to be told by its look alone.
        """
        held: dict[int, Held] = {}
        room = HELD_BYTES
        for number, (path, reader) in enumerate(chosen if self._redactor is not None else ()):
            rejects, batches = Rejects(path, request.skip_bad), list[pa.RecordBatch]()
            for batch in reader.read(Source(path, request.options), rejects):
                if reader.is_log and not _knows_answers(batch):
                    break
                self.learn_batch(batch)
                room -= batch.nbytes
                batches.append(batch)
                if room < 0:
                    batches.clear()
            else:
                if room >= 0:
                    held[number] = Held(rejects, tuple(batches))
        return held

    def learn_batch(self, batch: pa.RecordBatch) -> None:
        """Find the secrets of one batch, which is redacted later."""
        if self._redactor is not None:
            self._redactor.learn(batch)

    @property
    def refuses(self) -> bool:
        """Whether a secret was found that no rule names."""
        return self._redactor is not None and self._redactor.refuses

    def redact(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch if self._redactor is None else self._redactor.redact(batch)

    def problems(self, path: Path) -> list[Problem]:
        """What looks like a secret in this file, the last one read, and no rule names."""
        if self._redactor is None:
            return []
        report, before = self._redactor.report(), self._records_before
        self._records_before = report.records
        found = tuple(
            replace(item, record=item.record - before) for item in report.found if item.record > before
        )
        return replace(report, found=found).problems(str(path))

    def values(self) -> dict[str, Any] | None:
        """For `recording.json`: places and counts, and which key it was; no value."""
        if self._redactor is None:
            return None
        report = asdict(self._redactor.report())
        return {"key": self._key} | {
            name: value for name, value in report.items() if not name.startswith("found")
        }
