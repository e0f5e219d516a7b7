"""What runs is what was asked for, what was not measured is on record, and no wait is without end."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness import run
from harness.driver.base import ContainerSpec, ContainerStatus, DriverError, ExecResult
from harness.driver.docker import DockerDriver
from harness.environment.images import BuildRequest, ImageRequest, ImageSource
from harness.environment.journal import Journal
from harness.environment.services import ArmService
from harness.environment.stack import ArmStack
from harness.errors import DefinitionError, EngineError, Interrupted
from harness.model.environment import Environment
from harness.model.history import EventKind
from harness.model.plan import Arm, FaultWindow, Plan, Turn, Unit
from harness.plane.container import PLANE_IMAGE
from harness.recorder import Recorder, Spans, Stamp
from harness.report.verification import _walk, _Work
from harness.run import _closing_facts, _down, _file_digests, _images, _tries_something
from harness.sweep import _forget, _journals
from harness.turns import RunningArm, TurnRunner

S = 1_000_000_000
ENVIRONMENT = Environment.model_validate(
    {
        "environment": "pair",
        "services": {
            "front": {"image": "shop/front:1", "health": {"command": ["true"], "every": "20ms"}},
            "back": {"image": "shop/back:1", "health": {"command": ["true"], "every": "20ms"}},
        },
        "edges": [
            {"from": "front", "to": "back", "port": 80, "protocol": "http", "tolerance": {"timeout": "1s"}}
        ],
        "entries": {"web": {"to": "front", "port": 80}},
    }
)
WINDOW = FaultWindow(
    name="harm",
    fault="stall",
    level="streams",
    edge="front->back",
    start_ns=2 * S,
    stop_ns=6 * S,
    cuts=True,
)
UNIT = Unit(
    name="harm", warmup_ns=S, length_ns=10 * S, recording_from_ns=0, first_seq=0, stop_seq=1, window=WINDOW
)
STAMP = Stamp(Arm.BASELINE, UNIT, Turn(turn=0, unit="harm", arms=(Arm.BASELINE,)))


def service(name: str, reference: str, build: BuildRequest | None = None, **said: Any) -> ArmService:
    return ArmService(
        name=name,
        definition=ENVIRONMENT.services[name],
        image=ImageRequest(reference, build),
        command=said.get("command"),
        variables=said.get("variables", {}),
        files=said.get("files", {}),
    )


def prepared(baseline: ArmService, candidate: ArmService) -> Any:
    """As much of a prepared run as says what each arm runs."""
    name = baseline.name
    return SimpleNamespace(
        change=SimpleNamespace(services={name: None}),
        services={
            Arm.BASELINE: {name: baseline},
            Arm.CONTROL: {name: baseline},
            Arm.CANDIDATE: {name: candidate},
        },
    )


def build(folder: Path, text: str) -> BuildRequest:
    folder.mkdir()
    (folder / "Dockerfile").write_text(f"FROM scratch\nLABEL text={text}\n")
    return BuildRequest(folder)


class Engine:
    """An engine in which every call works at once, unless a test says otherwise; it notes what was started."""

    def __init__(self, execute: Callable[[], ExecResult] | None = None) -> None:
        self.started: list[ContainerSpec] = []
        self.gone: list[str] = []
        self._execute = execute or (lambda: ExecResult(0, b"", b""))

    def start(self, spec: ContainerSpec) -> None:
        self.started.append(spec)

    def execute(self, *_: object, **__: object) -> ExecResult:
        return self._execute()

    def remove(self, name: str) -> None:
        self.gone.append(name)

    remove_network = remove

    def kill(self, name: str) -> None:
        raise DriverError(f"no {name}", "none")

    def subnets(self) -> tuple[str, ...]:
        return ()

    def create_network(self, spec: object) -> None:
        pass

    def status(self, name: str) -> ContainerStatus:
        return ContainerStatus("running", None, False, "", {})

    def logs(self, name: str, tail: int | None = None) -> bytes:
        return b""


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READINESS_STATE_DIR", str(tmp_path / "state"))


def stack(engine: Engine, journal: Journal, image_ids: Mapping[str, str] | None = None) -> ArmStack:
    return ArmStack(
        driver=engine,  # type: ignore[arg-type]  # what these tests need of one
        journal=journal,
        run_id="r",
        arm="baseline",
        environment=ENVIRONMENT,
        services={name: service(name, f"shop/{name}:1") for name in ENVIRONMENT.services},
        seed=1,
        dataset=None,
        environment_folder=Path(),
        image_ids=image_ids or {},
    )


def runner(recorder: Recorder, journal: Any = None) -> TurnRunner:
    plan = Plan.model_construct(units=(UNIT,), arms=(Arm.BASELINE,))
    return TurnRunner(plan, None, {}, recorder, journal, lambda _text: None)  # type: ignore[arg-type]


def harness_errors(recorder: Recorder) -> list[str]:
    return [str(event.detail["error"]) for event in recorder.history(None).events_of(EventKind.HARNESS)]


def test_two_builds_of_one_name_are_refused_and_not_one_taken_for_both(tmp_path: Path) -> None:
    old, new = build(tmp_path / "old", "old"), build(tmp_path / "new", "new")
    with pytest.raises(DefinitionError, match="two different builds"):
        _images(
            prepared(service("front", "shop/front:1", old), service("front", "shop/front:1", new)),
            SimpleNamespace(note=print),  # type: ignore[arg-type]
        )


@pytest.mark.parametrize(
    ("candidate_id", "said", "same"),
    [
        ("sha256:1", {}, True),
        ("sha256:2", {}, False),
        ("sha256:1", {"variables": {"A": "1"}}, False),
        ("sha256:1", {"files": {"/a": b"1"}}, False),
        ("sha256:1", {"command": ("run",)}, False),
    ],
)
def test_a_candidate_that_is_the_baseline_under_another_name_is_refused(
    candidate_id: str, said: dict[str, Any], same: bool
) -> None:
    ready = prepared(service("front", "shop/front:1"), service("front", "shop/front:2", **said))
    images = {
        reference: ImageSource(reference, image_id, "present", 0.0, None)
        for reference, image_id in (("shop/front:1", "sha256:1"), ("shop/front:2", candidate_id))
    }
    request = run.RunRequest(Path("new.change.yaml"))
    if not same:
        _tries_something(request, ready, images)
        return
    with pytest.raises(DefinitionError, match="front is the very thing that the baseline runs"):
        _tries_something(request, ready, images)


def test_containers_run_the_image_that_was_looked_up_whatever_its_name_means_by_now(tmp_path: Path) -> None:
    engine, journal = Engine(), Journal("r")
    arm = stack(
        engine, journal, {PLANE_IMAGE: "sha256:p", "shop/front:1": "sha256:f", "shop/back:1": "sha256:b"}
    )
    arm._create_networks()
    with pytest.raises(AttributeError):  # this engine publishes no port, so the plane cannot be asked
        arm._start_plane()
    for name in ENVIRONMENT.services:
        arm._start_service(name)
    assert [spec.image for spec in engine.started] == ["sha256:p", "sha256:f", "sha256:b"]


def test_the_report_says_which_files_an_arm_was_given() -> None:
    ready = prepared(
        service("front", "shop/front:1", files={"/model": b"old"}),
        service("front", "shop/front:1", files={"/model": b"new"}),
    )
    said = json.loads(_file_digests(ready))
    assert said["candidate"]["front"]["/model"] == hashlib.sha256(b"new").hexdigest()
    assert said["baseline"]["front"]["/model"] == hashlib.sha256(b"old").hexdigest()


@pytest.mark.parametrize(("set_by_s", "problems"), [(0, 0), (2, 1), (-2, 1)])
def test_a_wall_clock_that_was_set_is_a_hole_in_the_evidence(set_by_s: int, problems: int) -> None:
    recorder = Recorder()
    recorder.origin_wall_ns -= set_by_s * S
    _closing_facts({}, recorder)
    assert len(harness_errors(recorder)) == problems


def test_requests_long_after_a_unit_belong_to_none() -> None:
    recorder = Recorder()
    recorder.unit_started(STAMP, 5 * S)
    row = {
        "edge": "front->back",
        "request_id": "",
        "method": "GET",
        "path": "/",
        "status": 200,
        "duration_ms": 1.0,
        "bytes_to_caller": 1,
        "termination": "--",
        "fault": "",
    }
    times_s = (4, 6, 14, 15.2, 16, 60)
    recorder.edge_requests(
        Arm.BASELINE, [{**row, "at_wall_ns": recorder.origin_wall_ns + int(at_s * S)} for at_s in times_s]
    )
    units = recorder.history(None).edge_requests.column("unit").tolist()
    assert units == ["", "harm", "harm", "harm", "", ""]


@pytest.mark.parametrize(
    ("applied_s", "healing_s", "healed_s", "said"),
    [
        (2.1, 6, 6.1, []),
        (4.5, 6, 6.1, ["was on for 1.5 s of the planned 4.0 s"]),
        (2.1, 6, 12.5, ["was healed 2.5 s after the end of its unit"]),
    ],
)
def test_a_fault_that_did_not_keep_its_time_is_on_record(
    applied_s: float, healing_s: float, healed_s: float, said: list[str]
) -> None:
    recorder = Recorder()
    spans = Spans(S, *(int((1 + at_s) * S) for at_s in (2, applied_s, healing_s, healed_s)))
    runner(recorder)._kept_time(STAMP, spans, WINDOW)
    found = harness_errors(recorder)
    assert len(found) == len(said)
    assert all(words in error for words, error in zip(said, found, strict=True))


def test_a_fault_that_cannot_be_counted_any_more_is_healed_all_the_same() -> None:
    healed = []

    class Uncountable:
        def hits(self) -> Mapping[str, int]:
            raise EngineError("the counter is gone", "none")

        def heal(self) -> None:
            healed.append(True)

        def is_healed(self) -> bool:
            return True

    recorder = Recorder()
    runner(recorder)._heal(STAMP, Spans(0, 1, 2), WINDOW, Uncountable())
    assert healed
    assert recorder.history(None).events_of(EventKind.FAULT_FAILED)


def test_a_command_that_says_nothing_and_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    forever = threading.Event()

    def silence() -> Any:
        forever.wait(20)
        yield b"", b""

    api = SimpleNamespace(exec_create=lambda *_: {"Id": "e"}, exec_start=lambda *_, **__: silence())
    driver = DockerDriver()
    driver._local.client = SimpleNamespace(api=api)
    started = time.monotonic()
    with pytest.raises(DriverError, match=r"sleep 1000 in c: it took over 0\.2 s"):
        driver.execute("c", ("sleep", "1000"), timeout_s=0.2)
    assert time.monotonic() - started < 5
    forever.set()


def test_an_arm_that_is_given_up_does_not_wait_for_its_services(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = threading.Event()

    def never() -> ExecResult:
        tried.set()
        return ExecResult(1, b"", b"not yet")

    engine, ended = Engine(never), []
    arm = stack(engine, Journal("r"))
    monkeypatch.setattr(arm, "_start_plane", lambda: None)

    def up() -> None:
        try:
            arm.up()
        except Interrupted as error:
            ended.append(error)

    thread = threading.Thread(target=up, daemon=True)
    thread.start()
    assert tried.wait(10)
    arm.abandon()
    thread.join(5)
    assert ended
    assert {spec.name for spec in engine.started} <= set(engine.gone)


def test_a_journal_that_cannot_be_written_leaves_no_container_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, journal = Engine(), Journal("r")
    arm = stack(engine, journal)
    arm._create_networks()
    for name in ENVIRONMENT.services:
        arm._start_service(name)

    def full(*_: object) -> None:
        raise EngineError("no space left", "make room")

    monkeypatch.setattr(journal, "_write", full)
    child = SimpleNamespace(close=lambda: None)
    with pytest.raises(EngineError, match="not everything could be taken down"):
        _down({Arm.BASELINE: RunningArm(arm, child)})  # type: ignore[arg-type]
    assert set(engine.gone) == {
        *(arm.container(name) for name in ENVIRONMENT.services),
        *(f"rdy-r-baseline-{name}" for name in ("client", *ENVIRONMENT.services)),
    }


def test_a_file_cannot_hide_behind_a_name_that_reads_alike(tmp_path: Path) -> None:
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "a?").write_text("listed")
    Path(os.fsdecode(os.fsencode(folder) + b"/a\xff")).write_text("not listed")
    work = _Work(folder)
    _walk(work)
    assert [problem.file for problem in work.problems] == ["a?"]


def test_a_sweep_leaves_the_journal_of_a_run_that_just_begins(tmp_path: Path) -> None:
    begun = tmp_path / "state" / "runs" / "begun"
    begun.mkdir(parents=True)
    (begun / "journal.jsonl").touch()
    _forget(_journals(None), live=(), stubborn=())
    assert (begun / "journal.jsonl").exists()


def test_a_sweep_is_not_stopped_by_a_run_that_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state" / "runs" / "ended" / "journal.jsonl"
    monkeypatch.setattr(Path, "glob", lambda *_: [path])
    assert _journals(None) == {}
