"""Builds dataset bundles and finds them in the cache: what `readiness data build` and a run call.

Takes a definition and the path of its file, gives a `DatasetBundle`. Only a build opens the private sample; what comes
out is synthetic rows and aggregates. A dataset beyond its privacy or quality limits is not built: the error says by how
much. The cache is `STATE/datasets/NAME-KEY`, where the key is a digest of definition and source.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from harness.errors import DefinitionError, Location, Problem
from harness.model.dataset import Dataset
from harness.model.dataset_misfits import misfits
from harness.state import state_directory
from synthetic import bundle as bundles
from synthetic.assess import assess, raise_beyond_limits
from synthetic.bundle import Contents, DatasetBundle
from synthetic.columns import fill_labels, fill_tables
from synthetic.evidence import Lineage, Privacy, Quality, SourceLineage
from synthetic.joint import FittedModel, fit
from synthetic.private import PrivateSample, read_private
from synthetic.rows import Drawn, draw_rows
from synthetic.source import SourceFile, SourceMissingError, locate

Progress = Callable[[str], None]

SYNTHESIZER = "gaussian-copula 1"
"""Changes whenever the same definition and source would give other rows; part of every key."""
_LIBRARIES = ("faker", "numpy", "pyarrow", "scipy")


def definition_digest(definition: Dataset) -> str:
    """`sha256:` of everything that decides the rows or whether they may be given out; not of the description."""
    content = definition.model_dump(mode="json", by_alias=True, exclude={"description"})
    text = json.dumps([SYNTHESIZER, content], sort_keys=False, ensure_ascii=False)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def find_or_build(definition_path: Path, definition: Dataset, progress: Progress) -> DatasetBundle:
    """The bundle from the cache, else built. Where the source is not on this machine, any bundle of this definition."""
    _raise_misfits(definition_path, definition)
    try:
        file = _locate(definition_path, definition)
    except SourceMissingError:
        found = _built_elsewhere(definition)
        if found is None:
            raise
        progress(f"dataset {definition.dataset}: the source is not here, using the bundle {found.digest}")
        return found
    path = _cache_path(definition, file)
    if path.exists():
        try:
            return bundles.load(path)
        except DefinitionError as error:
            progress(
                f"dataset {definition.dataset}: the cached bundle is damaged and is built again ({error})"
            )
    return build(definition_path, definition, progress)


def build(definition_path: Path, definition: Dataset, progress: Progress) -> DatasetBundle:
    """Build anew and put it into the cache.

    Raises DefinitionError for a definition or source that does not work and for a dataset beyond its limits,
    EngineError when it cannot be written. Nothing is left half-done.
    """
    _raise_misfits(definition_path, definition)
    started = time.perf_counter()
    file = _locate(definition_path, definition)
    private = read_private(definition_path, definition, file)
    model = None
    if private is not None:
        progress(
            f"dataset {definition.dataset}: fitting {len(private.sample.variables)} variables"
            f" on {int(private.fitted.sum())} of {len(private.fitted)} rows of {private.file.name}"
        )
        model = fit(definition_path, definition, private.sample, np.flatnonzero(private.fitted))
    drawn = draw_rows(definition_path, definition, model, private.sample if private else None)
    privacy, quality = Privacy(), Quality()
    if private is not None and model is not None:
        privacy, quality = assess(definition, private, drawn)
        raise_beyond_limits(definition_path, definition, privacy, quality)
    levels = private.sample.levels if private is not None else {}
    tables = fill_tables(definition_path, drawn, levels)
    contents = Contents(
        name=definition.dataset,
        tables=tables,
        labels=fill_labels(drawn, levels, tables),
        privacy=privacy,
        quality=quality,
        lineage=_lineage(definition, private, model, drawn),
    )
    built = bundles.write(contents, _cache_path(definition, file))
    rows = sum(contents.lineage.rows.values())
    progress(
        f"dataset {definition.dataset}: {rows} rows in {len(tables)} tables,"
        f" {time.perf_counter() - started:.1f} s, {built.digest}"
    )
    return built


def find(definition_path: Path, definition: Dataset) -> Path:
    """Folder of the cached bundle, intact or not; nothing is built. Raises DefinitionError when there is none."""
    _raise_misfits(definition_path, definition)
    try:
        path = _cache_path(definition, _locate(definition_path, definition))
    except SourceMissingError as error:
        found = _built_elsewhere(definition)
        if found is None:
            what = (
                "no intact bundle of this definition is in the cache, and its source is not here to build one"
            )
            raise DefinitionError(
                [Problem(Location(str(definition_path)), what, error.problems[0].fix)]
            ) from error
        path = found.path
    if not path.exists():
        what = "this dataset has not been built since its definition or its source last changed"
        raise DefinitionError.at(definition_path, what, f"readiness data build {definition_path}")
    return path


def _raise_misfits(definition_path: Path, definition: Dataset) -> None:
    problems = [
        Problem(Location(str(definition_path)), f"{'.'.join(map(str, item.loc))}: {item.what}", item.fix)
        for item in misfits(definition)
    ]
    if problems:
        raise DefinitionError(problems)


def _locate(definition_path: Path, definition: Dataset) -> SourceFile | None:
    return locate(definition_path, definition.source) if definition.source is not None else None


def _datasets_folder() -> Path:
    return state_directory() / "datasets"


def _cache_path(definition: Dataset, file: SourceFile | None) -> Path:
    both = f"{definition_digest(definition)} {file.digest if file is not None else ''}"
    return _datasets_folder() / f"{definition.dataset}-{hashlib.sha256(both.encode()).hexdigest()[:16]}"


def _built_elsewhere(definition: Dataset) -> DatasetBundle | None:
    """An intact bundle of this definition, whatever source it was built from; the one with the least name."""
    wanted = definition_digest(definition)
    for path in sorted(_datasets_folder().glob(f"{definition.dataset}-*")):
        try:
            found = bundles.load(path)
        except DefinitionError:
            continue
        if found.lineage.definition_digest == wanted:
            return found
    return None


def _lineage(
    definition: Dataset, private: PrivateSample | None, model: FittedModel | None, drawn: Drawn
) -> Lineage:
    source = None
    if private is not None and model is not None:
        source = SourceLineage(
            name=private.file.name,
            digest=private.file.digest,
            rows_read=private.sample.rows_read,
            fitted_rows=int(private.fitted.sum()),
            kept_rows=int((~private.fitted).sum()),
            values_left_out={name: count for name, count in model.left_out.items() if count},
        )
    versions = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    return Lineage(
        dataset=definition.dataset,
        seed=definition.seed,
        definition_digest=definition_digest(definition),
        source=source,
        rows={name: table.rows for name, table in definition.tables.items()},
        rows_drawn_again=dict(drawn.redrawn),
        synthesizer=SYNTHESIZER,
        versions={**versions, "python": platform.python_version()},
    )
