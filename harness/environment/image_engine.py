"""The few things that images ask of a Docker engine, each with a limit: look, pull, build.

Takes a docker-py API client and references; gives image ids and labels, or an EngineError with the last output.
"""

from __future__ import annotations

import functools
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.environment.image_bases import BUILD_LABEL
from harness.environment.image_context import BuildContext
from harness.errors import EngineError

if TYPE_CHECKING:
    import docker

REGISTRY_LIMIT_S = 20
PULL_IDLE_LIMIT_S = 60
PULL_LIMIT_S = 900
BUILD_IDLE_LIMIT_S = 600
BUILD_LIMIT_S = 1200
TAIL_LINES = 15
PROXY_VARIABLES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
# Answers that mean "nobody there", as opposed to "there is no such image": they hold for the whole registry.
NOBODY_THERE = (
    "no such host",
    "connection refused",
    "i/o timeout",
    "timed out",
    "timeout",
    "unreachable",
    "server misbehaving",
    "temporary failure",
    "tls:",
    "x509",
    "proxyconnect",
)

Progress = Callable[[str], None]


@dataclass(frozen=True)
class LocalImage:
    """An image that the engine has: its id and the digest of the build it came from (none: not built by us)."""

    image_id: str
    build_digest: str | None


def connect(timeout_s: int = REGISTRY_LIMIT_S) -> docker.APIClient:
    """A client of the engine that the environment names (DOCKER_HOST). Raises EngineError when none answers."""
    import docker
    import docker.errors
    from docker.utils import kwargs_from_env

    try:
        client = docker.APIClient(version="auto", timeout=timeout_s, **kwargs_from_env())
        client.ping()
    except (docker.errors.DockerException, OSError) as error:
        raise EngineError(
            f"no Docker engine answers: {error}",
            "start one, or set DOCKER_HOST; `make demo` and `readiness doctor` say more",
        ) from error
    return client


def local_image(client: docker.APIClient, reference: str) -> LocalImage | None:
    """What the engine has under this name, or None."""
    import docker.errors

    try:
        found = client.inspect_image(reference)
    except docker.errors.ImageNotFound:
        return None
    except (docker.errors.DockerException, OSError) as error:
        raise EngineError(
            f"the Docker engine could not look for image {reference!r}: {error}", "is it running?"
        ) from error
    labels = found.get("Config", {}).get("Labels") or {}
    return LocalImage(found["Id"], labels.get(BUILD_LABEL))


def remove_nameless(client: docker.APIClient, image_id: str) -> None:
    """Remove an image that we built and that lost its name to a newer one; one in use stays until it is not."""
    import docker.errors

    try:
        if not client.inspect_image(image_id).get("RepoTags"):
            client.remove_image(image_id)
    except docker.errors.APIError:
        return


def registry_of(reference: str) -> str:
    """The registry that a reference names; empty for the engine's default registry."""
    first, slash, _ = reference.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else ""


class Registries:
    """What this process has learned about registries: who does not answer is asked once."""

    def __init__(self) -> None:
        self._silent: dict[str, str] = {}
        self._refused: dict[str, str] = {}

    def why_not(self, client: docker.APIClient, reference: str) -> str | None:
        """None when the image can be pulled, else why not; waits at most REGISTRY_LIMIT_S."""
        import docker.errors
        import requests

        registry = registry_of(reference)
        known = self._silent.get(registry) or self._refused.get(reference)
        if known is not None:
            return known
        try:
            client.inspect_distribution(reference)
        except requests.exceptions.Timeout:
            self._silent[registry] = f"the registry did not answer within {REGISTRY_LIMIT_S} s"
            return self._silent[registry]
        except (docker.errors.DockerException, requests.exceptions.RequestException, OSError) as error:
            answer = str(getattr(error, "explanation", None) or error).strip()
            if any(sign in answer.lower() for sign in NOBODY_THERE):
                self._silent[registry] = f"the registry does not answer ({answer})"
                return self._silent[registry]
            self._refused[reference] = f"the registry refused it ({answer})"
            return self._refused[reference]
        return None


