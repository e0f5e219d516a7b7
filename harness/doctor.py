"""`readiness doctor`: what this machine can do, what each image will take, what runs left, and sweeping that up.

Takes environment files, gives a `DoctorReport` ready to be shown; front ends add no logic to it. Looks only: nothing is
pulled, built or removed, apart from one throwaway container that tries nftables.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.environment.host import (
    Capability,
    EngineFacts,
    HostFacts,
    capabilities,
    engine_facts,
    host_facts,
)
from harness.environment.image_bases import MAKERS
from harness.environment.image_engine import connect, local_image
from harness.environment.images import ImagePlan, ImageRequest, image_request, plan_images
from harness.errors import EngineError
from harness.loading import load_environment
from harness.model.environment import Environment
from harness.plane.container import plane_image_request
from harness.sweep import LeftOver, LiveRun, SweepReport, remains, sweep

__all__ = ["DoctorReport", "SweepReport", "Tool", "inspect", "sweep"]

LEAST_FREE_DISK_BYTES = 4 * 2**30
ADMIN_PATHS = "/usr/local/sbin:/usr/sbin:/sbin"


@dataclass(frozen=True)
class Tool:
    """A program outside Python. `path` None: not installed, which matters only for `needed_for`."""

    name: str
    path: str | None
    needed_for: str


@dataclass(frozen=True)
class DoctorReport:
    """Everything `doctor` found. `problems` are what would stop a run, in the user's words; none: it can start."""

    host: HostFacts
    engine: EngineFacts | None
    capabilities: tuple[Capability, ...]
    tools: tuple[Tool, ...]
    images: tuple[ImagePlan, ...]
    left_over: tuple[LeftOver, ...]
    live: tuple[LiveRun, ...]
    problems: tuple[str, ...]

    @property
    def images_expected_s(self) -> float:
        """About how long the missing images will take, one after another."""
        return sum(image.expected_s for image in self.images)

    @property
    def healthy(self) -> bool:
        return not self.problems


def inspect(environments: Sequence[Path] = ()) -> DoctorReport:
    """Look at machine, engine, images of these environments and left-overs. Raises DefinitionError for bad files."""
    loaded = [load_environment(path) for path in environments]
    requests = [plane_image_request(), *(ImageRequest(reference) for reference in MAKERS)]
    for item in loaded:
        requests += _requests(item.value, item.path.parent)
    host = host_facts()
    problems: list[str] = []
    try:
        engine, probed = _engine()
        images, found = plan_images(requests), remains()
    except EngineError as error:
        return DoctorReport(host, None, (), _tools(), (), (), (), (f"{error.what}; {error.fix}",))
    problems += _lacking(probed)
    problems += [
        f"image {image.reference!r} cannot be had: {image.reason}"
        for image in images
        if image.how == "missing"
    ]
    problems += _too_small(host, [item.value for item in loaded])
    return DoctorReport(host, engine, probed, _tools(), images, found.left_over, found.live, tuple(problems))


def _requests(environment: Environment, folder: Path) -> list[ImageRequest]:
    return [image_request(service.image, service.build, folder) for service in environment.services.values()]


def _engine() -> tuple[EngineFacts, tuple[Capability, ...]]:
    """Probes inside the plane's image when the engine has it already; else from outside."""
    client = connect()
    try:
        engine = engine_facts(client)
        plane = plane_image_request().reference
        return engine, capabilities(client, engine, plane if local_image(client, plane) is not None else None)
    finally:
        client.close()


def _lacking(probed: Sequence[Capability]) -> list[str]:
    return [
        f"the kernel or engine lacks {item.name}, needed for {item.needed_for} ({item.how})"
        for item in probed
        if item.supported is False and item.name != "netem"
    ]


def _too_small(host: HostFacts, environments: Sequence[Environment]) -> list[str]:
    """One arm must fit, whatever the arms do to take turns."""
    problems = []
    if host.free_disk_bytes < LEAST_FREE_DISK_BYTES:
        problems.append(
            f"{host.free_disk_bytes / 2**30:.1f} GiB free in {host.state_folder}; "
            f"a run may need {LEAST_FREE_DISK_BYTES / 2**30:.0f} GiB"
        )
    for environment in environments:
        wanted = sum(service.limits.memory.bytes for service in environment.services.values())
        if wanted > host.memory_bytes:
            problems.append(
                f"one arm of environment {environment.environment!r} may use {wanted / 2**30:.1f} GiB of memory, "
                f"the machine has {host.memory_bytes / 2**30:.1f} GiB"
            )
    return problems


def _tools() -> tuple[Tool, ...]:
    wanted = (
        ("debootstrap", "making debian:bookworm-slim where no registry answers"),
        ("go", "making Toxiproxy's image where no registry answers"),
    )
    path = f"{os.environ.get('PATH', os.defpath)}:{ADMIN_PATHS}"
    return tuple(Tool(name, shutil.which(name, path=path), needed_for) for name, needed_for in wanted)
