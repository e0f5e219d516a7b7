"""A run, read aloud: definitions -> plan -> arms up -> replay ∥ faults ∥ witness -> history -> verdict -> report.

Takes a `RunRequest`, gives one `RunResult` per scenario of the change. Everything right of the history is computed by
`harness.checks` and `harness.report` alone, exactly as `readiness verify` does it later.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import random
import shlex
import tempfile
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from harness import __version__
from harness.checks import decide, judge
from harness.driver.base import Driver
from harness.driver.docker import DockerDriver
from harness.environment.images import ImageSource, ensure_images
from harness.environment.journal import Journal
from harness.environment.stack import LABEL_RUN, ArmStack, UnhealthyError
from harness.errors import DefinitionError, EngineError
from harness.interrupts import interruptible
from harness.loading import load_change
from harness.locks import one_at_a_time
from harness.model.case import Case
from harness.model.findings import Finding, Verdict
from harness.model.history import EventKind, History
from harness.model.plan import Arm
from harness.plane.container import plane_image_request
from harness.prepare import Prepared, prepare, scenario_paths
from harness.progress import Progress
from harness.recorder import Recorder
from harness.recording.sessions.planning import plan_all
from harness.recording.sessions.steps import Steps
from harness.replay.crew.crew import ReplayCrew
from harness.replay.crew.staff import CrewSetup
from harness.replay.generator import ReplayChild
from harness.report import RunMeta, SigningKey, as_written, load_or_make_key, write_bundle
from harness.standing import new_run_id
from harness.turns import RunningArm, TurnRunner

DEFAULT_OUT = Path("readiness-reports")
REPORT_BYTES = 8_000_000
"""Room that a report of an ordinary run takes."""
SERVICE_FILES = "service-files.json"
"""Beside the definitions in the report: digests of the files that services were given."""
WALL_DRIFT_LIMIT_MS = 250
"""How far the wall clock may move during a run: half of what is kept free on the near side of a fault."""
QUEUE_LIMIT_S = 3600
"""How long a run waits for its turn: two at once on one machine would measure each other."""


@dataclass(frozen=True)
class RunRequest:
    """What a user asked for. `seed` None: one is drawn and printed. `out` None: `./readiness-reports`."""

    change: Path
    scenarios: tuple[Path, ...] = ()
    policy: Path | None = None
    seed: int | None = None
    out: Path | None = None
    key: Path | None = None


@dataclass(frozen=True)
class RunResult:
    """One report. `logs` are the containers' last lines, `arm/service` -> text."""

    case: Case
    verdict: Verdict
    findings: tuple[Finding, ...]
    report: Path
    seed: int
    repeat_command: str
    logs: Mapping[str, str]


def run_change(
    request: RunRequest, progress: Progress, driver: Driver | None = None
) -> tuple[RunResult, ...]:
    """Run a change through each of its scenarios and write one signed report for each.

    Raises DefinitionError for bad input (before anything is started), EngineError when the machinery fails and
    Interrupted on Ctrl-C; in each case everything that was started is removed.
    """
    progress.stage("definitions")
    out = request.out if request.out is not None else DEFAULT_OUT
    seed = request.seed if request.seed is not None else random.SystemRandom().randrange(2**31)
    change = load_change(request.change)
    prepared = [
        prepare(change, path, request.policy, seed, progress.note)
        for path in scenario_paths(change, request.scenarios)
    ]
    _can_write(out)
    key = load_or_make_key(request.key)
    if key.notice:
        progress.note(key.notice)
    chosen = driver if driver is not None else DockerDriver()
    chosen.ping()
    return tuple(_run_scenario(request, item, out, key, chosen, progress) for item in prepared)


