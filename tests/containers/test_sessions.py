"""A real application, recorded live and redacted, then replayed against a fresh instance of it: sessions hold.

The application of environments/members refuses what another instance gave. Members use it through the recording proxy;
the recording is replayed by the command that users have. What succeeded when recorded must succeed, and nothing that
a recorded answer gave may reach the fresh instance.
"""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow.parquet as pq
import pytest

from harness.model.recording import Exchange
from harness.progress import Silent
from harness.recording.importing import ImportRequest, Redaction, find_sessions
from harness.recording.intake import Intake, Tally
from harness.recording.live import LiveProgress, LiveReader, LiveRequest
from harness.recording.mitmdump import NoMitmdumpError, find_mitmdump
from harness.recording.readers.base import Rejects, Source
from harness.recording.sessions.live import take
from harness.recording.sessions.planning import SessionPlanner
from harness.recording.sessions.rules import load_rules
from harness.recording.store import StoredRecording
from harness.recording.store_writer import RecordingWriter, Said
from harness.standing import standing
from tests.unit.members_app import digests, record, seen

try:
    find_mitmdump()
except NoMitmdumpError:
    pytest.skip("mitmproxy is not installed (scripts/bootstrap python makes it)", allow_module_level=True)

MEMBERS = Path(__file__).parents[2] / "environments" / "members"
READINESS = Path(sys.executable).with_name("readiness")
LIMIT_S = 180


@contextmanager
def fresh_instance() -> Iterator[int]:
    """The application in a container of its own; gives the entry's port on 127.0.0.1."""
    with standing(MEMBERS / "environment.yaml", Silent()) as up:
        yield urlsplit(up.entries["web"]).port or 80


@dataclass(frozen=True)
class Recorded:
    recording: StoredRecording
    tokens: frozenset[str]
    """What members were given, before redaction."""


def record_live(port: int, folder: Path, key: Path) -> Recorded:
    """Members use the application at that port through the recording proxy; redacted before anything is written."""
    listening, addresses, tokens = threading.Event(), [], set()

    def watch(progress: LiveProgress) -> None:
        addresses.append(progress.address)
        listening.set()

    reader = LiveReader(LiveRequest.of("127.0.0.1:0", f"http://127.0.0.1:{port}"), watch)

    def use() -> None:
        try:
            assert listening.wait(60)
            tokens.update(record(int(addresses[0].rpartition(":")[2])).tokens)
        finally:
            reader.stop()

    members = threading.Thread(target=use)
    redaction = Redaction.of(
        ImportRequest(files=(), out=folder, rules=MEMBERS / "members.redaction.yaml", key=key)
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


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    folder = tmp_path_factory.mktemp("recorded")
    key = folder / "redaction.key"
    key.touch(mode=0o600)
    key.write_text(secrets.token_hex(32))
    with fresh_instance() as port:
        return record_live(port, folder / "members.recording", key)


def exchanges(recorded: Recorded) -> list[Exchange]:
    return list(recorded.recording.slice(0, recorded.recording.count))


def replay(recorded: Recorded, port: int, out: Path, *options: str) -> dict[int, tuple[int, str]]:
    """Status and error by seq."""
    words = [
        READINESS,
        "replay",
        recorded.recording.folder,
        "--target",
        f"http://127.0.0.1:{port}",
        "--out",
        out,
    ]
    done = subprocess.run([*words, *options], capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode in (0, 3), done.stderr  # 3: late, on a machine that others use
    rows = pq.read_table(out / "exchanges.parquet", columns=["seq", "status", "error"]).to_pylist()
    return {row["seq"]: (row["status"], row["error"]) for row in rows}


def given_when_recorded(found: Sequence[Exchange], recorded: Recorded) -> set[str]:
    """Every word of every value that a session rule takes from recorded answers, as the recording has it."""
    path = recorded.recording.sessions_path
    assert path is not None
    planner = SessionPlanner(load_rules(path))
    values: set[str] = set()
    for one in found:
        steps = planner.plan(one)
        values.update(
            take(steps.takes, one.answer.status, one.answer.headers, one.answer.body or b"").values()
        )
    return {word for value in values for word in re.findall(r"[A-Za-z0-9_-]{6,}", value)}


def test_what_succeeded_when_recorded_succeeds_and_no_recorded_value_is_sent(
    recorded: Recorded, tmp_path: Path
) -> None:
    found = exchanges(recorded)
    assert {one.answer.status for one in found} >= {200, 201, 302, 303, 304, 401}
    with fresh_instance() as port:
        replayed = replay(recorded, port, tmp_path / "out")
        words = set(seen(port)["words"])
    differing = [
        (one.seq, one.method, one.path, one.answer.status, replayed.get(one.seq))
        for one in found
        if replayed.get(one.seq) != (one.answer.status, "")
    ]
    assert differing == []
    given = given_when_recorded(found, recorded)
    assert len(given) >= len(recorded.tokens)
    assert digests(given) & words == set()
    assert digests(set(recorded.tokens)) & words == set()


def test_no_token_of_the_first_instance_is_in_the_recording(recorded: Recorded) -> None:
    text = repr([(one.path, one.headers, one.body, one.answer) for one in exchanges(recorded)])
    assert [token for token in recorded.tokens if token in text] == []


def test_without_sessions_the_fresh_instance_refuses(recorded: Recorded, tmp_path: Path) -> None:
    """What the test above rests on: recorded values are refused, and the instance does see what it is sent."""
    found = exchanges(recorded)
    with fresh_instance() as port:
        replayed = replay(recorded, port, tmp_path / "out", "--no-sessions")
        words = set(seen(port)["words"])
    refused = [one for one in found if one.answer.status < 400 <= replayed[one.seq][0]]
    assert len(refused) > len(found) / 2
    assert digests(given_when_recorded(found, recorded)) & words
