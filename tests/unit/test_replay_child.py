"""The load generator against real servers: what it sends, what it records, and what is left when it fails."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.errors import EngineError
from harness.model.quantities import Duration
from harness.replay.answer_table import Answers
from harness.replay.generator import ReplayChild, ReplayFailed, ReplayOutcome
from tests.unit.replay_target import Target
from tests.unit.replays import SECOND_NS, errors, eventually, gone, history, job, recording, running_child


@pytest.fixture
def target() -> Iterator[Target]:
    with Target() as standing:
        yield standing


@pytest.fixture
def child(tmp_path: Path) -> Iterator[ReplayChild]:
    with running_child(tmp_path / "generator") as child:
        yield child


def test_every_exchange_is_sent_as_recorded_and_recorded_as_answered(
    child: ReplayChild, target: Target
) -> None:
    of = recording(*(f"/decide/{k}?full=yes" for k in range(40)))
    outcome = child.replay(job(of, target.url))
    rows = history(outcome).rows()
    assert [row["seq"] for row in rows] == list(range(40))
    assert [(row["status"], row["error"]) for row in rows] == [(200, "")] * 40
    assert [row["body"] for row in rows] == [
        json.dumps({"path": got}) for got in (f"/decide/{k}?full=yes" for k in range(40))
    ]
    assert [row["scheduled_ns"] for row in rows] == [3 * SECOND_NS + e.at_ns for e in of.exchanges]
    assert all(row["scheduled_ns"] <= row["sent_ns"] <= row["answered_ns"] for row in rows)
    assert rows[4]["client"] == "client-1"
    assert rows[4]["key"] == "K-4"
    assert rows[4]["route"] == "/decide/4"
    by_path = {got.path: got for got in target.got}
    assert len(by_path) == len(target.got) == 40
    fifth = by_path["/decide/4?full=yes"]
    assert (fifth.method, fifth.body) == ("POST", b'{"number": 4}')
    assert fifth.headers["x-channel"] == "web"
    assert fifth.headers["x-request-id"] == rows[4]["request_id"]
    assert outcome.detail()["planned"] == outcome.detail()["answered"] == 40
    assert outcome.finished


def test_request_ids_are_the_same_in_every_arm_and_differ_by_seed(tmp_path: Path, target: Target) -> None:
    of = recording(*["/x"] * 10)
    ids = []
    for arm, seed in (("baseline", 7), ("candidate", 7), ("candidate", 8)):
        child = ReplayChild(arm, tmp_path / f"{arm}{seed}")
        child.start()
        try:
            rows = history(child.replay(job(of, target.url, seed=seed))).rows()
        finally:
            child.close()
        assert {row["arm"] for row in rows} == {arm}
        ids.append([row["request_id"] for row in rows])
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 10
    assert not set(ids[0]) & set(ids[2])


def test_a_slice_of_the_recording_starts_at_the_start_of_its_unit(child: ReplayChild, target: Target) -> None:
    of = recording(*["/x"] * 20, every_ms=10)
    first, stop = of.between(100_000_000, 150_000_000)
    part = job(
        of, target.url, exchanges=of.slice(first, stop), recording_from_ns=100_000_000, length_ns=50_000_000
    )
    rows = history(child.replay(part)).rows()
    assert [row["seq"] for row in rows] == [10, 11, 12, 13, 14]
    assert rows[0]["scheduled_ns"] == 3 * SECOND_NS


def test_what_the_service_does_wrong_is_named(child: ReplayChild, target: Target) -> None:
    of = recording(
        "/status?code=503",
        "/status?code=302",
        "/zero",
        "/hangup",
        "/half",
        "/garbage",
        "/wait?s=3",
        "/ok",
    )
    outcome = child.replay(job(of, target.url, timeout_s=1.0))
    rows = history(outcome).rows()
    assert [(row["status"], row["error"]) for row in rows] == [
        (503, ""),
        (302, ""),
        (0, "bad answer"),
        (0, "closed"),
        (0, "bad answer"),
        (0, "bad answer"),
        (0, "timeout"),
        (200, ""),
    ]
    assert [row["answered_ns"] >= 0 for row in rows] == [row["status"] > 0 for row in rows]
    assert rows[0]["body"] == "\ufffd\ufffd no text"
    assert all(got.path != "/elsewhere" for got in target.got)


def test_nobody_home_is_refused(child: ReplayChild) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound and not listening
        outcome = child.replay(job(recording("/x", "/x"), f"http://127.0.0.1:{reserved.getsockname()[1]}"))
    assert errors(outcome) == ["refused", "refused"]
    assert outcome.sent == 2
    assert outcome.answered == 0


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_no_request_is_sent_twice(child: ReplayChild, target: Target, method: str) -> None:
    outcome = child.replay(job(recording("/hangup", "/ok", "/hangup", "/hangup", method=method), target.url))
    assert errors(outcome) == ["closed", "", "closed", "closed"]
    assert [got.path for got in target.got].count("/hangup") == 3


def test_one_clients_cookie_is_not_given_to_another(child: ReplayChild, target: Target) -> None:
    child.replay(job(recording("/cookie", "/ok", every_ms=200), target.url))
    assert "cookie" not in target.got[1].headers


def test_long_answers_are_cut_and_say_so(child: ReplayChild, target: Target) -> None:
    outcome = child.replay(job(recording("/big?bytes=65536", "/big?bytes=65537"), target.url))
    bodies = [row["body"] for row in history(outcome).rows()]
    assert bodies == ["x" * 65536, "x" * 65536 + "…[cut: 65537 bytes]"]


def test_a_slow_service_does_not_slow_the_schedule(child: ReplayChild, target: Target) -> None:
    """Locust's own limit of ten connections would let only ten requests of the first second out."""
    outcome = child.replay(job(recording(*["/wait?s=1"] * 100), target.url))
    assert errors(outcome) == [""] * 100
    assert outcome.most_in_flight >= 90
    before_any_answer = min(row["answered_ns"] for row in history(outcome).rows())
    assert sum(row["sent_ns"] < before_any_answer for row in history(outcome).rows()) >= 90


