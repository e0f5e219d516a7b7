"""Make sure that every image of a run is there: present, else pulled, else built.

Takes `ImageRequest`s (a name as users write it, and how to build it where that is given), gives an `ImageSource` for
each of them and for the images they stand on. An image with a `build:` carries the digest of everything that went
into it in the label `readiness.build`; one whose digest differs from today's files is built again, because a verdict
about yesterday's code would be a false one.
"""

from __future__ import annotations

import graphlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.environment.image_bases import BUILD_LABEL, DEBIAN, MAKERS, TOXIPROXY
from harness.environment.image_context import BuildContext, BuildRequest, read_context
from harness.environment.image_engine import (
    LocalImage,
    connect,
    local_image,
    pull,
    registries,
    registry_of,
    remove_nameless,
    run_build,
)
from harness.errors import DefinitionError, EngineError, Location, Problem
from harness.locks import one_at_a_time
from harness.model.environment import Build

if TYPE_CHECKING:
    import docker

__all__ = [
    "BUILD_LABEL",
    "DEBIAN",
    "TOXIPROXY",
    "BuildRequest",
    "ImagePlan",
    "ImageRequest",
    "ImageSource",
    "ensure_images",
    "image_request",
    "plan_images",
]

LOCK_LIMIT_S = 1800
EXPECTED_BUILD_S = 40
EXPECTED_PULL_S = 20

How = Literal["present", "pulled", "built"]
Progress = Callable[[str], None]


@dataclass(frozen=True)
class ImageRequest:
    """An image that a definition names. Without `build` it must be present, pullable or one we know how to make."""

    reference: str
    build: BuildRequest | None = None


@dataclass(frozen=True)
class ImageSource:
    """Where an image came from. `build_digest` is `sha256:...` of what went in, None for images built elsewhere."""

    reference: str
    image_id: str
    how: How
    seconds: float
    build_digest: str | None


@dataclass(frozen=True)
class ImagePlan:
    """What `ensure_images` would do. `how` is `missing` when nothing can supply the image; `reason` says why."""

    reference: str
    how: Literal["present", "pull", "build", "missing"]
    reason: str
    expected_s: float


@dataclass(frozen=True)
class _Wanted:
    """An image with what it takes to build it (read once) and the digest it should have."""

    reference: str
    context: BuildContext | None
    digest: str | None


def image_request(reference: str, build: Build | None, root: Path) -> ImageRequest:
    """From a definition: `root` is the folder of the file that names the image."""
    if build is None:
        return ImageRequest(reference)
    return ImageRequest(
        reference,
        BuildRequest(
            context=(root / build.context).resolve(),
            dockerfile=build.dockerfile,
            args=tuple(sorted(build.args.items())),
            package_files=tuple(sorted(build.package_files.items())),
        ),
    )


def ensure_images(
    requests: Sequence[ImageRequest], progress: Callable[[str], None] = lambda _line: None
) -> dict[str, ImageSource]:
    """Have every image, and the images they stand on, in the engine; by reference.

    Raises DefinitionError for definitions that cannot be built (all of them at once, before anything is started) and
    EngineError when the engine, a pull or a build fails. Only one process at a time pulls or builds.
    """
    wanted = _in_order(requests)
    client = connect()
    try:
        sources = _all_present(client, wanted)
        if sources is not None:
            return sources
        with one_at_a_time("images", "getting images", LOCK_LIMIT_S, progress):
            return {image.reference: _ensure(client, image, progress) for image in wanted}
    finally:
        client.close()


def plan_images(requests: Sequence[ImageRequest]) -> tuple[ImagePlan, ...]:
    """What each image would take, bases first; asks registries (bounded) but pulls and builds nothing."""
    wanted = _in_order(requests)
    client = connect()
    try:
        return tuple(_plan(client, image) for image in wanted)
    finally:
        client.close()


