"""A real application, recorded live and redacted, then replayed against a fresh instance of it: sessions hold.

The application of environments/members refuses what another instance gave. Members use it through the recording proxy;
the recording is replayed by the command that users have. What succeeded when recorded must succeed, and nothing that
a recorded answer gave may reach the fresh instance.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from harness.recording.mitmdump import NoMitmdumpError, find_mitmdump
from tests.containers.members_world import Recorded, fresh_instance, recorded_live
from tests.unit.members_app import digests, seen

try:
    find_mitmdump()
except NoMitmdumpError:
    pytest.skip("mitmproxy is not installed (scripts/bootstrap python makes it)", allow_module_level=True)

READINESS = Path(sys.executable).with_name("readiness")
LIMIT_S = 180


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return recorded_live(tmp_path_factory.mktemp("recorded"))


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


def test_what_succeeded_when_recorded_succeeds_and_no_recorded_value_is_sent(
    recorded: Recorded, tmp_path: Path
) -> None:
    found = recorded.exchanges()
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
    given = recorded.given()
    assert len(given) >= len(recorded.tokens)
    assert digests(given) & words == set()
    assert digests(set(recorded.tokens)) & words == set()


def test_no_token_of_the_first_instance_is_in_the_recording(recorded: Recorded) -> None:
    text = repr([(one.path, one.headers, one.body, one.answer) for one in recorded.exchanges()])
    assert [token for token in recorded.tokens if token in text] == []


def test_without_sessions_the_fresh_instance_refuses(recorded: Recorded, tmp_path: Path) -> None:
    """What the test above rests on: recorded values are refused, and the instance does see what it is sent."""
    found = recorded.exchanges()
    with fresh_instance() as port:
        replayed = replay(recorded, port, tmp_path / "out", "--no-sessions")
        words = set(seen(port)["words"])
    refused = [one for one in found if one.answer.status < 400 <= replayed[one.seq][0]]
    assert len(refused) > len(found) / 2
    assert digests(recorded.given()) & words
