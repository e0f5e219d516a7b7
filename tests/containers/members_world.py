"""The application of environments/members in containers, and recordings of members who use it. Holds no test.

What one instance gave (tokens, ids, versions) another refuses, so a recording of it shows whether sessions are kept up.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from harness.model.recording import Exchange
from harness.progress import Silent
from harness.recording.importing import ImportRequest, Redaction, find_sessions
from harness.recording.intake import Intake, Tally
from harness.recording.live import LiveProgress, LiveReader, LiveRequest
from harness.recording.readers.base import Rejects, Source
from harness.recording.sessions.live import take
from harness.recording.sessions.planning import SessionPlanner
from harness.recording.sessions.rules import load_rules
from harness.recording.store import StoredRecording
from harness.recording.store_writer import RecordingWriter, Said
from harness.standing import standing
from tests.unit.members_app import MEMBERS as FOUR
from tests.unit.members_app import record

ENVIRONMENT = Path(__file__).parents[2] / "environments" / "members"


@contextmanager
def fresh_instance() -> Iterator[int]:
    """The application in a container of its own; gives the entry's port on 127.0.0.1."""
    with standing(ENVIRONMENT / "environment.yaml", Silent()) as up:
        yield urlsplit(up.entries["web"]).port or 80


@dataclass(frozen=True)
class Recorded:
    recording: StoredRecording
    tokens: frozenset[str]
    """What members were given, before redaction."""

    def exchanges(self) -> list[Exchange]:
        return list(self.recording.slice(0, self.recording.count))

    def given(self) -> set[str]:
        """Every word of every value that a session rule takes from recorded answers, as the recording has it."""
        path = self.recording.sessions_path
        assert path is not None
        planner = SessionPlanner(load_rules(path))
        values: set[str] = set()
        for one in self.exchanges():
            takes = planner.plan(one).takes
            values.update(take(takes, one.answer.status, one.answer.headers, one.answer.body or b"").values())
        return {word for value in values for word in re.findall(r"[A-Za-z0-9_-]{6,}", value)}


def recorded_live(folder: Path, members: Sequence[str] = FOUR, step_s: float = 0.0) -> Recorded:
    """Members use a fresh instance through the recording proxy, with `step_s` between two steps of any of them."""
    key = folder / "redaction.key"
    key.touch(mode=0o600)
    key.write_text(secrets.token_hex(32))
    with fresh_instance() as port:
        return _record_live(port, folder / "members.recording", key, members, step_s)


def _record_live(port: int, folder: Path, key: Path, names: Sequence[str], step_s: float) -> Recorded:
    """Redacted before anything is written."""
    listening, addresses, tokens = threading.Event(), [], set()

    def watch(progress: LiveProgress) -> None:
        addresses.append(progress.address)
        listening.set()

    reader = LiveReader(LiveRequest.of("127.0.0.1:0", f"http://127.0.0.1:{port}"), watch)

    def use() -> None:
        try:
            assert listening.wait(60)
            tokens.update(record(int(addresses[0].rpartition(":")[2]), names, step_s).tokens)
        finally:
            reader.stop()

    members = threading.Thread(target=use)
    redaction = Redaction.of(
        ImportRequest(files=(), out=folder, rules=ENVIRONMENT / "members.redaction.yaml", key=key)
    )
    with RecordingWriter(folder) as writer:
        intake, rejects, tally = Intake(writer, redaction), Rejects(Path("live"), False), Tally(0)
        members.start()
        for batch in reader.read(Source(Path("live")), rejects):
            intake.take(batch, tally, rejects)
        members.join()
        rejects.problems.raise_if_any()
        assert [str(problem) for problem in redaction.problems(Path("live"))] == []
        find_sessions(writer.finish_traffic(0))
        said = Said(attribution="made by this test", redaction=redaction.values())
        return Recorded(writer.finish("members", said), frozenset(tokens))
