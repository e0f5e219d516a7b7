"""What each service of each arm really is: the environment's definition overlaid by the change's version.

Takes environment and change with the folders that their relative paths stand for, gives `ArmService`s with every file
read, so that nothing is looked up once containers start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.environment.images import ImageRequest, image_request
from harness.model.change import Change, Version
from harness.model.environment import Environment, Service
from harness.model.plan import Arm


@dataclass(frozen=True)
class ArmService:
    """One service as one arm runs it. `files` maps paths in the container to their content."""

    name: str
    definition: Service
    image: ImageRequest
    command: tuple[str, ...] | None
    variables: Mapping[str, str]
    files: Mapping[str, bytes]


def arm_services(
    environment: Environment,
    environment_folder: Path,
    change: Change | None = None,
    change_folder: Path | None = None,
    arm: Arm = Arm.BASELINE,
    read: Callable[[Path], bytes] = Path.read_bytes,
) -> dict[str, ArmService]:
    """All services of one arm. Paths are resolved against the file that names them."""
    services = {}
    for name, definition in environment.services.items():
        version = _version(change, name, arm)
        folder = change_folder if change_folder is not None else environment_folder
        files = {path: read(environment_folder / source) for path, source in definition.files.items()}
        files |= {path: read(folder / source) for path, source in version.files.items()}
        services[name] = ArmService(
            name=name,
            definition=definition,
            image=_image(definition, environment_folder, version, folder),
            command=version.command or definition.command,
            variables={**definition.variables, **version.variables},
            files=files,
        )
    return services


def _version(change: Change | None, service: str, arm: Arm) -> Version:
    """What the change says about this service in this arm; an empty version where it says nothing."""
    touched = change.services.get(service) if change is not None else None
    version = None
    if touched is not None:
        version = touched.candidate if arm is Arm.CANDIDATE else touched.baseline
    return version or Version.model_construct()


def _image(definition: Service, folder: Path, version: Version, version_folder: Path) -> ImageRequest:
    """The version's image with its own build, else the environment's."""
    if version.image is not None:
        return image_request(version.image, version.build, version_folder)
    return image_request(definition.image, definition.build, folder)
