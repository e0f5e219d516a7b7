"""Whole runs whose recording was imported from captures with a canary in every place: none is in anything they leave.

The service logs all that it is sent, so that what was not redacted stands in the report as well. Import and run have a
world of their own (state, home, temporary files, reports, what they print); every temporary file is kept, also one that
is gone a moment later. `readiness record audit`, as users have it, then searches that world for the canaries.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import stat
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from harness.model.plan import Arm
from harness.recording.audit_canaries import EVERYWHERE, Captures, plant
from harness.recording.audit_search import Needles, Search
from harness.recording.redaction.pseudonyms import Pseudonyms
from harness.recording.store import open_recording
from tests.containers.tiny_graph import SERVER, write_graph

READINESS = Path(sys.executable).with_name("readiness")
LIMIT_S = 180
LOOK_S = 0.005
"""Between two looks for new temporary files."""

# All of the canaries in less than three seconds, at a rate that the service is a match for.
SCENARIO = """\
scenario: tiny
environment: environment.yaml
recording: ../canaries.recording
pace: {speed: 0.5, to: 1500ms}
warmup: 100ms
timeline:
  - steady: calm
    for: 2800ms
checks:
  - check: availability
    at_least: 0.9
    worse_by_at_most: 0.1
"""
READS = "        self.rfile.read(length)\n"
LOGS = """\
        body = self.rfile.read(length).decode("latin-1")
        if ROLE == "front" and self.path != "/healthz":
            print(json.dumps([self.requestline, *self.headers.items(), body]), flush=True)
"""

LEFT_OPEN = {
    "{header: x-api-key, action: keep}": ("header x-api-key",),
    "{query: access_token, action: keep, within: request}": ("query",),
    "{path: '/users/*/orders', action: keep}": ("path",),
    "{json: $.user.password, action: keep}": ("json",),
    "{form: password, action: keep, within: request}": ("form", "multipart"),
    "{cookie: sid, within: answer, action: keep}": ("set-cookie",),
}
"""What the planted twin leaves out of the redaction, and the places whose canaries are in clear then."""
IN_BODIES = {"json", "form", "multipart"}
IN_ANSWERS = {"set-cookie"}


@dataclass(frozen=True)
class World:
    """`open`: everything that import and run may write to. `hidden`: captures, key and list of canaries, in clear."""

    open: Path
    hidden: Path
    captures: Captures

    @property
    def recording(self) -> Path:
        return self.open / "canaries.recording"

    @property
    def report(self) -> Path:
        [report] = (self.open / "reports").iterdir()
        return report

    @property
    def key(self) -> bytes:
        return bytes.fromhex((self.hidden / "redaction.key").read_text())

    def readiness(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """The command; what it prints is kept in the world."""
        done = subprocess.run(
            [READINESS, *words],
            cwd=self.open,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            env=os.environ
            | {
                "READINESS_STATE_DIR": str(self.open / "state"),
                "TMPDIR": str(self.open / "tmp"),
                "HOME": str(self.open / "home"),
            },
        )
        number = len(list(self.open.glob("said-*.txt")))
        (self.open / f"said-{number}.txt").write_text(done.stdout + done.stderr)
        return done

    def audit(self) -> tuple[int, Any]:
        """Exit code and answer of an audit of the whole world."""
        words = ["record", "audit", self.open, "--originals", self.hidden / "originals.txt", "--no-canaries"]
        done = subprocess.run(
            [READINESS, *words, "--json"], capture_output=True, text=True, timeout=LIMIT_S, cwd=self.hidden
        )
        assert not [
            canary.place for canary in self.captures.canaries if canary.value in done.stdout + done.stderr
        ]
        return done.returncode, json.loads(done.stdout)

    def places(self, said: Any) -> dict[str, set[str]]:
        """What an audit found: the place of the canary -> the files in which it stands, from the world's folder on."""
        found = defaultdict(set)
        for hit in said["hits"]:
            line = int(hit["word"].removeprefix("original in line ").partition(" ")[0])
            file = Path(hit["where"]).relative_to(self.open)
            found[self.captures.canaries[line - 1].place].add(file.as_posix())
        return found

    def files_with(self, value: str) -> set[str]:
        search = Search(Needles([("it", value)]))
        search.path(self.open)
        return {Path(hit.where).relative_to(self.open).as_posix() for hit in search.result().hits}


def world(folder: Path) -> World:
    """Nothing is imported yet. The log's lines come while the HAR's do."""
    planted = plant()
    captures = Captures(
        planted.canaries,
        planted.everywhere,
        planted.places,
        planted.har,
        re.sub(rb":10:00:1\d", b":10:00:01", planted.log),
    )
    made = World(folder / "open", folder / "hidden", captures)
    for name in ("open/state", "open/tmp", "open/home", "open/kept", "hidden"):
        (folder / name).mkdir(parents=True)
    (made.hidden / "canaries.har").write_bytes(captures.har)
    (made.hidden / "canaries.log").write_bytes(captures.log)
    (made.hidden / "originals.txt").write_text("".join(f"{canary.value}\n" for canary in captures.canaries))
    key = made.hidden / "redaction.key"
    key.touch(mode=0o600)
    key.write_text(secrets.token_hex(32))
    return made


