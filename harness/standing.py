"""An environment standing on its own: one arm, no change, no load, for `readiness up` and tests written in Python.

Takes an environment file (and a dataset definition where it seeds), gives a healthy stack for as long as the context
lasts. The same images, networks, plane and seeding as in a run; only the arms are fewer.
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import synthetic
from harness.driver.base import Driver
from harness.driver.docker import DockerDriver
from harness.environment.images import ensure_images
from harness.environment.journal import Journal
from harness.environment.services import arm_services
from harness.environment.stack import ArmStack
from harness.interrupts import interruptible
from harness.loading import load_dataset, load_environment
from harness.model.plan import Arm
from harness.plane.container import plane_image_request
from harness.progress import Progress


@dataclass(frozen=True)
class StandingEnvironment:
    """A stack that is up. `entries` maps each entry to its base URL on this machine."""

    run_id: str
    stack: ArmStack
    entries: Mapping[str, str]


def new_run_id() -> str:
    """Unique and sortable: UTC time to the second and three random bytes."""
    return f"{dt.datetime.now(dt.UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


@contextmanager
def standing(
    environment_path: Path,
    progress: Progress,
    dataset_path: Path | None = None,
    seed: int = 0,
    driver: Driver | None = None,
) -> Iterator[StandingEnvironment]:
    """Stand the environment up; everything is removed when the context ends, however it ends.

    Raises DefinitionError for a bad definition and EngineError when a service does not become healthy.
    """
    progress.stage("definitions")
    environment = load_environment(environment_path)
    dataset = None
    if dataset_path is not None:
        definition = load_dataset(dataset_path)
        dataset = synthetic.find_or_build(definition.path, definition.value, progress.note)
    services = arm_services(environment.value, environment.path.parent)
    progress.stage("images")
    ensure_images([plane_image_request(), *(service.image for service in services.values())], progress.note)
    run_id = new_run_id()
    journal = Journal(run_id)
    stack = ArmStack(
        driver=driver if driver is not None else DockerDriver(),
        journal=journal,
        run_id=run_id,
        arm=Arm.BASELINE.value,
        environment=environment.value,
        services=services,
        seed=seed,
        dataset=dataset,
        environment_folder=environment.path.parent,
        progress=progress.note,
    )
    try:
        with interruptible() as interrupts:
            try:
                progress.stage(f"{len(services)} services up")
                stack.up()
                entries = {name: stack.entry_url(name) for name in environment.value.entries}
                yield StandingEnvironment(run_id, stack, entries)
            finally:
                interrupts.undo_only()
                progress.stage("taking it down")
                stack.down()
    finally:
        journal.close()