def _in_order(requests: Sequence[ImageRequest]) -> tuple[_Wanted, ...]:
    """Bases before what stands on them. Raises DefinitionError for all bad builds together, or for a circle."""
    problems: list[Problem] = []
    contexts: dict[str, BuildContext | None] = {}
    builds: dict[str, BuildRequest | None] = {}
    for request in requests:
        earlier = builds.get(request.reference)
        if earlier is not None and request.build is not None and earlier != request.build:
            problems.append(
                Problem(
                    Location(str(request.build.context)),
                    f"image {request.reference!r} has two different builds (the other is in {earlier.context})",
                    "give one of the two another name or tag",
                )
            )
            continue
        if request.build is not None and earlier is None:
            try:
                contexts[request.reference] = read_context(request.reference, request.build)
            except DefinitionError as error:
                problems.extend(error.problems)
        else:
            contexts.setdefault(request.reference, None)
        builds[request.reference] = request.build or earlier
    if problems:
        raise DefinitionError(problems)
    graph = {name: set(context.bases) if context else set() for name, context in contexts.items()}
    try:
        order = tuple(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        circle = " -> ".join(map(repr, error.args[1]))
        raise DefinitionError.at(
            "image builds", f"these images stand on each other: {circle}", "break the circle"
        ) from None
    return _with_digests(order, contexts)


def _with_digests(order: Sequence[str], contexts: Mapping[str, BuildContext | None]) -> tuple[_Wanted, ...]:
    digests: dict[str, str] = {}
    wanted = []
    for reference in order:
        context = contexts.get(reference)
        if context is not None:
            digests[reference] = context.digest(digests)
        wanted.append(_Wanted(reference, context, digests.get(reference)))
    return tuple(wanted)


def _fresh(image: _Wanted, found: LocalImage | None) -> bool:
    """Present counts only when it was built from today's files (or is not ours to build)."""
    return found is not None and (image.digest is None or found.build_digest == image.digest)


def _all_present(client: docker.APIClient, wanted: Sequence[_Wanted]) -> dict[str, ImageSource] | None:
    """The quick way out, without the lock: everything is there and fresh."""
    sources = {}
    for image in wanted:
        found = local_image(client, image.reference)
        if found is None or not _fresh(image, found):
            return None
        sources[image.reference] = ImageSource(
            image.reference, found.image_id, "present", 0.0, found.build_digest
        )
    return sources


def _ensure(client: docker.APIClient, image: _Wanted, progress: Progress) -> ImageSource:
    started = time.monotonic()
    found = local_image(client, image.reference)
    how: How = "present"
    if not _fresh(image, found):
        stale = found
        how = _obtain(client, image, progress)
        found = local_image(client, image.reference)
        if stale is not None and stale.build_digest is not None:
            remove_nameless(client, stale.image_id)
    if found is None:
        raise EngineError(
            f"image {image.reference!r} was {how} and the engine does not have it",
            "is another process removing images, or the engine's disk full?",
        )
    seconds = time.monotonic() - started
    if how != "present":
        progress(f"{image.reference}: {how} in {seconds:.1f} s")
    return ImageSource(image.reference, found.image_id, how, seconds, found.build_digest)


def _obtain(client: docker.APIClient, image: _Wanted, progress: Progress) -> How:
    """Pull, else build, else make; raises EngineError saying what was tried."""
    why_not = None
    if _worth_pulling(image):
        why_not = pull(client, image.reference, progress)
        if why_not is None and _fresh(image, local_image(client, image.reference)):
            return "pulled"
    if image.context is not None and image.digest is not None:
        run_build(client, image.reference, image.context, image.digest, progress)
        return "built"
    maker = MAKERS.get(image.reference)
    obstacle = maker.obstacle() if maker else None
    if maker is None or obstacle is not None:
        raise _nobody_supplies(image.reference, why_not, obstacle)
    maker.make(client, progress)
    return "built"


def _worth_pulling(image: _Wanted) -> bool:
    """With a build, only a registry that the name spells out is asked: a short name could be anyone's."""
    return image.context is None or bool(registry_of(image.reference))


def _nobody_supplies(reference: str, why_not: str | None, obstacle: str | None) -> EngineError:
    made = f", and it cannot be made here: {obstacle}" if obstacle else ""
    fix = "install what is missing" if obstacle else "correct the name, give it a `build:`"
    return EngineError(
        f"image {reference!r} is not present and could not be pulled: {why_not}{made}",
        f"{fix}, or load the image with `docker load`",
    )


def _plan(client: docker.APIClient, image: _Wanted) -> ImagePlan:
    found = local_image(client, image.reference)
    if _fresh(image, found):
        return ImagePlan(
            image.reference, "present", "built from these files" if image.digest else "in the engine", 0.0
        )
    why_not = registries().why_not(client, image.reference) if _worth_pulling(image) else None
    if _worth_pulling(image) and why_not is None:
        return ImagePlan(image.reference, "pull", "the registry has it", EXPECTED_PULL_S)
    if image.context is not None:
        reason = "what is there was not built from today's files" if found else "from its build context"
        return ImagePlan(image.reference, "build", reason, EXPECTED_BUILD_S)
    maker = MAKERS.get(image.reference)
    obstacle = maker.obstacle() if maker else None
    if maker is not None and obstacle is None:
        return ImagePlan(image.reference, "build", f"{maker.describe}; {why_not}", maker.expected_s)
    return ImagePlan(image.reference, "missing", "; ".join(text for text in (why_not, obstacle) if text), 0.0)