def _files(folder: Path) -> list[Path]:
    """As far as they stay there while one looks."""
    return [
        Path(found, name)
        for found, _, names in os.walk(folder)
        for name in names
        if stat.S_ISREG(_mode(Path(found, name)))
    ]


def _mode(path: Path) -> int:
    try:
        return path.lstat().st_mode
    except OSError:
        return 0


@contextlib.contextmanager
def temporary_files_kept(made: World) -> Iterator[None]:
    """A second name for every temporary file while it lies there: its content stays when it is removed."""
    over = threading.Event()

    def keep() -> None:
        while not over.wait(LOOK_S):
            for path in _files(made.open / "tmp"):
                with contextlib.suppress(OSError):
                    os.link(path, made.open / "kept" / f"{path.stat().st_ino}-{path.name}")

    thread = threading.Thread(target=keep)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def imported_and_run(made: World, *options: str | Path) -> None:
    """Import of the captures, then a whole run, which is READY."""
    change = write_graph(made.open / "graph")
    assert SERVER.count(READS) == 1
    (change.parent / "logging.py").write_text(SERVER.replace(READS, LOGS))
    environment = change.parent / "environment.yaml"
    text = environment.read_text()
    logging = "    command: [python3, /server.py, front]\n    files: {/server.py: logging.py}\n"
    environment.write_text(text.replace("    command: [python3, /server.py, front]\n", logging))
    (change.parent / "tiny.scenario.yaml").write_text(SCENARIO)
    with temporary_files_kept(made):
        captures = (made.hidden / "canaries.har", made.hidden / "canaries.log")
        done = made.readiness(
            "record", "import", *captures, "--out", made.recording, "--redaction-key", made.hidden / "redaction.key",
            *options,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        done = made.readiness(
            "run",
            change,
            "--policy",
            change.parent / "policy.yaml",
            "--seed",
            "7",
            "--out",
            made.open / "reports",
        )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_canary_is_in_anything_that_import_and_run_leave_and_one_value_has_one_pseudonym(
    tmp_path: Path,
) -> None:
    made = world(tmp_path)
    imported_and_run(made)
    code, said = made.audit()
    assert (said["hits"], said["unread"], said["not_done"], code) == ([], [], [], 0)
    assert said["originals"] == len(made.captures.canaries) > 55
    assert any((made.open / "kept").iterdir())  # there was something to search
    same_value_everywhere(made)
    same_clients_everywhere(made)


def same_value_everywhere(made: World) -> None:
    """The token that stood in every place has one pseudonym, in the recording and in what each arm was sent."""
    pseudonym = Pseudonyms(made.key).of(made.captures.everywhere)
    logs = {arm: f"{made.report.relative_to(made.open)}/logs/{arm}/front.log" for arm in Arm}
    recording = {f"canaries.recording/{name}" for name in ("exchanges.parquet", "bodies.sqlite")}
    assert made.files_with(pseudonym) >= {*recording, *logs.values()}
    captured = json.loads(made.captures.har)["log"]["entries"]
    sent = [
        made.captures.everywhere in json.dumps(entry["request"])
        for place, entry in zip(made.captures.places, captured, strict=True)
        if place == EVERYWHERE
    ].count(True)
    assert sent == 8
    for log in logs.values():
        lines = (made.open / log).read_text().splitlines()
        assert sum(pseudonym in line for line in lines) == sent, log


def same_clients_everywhere(made: World) -> None:
    """The address in the log has one pseudonym, in the recording and in the history of every arm."""
    [address] = [one.value for one in made.captures.canaries if one.place == "log, address of the client"]
    recording = open_recording(made.recording)
    recorded = {exchange.client for exchange in recording.slice(0, recording.count)}
    assert Pseudonyms(made.key).of(address) in recorded
    rows = pq.read_table(made.report / "history" / "exchanges.parquet", columns=["arm", "client"]).to_pylist()
    for arm in Arm:
        assert {row["client"] for row in rows if row["arm"] == arm} == recorded


def test_what_redaction_leaves_out_is_found_by_the_audit_with_where_it_stands(tmp_path: Path) -> None:
    """The twin of the test above."""
    made = world(tmp_path)
    rules = made.hidden / "open.redaction.yaml"
    rules.write_text("redaction: open\nrules:\n" + "".join(f"  - {rule}\n" for rule in LEFT_OPEN))
    imported_and_run(made, "--redaction", rules)
    code, said = made.audit()
    found = made.places(said)
    assert code == 1
    assert found.keys() == {place for places in LEFT_OPEN.values() for place in places}
    report = made.report.relative_to(made.open).as_posix()
    for place, files in found.items():
        assert f"canaries.recording/{'bodies.sqlite' if place in IN_BODIES else 'exchanges.parquet'}" in files
        logs = {f"{report}/logs/{arm}/front.log" for arm in Arm}
        assert files & logs == (set() if place in IN_ANSWERS else logs), place
