"""`readiness replay` against real servers on this machine: what it sends, what it says, and its exit codes."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from harness.model.history import Exchanges
from harness.progress import Silent
from harness.replaying import ReplayRequest
from harness.replaying import replay as carry_out
from harness.replaying.preparation import Prepared
from tests.unit.cli_tools import ROOT, Done, readiness
from tests.unit.replay_target import Target

MS = 1_000_000

# What these tests are about must not hang on how busy the machine is.
PATIENT = """\
policy: patient
schedule_lag_p50: 5s
schedule_lag_p90: 5s
schedule_lag_p99: 5s
schedule_lag_max: 9s
rate_deviation: 9
burstiness_10ms: 99
burstiness_100ms: 99
burstiness_1s: 99
gap_distance: 1
generator_cpu: 1
clock_uncertainty: 5s
"""


@pytest.fixture
def target() -> Iterator[Target]:
    with Target() as standing:
        yield standing


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "patient.policy.yaml").write_text(PATIENT, "utf-8")
    return tmp_path


def line(at_ms: float, path: str = "/a", **more: Any) -> dict[str, Any]:
    return {"at_ns": int(at_ms * MS), "path": path, "client": "Ada", **more}


def recorded(folder: Path, *lines: dict[str, Any], name: str = "shop") -> Path:
    path = folder / f"{name}.ndjson"
    head = {"format": 1, "recording": name, "source": "made up", "attribution": "ours"}
    path.write_text("".join(json.dumps(item) + "\n" for item in (head, *lines)), "utf-8")
    return path


def replay(path: Path, *words: str | Path) -> Done:
    return readiness("replay", path, "--policy", path.parent / "patient.policy.yaml", *words)


def test_it_sends_what_was_recorded_and_says_what_came_back(folder: Path, target: Target) -> None:
    path = recorded(folder, *(line(20 * k, "/a" if k % 2 else "/status?code=404") for k in range(20)))
    out = folder / "out"
    done = replay(
        path,
        "--target",
        target.url,
        "--fail-if",
        "p99 > 9s",
        "--fail-if",
        "error_rate > 0%",
        "--out",
        out,
        "--json",
    )
    assert done.code == 0, done.err
    said = done.json
    assert said["standing"] == "within"
    assert Counter(got.path for got in target.got) == {"/a": 10, "/status?code=404": 10}
    assert said["statuses"] == {"200": 10, "404": 10}
    assert [route["route"] for route in said["routes"]] == ["/a", "/status"]
    assert said["overall"]["requests"] == said["overall"]["answered"] == 20
    assert 0 < said["fidelity"]["score"] <= 1
    assert {part["name"] for part in said["fidelity"]["parts"]} >= {"lag_p99", "rate", "gaps", "cpu"}
    assert [item["exceeded"] for item in said["thresholds"]] == [False, False]
    assert json.loads((out / "replay.json").read_text("utf-8")) == {
        name: value for name, value in said.items() if name != "repeat_command"
    }
    rows = Exchanges(pq.read_table(out / "exchanges.parquet"))
    assert rows.column("seq").tolist() == list(range(20))
    assert set(rows.column("body")) == {""}, "answers may be private: nothing of them is kept unasked"
    latency = sorted(rows.latency_ms().tolist())
    assert said["overall"]["latency_ms"]["max"] == latency[-1], "nothing is rounded"
    assert target.url in done.err, "where it sends stands there before it does"


def test_a_threshold_that_is_exceeded_is_1_and_the_answer_says_by_how_much(
    folder: Path, target: Target
) -> None:
    path = recorded(folder, line(0, "/wait?s=0.3"), line(10, "/a"))
    done = replay(path, "--target", target.url, "--fail-if", "max > 200ms", "--fail-if", "max[/a] > 9s")
    assert done.code == 1
    assert done.out.startswith("EXCEEDED  shop, 2\xa0requests")
    assert "max > 200ms: it is 3" in done.out
    assert "not exceeded  max[/a] > 9s" in done.out


UNKNOWN = {
    "unfaithful": ("schedule_lag_p50: 1ns", (), "50 % of requests to 127.0.0.1"),
    "nothing-to-measure": (
        "",
        ("--fail-if", "p99[/b] > 1s"),
        "There was nothing to measure for 'p99[/b] > 1s'",
    ),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_known_is_3(name: str, folder: Path, target: Target) -> None:
    policy, words, reason = UNKNOWN[name]
    path = recorded(folder, line(0), line(30))
    if policy:
        (folder / "patient.policy.yaml").write_text(f"policy: strict\n{policy}\n", "utf-8")
    done = replay(path, "--target", target.url, *words, "--json")
    assert done.code == 3
    assert done.json["standing"] == "unknown"
    assert reason in " ".join(done.json["reasons"])


def test_a_target_that_drops_requests_exceeds_what_their_clients_would_have_waited(
    folder: Path, target: Target
) -> None:
    path = recorded(folder, *(line(20 * k, "/wait?s=3" if k % 2 else "/a") for k in range(10)))
    done = replay(path, "--target", target.url, "--timeout", "1s", "--fail-if", "p90 > 900ms", "--json")
    assert done.code == 1, done.out
    assert done.json["errors"] == {"timeout": 5}
    assert done.json["overall"]["latency_ms"]["max"] == 1000


def test_a_policy_that_lets_requests_be_missing_is_named_and_they_are_not_called_all(
    folder: Path, target: Target
) -> None:
    """A limit on open files keeps the generator from having more than 16 requests under way."""
    more = "unsent: 1\nin_flight_limit_hits: 99\nmix_distance: 1\n"
    (folder / "patient.policy.yaml").write_text(PATIENT + more, "utf-8")
    path = recorded(folder, *(line(5 * k, "/wait?s=2") for k in range(30)))
    words = ("replay", path, "--target", target.url, "--policy", folder / "patient.policy.yaml")
    done = subprocess.run(
        ["prlimit", "--nofile=80:80", sys.executable, "-m", "harness.cli", *map(str, words)],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "16 of 30 requests were sent as recorded" in done.stdout
    assert "policy     patient (schedule_lag_p50 5s, " in done.stdout
    assert "unsent 1.0" in done.stdout


def test_requests_of_the_recording_that_left_no_row_make_it_unknown(
    folder: Path, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever loses them on the way to the generator: nothing else counts what there should have been."""
    path = recorded(folder, *(line(20 * k) for k in range(10)))
    whole = Prepared.exchanges
    monkeypatch.setattr(Prepared, "exchanges", lambda self, url: itertools.islice(whole(self, url), 9))
    request = ReplayRequest(path, target.url, policy=folder / "patient.policy.yaml")
    result = carry_out(request, Silent())
    assert result.exit_code == 3
    assert result.reasons[0] == "9 of 10 requests of the recording are on record."