def test_a_killed_generator_leaves_what_it_saw(child: ReplayChild, target: Target) -> None:
    of = recording(*["/x"] * 400)
    threading.Thread(
        target=lambda: eventually(lambda: len(target.got) >= 200) and os.kill(child.pid, signal.SIGKILL)
    ).start()
    with pytest.raises(ReplayFailed, match="killed by signal 9") as failed:
        child.replay(job(of, target.url))
    outcome = failed.value.outcome
    rows = history(outcome).rows()
    assert len(rows) == 400
    assert not outcome.finished
    # What it saw in the last moments before it was killed had not reached the file yet.
    assert 100 <= outcome.answered < 400
    lost = [row for row in rows if row["error"]]
    assert {row["error"] for row in lost} <= {"not sent", "generator died"}
    assert rows[-1]["error"] == "not sent"
    assert (rows[-1]["sent_ns"], rows[-1]["answered_ns"], rows[-1]["status"]) == (-1, -1, 0)


def test_a_request_under_way_when_the_generator_died_is_not_called_unsent(
    child: ReplayChild, target: Target
) -> None:
    """The record of what went out is on disk before the answer is."""
    of = recording("/wait?s=5", *["/x"] * 200)
    threading.Thread(
        target=lambda: eventually(lambda: len(target.got) >= 150) and os.kill(child.pid, signal.SIGKILL)
    ).start()
    with pytest.raises(ReplayFailed) as failed:
        child.replay(job(of, target.url))
    first = history(failed.value.outcome).rows()[0]
    assert first["error"] == "generator died"
    assert first["sent_ns"] >= 3 * SECOND_NS


def test_a_hung_generator_is_given_up_and_gone(child: ReplayChild, target: Target) -> None:
    os.kill(child.pid, signal.SIGSTOP)
    work = job(recording("/x"), target.url, timeout_s=0.2, grace=Duration.of_s(0.3))
    with pytest.raises(ReplayFailed, match=r"no word within 0\.5\d* s") as failed:
        child.replay(work)
    assert errors(failed.value.outcome) == ["not sent"]
    assert eventually(lambda: gone(child.pid))
    with pytest.raises(ReplayFailed):
        child.replay(job(recording("/x"), target.url))


def test_a_starved_generator_confesses(child: ReplayChild, target: Target) -> None:
    """Stopped for a second in the middle of a unit: the record shows how late it was, for the lag limit to see."""
    of = recording(*["/x"] * 200, every_ms=10)
    work = job(of, target.url)

    def starve() -> None:
        eventually(lambda: len(target.got) >= 50)
        os.kill(child.pid, signal.SIGSTOP)
        time.sleep(1)
        os.kill(child.pid, signal.SIGCONT)

    threading.Thread(target=starve).start()
    outcome = child.replay(work)
    late_ms = history(outcome).lag_ms()
    assert outcome.sent == 200
    assert late_ms.max() > 800
    assert (late_ms > 50).sum() >= 80
    assert outcome.detail()["lag_max_ms"] == pytest.approx(late_ms.max())


