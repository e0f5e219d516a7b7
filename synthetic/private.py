"""The private sample and its split into fitted and kept rows; the same for the same definition and source.

Takes a definition and its source, gives a `PrivateSample`. Fitted rows are learnt from, kept rows are only there to be
compared with.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.errors import DefinitionError, Location, Problem
from harness.model.dataset import Dataset
from synthetic.rows import stream
from synthetic.source import Sample, SourceFile, read_sample

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class PrivateSample:
    """The sample; `fitted` marks the rows that are learnt from."""

    file: SourceFile
    sample: Sample
    fitted: Flags

    def columns(self, variables: tuple[str, ...]) -> Floats:
        return self.sample.values[:, [self.sample.variables.index(name) for name in variables]]

    def levels(self, variables: tuple[str, ...]) -> tuple[int, ...]:
        return tuple(len(self.sample.levels.get(name, ())) for name in variables)


def read_private(definition_path: Path, definition: Dataset, file: SourceFile | None) -> PrivateSample | None:
    """The sample and its split. Raises DefinitionError also for labels that are not 0 and 1."""
    if file is None or not definition.variables:
        return None
    sample = read_sample(definition_path, definition, file)
    _raise_bad_labels(definition_path, definition, sample)
    rows = len(sample.values)
    fitted = np.ones(rows, dtype=bool)
    kept = round(rows * definition.privacy.holdout)
    fitted[stream(definition.seed, "holdout").permutation(rows)[:kept]] = False
    return PrivateSample(file, sample, fitted)


def _raise_bad_labels(definition_path: Path, definition: Dataset, sample: Sample) -> None:
    problems: list[Problem] = []
    where = Location(str(definition_path))
    for name in definition.hidden_variables():
        missing = int(np.isnan(sample.values[:, sample.variables.index(name)]).sum())
        if missing:
            what = f"{name!r} is a label or a protected group and has no value in {missing} source rows"
            problems.append(Problem(where, what, "say `missing: drop` or `missing: most_frequent`"))
    if definition.labels is not None and not problems:
        label = definition.labels.label
        values = set(np.unique(sample.values[:, sample.variables.index(label)]))
        if values != {0.0, 1.0}:
            what = f"label {label!r} must have the values 0 and 1, both of them, and has {len(values)} values"
            problems.append(
                Problem(where, what, "choose a column of 0 and 1, or say which text is 1 (`equals:`)")
            )
    if problems:
        raise DefinitionError(problems)
