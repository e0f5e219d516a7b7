"""Containers for a benchmark, made as a run makes them: journaled, labelled, and gone when the context ends.

Takes an environment, gives a stack that the benchmark brings up itself, because that is what it may want to time. What
a benchmark starts beside the stack carries the same labels, so `readiness doctor --sweep` finds all of it after a kill.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.driver.base import Driver
from harness.driver.docker import DockerDriver
from harness.environment.images import ensure_images
from harness.environment.journal import Journal
from harness.environment.services import ArmService, arm_services
from harness.environment.stack import LABEL_RUN, ArmStack
from harness.interrupts import interruptible
from harness.loading import Loaded
from harness.model.environment import Environment
from harness.plane.container import plane_image_request
from harness.standing import new_run_id
from synthetic import DatasetBundle
from tests.benchmarks.setting import Setting

ARM = "baseline"
REMOVAL_ROUNDS = 5


@dataclass(frozen=True)
class Graph:
    """A service graph whose images are there."""

    environment: Environment
    folder: Path
    services: Mapping[str, ArmService]

    def unseeded(self) -> Graph:
        """The same graph with empty stores."""
        definitions = {
            name: service.model_copy(update={"seed": None})
            for name, service in self.environment.services.items()
        }
        environment = self.environment.model_copy(update={"services": definitions})
        return Graph(environment, self.folder, arm_services(environment, self.folder))


def ready_graph(environment: Loaded[Environment], setting: Setting) -> Graph:
    """Read the services' files and have every image, so that neither falls into what is timed."""
    services = arm_services(environment.value, environment.path.parent)
    wanted = [plane_image_request(), *(service.image for service in services.values())]
    ensure_images(wanted, setting.progress.note)
    return Graph(environment.value, environment.path.parent, services)


@dataclass(frozen=True)
class Bench:
    """One run's id with the driver and the journal that go with it."""

    run_id: str
    driver: Driver
    journal: Journal

    def arm(self, graph: Graph, dataset: DatasetBundle | None = None) -> ArmStack:
        """A stack that is not up yet. Whoever brings it up need not take it down."""
        return ArmStack(
            driver=self.driver,
            journal=self.journal,
            run_id=self.run_id,
            arm=ARM,
            environment=graph.environment,
            services=graph.services,
            seed=0,
            dataset=dataset,
            environment_folder=graph.folder,
        )

    def remove_all(self) -> None:
        """Every container and network that carries the run's label. Idempotent."""
        for _ in range(
            REMOVAL_ROUNDS
        ):  # a compose that was interrupted may still have a container in the making
            owned = [item.split(" ", 1) for item in self.driver.owned(LABEL_RUN, self.run_id)]
            if not owned:
                break
            with ThreadPoolExecutor(max_workers=4) as pool:
                list(pool.map(self.driver.remove, [name for kind, name in owned if kind == "container"]))
            for name in [name for kind, name in owned if kind == "network"]:
                self.driver.remove_network(name)
        for item in self.journal.still_open():
            match item.split(" ", 1):
                case ["container", name]:
                    self.journal.undone("container", name)
                case ["network", name]:
                    self.journal.undone("network", name)


@contextmanager
def bench() -> Iterator[Bench]:
    """Within: make what you like under this run's label. Afterwards all of it is gone, however the context ended.

    Ctrl-C and SIGTERM raise Interrupted once; they do not stop the removal.
    """
    run_id = new_run_id()
    journal = Journal(run_id)
    found = Bench(run_id, DockerDriver(), journal)
    try:
        with interruptible() as interrupts:
            try:
                yield found
            finally:
                interrupts.undo_only()
                found.remove_all()
    finally:
        journal.close()