def _can_write(out: Path) -> None:
    """Found out before the run rather than after it. Raises EngineError; an empty folder may stay."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out) as file:
            file.write(bytes(REPORT_BYTES))
    except OSError as error:
        raise EngineError(
            f"no report could be written to {out}: {error.strerror or error}",
            f"make room there ({REPORT_BYTES / 1e6:.0f} MB), or name another folder with --out",
        ) from error


def _run_scenario(
    request: RunRequest, prepared: Prepared, out: Path, key: SigningKey, driver: Driver, progress: Progress
) -> RunResult:
    run_id = new_run_id()
    repeat_command = _repeat_command(request, prepared.plan.seed)
    progress.note(f"run {run_id}, seed {prepared.plan.seed}; repeat it with: {repeat_command}")
    progress.stage("images")
    images = _images(prepared, progress)
    _tries_something(request, prepared, images)
    with one_at_a_time("run", "measuring on this machine", QUEUE_LIMIT_S, progress.note):
        history, logs = _record(prepared, images, run_id, driver, progress)
    progress.stage("checks")
    case = Case(
        environment=prepared.environment,
        change=prepared.change,
        plan=prepared.plan,
        policy=prepared.policy,
        answers_schema=prepared.answers_schema,
        images=_image_facts(prepared, images),
    )
    history = as_written(history)  # judge exactly what `verify` will read
    findings = judge(case, history)
    verdict = decide(case, findings)
    progress.stage("report")
    report = write_bundle(
        out / f"{prepared.plan.change}-{prepared.plan.scenario}-{run_id}",
        case,
        history,
        findings,
        verdict,
        {**prepared.definitions, SERVICE_FILES: _file_digests(prepared)},
        logs,
        RunMeta(
            run_id=run_id,
            seed=prepared.plan.seed,
            engine_version=__version__,
            evaluated_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            repeat_command=repeat_command,
        ),
        key,
    )
    return RunResult(case, verdict, findings, report, prepared.plan.seed, repeat_command, logs)


def _record(
    prepared: Prepared, images: Mapping[str, ImageSource], run_id: str, driver: Driver, progress: Progress
) -> tuple[History, dict[str, str]]:
    """Everything between the plan and the history. All that was started is gone when this returns or raises."""
    recorder = Recorder()
    journal = Journal(run_id)
    arms: dict[Arm, RunningArm] = {}
    logs: dict[str, str] = {}
    try:
        with (
            interruptible() as interrupts,
            tempfile.TemporaryDirectory(prefix=f"readiness-{run_id}-") as work,
        ):
            arms = _arms(prepared, images, run_id, driver, journal, Path(work), progress)
            try:
                if _up(arms, recorder, journal, progress):
                    progress.stage(f"timeline, arms {prepared.plan.mode}: {prepared.plan.mode_reason}")
                    TurnRunner(
                        prepared.plan,
                        prepared.recording,
                        arms,
                        recorder,
                        journal,
                        progress.note,
                        _steps(prepared),
                    ).run()
                    _closing_facts(arms, recorder)
                logs = _logs(arms)
            finally:
                interrupts.undo_only()
                progress.stage("taking the arms down")
                _down(arms)
        left = driver.owned(LABEL_RUN, run_id)
        left += tuple(item for item in journal.still_open() if item not in left)
        recorder.event(EventKind.WORLD, clean=not left, left=list(left))
    finally:
        journal.close()
    labels = prepared.dataset.labels() if prepared.dataset is not None else None
    return recorder.history(labels), logs


def _arms(
    prepared: Prepared,
    images: Mapping[str, ImageSource],
    run_id: str,
    driver: Driver,
    journal: Journal,
    work: Path,
    progress: Progress,
) -> dict[Arm, RunningArm]:
    image_ids = {reference: source.image_id for reference, source in images.items()}
    return {
        arm: RunningArm(
            ArmStack(
                driver=driver,
                journal=journal,
                run_id=run_id,
                arm=arm.value,
                environment=prepared.environment,
                services=services,
                seed=prepared.plan.seed,
                dataset=prepared.dataset,
                environment_folder=prepared.environment_folder,
                progress=progress.note,
                image_ids=image_ids,
            ),
            _generator(arm.value, work / arm.value, prepared.scenario.workers),
        )
        for arm, services in prepared.services.items()
    }


def _steps(prepared: Prepared) -> Mapping[int, Steps] | None:
    """What each request of the timeline takes from earlier live answers; None where no sessions are kept up."""
    if prepared.sessions is None:
        return None
    stop_seq = max(unit.stop_seq for unit in prepared.plan.units)
    return plan_all(prepared.recording.slice(0, stop_seq), prepared.sessions)


def _generator(arm: str, work: Path, workers: int) -> ReplayChild | ReplayCrew:
    return ReplayChild(arm, work) if workers == 1 else ReplayCrew(arm, work, CrewSetup(workers))


def _up(arms: Mapping[Arm, RunningArm], recorder: Recorder, journal: Journal, progress: Progress) -> bool:
    """Start all arms and generators at once. False when the candidate alone is never healthy: that is evidence."""
    progress.stage(f"{len(arms)} arms up: {', '.join(arms)}")
    with ThreadPoolExecutor(max_workers=2 * len(arms)) as pool:
        try:
            generators = [pool.submit(_start_generator, running, journal) for running in arms.values()]
            stacks = {arm: pool.submit(running.stack.up) for arm, running in arms.items()}
            for generator in generators:
                generator.result()
            came_up = [_came_up(arm, stack, recorder, progress) for arm, stack in stacks.items()]
            return all(came_up)
        except BaseException:
            for running in arms.values():
                running.stack.abandon()
            raise


def _came_up(arm: Arm, stack: Future[None], recorder: Recorder, progress: Progress) -> bool:
    """Wait for one arm; False for a candidate that is never healthy."""
    try:
        stack.result()
    except UnhealthyError as error:
        if arm is not Arm.CANDIDATE:
            raise
        progress.note(str(error))
        recorder.event(
            EventKind.CONTAINER,
            arm=arm,
            subject=error.service,
            state="unhealthy",
            error=error.what,
            expected=False,
        )
        return False
    recorder.event(EventKind.ARM_UP, arm=arm)
    return True


def _start_generator(running: RunningArm, journal: Journal) -> None:
    running.child.start()
    pids = running.child.pids if isinstance(running.child, ReplayCrew) else (running.child.pid,)
    for number, pid in enumerate(pids):
        journal.process(f"generator {running.stack.arm}" + (f" worker-{number}" if number else ""), pid)


def _closing_facts(arms: Mapping[Arm, RunningArm], recorder: Recorder) -> None:
    """What is only known at the end of the timeline: requests on the edges, lost log lines, strangers on networks."""
    drift_ms = recorder.wall_drift_ns() / 1e6
    if abs(drift_ms) > WALL_DRIFT_LIMIT_MS:
        error = f"the machine's wall clock was set by {drift_ms:+.0f} ms: the planes' logs cannot be told into phases"
        recorder.event(EventKind.HARNESS, error=error)
    for arm, running in arms.items():
        plane = running.stack.plane
        recorder.edge_requests(arm, plane.log_rows())
        recorder.event(EventKind.LOG_DROPPED, arm=arm, dropped=plane.dropped_log_lines())
        recorder.event(
            EventKind.ISOLATION,
            arm=arm,
            unexpected=list(running.stack.unexpected_attachments()),
            containers=len(running.stack.services),
        )


def _logs(arms: Mapping[Arm, RunningArm]) -> dict[str, str]:
    return {
        f"{arm}/{service}": text
        for arm, running in arms.items()
        for service, text in running.stack.logs(tail=200).items()
        if service != "plane"
    }


def _down(arms: Mapping[Arm, RunningArm]) -> None:
    """Everything of every arm, whatever happens to the others; the first error is raised at the end."""

    def down(running: RunningArm) -> EngineError | None:
        running.child.close()
        try:
            running.stack.down()
        except EngineError as error:
            return error
        return None

    with ThreadPoolExecutor(max_workers=max(len(arms), 1)) as pool:
        errors = [error for error in pool.map(down, arms.values()) if error is not None]
    if errors:
        raise EngineError(
            f"not everything could be taken down: {errors[0].what}",
            "run `readiness doctor --sweep` when the engine answers again",
        ) from errors[0]


def _images(prepared: Prepared, progress: Progress) -> dict[str, ImageSource]:
    """Every build of a name is asked for, so that two of one name are refused rather than one taken for the other."""
    requests = [service.image for services in prepared.services.values() for service in services.values()]
    return ensure_images([plane_image_request(), *dict.fromkeys(requests)], progress.note)


def _tries_something(request: RunRequest, prepared: Prepared, images: Mapping[str, ImageSource]) -> None:
    """Raises DefinitionError when a candidate, its image and files once there, is what the baseline runs."""

    def runs(arm: Arm, name: str) -> tuple[object, ...]:
        service = prepared.services[arm][name]
        return images[service.image.reference].image_id, service.command, service.variables, service.files

    same = [
        name for name in prepared.change.services if runs(Arm.CANDIDATE, name) == runs(Arm.BASELINE, name)
    ]
    if same:
        raise DefinitionError.at(
            request.change,
            f"the candidate of {', '.join(same)} is the very thing that the baseline runs: same image id, command, "
            "variables and files",
            "name the image of the change (is its tag one that was built before?), or leave the service out",
        )


def _image_facts(prepared: Prepared, images: Mapping[str, ImageSource]) -> dict[str, dict[str, str]]:
    """Per arm and service the image's reference and id: what really ran."""
    return {
        arm.value: {
            name: f"{service.image.reference} {images[service.image.reference].image_id}"
            for name, service in services.items()
        }
        for arm, services in prepared.services.items()
    }


def _file_digests(prepared: Prepared) -> bytes:
    """Per arm, service and path in the container the SHA-256 of the file that was put there: definitions name it only."""
    digests = {
        arm.value: {
            name: {path: hashlib.sha256(content).hexdigest() for path, content in service.files.items()}
            for name, service in services.items()
            if service.files
        }
        for arm, services in prepared.services.items()
    }
    return json.dumps(digests, indent=2, sort_keys=True).encode() + b"\n"


def _repeat_command(request: RunRequest, seed: int) -> str:
    words = ["readiness", "run", str(request.change)]
    for scenario in request.scenarios:
        words += ["--scenario", str(scenario)]
    if request.policy is not None:
        words += ["--policy", str(request.policy)]
    return shlex.join([*words, "--seed", str(seed)])
