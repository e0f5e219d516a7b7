"""A load generator of several processes against a real server: what it sends and records, and what fails it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import EngineError
from harness.model.pace import Pace
from harness.model.quantities import Duration
from harness.model.recording import Exchange, RecordedAnswer, Recording
from harness.recording.pace import lay
from harness.recording.sessions.planning import SessionPlanner
from harness.recording.sessions.rules import SessionRule, SessionRules, TakenFrom, UsedIn
from harness.recording.sessions.steps import Slot, Steps, Take
from harness.replay.crew.crew import CrewOutcome, ReplayCrew, together
from harness.replay.crew.orders import Part
from harness.replay.crew.remote import RemoteSetup, serve
from harness.replay.crew.sharding import worker_of
from harness.replay.crew.staff import CrewSetup
from harness.replay.generator import ReplayFailed, ReplayOutcome
from tests.unit.replay_target import Target
from tests.unit.replays import SECOND_NS, eventually, gone, history, job, running_child

SKEWED = "tests.unit.skewed_worker"


def recording(*paths: str, every_ms: float = 5, clients: int = 9) -> Recording:
    """One exchange per path, `every_ms` apart, by several clients."""
    exchanges = [
        Exchange(
            seq=0,
            at_ns=int(index * every_ms * 1e6),
            client=f"client-{index % clients}" if index % 10 else "",
            key=f"K-{index}",
            method="POST",
            path=path,
            route=path.partition("?")[0],
            headers=(("content-type", "application/json"),),
            body=b'{"number": %d}' % index,
        )
        for index, path in enumerate(paths)
    ]
    return Recording.of("test", "made here", exchanges)


def rows(outcome: ReplayOutcome) -> list[dict[str, Any]]:
    return list(history(outcome).rows())


@pytest.fixture
def target() -> Iterator[Target]:
    with Target() as standing:
        yield standing


@contextmanager
def standing(tmp_path: Path, setup: CrewSetup) -> Iterator[ReplayCrew]:
    crew = ReplayCrew("baseline", tmp_path / "crew", setup)
    crew.start()
    try:
        yield crew
    finally:
        crew.abort()
        crew.close()


@pytest.fixture
def crew(tmp_path: Path) -> Iterator[ReplayCrew]:
    with standing(tmp_path, CrewSetup(workers=2)) as crew:
        yield crew


def test_a_crew_records_what_one_process_records(crew: ReplayCrew, target: Target, tmp_path: Path) -> None:
    of = recording(*(f"/decide/{k}?full=yes" if k % 7 else "/status?code=503" for k in range(120)))
    with running_child(tmp_path / "child") as child:
        alone = child.replay(job(of, target.url))
    got_alone = sorted((got.path, got.body, sorted(got.headers.items())) for got in target.got)
    target.got.clear()
    outcome = crew.replay(job(of, target.url))

    times = {"sent_ns", "connected_ns", "first_byte_ns", "answered_ns"}
    plain = lambda of: [{k: v for k, v in row.items() if k not in times} for row in rows(of)]  # noqa: E731
    assert plain(outcome) == plain(alone)
    assert sorted((got.path, got.body, sorted(got.headers.items())) for got in target.got) == got_alone
    assert all(row["scheduled_ns"] <= row["sent_ns"] <= row["answered_ns"] for row in rows(outcome))
    assert outcome.finished
    assert outcome.detail()["sent"] == outcome.detail()["answered"] == 120


def test_each_worker_says_what_it_did_and_how_well_its_clock_is_known(
    crew: ReplayCrew, target: Target
) -> None:
    of = recording(*["/x"] * 100)
    detail = crew.replay(job(of, target.url)).detail()
    workers = detail["workers"]
    assert [worker["name"] for worker in workers] == ["worker-1", "worker-2"]
    assert [worker["pid"] for worker in workers] == list(crew.pids[1:])
    owners = [worker_of(e.client, e.seq, 2) for e in of.exchanges]
    assert [worker["planned"] for worker in workers] == [owners.count(0), owners.count(1)]
    assert all(worker["planned"] == worker["sent"] == worker["answered"] > 0 for worker in workers)
    assert all(worker["finished"] and worker["same_clock"] for worker in workers)
    assert {worker["host"] for worker in workers} == {socket.gethostname()}
    for worker in workers:
        # One clock: whatever was measured, the truth is 0.
        assert abs(worker["offset_ns"]) <= worker["offset_uncertainty_ns"]
        assert worker["round_trip_ns"] > 0
        assert worker["cpu_ms"] > 0
    assert detail["cpu_ms"] == pytest.approx(sum(worker["cpu_ms"] for worker in workers))
    json.dumps(detail)


def test_a_client_is_sent_by_one_worker_in_its_order(crew: ReplayCrew, target: Target) -> None:
    """Workers share no connection, so the ports that requests came from tell who sent them."""
    of = recording(*(f"/{k}" for k in range(90)))
    crew.replay(job(of, target.url))
    arrived = [int(got.path[1:]) for got in target.got]
    assert sorted(arrived) == list(range(90))
    owner_of = {e.seq: worker_of(e.client, e.seq, 2) for e in of.exchanges}
    ports = [{got.port for got in target.got if owner_of[int(got.path[1:])] == worker} for worker in (0, 1)]
    assert ports[0]
    assert ports[1]
    assert not ports[0] & ports[1]
    for client in {e.client for e in of.exchanges} - {""}:
        mine = [e.seq for e in of.exchanges if e.client == client]
        assert [seq for seq in arrived if seq in mine] == mine


def test_a_worker_may_have_nothing_to_do(crew: ReplayCrew, target: Target) -> None:
    """One client is one worker's."""
    of = recording(*["/x"] * 20)
    of = Recording.of("test", "", [replace(e, client="the only one") for e in of.exchanges])
    outcome = crew.replay(job(of, target.url))
    assert sorted(worker["sent"] for worker in outcome.detail()["workers"]) == [0, 20]
    assert outcome.finished


