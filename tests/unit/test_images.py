"""Images without an engine: what counts as the same build, what stands on what, and what bad definitions say."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.environment.image_bases import debian_sources, first_mirror
from harness.environment.image_context import BuildRequest, read_context
from harness.environment.image_engine import bounded, registry_of
from harness.environment.images import ImageRequest, ensure_images, image_request
from harness.errors import DefinitionError
from harness.model.environment import Build


def build(folder: Path, dockerfile: str = "FROM scratch\n", **files: str) -> BuildRequest:
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text(dockerfile)
    for name, content in files.items():
        (folder / name).write_text(content)
    return BuildRequest(context=folder)


def digest(request: BuildRequest, **bases: str) -> str:
    return read_context("image:1", request).digest(bases)


class TestDigest:
    def test_same_content_elsewhere_and_later_is_the_same_build(self, tmp_path):
        one, other = build(tmp_path / "one", app="x"), build(tmp_path / "other", app="x")
        os.utime(other.context / "app", (1, 1))
        assert digest(one) == digest(other)

    @pytest.mark.parametrize("change", ["content", "name", "mode", "dockerfile", "args", "base"])
    def test_whatever_goes_in_counts(self, tmp_path, change):
        request = build(tmp_path / "context", "FROM base\n", app="x")
        before = digest(request)
        app = request.context / "app"
        if change == "content":
            app.write_text("y")
        elif change == "name":
            app.rename(request.context / "app2")
        elif change == "mode":
            app.chmod(0o755)
        elif change == "dockerfile":
            (request.context / "Dockerfile").write_text("FROM base\nRUN true\n")
        elif change == "args":
            request = BuildRequest(request.context, args=(("K", "V"),))
        assert digest(request, **({"base": "sha256:1"} if change == "base" else {})) != before

    def test_what_the_build_cannot_see_does_not_count(self, tmp_path):
        request = build(tmp_path / "context", app="x", **{".dockerignore": "# notes\nnotes\n"})
        before = digest(request)
        (request.context / "notes").write_text("anything")
        (request.context / "__pycache__").mkdir()
        (request.context / "__pycache__" / "app.pyc").write_bytes(b"1")
        assert digest(request) == before

    def test_content_of_package_files_counts(self, tmp_path):
        plain = build(tmp_path / "context")
        with_file = BuildRequest(plain.context, package_files=(("pytest/py.typed", "typed"),))
        assert digest(plain) != digest(with_file)
        assert "typed" in [file.path for file in read_context("image:1", with_file).files]


def test_archive_is_the_same_byte_for_byte(tmp_path):
    one, other = build(tmp_path / "one", app="x"), build(tmp_path / "other", app="x")
    os.utime(other.context / "app", (1, 1))
    assert read_context("i:1", one).archive() == read_context("i:1", other).archive()


@pytest.mark.parametrize(
    ("dockerfile", "bases"),
    [
        ("FROM debian:bookworm-slim\n", ("debian:bookworm-slim",)),
        ("from a AS build\nFROM b\nCOPY --from=build /x /x\nCOPY --from=0 /y /y\n", ("a", "b")),
        ("FROM a\nCOPY --chown=1:1 --from=ghcr.io/o/p:2 /x /x\n", ("a", "ghcr.io/o/p:2")),
        ("ARG BASE=a:1\nFROM ${BASE}\n", ("a:1",)),
        ("ARG TAG\nFROM a:$TAG\n", ("a:7",)),
        ("FROM --platform=linux/amd64 \\\n  a:1\n", ("a:1",)),
        ("FROM scratch\n", ()),
    ],
)
def test_images_that_a_dockerfile_stands_on(tmp_path, dockerfile, bases):
    request = build(tmp_path / "context", dockerfile)
    assert read_context("i:1", BuildRequest(request.context, args=(("TAG", "7"),))).bases == bases


def test_all_bad_builds_are_told_at_once_before_anything_starts(tmp_path):
    (tmp_path / "empty").mkdir()
    requests = [
        ImageRequest("a:1", BuildRequest(tmp_path / "nowhere")),
        ImageRequest("b:1", BuildRequest(tmp_path / "empty", dockerfile="Dockerfile.app")),
        ImageRequest("c:1", BuildRequest(build(tmp_path / "c").context, package_files=(("no_such/x", "x"),))),
    ]
    with pytest.raises(DefinitionError) as caught:
        ensure_images(requests)
    text = str(caught.value).replace(str(tmp_path), "DIR")
    assert text == (
        "DIR/nowhere: error: the build context of image 'a:1' is no folder\n"
        "  correct `context:`; it is relative to the file that names it\n"
        "DIR/empty: error: the build of image 'b:1' has no file 'Dockerfile.app' in its context\n"
        "  add it, or name another with `dockerfile:`\n"
        "DIR/c: error: the build of image 'c:1' wants 'no_such/x', which no installed package has\n"
        "  install the package 'no_such' (for the lending environment: pip install 'pytest-readiness[lending]')"
    )


def test_images_that_stand_on_each_other_are_refused(tmp_path):
    one, other = build(tmp_path / "one", "FROM b:1\n"), build(tmp_path / "other", "FROM a:1\n")
    with pytest.raises(DefinitionError, match=r"'[ab]:1' -> '[ab]:1' -> '[ab]:1'"):
        ensure_images([ImageRequest("a:1", one), ImageRequest("b:1", other)])


def test_context_is_relative_to_the_file_that_names_it(tmp_path):
    request = image_request("a:1", Build(context="images/app", args={"B": "2", "A": "1"}), tmp_path)
    assert request.build == BuildRequest(tmp_path / "images/app", args=(("A", "1"), ("B", "2")))


@pytest.mark.parametrize(
    ("reference", "registry"),
    [
        ("postgres:16", ""),
        ("library/postgres", ""),
        ("ghcr.io/a/b:1", "ghcr.io"),
        ("localhost/a", "localhost"),
        ("here:5000/a", "here:5000"),
    ],
)
def test_registry_of(reference, registry):
    assert registry_of(reference) == registry


def test_only_sources_of_the_base_are_taken_from_the_machine(tmp_path):
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text(
        "# deb http://old/ bookworm main\ndeb [arch=amd64] http://mirror/debian bookworm main contrib # ours\n"
        "deb http://mirror/debian trixie main\n"
    )
    (tmp_path / "sources.list.d" / "vendor.sources").write_text(
        "Types: deb\nURIs: http://vendor/apt\nSuites: stable\nComponents: main\n"
    )
    (tmp_path / "sources.list.d" / "security.sources").write_text(
        "# a remark\nTypes: deb deb-src\nURIs: http://mirror/security\nSuites: bookworm-security\n"
        "Components: main\nSigned-By: /usr/share/keyrings/x.gpg\n"
    )
    sources = debian_sources(tmp_path)
    assert sources == (
        "Types: deb\nURIs: http://mirror/debian\nSuites: bookworm\nComponents: main contrib\n\n"
        "Types: deb deb-src\nURIs: http://mirror/security\nSuites: bookworm-security\nComponents: main"
    )
    assert first_mirror(sources) == "http://mirror/debian"
    assert first_mirror("") is None


class TestBounded:
    def test_gives_every_item_and_raises_what_the_stream_raises(self):
        def stream() -> Iterator[dict[str, object]]:
            yield {"n": 1}
            raise OSError("connection lost")

        items = bounded(stream(), 5, 5)
        assert next(items) == {"n": 1}
        with pytest.raises(OSError, match="connection lost"):
            next(items)

    def test_silence_is_given_up(self):
        def stream() -> Iterator[dict[str, object]]:
            yield {"n": 1}
            time.sleep(30)

        with pytest.raises(TimeoutError, match="was silent for"):
            list(bounded(stream(), 0.2, 30))

    def test_endless_chatter_is_given_up(self):
        def stream() -> Iterator[dict[str, object]]:
            while True:
                time.sleep(0.02)
                yield {}

        with pytest.raises(TimeoutError, match="took more than"):
            list(bounded(stream(), 30, 0.3))