def test_a_unit_may_begin_while_the_one_before_waits_for_answers(child: ReplayChild, target: Target) -> None:
    slow, quick = recording("/wait?s=2"), recording(*["/x"] * 10)
    outcomes: list[ReplayOutcome] = []
    first = threading.Thread(
        target=lambda: outcomes.append(child.replay(job(slow, target.url, unit="first")))
    )
    first.start()
    second = child.replay(job(quick, target.url, unit="second", turn=1))
    assert first.is_alive()
    first.join()
    assert errors(second) == [""] * 10
    assert errors(outcomes[0]) == [""]
    assert {(row["unit"], row["turn"]) for row in history(second).rows()} == {("second", 1)}


def test_abort_ends_a_replay_at_once_and_keeps_its_rows(child: ReplayChild, target: Target) -> None:
    of = recording(*["/x"] * 50, "/x", every_ms=1000)
    threading.Thread(target=lambda: eventually(lambda: len(target.got) >= 2) and child.abort()).start()
    with pytest.raises(ReplayFailed, match="stopped by the run") as failed:
        child.replay(job(of, target.url))
    assert len(history(failed.value.outcome)) == 51


def test_close_ends_the_process_and_may_be_repeated(tmp_path: Path) -> None:
    child = ReplayChild("baseline", tmp_path)
    child.start()
    child.close()
    child.close()
    assert gone(child.pid)


def test_files_of_a_unit_are_removed_when_it_went_well(child: ReplayChild, target: Target) -> None:
    child.replay(job(recording("/x"), target.url))
    assert [path.name for path in child.stderr_path.parent.iterdir()] == ["generator.log"]


def test_answers_that_cannot_be_kept_fail_the_replay(child: ReplayChild, target: Target) -> None:
    """A limit on the size of its files stands for a full disk."""
    resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (100, 100))
    with pytest.raises(ReplayFailed, match="File too large") as failed:
        child.replay(job(recording(*["/x"] * 20, every_ms=50), target.url))
    assert len(history(failed.value.outcome)) == 20
    assert "not sent" in errors(failed.value.outcome)


def test_answers_that_cannot_be_read_fail_the_replay(child: ReplayChild, target: Target) -> None:
    def spoil(_: Answers) -> None:
        for path in child.stderr_path.parent.glob("*.answers"):
            with path.open("ab") as file:
                file.write(b"no block of answers")

    with pytest.raises(ReplayFailed, match="its answers could not be read") as failed:
        child.replay(job(recording(*["/x"] * 20, every_ms=50), target.url), spoil)
    assert not failed.value.outcome.finished
    assert len(history(failed.value.outcome)) == 20


def test_a_generator_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gevent.py").write_text("raise SystemExit('no gevent today')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(EngineError, match="no gevent today"):
        ReplayChild("baseline", tmp_path / "work").start()


def test_files_in_the_users_folder_do_not_get_into_the_generator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("locust", "gevent", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the user')\n")
    monkeypatch.chdir(tmp_path)
    child = ReplayChild("baseline", tmp_path / "work")
    child.start()
    child.close()


PARENT = """
import subprocess, sys, time
from pathlib import Path
from harness.replay.generator import ReplayChild
child = ReplayChild("baseline", Path(sys.argv[1]))
child.start()
holder = subprocess.Popen(["sleep", "30"], pass_fds=[child._process.stdin.fileno()]) if len(sys.argv) > 2 else child
try:
    print(child.pid, holder.pid, flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def parent(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], int, int]]:
    """A process with a generator, the generator's pid, and that of whoever else holds the generator's input open."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            pid, holder = map(int, process.stdout.readline().split())
            yield process, pid, holder
        finally:
            process.kill()


def test_the_generator_ends_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    with parent(str(tmp_path)) as (process, pid, _):
        assert not gone(pid)
        process.kill()
        assert eventually(lambda: gone(pid))


def test_it_ends_even_when_somebody_else_holds_its_input_open(tmp_path: Path) -> None:
    with parent(str(tmp_path), "held") as (process, pid, holder):
        process.kill()
        try:
            assert eventually(lambda: gone(pid))
        finally:
            os.kill(holder, signal.SIGKILL)


def test_ctrl_c_in_the_terminal_leaves_the_generator_to_its_parent(tmp_path: Path) -> None:
    with parent(str(tmp_path)) as (process, pid, _):
        assert process.stdout is not None
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout.readline().strip() == "interrupted"
        assert os.getpgid(pid) != process.pid
        assert not gone(pid)


def test_a_sigint_of_its_own_does_not_end_it(child: ReplayChild, target: Target) -> None:
    os.kill(child.pid, signal.SIGINT)
    assert errors(child.replay(job(recording("/x"), target.url))) == [""]


def test_the_parent_never_imports_gevent_or_locust() -> None:
    code = "import sys, harness.replay.generator; print({'gevent', 'locust', 'geventhttpclient'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