def test_a_session_is_kept_up_by_the_worker_that_has_the_client(crew: ReplayCrew, target: Target) -> None:
    """Every client's second request carries what its first answer gave."""
    of = recording(*["/first"] * 8, *["/second"] * 8, every_ms=40, clients=8)
    of = Recording.of("test", "", [replace(e, client=f"client-{e.seq % 8}") for e in of.exchanges])

    def plan(exchange: Exchange) -> Steps:
        number = exchange.seq % 8
        if exchange.path == "/first":
            return Steps((b"/first",), (), (b"",), (Take(number, "json", "path"),))
        path = (b"/second?was=", Slot(number, "url"))
        return Steps(path, (), (b"",), (), waits_for=number, think_ns=0)

    outcome = crew.replay(job(of, target.url, plan=plan))
    assert {row["error"] for row in rows(outcome)} == {""}
    assert [got.path for got in target.got].count("/second?was=%2Ffirst") == 8


def test_who_watches_sees_answers_while_they_come(crew: ReplayCrew, target: Target) -> None:
    of = recording(*["/x"] * 120, every_ms=10)
    seen: list[tuple[int, int]] = []
    outcome = crew.replay(job(of, target.url), watch=lambda new: seen.append((len(new), len(target.got))))
    assert sum(count for count, _ in seen) == 120
    assert len(seen) >= 4
    assert seen[0][1] < 120
    assert outcome.answered == 120


def test_units_may_overlap(crew: ReplayCrew, target: Target) -> None:
    outcomes: list[CrewOutcome] = []
    slow = recording("/wait?s=2", "/wait?s=2")
    first = threading.Thread(target=lambda: outcomes.append(crew.replay(job(slow, target.url, unit="first"))))
    first.start()
    second = crew.replay(job(recording(*["/x"] * 10), target.url, unit="second", turn=1))
    assert first.is_alive()
    first.join()
    assert {row["error"] for row in rows(second) + rows(outcomes[0])} == {""}


