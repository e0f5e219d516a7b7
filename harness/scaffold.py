"""`readiness init`: writes a commented skeleton that runs, for a team to change into its own graph.

Takes a folder, gives the files written there. What is written lies in `harness/skeleton/`, a tree of its own: an
environment, a scenario with its recording, a change, and a README that says how to go on.
"""

from __future__ import annotations

import contextlib
import importlib.resources
import os
from collections.abc import Iterator
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath

from harness.errors import DefinitionError, EngineError, Location, Problem

_CACHE = "__pycache__"
"""Installers compile every Python file that they put down, also those that are only carried along."""


def write_skeleton(folder: Path) -> tuple[Path, ...]:
    """All files of the skeleton, written under `folder`, which is made if it is not there.

    Raises DefinitionError naming every file that stands in the way (then nothing is written), and EngineError when
    writing fails; what was written so far is removed again.
    """
    files = {folder / path: content for path, content in _skeleton()}
    problems = [problem for target in files for problem in _in_the_way(target)]
    if problems:
        raise DefinitionError(dict.fromkeys(problems))
    made: list[Path] = []
    try:
        for target, content in files.items():
            _write(target, content, made)
    except BaseException as error:
        _take_back(made)
        if isinstance(error, OSError):
            raise EngineError(
                f"the skeleton could not be written to {folder}: {error.strerror or error}"
                f"{f' ({error.filename})' if error.filename else ''}; nothing was left there",
                "choose a folder that you may write to and whose disk has room",
            ) from error
        raise
    return tuple(files)


def _skeleton() -> Iterator[tuple[PurePosixPath, bytes]]:
    """Every file of the skeleton with its path in it, in order of path."""
    yield from _files(importlib.resources.files("harness") / "skeleton", PurePosixPath())


def _files(folder: Traversable, path: PurePosixPath) -> Iterator[tuple[PurePosixPath, bytes]]:
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        if item.is_file():
            yield path / item.name, item.read_bytes()
        elif item.name != _CACHE:
            yield from _files(item, path / item.name)


def _in_the_way(target: Path) -> Iterator[Problem]:
    """The file itself when it is there already, or the file where one of its folders should be."""
    if os.path.lexists(target):
        yield Problem(
            Location(str(target)),
            "is there already, and `readiness init` overwrites nothing",
            "move it away, or write the skeleton elsewhere: readiness init DIR",
        )
        return
    for folder in target.parents:
        if os.path.lexists(folder):
            if not folder.is_dir():
                yield Problem(
                    Location(str(folder)),
                    "is no folder, and the skeleton needs one of this name",
                    "move it away, or write the skeleton elsewhere: readiness init DIR",
                )
            return


def _write(target: Path, content: bytes, made: list[Path]) -> None:
    """Adds every folder and file to `made` as soon as it is there. Raises OSError."""
    missing = [folder for folder in target.parents if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir()
        made.append(folder)
    with target.open("xb") as file:
        made.append(target)
        file.write(content)


def _take_back(made: list[Path]) -> None:
    """Newest first, so that folders are empty when their turn comes; one that is not holds what someone else put there."""
    for path in reversed(made):
        with contextlib.suppress(OSError):
            path.rmdir() if path.is_dir() else path.unlink()
