"""Images against a real engine: what is there is kept, what is stale is built again, what fails says why."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import docker
import docker.errors
import pytest

from harness.environment.images import (
    BUILD_LABEL,
    DEBIAN,
    TOXIPROXY,
    BuildRequest,
    ImageRequest,
    ensure_images,
    plan_images,
)
from harness.errors import EngineError


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    found = docker.from_env(timeout=60)
    yield found
    found.close()


@pytest.fixture
def name(client: docker.DockerClient) -> Iterator[str]:
    """A reference of this test's own; the image is removed afterwards."""
    reference = f"readiness-test/{uuid.uuid4().hex[:12]}:1"
    yield reference
    with contextlib.suppress(docker.errors.ImageNotFound):
        client.images.remove(reference, force=True)


def request(name: str, folder: Path, dockerfile: str, **more: tuple[tuple[str, str], ...]) -> ImageRequest:
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text(dockerfile)
    return ImageRequest(name, BuildRequest(context=folder, **more))


def output(client: docker.DockerClient, reference: str, *command: str) -> str:
    """What the command printed. Not `containers.run`: it follows the log, and may miss that of a short command."""
    container = client.containers.create(reference, list(command), network_disabled=True)
    try:
        container.start()
        container.wait(timeout=60)
        return container.logs().decode().strip()
    finally:
        container.remove(force=True)


def test_build_has_files_arguments_and_package_files(client, name, tmp_path):
    wanted = request(
        name,
        tmp_path / "context",
        f"FROM {DEBIAN}\nARG GREETING=none\nCOPY --from={TOXIPROXY} /toxiproxy /bin/toxiproxy\n"
        "COPY . /given/\nRUN echo $GREETING > /given/greeting\n",
        args=(("GREETING", "hello"),),
        package_files=(("pytest/py.typed", "from-a-package"),),
    )
    (tmp_path / "context" / "own").write_text("mine\n")
    sources = ensure_images([wanted])
    assert sources[name].how == "built"
    assert set(sources) == {DEBIAN, TOXIPROXY, name}
    assert output(client, name, "cat", "/given/greeting", "/given/own") == "hello\nmine"
    assert output(client, name, "ls", "/given/from-a-package", "/bin/toxiproxy").count("\n") == 1


def test_changed_file_is_rebuilt_and_touched_file_is_not(client, name, tmp_path):
    folder = tmp_path / "context"
    wanted = request(name, folder, f"FROM {DEBIAN}\nCOPY model /model\n")
    (folder / "model").write_text("old")
    first = ensure_images([wanted])[name]
    (folder / "model").write_text("old")
    assert ensure_images([wanted])[name].how == "present"

    (folder / "model").write_text("new")
    assert [plan.how for plan in plan_images([wanted]) if plan.reference == name] == ["build"]
    second = ensure_images([wanted])[name]
    assert second.how == "built"
    assert second.build_digest != first.build_digest
    assert output(client, name, "cat", "/model") == "new"


def test_image_of_unknown_origin_under_the_same_name_is_replaced(client, name, tmp_path):
    client.images.get(DEBIAN).tag(name)
    wanted = request(name, tmp_path / "context", f"FROM {DEBIAN}\nRUN touch /ours\n")
    assert ensure_images([wanted])[name].how == "built"
    assert client.images.get(name).labels[BUILD_LABEL].startswith("sha256:")


def test_change_in_a_base_of_ours_rebuilds_what_stands_on_it(client, name, tmp_path):
    base_name = name.replace(":1", ":base")
    base = request(base_name, tmp_path / "base", f"FROM {DEBIAN}\nRUN echo one > /which\n")
    top = request(name, tmp_path / "top", f"FROM {base_name}\nRUN cp /which /copied\n")
    try:
        ensure_images([top, base])
        (tmp_path / "base" / "Dockerfile").write_text(f"FROM {DEBIAN}\nRUN echo two > /which\n")
        assert ensure_images([top, base])[name].how == "built"
        assert output(client, name, "cat", "/copied") == "two"
    finally:
        client.images.remove(name, force=True)
        client.images.remove(base_name, force=True)


def test_packages_install_in_a_build(client, name, tmp_path):
    dockerfile = f"FROM {DEBIAN}\nRUN apt-get update && apt-get install -y --no-install-recommends hello\n"
    ensure_images([request(name, tmp_path / "context", dockerfile)])
    assert output(client, name, "hello") == "Hello, world!"


def test_failed_build_shows_its_last_lines_and_leaves_no_image(client, name, tmp_path):
    wanted = request(name, tmp_path / "context", f"FROM {DEBIAN}\nRUN echo about to fail; exit 7\n")
    with pytest.raises(EngineError) as caught:
        ensure_images([wanted])
    assert "about to fail" in str(caught.value)
    assert "returned a non-zero code: 7" in str(caught.value)
    assert name in str(caught.value)
    with pytest.raises(docker.errors.ImageNotFound):
        client.images.get(name)


def test_image_that_nobody_supplies_is_refused_soon(tmp_path):
    reference = f"localhost:1/nobody/{uuid.uuid4().hex}:9"
    started = time.monotonic()
    with pytest.raises(EngineError, match="is not present and could not be pulled") as caught:
        ensure_images([ImageRequest(reference)])
    assert time.monotonic() - started < 60
    assert reference in str(caught.value)
    assert [plan.how for plan in plan_images([ImageRequest(reference)])] == ["missing"]


def test_toxiproxy_image_serves_its_control_api_as_upstream_does(client):
    ensure_images([ImageRequest(TOXIPROXY)])
    container = client.containers.run(TOXIPROXY, detach=True, labels={"readiness.test": "images"})
    try:
        deadline = time.monotonic() + 20
        while b"0.0.0.0" not in container.logs() and time.monotonic() < deadline:
            time.sleep(0.1)
        log = container.logs().decode()
        assert "Starting Toxiproxy HTTP server" in log
        assert "0.0.0.0:8474" in log
        assert '"version":"2.12.0"' in log
    finally:
        container.remove(force=True, v=True)


def test_same_image_with_two_builds_is_refused(name, tmp_path):
    one = request(name, tmp_path / "one", "FROM scratch\n")
    other = request(name, tmp_path / "other", "FROM scratch\n")
    with pytest.raises(Exception, match="two different builds"):
        ensure_images([one, other, replace(one)])