def test_files_of_a_unit_are_removed_when_it_went_well(crew: ReplayCrew, target: Target) -> None:
    crew.replay(job(recording(*["/x"] * 5), target.url))
    assert sorted(path.name for path in crew.stderr_path.parent.iterdir()) == [
        "master.log",
        "worker-1.log",
        "worker-2.log",
    ]
    assert crew.stderr_tail() == ""


@pytest.mark.parametrize("ahead_s", [5000, -5])
def test_records_of_a_worker_with_another_clock_are_put_on_ours(
    tmp_path: Path, target: Target, monkeypatch: pytest.MonkeyPatch, ahead_s: int
) -> None:
    monkeypatch.setenv("READINESS_TEST_SKEW_NS", str(ahead_s * SECOND_NS))
    of = recording(*["/x"] * 100)
    with standing(tmp_path, CrewSetup(workers=2, worker_module=SKEWED)) as crew:
        outcome = crew.replay(job(of, target.url))
    assert outcome.answered == 100
    for worker in outcome.detail()["workers"]:
        off_ns = worker["offset_ns"] - ahead_s * SECOND_NS
        assert abs(off_ns) <= worker["offset_uncertainty_ns"]
    unsure_ns = max(worker["offset_uncertainty_ns"] for worker in outcome.detail()["workers"])
    for row in rows(outcome):
        assert row["due_ns"] == pytest.approx(row["scheduled_ns"], abs=2 * unsure_ns)
        assert row["sent_ns"] >= row["scheduled_ns"] - 2 * unsure_ns
        assert row["answered_ns"] >= row["sent_ns"]


