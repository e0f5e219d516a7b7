"""`readiness record live`: what a service is asked and answers, as a stored recording.

Takes what to record (`live.py`) and how to keep it (as an import does), gives a `StoredRecording`; on every other way out
nothing is left behind. Traffic cannot be read twice, as files are, to know its secrets before anything is written: so up
to `HELD_BYTES` of it are held in memory, and only what exceeds them is redacted by what was learnt until then.
"""

from __future__ import annotations

import contextlib
from collections import deque
from pathlib import Path

import pyarrow as pa

from harness.errors import DefinitionError
from harness.interrupts import interruptible
from harness.recording.importing import NOT_SAID, ImportRequest, Redaction, find_sessions
from harness.recording.intake import Intake, Tally
from harness.recording.live import LiveReader, LiveRequest, Watch
from harness.recording.naming import RoutePattern
from harness.recording.readers.base import Rejects, Source
from harness.recording.store import StoredRecording
from harness.recording.store_header import SourceFile
from harness.recording.store_writer import RecordingWriter, Said, stored_name

HELD_BYTES = 256 * 2**20


def capture(live: LiveRequest, keep: ImportRequest, watch: Watch = lambda _: None) -> StoredRecording:
    """Record until Ctrl-C, SIGTERM or the end of its time. `keep` names no files; bad records are always left out.

    Raises DefinitionError (also for secrets that no rule names, and where no request came), EngineError when the proxy
    cannot start or dies, and Interrupted at a second Ctrl-C.
    """
    name = stored_name(keep.out, keep.name)
    routes = tuple(RoutePattern.parse(text) for text in keep.routes)
    redaction, reader = Redaction.of(keep), LiveReader(live, watch)
    source = Path(reader.name)
    rejects, tally = Rejects(source, skip=True), Tally(0)
    with interruptible(), RecordingWriter(keep.out) as writer:
        intake = Intake(writer, redaction, routes, keep.hosts, keep.http1)
        held: deque[pa.RecordBatch] = deque()
        size = 0
        with contextlib.closing(reader.read(Source(source), rejects)) as batches:
            for batch in batches:
                redaction.learn_batch(batch)
                held.append(batch)
                size += batch.nbytes
                while size > HELD_BYTES:
                    oldest = held.popleft()
                    size -= oldest.nbytes
                    intake.take(oldest, tally, rejects)
        while held:
            intake.take(held.popleft(), tally, rejects)
        secrets = redaction.problems(source)
        if secrets:
            raise DefinitionError(secrets)
        if not tally.exchanges:
            raise DefinitionError.at(live.target, *_nothing(rejects, tally))
        find_sessions(writer.finish_traffic(0))
        said = Said(
            attribution=keep.attribution or NOT_SAID,
            sources=(_source(live, reader, rejects, tally),),
            done=("HTTP/2 and HTTP/3 taken for HTTP/1.1",) if keep.http1 else (),
            redaction=redaction.values(),
        )
        return writer.finish(name, said)


def _nothing(rejects: Rejects, tally: Tally) -> tuple[str, str]:
    left = {**rejects.skipped, **tally.left_out}
    why = ", ".join(f"{count} {reason}" for reason, count in left.items())
    if why:
        return f"nothing that could be sent again was recorded ({why})", "send it other traffic"
    return (
        "no request came while it was recorded",
        "let clients speak to the proxy, not to the service itself",
    )


def _source(live: LiveRequest, reader: LiveReader, rejects: Rejects, tally: Tally) -> SourceFile:
    return SourceFile(
        file=live.target,
        sha256="",
        size_bytes=0,
        reader=reader.name,
        unknown=reader.unknown,
        exchanges=tally.exchanges,
        steps_back=tally.steps_back,
        skipped=rejects.skipped,
        left_out=tally.left_out,
    )