def test_a_target_that_answers_nothing_is_3_whatever_the_thresholds_say(folder: Path, target: Target) -> None:
    path = recorded(folder, line(0, "/hangup"), line(10, "/hangup"))
    done = replay(path, "--target", target.url, "--fail-if", "error_rate > 1%", "--json")
    assert done.code == 3
    assert "No request was answered" in done.json["reasons"][0]
    assert done.json["errors"] == {"closed": 2}


REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "no-target": ((), "no target is named"),
    "nobody-there": (
        ("--target", "http://127.0.0.1:1"),
        "nothing answers at http://127.0.0.1:1: connection refused",
    ),
    "bad-threshold": (("--target", "URL", "--fail-if", "p99 > 5"), "5 of what?"),
    "threshold-beyond-the-limit": (
        ("--target", "URL", "--timeout", "200ms", "--fail-if", "p99 > 250ms"),
        "'p99 > 250ms' can never be exceeded: a request is given up after 200ms",
    ),
    "bad-speed": (("--target", "URL", "--speed", "0"), "--speed: error"),
    "slice-beyond": (("--target", "URL", "--from", "9s"), "the slice begins at 9s"),
    "empty-slice": (
        ("--target", "URL", "--from", "1ms", "--to", "2ms"),
        "there is no exchange in this slice",
    ),
    "no-listen": (("--target", "URL", "--expect-workers", "1"), "they would not know where to come"),
    "no-workers": (("--target", "URL", "--workers", "0"), "0 is no number of processes"),
    "no-recording": (("--target", "URL", "--dataset", "no.dataset.yaml"), "no.dataset.yaml"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_go_well_is_2_and_nothing_is_sent(name: str, folder: Path, target: Target) -> None:
    words, reason = REFUSED[name]
    path = recorded(folder, line(0), line(30))
    done = replay(path, *(target.url if word == "URL" else word for word in words), "--out", folder / "out")
    assert done.code == 2
    assert reason in done.err
    assert target.got == []
    assert not (folder / "out").exists()


def test_all_that_is_wrong_is_said_at_once(folder: Path) -> None:
    path = recorded(folder, line(0))
    done = replay(
        path,
        *(
            "--timeout",
            "0s",
            "--ca-file",
            folder / "none.pem",
            "--keep-field",
            "a..b",
            "--keep-field",
            "a.b[0]",
        ),
        *("--target", "http://127.0.0.1:1"),
    )
    assert done.code == 2
    said = ("--timeout: error: no answer takes no time", "cannot be read", "'a..b' leads to no JSON field")
    assert all(words in done.err for words in said)
    assert "a.b[0]" not in done.err
    done = replay(path, "--speed", "0", "--timeout", "5", "--fail-if", "x", "--map", "nowhere")
    assert all(words in done.err for words in ("--speed:", "--timeout:", "--fail-if:", "--map:"))


def test_a_married_recording_asks_for_its_dataset(folder: Path) -> None:
    path = folder / "loans.recording.yaml"
    path.write_text("recording: loans\n", "utf-8")
    done = replay(path, "--target", "http://127.0.0.1:1")
    assert (done.code, "add --dataset NAME.dataset.yaml" in done.err) == (2, True)


def test_a_target_that_speaks_no_tls_is_called_so(folder: Path, target: Target) -> None:
    done = replay(recorded(folder, line(0)), "--target", target.url.replace("http:", "https:"), "--insecure")
    assert (done.code, "does not speak TLS" in done.err) == (2, True)


def test_results_of_another_replay_are_not_written_over(folder: Path, target: Target) -> None:
    path = recorded(folder, line(0))
    (folder / "out").mkdir()
    (folder / "out" / "replay.json").write_text("mine", "utf-8")
    done = replay(path, "--target", target.url, "--out", folder / "out")
    assert (done.code, target.got) == (2, [])
    assert "holds replay.json already" in done.err
    assert (folder / "out" / "replay.json").read_text("utf-8") == "mine"


def test_several_hosts_are_refused_unless_each_is_mapped_and_then_each_gets_its_own(
    folder: Path, target: Target
) -> None:
    path = recorded(
        folder,
        *(
            line(10 * k, "/a", host="shop.example" if k % 2 else "cdn.example", scheme="http")
            for k in range(6)
        ),
    )
    done = replay(path, "--target", target.url)
    assert (done.code, target.got) == (2, [])
    assert "the recording names 2 hosts" in done.err
    assert "add --map cdn.example=URL" in done.err
    with Target() as other:
        done = replay(
            path, "--map", f"shop.example={target.url}", "--map", f"cdn.example={other.url}", "--json"
        )
        assert done.code == 0, done.err
        assert (len(target.got), len(other.got)) == (3, 3)
    assert done.json["targets"] == {"cdn.example": other.url, "shop.example": target.url}


def test_http_2_is_refused_before_anything_is_sent_unless_sent_as_http_1(
    folder: Path, target: Target
) -> None:
    path = recorded(folder, line(0), line(10, http="2"), line(20, http="2"))
    done = replay(path, "--target", target.url)
    assert (done.code, target.got) == (2, [])
    assert "exchange 2 was recorded over HTTP/2, which is not replayed (and 1 more)" in done.err
    assert replay(path, "--target", target.url, "--http1").code == 0


def test_the_pace_is_as_asked_for(folder: Path, target: Target) -> None:
    path = recorded(folder, *(line(100 * k, f"/{k}", client=f"c{k}") for k in range(10)))
    words = ("--from", "500ms", "--times", "2", "--loops", "2", "--speed", "2", "--seed", "4")
    done = replay(path, "--target", target.url, *words, "--json")
    assert done.code == 0, done.err
    assert Counter(got.path for got in target.got) == {f"/{k}": 4 for k in range(5, 10)}
    recording = done.json["recording"]
    assert recording["requests"] == 20
    assert len(recording["shifts_ns"]) == 1
    assert recording["pace"]["times"] == 2
    assert recording["paced_digest"] != recording["digest"]
    assert " ".join(words[:2]) in done.json["repeat_command"]


def test_fields_that_are_asked_for_are_kept_of_answers(folder: Path, target: Target) -> None:
    done = replay(
        recorded(folder, line(0, "/a")),
        "--target",
        target.url,
        "--keep-field",
        "path",
        "--out",
        folder / "out",
    )
    assert done.code == 0, done.err
    (body,) = pq.read_table(folder / "out" / "exchanges.parquet").column("body").to_pylist()
    assert json.loads(body) == {"path": "/a"}


def test_what_was_better_when_recorded_is_counted(folder: Path, target: Target) -> None:
    good = {"status": 200, "answered_ns": 1}
    path = recorded(
        folder,
        line(0, "/status?code=401", answer=good),
        line(10, "/a", answer={**good, "answered_ns": 10 * MS + 1}),
    )
    done = replay(path, "--target", target.url)
    assert done.code == 0, done.err
    assert "1 succeeded when recorded and did not now" in done.out
    assert "1 of 2 requests that were sent succeeded when recorded and did not now: see" in done.out
    assert replay(path, "--target", target.url, "--fail-if", "worse > 1%").code == 1


def test_two_processes_send_all_of_it_and_their_figures_are_there(folder: Path, target: Target) -> None:
    path = recorded(folder, *(line(20 * k, f"/{k}", client=f"c{k % 7}") for k in range(40)))
    done = replay(path, "--target", target.url, "--workers", "2", "--json")
    assert done.code == 0, done.err
    assert sorted(int(got.path[1:]) for got in target.got) == list(range(40))
    (generator,) = done.json["generators"]
    assert sum(worker["sent"] for worker in generator["workers"]) == 40
    assert {"worker_lag", "clock"} <= {part["name"] for part in done.json["fidelity"]["parts"]}


def started(path: Path, *words: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "harness.cli", "replay", str(path), "--json", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def until_sent(target: Target, process: subprocess.Popen[str], count: int) -> None:
    for _ in range(600):
        if len(target.got) >= count or process.poll() is not None:
            break
        time.sleep(0.05)
    assert len(target.got) >= count, process.communicate()


def test_ctrl_c_ends_it_in_order_and_what_was_sent_is_reported(folder: Path, target: Target) -> None:
    path = recorded(folder, *(line(20 * k) for k in range(3000)))
    process = started(path, "--target", target.url, "--out", folder / "out")
    until_sent(target, process, 60)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    said = json.loads(out)
    assert said["interrupted"]
    assert said["standing"] == "unknown"
    assert "interrupted" in said["reasons"][0]
    assert 20 < said["overall"]["sent"] == said["overall"]["requests"] < 3000
    assert (folder / "out" / "exchanges.parquet").exists()


def test_a_generator_that_is_killed_makes_it_unknown(folder: Path, target: Target) -> None:
    path = recorded(folder, *(line(20 * k) for k in range(300)))
    process = started(path, "--target", target.url)
    until_sent(target, process, 20)
    tasks = Path(f"/proc/{process.pid}/task").iterdir()
    children = [int(pid) for task in tasks for pid in (task / "children").read_text("ascii").split()]
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 3, err
    reasons = json.loads(out)["reasons"]
    assert reasons[0] == "The load generator failed: it was killed by signal 9."
    assert any("were never sent" in reason for reason in reasons)


def test_sessions_are_kept_up_with_live_values_unless_asked_not_to(folder: Path, target: Target) -> None:
    """The cookie that the live server sets goes back to it, not the one that was recorded."""
    answer = {
        "status": 200,
        "first_byte_ns": 2 * MS,
        "answered_ns": 2 * MS,
        "headers": [["set-cookie", "session=recorded7Gk2"]],
    }
    path = recorded(
        folder,
        line(0, "/cookie", answer=answer),
        line(
            50,
            "/a",
            headers=[["cookie", "session=recorded7Gk2"]],
            answer={"status": 200, "answered_ns": 52 * MS},
        ),
    )
    stored = folder / "shop.recording"
    made = readiness("record", "import", path, "--out", stored, "--redacted")
    assert made.code == 0, made.err
    done = replay(stored, "--target", target.url, "--json")
    assert done.code == 0, done.err
    assert done.json["recording"]["sessions"]
    assert target.got[-1].headers["cookie"] == "session=1"
    done = replay(stored, "--target", target.url, "--no-sessions", "--json")
    assert done.code == 0, done.err
    assert target.got[-1].headers["cookie"] == "session=recorded7Gk2"
    done = replay(stored, "--target", target.url, "--times", "2", "--to", "1s", "--json")
    assert done.code == 0, done.err
    assert [got.headers.get("cookie") for got in target.got[-4:] if got.path == "/a"] == ["session=1"] * 2, (
        "a copy too"
    )


def test_a_worker_of_another_machine_sends_its_share_of_the_paced_recording(
    folder: Path, target: Target
) -> None:
    """Both on this machine, each reading a copy of its own; the token is what lets it in."""
    lines = [line(20 * k, f"/{k}", client=f"c{k}") for k in range(40)]
    path, copy = recorded(folder, *lines), recorded(folder, *lines, name="copy")
    copy.write_text(path.read_text("utf-8"), "utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        master = f"127.0.0.1:{free.getsockname()[1]}"
    command = [
        sys.executable,
        "-m",
        "harness.cli",
        "worker",
        str(copy),
        "--master",
        master,
        "--target",
        target.url,
    ]
    helper = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "READINESS_TOKEN": "known"}
    )
    try:
        words = ("--expect-workers", "1", "--listen", master, "--token", "known", "--times", "2", "--json")
        done = replay(path, "--target", target.url, *words)
        assert done.code == 0, done.err
        assert helper.wait(timeout=30) == 0, helper.communicate()
    finally:
        helper.kill()
        helper.communicate()
    assert Counter(got.path for got in target.got) == {f"/{k}": 2 for k in range(40)}
    (generator,) = done.json["generators"]
    assert all(worker["sent"] > 0 for worker in generator["workers"])
