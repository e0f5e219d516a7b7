"""Datasets: a private sample in; synthetic rows and privacy evidence out.

Importing this package costs nothing: numpy, scipy, pyarrow and Faker are imported when a bundle is built or opened.
`progress` is told what happens, one line a call.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.model.dataset import Dataset
    from synthetic.bundle import DatasetBundle
    from synthetic.checking import DatasetCheck

__all__ = ["DatasetBundle", "DatasetCheck", "build", "check", "find_or_build", "load"]


def find_or_build(
    definition_path: Path, definition: Dataset, progress: Callable[[str], None]
) -> DatasetBundle:
    """The bundle of this definition and source from the cache, else built. Raises what `build` raises."""
    from synthetic.building import find_or_build

    return find_or_build(definition_path, definition, progress)


def build(definition_path: Path, definition: Dataset, progress: Callable[[str], None]) -> DatasetBundle:
    """Build a bundle anew, into the cache.

    Raises DefinitionError for a definition or a source that does not work and for a dataset beyond its privacy or
    quality limits, EngineError when the bundle cannot be written. Nothing is left half-done.
    """
    from synthetic.building import build

    return build(definition_path, definition, progress)


def load(path: Path) -> DatasetBundle:
    """Open a bundle by its folder. Raises DefinitionError when anything in it is missing, altered or added."""
    from synthetic.bundle import load

    return load(path)


def check(definition_path: Path, definition: Dataset, progress: Callable[[str], None]) -> DatasetCheck:
    """Check the bundle of this definition that is in the cache, against the definition and the source."""
    from synthetic.checking import check

    return check(definition_path, definition, progress)


def __getattr__(name: str) -> Any:
    """The two result types, imported when asked for."""
    if name == "DatasetBundle":
        from synthetic.bundle import DatasetBundle

        return DatasetBundle
    if name == "DatasetCheck":
        from synthetic.checking import DatasetCheck

        return DatasetCheck
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