@functools.cache
def registries() -> Registries:
    """The one memory of this process."""
    return Registries()


def pull(client: docker.APIClient, reference: str, progress: Progress) -> str | None:
    """Pull; None when it came, else why not. An idle or endless transfer counts as "did not come"."""
    import docker.errors
    from docker.utils import parse_repository_tag

    why_not = registries().why_not(client, reference)
    if why_not is not None:
        return why_not
    progress(f"{reference}: pulling")
    repository, tag = parse_repository_tag(reference)
    try:
        stream = client.pull(repository, tag=tag or "latest", stream=True, decode=True)
        for line in bounded(stream, PULL_IDLE_LIMIT_S, PULL_LIMIT_S):
            if "error" in line:
                return str(line["error"])
    except TimeoutError as error:
        return f"the transfer {error}"
    except (docker.errors.DockerException, OSError) as error:
        return str(error)
    return None


def run_build(
    client: docker.APIClient, reference: str, context: BuildContext, digest: str, progress: Progress
) -> str:
    """Build with the engine's own builder on the host's network; gives the image id. Raises EngineError."""
    import io

    import docker.errors

    progress(f"{reference}: building")
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    proxies = {name: os.environ[name] for name in PROXY_VARIABLES if name in os.environ}
    failure = None
    try:
        stream = client.build(
            fileobj=io.BytesIO(context.archive()),
            custom_context=True,
            dockerfile=context.dockerfile,
            tag=reference,
            buildargs={**proxies, **dict(context.args)},
            labels={BUILD_LABEL: digest},
            network_mode="host",
            rm=True,
            forcerm=True,
            decode=True,
            timeout=BUILD_IDLE_LIMIT_S,
        )
        for line in bounded(stream, BUILD_IDLE_LIMIT_S, BUILD_LIMIT_S):
            failure = line.get("error", failure)
            text = str(line.get("stream", "")).strip()
            if text:
                tail.append(text)
            if text.startswith("Step "):
                progress(f"{reference}: {text}")
    except TimeoutError as error:
        failure = f"the build {error}"
    except (docker.errors.DockerException, OSError) as error:
        failure = str(error)
    built = local_image(client, reference) if failure is None else None
    if built is None or built.build_digest != digest:
        output = "\n    ".join(line for text in tail for line in text.splitlines()[-TAIL_LINES:])
        raise EngineError(
            f"building image {reference!r} failed: {failure or 'the engine reported no image'}\n    {output}",
            f"the lines above are the build's last; its file is {context.dockerfile!r}",
        )
    return built.image_id


def bounded(
    stream: Iterable[dict[str, object]], idle_limit_s: float, limit_s: float
) -> Iterator[dict[str, object]]:
    """The stream's items, raising TimeoutError when none comes for `idle_limit_s` or it lasts longer than `limit_s`.

    docker-py has no limit on a pull: a thread reads, this side waits. The thread ends with its connection.
    """
    items: queue.Queue[dict[str, object] | BaseException | None] = queue.Queue()

    def read() -> None:
        try:
            for item in stream:
                items.put(item)
            items.put(None)
        except BaseException as error:  # noqa: BLE001 (handed over and raised on the other side)
            items.put(error)

    threading.Thread(target=read, name="engine-stream", daemon=True).start()
    deadline = time.monotonic() + limit_s
    while True:
        left_s = deadline - time.monotonic()
        try:
            item = items.get(timeout=max(min(idle_limit_s, left_s), 0.001))
        except queue.Empty:
            silent = left_s > idle_limit_s
            why = f"was silent for {idle_limit_s:.0f} s" if silent else f"took more than {limit_s:.0f} s"
            raise TimeoutError(why) from None
        if item is None:
            return
        if isinstance(item, BaseException):
            raise item
        yield item