def test_drift_of_a_clock_is_measured_at_the_end(
    tmp_path: Path, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One part in a hundred, which no quartz does: 20 ms in two seconds, far more than the measurement's own error."""
    monkeypatch.setenv("READINESS_TEST_DRIFT", "0.01")
    with standing(tmp_path, CrewSetup(workers=1, worker_module=SKEWED)) as crew:
        began = time.monotonic()
        outcome = crew.replay(job(recording(*["/x"] * 200, every_ms=10), target.url))
        lasted_ns = (time.monotonic() - began) * 1e9
    [worker] = outcome.detail()["workers"]
    assert 0.009 * lasted_ns < worker["drift_ns"] < 0.02 * lasted_ns + 10_000_000


def fails(
    crew: ReplayCrew, of: Recording, target: Target, harm: Callable[[], object], **changes: object
) -> Any:
    """Replay with a harm done once half of the requests have arrived; gives the failure."""
    enough = len(of.exchanges) // 2
    threading.Thread(target=lambda: eventually(lambda: len(target.got) >= enough) and harm()).start()
    with pytest.raises(ReplayFailed) as failed:
        crew.replay(job(of, target.url, **changes))
    outcome = failed.value.outcome
    assert not outcome.finished
    assert len(rows(outcome)) == len(of.exchanges)
    return failed.value


def test_a_killed_worker_fails_the_unit_by_name_and_all_that_was_seen_is_kept(
    crew: ReplayCrew, target: Target
) -> None:
    of = recording(*["/x"] * 400)
    failed = fails(crew, of, target, lambda: os.kill(crew.pids[2], signal.SIGKILL))
    assert f"worker-2 (process {crew.pids[2]} on {socket.gethostname()}) was killed by signal 9" in failed.why
    found = rows(failed.outcome)
    owners = [worker_of(e.client, e.seq, 2) for e in of.exchanges]
    answered = [
        sum(row["answered_ns"] >= 0 for row in found if owners[row["seq"]] == worker) for worker in (0, 1)
    ]
    # Both up to about the moment of the kill; the killed one without what it had not handed over yet.
    assert answered[0] >= owners.count(0) * 0.25
    assert answered[1] >= owners.count(1) * 0.1
    assert sum(answered) < 400
    assert {row["error"] for row in found} <= {"", "not sent", "generator died"}
    assert [worker["finished"] for worker in failed.outcome.detail()["workers"]] == [False, False]
    assert [worker["why"] for worker in failed.outcome.detail()["workers"]] == [
        "stopped, for the unit had failed",
        "was killed by signal 9",
    ]
    assert len(target.got) < 400, "the others went on"
    with pytest.raises(ReplayFailed, match=r"worker-2 .* was lost before"):
        crew.replay(job(of, target.url))


def test_a_stopped_worker_fails_the_unit_by_name(crew: ReplayCrew, target: Target) -> None:
    """It lags: no heartbeat. The other one's records are whole."""
    of = recording(*["/x"] * 400, every_ms=20)
    failed = fails(crew, of, target, lambda: os.kill(crew.pids[1], signal.SIGSTOP))
    assert "worker-1" in failed.why
    assert "no heartbeat" in failed.why
    owners = [worker_of(e.client, e.seq, 2) for e in of.exchanges]
    seen = [row for row in rows(failed.outcome) if owners[row["seq"]] == 1 and row["sent_ns"] >= 0]
    assert len(seen) >= owners.count(1) * 0.6
    assert {row["error"] for row in seen} == {""}


def test_a_worker_that_is_not_done_in_time_fails_the_unit_by_name(crew: ReplayCrew, target: Target) -> None:
    of = recording(*["/x"] * 40, every_ms=20)
    failed = fails(
        crew,
        of,
        target,
        lambda: os.kill(crew.pids[1], signal.SIGSTOP),
        timeout=Duration.of_s(0.3),
        grace=Duration.of_s(0.3),
    )
    assert "worker-1" in failed.why
    assert "did not finish in time" in failed.why


def test_a_short_stop_is_seen_as_lateness(crew: ReplayCrew, target: Target) -> None:
    def starve() -> None:
        eventually(lambda: len(target.got) >= 30)
        os.kill(crew.pids[1], signal.SIGSTOP)
        time.sleep(1)
        os.kill(crew.pids[1], signal.SIGCONT)

    threading.Thread(target=starve).start()
    outcome = crew.replay(job(recording(*["/x"] * 200, every_ms=10), target.url))
    late = [worker["lag_max_ms"] for worker in outcome.detail()["workers"]]
    assert late[0] > 800
    assert late[0] > late[1]
    assert outcome.sent == 200


def test_a_killed_master_fails_the_unit_and_keeps_what_it_had(crew: ReplayCrew, target: Target) -> None:
    failed = fails(crew, recording(*["/x"] * 400), target, lambda: os.kill(crew.pid, signal.SIGKILL))
    assert failed.why == "the master was killed by signal 9"
    assert failed.outcome.answered >= 100
    with pytest.raises(ReplayFailed, match="killed by signal 9"):
        crew.replay(job(recording("/x"), target.url))


def test_a_hung_master_is_given_up(crew: ReplayCrew, target: Target) -> None:
    os.kill(crew.pid, signal.SIGSTOP)
    of = recording("/x", "/x")
    with pytest.raises(ReplayFailed, match="the master said nothing") as failed:
        crew.replay(job(of, target.url, timeout_s=0.2, grace=Duration.of_s(0.2)))
    assert {row["error"] for row in rows(failed.value.outcome)} == {"not sent"}
    assert eventually(lambda: all(gone(pid) for pid in crew.pids))


def test_an_exchange_that_cannot_be_sent_fails_the_unit(crew: ReplayCrew, target: Target) -> None:
    of = recording(*["/x"] * 20)
    of = Recording.of("test", "", [replace(e, http="2" if e.seq == 10 else "") for e in of.exchanges])
    with pytest.raises(ReplayFailed, match="exchange 11 was recorded over HTTP/2") as failed:
        crew.replay(job(of, target.url))
    assert len(rows(failed.value.outcome)) == 20


def test_abort_ends_a_replay_at_once(crew: ReplayCrew, target: Target) -> None:
    failed = fails(crew, recording(*["/x"] * 6, every_ms=1000), target, crew.abort)
    assert failed.why == "it was stopped by the run"
    assert eventually(lambda: all(gone(pid) for pid in crew.pids))


def test_close_leaves_no_process_and_may_be_repeated(tmp_path: Path) -> None:
    crew = ReplayCrew("baseline", tmp_path, CrewSetup(workers=3))
    crew.start()
    assert len(crew.pids) == 4
    crew.close()
    crew.close()
    assert all(gone(pid) for pid in crew.pids)


def test_a_crew_that_cannot_start_says_why_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gevent.py").write_text("raise SystemExit('no gevent today')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    crew = ReplayCrew("baseline", tmp_path / "crew", CrewSetup(workers=2))
    with pytest.raises(EngineError, match="no gevent today"):
        crew.start()
    assert all(gone(pid) for pid in crew.pids)


def test_workers_that_never_come_fail_the_start(tmp_path: Path) -> None:
    crew = ReplayCrew("baseline", tmp_path, CrewSetup(workers=1, expect_workers=1))
    with pytest.raises(EngineError, match=r"not all workers were there within 3 s \(1 are missing\)"):
        crew.start(within_s=3, remote_within_s=3)
    assert all(gone(pid) for pid in crew.pids)


PARENT = """
import sys, time
from pathlib import Path
from harness.replay.crew.crew import ReplayCrew
from harness.replay.crew.staff import CrewSetup
crew = ReplayCrew("baseline", Path(sys.argv[1]), CrewSetup(workers=2))
crew.start()
try:
    print(*crew.pids, flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def parent(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield process, [int(pid) for pid in process.stdout.readline().split()]
        finally:
            process.kill()


def test_nothing_is_left_of_a_parent_that_was_killed(tmp_path: Path) -> None:
    with parent(tmp_path) as (process, pids):
        assert len(pids) == 3
        assert not any(gone(pid) for pid in pids)
        process.kill()
        assert eventually(lambda: all(gone(pid) for pid in pids))


def test_ctrl_c_in_the_terminal_reaches_the_parent_alone(tmp_path: Path) -> None:
    with parent(tmp_path) as (process, pids):
        assert process.stdout is not None
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout.readline().strip() == "interrupted"
        assert len({os.getpgid(pid) for pid in [*pids, process.pid]}) == 4
        assert not any(gone(pid) for pid in pids)


def test_the_parent_never_imports_gevent_or_locust() -> None:
    code = (
        "import sys, harness.replay.crew.crew, harness.replay.crew.remote;"
        "print({'gevent', 'locust', 'zmq'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


# Workers of other machines: the same code, run by somebody else with a copy of his own.


@contextmanager
def remote_worker(
    tmp_path: Path, crew: ReplayCrew, of: Recording, **changes: Any
) -> Iterator[dict[str, Any]]:
    """A worker that `serve` runs in a thread, as soon as the master listens; gives what it said and how it ended."""
    found: dict[str, Any] = {"told": []}

    def run() -> None:
        eventually(lambda: crew.port > 0)
        values: dict[str, Any] = {
            "token": "the token",
            "told": found["told"].append,
            "name": "far",
            "within_s": 20,
        }
        setup = RemoteSetup("127.0.0.1", crew.port, **(values | changes))
        found["ended"] = serve(of, tmp_path / "far", setup)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield found
    finally:
        thread.join(30)
        assert not thread.is_alive()


def mixed(tmp_path: Path, workers: int = 1) -> ReplayCrew:
    return ReplayCrew(
        "baseline", tmp_path / "crew", CrewSetup(workers=workers, expect_workers=1, token="the token")
    )


def test_a_worker_with_a_copy_of_its_own_sends_its_share(tmp_path: Path, target: Target) -> None:
    of = recording(*(f"/{k}" for k in range(80)))
    crew = mixed(tmp_path)
    with remote_worker(tmp_path, crew, of) as far:
        crew.start()
        try:
            part = replace(
                job(of, target.url), exchanges=of.slice(10, 60), recording_from_ns=of.exchanges[10].at_ns
            )
            outcome = crew.replay(part, part=Part(of.digest, 10, 60))
        finally:
            crew.close()
    assert far["ended"] == ""
    assert [row["seq"] for row in rows(outcome)] == list(range(10, 60))
    assert {row["error"] for row in rows(outcome)} == {""}
    assert sorted(int(got.path[1:]) for got in target.got) == list(range(10, 60))
    assert {got.headers["x-request-id"] for got in target.got} == {row["request_id"] for row in rows(outcome)}
    assert [worker["name"] for worker in outcome.detail()["workers"]] == ["worker-1", "far"]
    assert far["told"][0].startswith(
        f"unit 1: sending share 2 of 2 to {target.url}, which the master on 127.0.0.1"
    )
    assert list((tmp_path / "far").iterdir()) == [tmp_path / "far" / "worker.log"]


def test_a_worker_with_another_recording_is_refused(tmp_path: Path, target: Target) -> None:
    of, other = recording(*["/x"] * 20), recording(*["/y"] * 20)
    crew = mixed(tmp_path)
    with remote_worker(tmp_path, crew, other):
        crew.start()
        try:
            with pytest.raises(
                ReplayFailed, match=f"far .* holds another recording, {other.digest}; .*{of.digest}"
            ):
                crew.replay(job(of, target.url), part=Part(of.digest, 0, 20))
        finally:
            crew.close()
    assert target.got == []


def test_pace_and_sessions_are_the_masters(tmp_path: Path, target: Target) -> None:
    """Twice as fast, twice the clients, and each second request with what the live answer to the first one gave."""
    of = recording(*(f"/{kind}/{k}" for k in range(10) for kind in ("first", "second")), every_ms=20)
    exchanges = []
    for exchange in of.exchanges:
        number = exchange.seq // 2
        given = b'{"path": "recorded-%d-7f3a9c"}' % number
        answer = RecordedAnswer(200, exchange.at_ns + 10**6, exchange.at_ns + 10**6, (), given)
        headers = (("x-was", f"recorded-{number}-7f3a9c"),) if "second" in exchange.path else ()
        exchanges.append(replace(exchange, client=f"client-{number}", answer=answer, headers=headers))
    of = Recording.of("test", "", exchanges)
    taken = TakenFrom(route="/first/{}", source="json", path="path")
    rule = SessionRule(name="was", taken_from=taken, used_in=(UsedIn(place="header", name="x-was"),))
    rules, pace = SessionRules(rules=(rule,)), Pace(speed=2.0, times=2)
    laid = lay(of, pace)
    crew = mixed(tmp_path)
    with remote_worker(tmp_path, crew, of):
        crew.start()
        try:
            part = Part(
                of.digest, 0, laid.count, pace.model_dump_json(by_alias=True), rules.model_dump_json()
            )
            work = job(
                of,
                target.url,
                exchanges=laid.slice(0, laid.count),
                length_ns=laid.length_ns,
                recording_digest=laid.digest,
                plan=SessionPlanner(rules).plan,
            )
            outcome = crew.replay(work, part=part)
        finally:
            crew.close()
    assert [row["error"] for row in rows(outcome)] == [""] * 40
    assert all(worker["sent"] > 0 for worker in outcome.detail()["workers"])
    carried = {got.path: got.headers["x-was"] for got in target.got if "second" in got.path}
    assert carried == {f"/second/{k}": f"/first/{k}" for k in range(10)}


def test_a_worker_that_reads_another_part_of_it_is_found_out(tmp_path: Path, target: Target) -> None:
    of = recording(*["/x"] * 40)
    crew = mixed(tmp_path)
    with remote_worker(tmp_path, crew, of):
        crew.start()
        try:
            with pytest.raises(ReplayFailed, match=r"far .* sent other requests than its share"):
                crew.replay(job(of, target.url), part=Part(of.digest, 0, 30))
        finally:
            crew.close()


def test_a_worker_may_be_held_to_some_targets(tmp_path: Path, target: Target) -> None:
    of = recording(*["/x"] * 20)
    crew = mixed(tmp_path, workers=0)
    with remote_worker(tmp_path, crew, of, targets=("http://127.0.0.1:9",)):
        crew.start()
        try:
            with pytest.raises(ReplayFailed, match=r"far .* it may send to http://127.0.0.1:9 alone, not to"):
                crew.replay(job(of, target.url), part=Part(of.digest, 0, 20))
        finally:
            crew.close()
    assert target.got == []


def test_a_worker_with_another_token_does_not_get_in(tmp_path: Path) -> None:
    crew = mixed(tmp_path)
    with (
        remote_worker(tmp_path, crew, recording("/x"), token="guessed") as far,
        pytest.raises(EngineError, match="not all workers were there") as failed,
    ):
        crew.start(within_s=10, remote_within_s=10)
    assert "does not know this worker's token" in far["ended"]
    assert "is not sealed with this crew's token" in str(failed.value)


def test_a_master_that_is_not_there_ends_the_worker(tmp_path: Path) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        setup = RemoteSetup("127.0.0.1", reserved.getsockname()[1], "the token", within_s=1.0)
        ended = serve(recording("/x"), tmp_path, setup)
    assert "no master answered on 127.0.0.1:" in ended


def test_a_killed_master_ends_its_workers(tmp_path: Path) -> None:
    crew = mixed(tmp_path, workers=0)
    with remote_worker(tmp_path, crew, recording("/x")) as far:
        crew.start()
        os.kill(crew.pid, signal.SIGKILL)
        assert eventually(lambda: "ended" in far)
        crew.close()
    assert "the master was silent" in far["ended"]


def test_strangers_on_the_port_change_nothing(crew: ReplayCrew, target: Target) -> None:
    """Bytes that are no message, and Locust's own words in a worker's name."""
    stranger = subprocess.run(
        [sys.executable, "-c", STRANGER, str(crew.port)],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert stranger.stdout.strip() == "said"
    outcome = crew.replay(job(recording(*["/x"] * 40), target.url))
    assert outcome.answered == 40
    assert "left out" in crew.stderr_tail()


STRANGER = """
import sys, time
import zmq
from locust.rpc import Message
context = zmq.Context()
link = context.socket(zmq.DEALER)
link.setsockopt(zmq.IDENTITY, b"stranger")
link.connect(f"tcp://127.0.0.1:{sys.argv[1]}")
say = lambda kind, data, name="stranger": link.send(Message(kind, data, name).serialize())
say("client_ready", "2.47.0")
time.sleep(0.3)
say("readiness", {"count": 1, "body": b"{}", "blocks": b"", "mac": b"x"})
say("locustfile", {"version": "2.47.0"})
say("stats", {})
say("exception", {})
say("logs", None)
say("quit", None)
time.sleep(0.3)
print("said")
"""


def test_resources_of_several_processes_as_of_one() -> None:
    first = {
        "cpu_ms": 5.0,
        "cpu_share": 0.5,
        "memory_limit_bytes": -1,
        "throttled_ms": -1,
        "in_flight_limit_first_ns": 9,
    }
    second = {
        "cpu_ms": 7.0,
        "cpu_share": 0.7,
        "memory_limit_bytes": 100,
        "throttled_ms": -1,
        "in_flight_limit_first_ns": 4,
    }
    assert together([first, second, {}]) == {
        "cpu_ms": 12.0,
        "cpu_share": 0.7,
        "memory_limit_bytes": 100,
        "throttled_ms": -1,
        "in_flight_limit_first_ns": 4,
    }
