"""A small project of definitions, and what stands in for the engine in it: everything but containers is real.

`write_project` puts environment, scenario and recording into a folder, `write_change` a change beside them. `run_change`
takes the place of `harness.run.run_change`: the change's name says how it ends, and a line in `started.txt` that it began.
`standing` takes the place of `harness.standing.standing` and tells its ups and downs to `standing.txt`. Whoever imports this
has the engine imported, which must be so before pytester runs a session in this process: numpy cannot be imported twice.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

from harness.errors import EngineError
from harness.interrupts import interruptible
from harness.loading import load_change, load_environment, load_scenario
from harness.progress import Progress
from harness.run import RunRequest, RunResult
from harness.standing import StandingEnvironment
from tests.unit.test_report_sample import sample

STARTED = "started.txt"
STANDING = "standing.txt"
ENDINGS = {
    "ready": sample(),
    "not-ready": sample(failing=True),
    "unknown": sample(empty=True),
}
"""How runs end; what a change's name begins with picks one."""
ROOT = Path(__file__).parents[2]

ENVIRONMENT = """\
environment: shop
services:
  shop: {image: "shop:1", health: {port: 8080}}
  stock: {image: "stock:1", health: {port: 8080}}
edges:
  - {from: shop, to: stock, port: 8080, protocol: http, tolerance: {timeout: 1s}}
entries:
  api: {to: shop, port: 8080}
"""
SCENARIO = """\
scenario: steady
environment: ../environments/shop/environment.yaml
recording: traffic.ndjson
timeline:
  - steady: calm
    for: 10s
checks:
  - check: availability
"""
CHANGE = """\
change: {name}
title: New prices
why: They are better.
intended_outcome: Nobody notices.
scenarios: [{scenarios}]
services:
  shop: {{candidate: {{image: "shop:2"}}}}
owners: {{change_sponsor: Ann, data_steward: Bob, model_validator: Cyd, service_owner: Dee}}
"""
CONFTEST = """\
import pytest


@pytest.fixture(scope="session", autouse=True)
def engine_stands_in():
    from tests.plugin import stand_in

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.run.run_change", stand_in.run_change)
        patch.setattr("harness.standing.standing", stand_in.standing)
        yield
"""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(text), encoding="utf-8")
    return path


def write_project(folder: Path) -> None:
    """Definitions without any change, and a conftest that puts the stand-ins in place."""
    write(folder / "conftest.py", CONFTEST)
    write(folder / "environments/shop/environment.yaml", ENVIRONMENT)
    write(folder / "scenarios/steady.scenario.yaml", SCENARIO)
    write(folder / "scenarios/traffic.ndjson", "")


def write_change(path: Path, name: str | None = None, scenarios: str = "../steady.scenario.yaml") -> Path:
    """A change, named as its file unless said otherwise."""
    return write(
        path, CHANGE.format(name=name or path.name.removesuffix(".change.yaml"), scenarios=scenarios)
    )


def run_change(request: RunRequest, progress: Progress) -> tuple[RunResult, ...]:
    """A run that ends as the change's name says."""
    name = load_change(request.change).value.change
    with Path(STARTED).open("a", encoding="utf-8") as started:
        started.write(f"{request}\n")
    progress.stage("definitions")
    progress.note("a note")
    print("printed by the engine")
    if name == "broken":
        try:
            raise ConnectionError("the engine hung up")
        except ConnectionError as error:
            raise EngineError("the engine went away", "start it again") from error
    if name == "nothing":
        return ()
    if name == "interrupted":
        with interruptible():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)
    return tuple(_result(request, path, name) for path in request.scenarios or (Path("x.scenario.yaml"),))


def _result(request: RunRequest, scenario: Path, name: str) -> RunResult:
    found = ENDINGS[next(ending for ending in ENDINGS if name.startswith(ending))]
    plan = found.case.plan.model_copy(
        update={"change": name, "scenario": load_scenario(scenario).value.scenario}
    )
    assert request.out is not None
    seed = 7 if request.seed is None else request.seed
    return RunResult(
        case=found.case.model_copy(update={"plan": plan}),
        verdict=found.verdict,
        findings=found.findings,
        report=request.out / f"{name}-{plan.scenario}",
        seed=seed,
        repeat_command=f"readiness run {request.change} --scenario {scenario} --seed {seed}",
        logs={
            "baseline/shop": "baseline is well\n",
            "candidate/shop": "".join(f"line {number}\n" for number in range(100)),
            "candidate/stock": "",
        },
    )


@contextmanager
def standing(
    environment_path: Path, progress: Progress, dataset_path: Path | None = None
) -> Iterator[StandingEnvironment]:
    """What `harness.standing.standing` does with signals, without what it does with containers."""
    name = load_environment(environment_path).value.environment
    _tell(f"try {name}")
    with interruptible() as interrupts:
        if dataset_path is not None:
            raise EngineError(f"{dataset_path} does not fit", "take another one")
        _tell(f"up {name}")
        progress.stage("2 services up")
        try:
            yield StandingEnvironment("run-1", None, {"api": "http://127.0.0.1:1"})  # type: ignore[arg-type]
        finally:
            interrupts.undo_only()
            _tell(f"down {name}, protected: {signal.getsignal(signal.SIGINT) == interrupts.handle}")


def _tell(text: str) -> None:
    with Path(STANDING).open("a", encoding="utf-8") as told:
        told.write(f"{text}\n")
