"""What goes into an image build: the context as a reproducible archive, its digest, and the images it stands on.

Takes a `BuildRequest`; gives a `BuildContext`. Reads files, starts nothing. Two contexts with the same files, arguments
and Dockerfile have the same digest on every machine; times and owners of files do not count.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import io
import re
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.errors import DefinitionError, Location, Problem

ALWAYS_IGNORED = ("**/__pycache__", "**/*.pyc", "**/.DS_Store")
_FROM = re.compile(r"^\s*FROM\s+(?:--platform=\S+\s+)?(\S+)(?:\s+AS\s+(\S+))?\s*$", re.IGNORECASE)
_COPY_FROM = re.compile(r"^\s*(?:COPY|ADD)\s.*?--from=(\S+)", re.IGNORECASE)
_ARG = re.compile(r"^\s*ARG\s+([A-Za-z_]\w*)(?:=(\S*))?\s*$", re.IGNORECASE)
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


@dataclass(frozen=True)
class BuildRequest:
    """How to build one image. `package_files` pairs `package/path/in/it` with a name in the context."""

    context: Path
    dockerfile: str = "Dockerfile"
    args: tuple[tuple[str, str], ...] = ()
    package_files: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class ContextFile:
    """One file of the context: its path there, its content, and whether it may be executed."""

    path: str
    content: bytes
    executable: bool


@dataclass(frozen=True)
class BuildContext:
    """Everything a build sees. `bases` are the images it stands on or copies from, in order, each once."""

    files: tuple[ContextFile, ...]
    dockerfile: str
    args: tuple[tuple[str, str], ...]
    bases: tuple[str, ...]

    def digest(self, base_digests: dict[str, str]) -> str:
        """`sha256:...` over files, Dockerfile name, arguments and bases (with their own build digest, if any)."""
        whole = hashlib.sha256()

        def add(*parts: str | bytes) -> None:
            for part in parts:
                data = part.encode() if isinstance(part, str) else part
                whole.update(len(data).to_bytes(8, "big") + data)

        for file in self.files:
            add("file", file.path, "x" if file.executable else "-", hashlib.sha256(file.content).digest())
        add("dockerfile", self.dockerfile)
        for key, value in sorted(self.args):
            add("arg", key, value)
        for base in self.bases:
            add("base", base, base_digests.get(base, ""))
        return f"sha256:{whole.hexdigest()}"

    def archive(self) -> bytes:
        """The context as an uncompressed tar with times and owners set to zero, so that the builder's cache holds."""
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for file in self.files:
                info = tarfile.TarInfo(file.path)
                info.size = len(file.content)
                info.mode = 0o755 if file.executable else 0o644
                tar.addfile(info, io.BytesIO(file.content))
        return out.getvalue()


def read_context(reference: str, build: BuildRequest) -> BuildContext:
    """Read the files of a build. Raises DefinitionError with every file that is missing."""
    problems: list[Problem] = []
    files: dict[str, ContextFile] = {}
    if build.context.is_dir():
        files = {file.path: file for file in _files_of(build)}
        if build.dockerfile not in files:
            problems.append(
                Problem(
                    Location(str(build.context)),
                    f"the build of image {reference!r} has no file {build.dockerfile!r} in its context",
                    "add it, or name another with `dockerfile:`",
                )
            )
    else:
        problems.append(
            Problem(
                Location(str(build.context)),
                f"the build context of image {reference!r} is no folder",
                "correct `context:`; it is relative to the file that names it",
            )
        )
    for source, name in build.package_files:
        content = _package_file(source)
        if content is None:
            problems.append(
                Problem(
                    Location(str(build.context)),
                    f"the build of image {reference!r} wants {source!r}, which no installed package has",
                    f"install the package {source.split('/')[0]!r} (for the lending environment: "
                    "pip install 'pytest-readiness[lending]')",
                )
            )
        else:
            files[name] = ContextFile(name, content, executable=False)
    if problems:
        raise DefinitionError(problems)
    return BuildContext(
        files=tuple(files[path] for path in sorted(files)),
        dockerfile=build.dockerfile,
        args=build.args,
        bases=tuple(dict.fromkeys(_bases(files[build.dockerfile].content.decode(), dict(build.args)))),
    )


def _files_of(build: BuildRequest) -> Iterator[ContextFile]:
    """The files of the context folder that its `.dockerignore` lets through; symbolic links are followed."""
    from docker.utils.build import exclude_paths

    ignore_file = build.context / ".dockerignore"
    ignored = ignore_file.read_text().splitlines() if ignore_file.is_file() else []
    patterns = [line.strip() for line in ignored if line.strip() and not line.lstrip().startswith("#")]
    for path in sorted(
        exclude_paths(str(build.context), [*ALWAYS_IGNORED, *patterns], dockerfile=build.dockerfile)
    ):
        file = build.context / path
        if file.is_file():
            yield ContextFile(
                Path(path).as_posix(), file.read_bytes(), bool(file.stat().st_mode & stat.S_IXUSR)
            )


def _package_file(source: str) -> bytes | None:
    """The bytes of `package/path/in/it`, or None when the package or the file is not there."""
    package, _, inner = source.partition("/")
    try:
        file = importlib.resources.files(package).joinpath(inner)
        return file.read_bytes()
    except (ModuleNotFoundError, FileNotFoundError, IsADirectoryError, ValueError, TypeError):
        return None


def _bases(dockerfile: str, args: dict[str, str]) -> Iterator[str]:
    """Images named by FROM and COPY --from, variables filled in, without stages of the file itself and `scratch`."""
    stages: set[str] = {"scratch"}
    defaults: dict[str, str] = {}
    stage_count = 0

    def filled(text: str) -> str:
        return _VARIABLE.sub(lambda match: defaults.get(match[1] or match[2], ""), text)

    for line in dockerfile.replace("\\\n", " ").splitlines():
        if match := _ARG.match(line):
            defaults[match[1]] = args.get(match[1], (match[2] or "").strip("\"'"))
        elif match := _FROM.match(line):
            reference = filled(match[1])
            if reference not in stages:
                yield reference
            stages.update(name for name in (match[2], str(stage_count)) if name)
            stage_count += 1
        elif (match := _COPY_FROM.match(line)) and filled(match[1]) not in stages:
            yield filled(match[1])
