"""Draws rows: which row refers to which, and the modelled variables of each table's rows.

Takes the definition and the fitted model, gives `Drawn`: indices and values, no key, name or text yet. A variable is
drawn with the rows of its own table, given the variables of the rows that these refer to. A row that equals a source
row in every variable is drawn again.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.errors import DefinitionError
from harness.model.dataset import Dataset
from synthetic.joint import FittedModel
from synthetic.source import Sample

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int_]

MOST_REDRAWS = 100


@dataclass(frozen=True)
class Drawn:
    """`references[table][column]` is the row that each row refers to, `values[table][variable]` a value per row."""

    dataset: Dataset
    references: Mapping[str, Mapping[str, Rows]]
    values: Mapping[str, Mapping[str, Floats]]
    redrawn: Mapping[str, int]

    def rows_of(self, table: str, target: str) -> Rows:
        """For each row of `table` the row of `target` that it is or leads to."""
        return _follow(self.dataset, self.references, table, target)

    def seen_from(self, table: str, variable: str) -> Floats:
        """The variable's value for each row of `table`."""
        owner = self.dataset.owner(variable)
        return self.values[owner][variable][self.rows_of(table, owner)]

    def matrix(self, table: str, variables: Sequence[str]) -> Floats:
        """Rows of `table` x these variables."""
        return np.column_stack([self.seen_from(table, name) for name in variables])


def stream(seed: int, *purpose: str) -> np.random.Generator:
    """A random stream of its own for each purpose, so that a new column does not change the others."""
    return np.random.default_rng([seed, *(zlib.crc32(word.encode()) for word in purpose)])


def shown_variables(dataset: Dataset, leaf: str) -> tuple[str, ...]:
    """Variables of a whole modelled row that stand in tables: all but label and protected groups."""
    hidden = dataset.hidden_variables()
    return tuple(
        name
        for table in dataset.modelled_chain(leaf)
        for name in dataset.variables[table]
        if name not in hidden
    )


def equal_rows(rows: Floats, others: Floats) -> npt.NDArray[np.bool_]:
    """Which of `rows` occur among `others`, NaN equal to NaN."""
    known = {row.tobytes() for row in _comparable(others)}
    return np.array([row.tobytes() in known for row in _comparable(rows)], dtype=bool)


def _comparable(rows: Floats) -> Floats:
    """One bit pattern per value."""
    filled: Floats = np.ascontiguousarray(np.where(np.isnan(rows), np.nan, rows + 0.0))
    return filled


def draw_rows(
    definition_path: Path, dataset: Dataset, model: FittedModel | None, sample: Sample | None
) -> Drawn:
    """All tables in order of definition. Raises DefinitionError when rows cannot be made to differ from the source."""
    references: dict[str, dict[str, Rows]] = {}
    values: dict[str, dict[str, Floats]] = {}
    latents: dict[str, Floats] = {}
    redrawn: dict[str, int] = {}
    for table in dataset.tables:
        references[table] = _refer(dataset, table)
        if model is None or sample is None or not dataset.variables.get(table):
            continue
        draw = _TableDraw(dataset, model, table, references, latents)
        latents[table], values[table] = draw.all_rows()
        if table in dataset.modelled_leaves() and dataset.privacy.most_exact_matches == 0:
            drawn = Drawn(dataset, references, values, redrawn)
            redrawn[table] = _leave_source_rows(definition_path, drawn, draw, sample, latents[table])
    return Drawn(dataset, references, values, redrawn)


def _refer(dataset: Dataset, table: str) -> dict[str, Rows]:
    rows = dataset.tables[table].rows
    chosen: dict[str, Rows] = {}
    for column, reference in dataset.tables[table].references().items():
        rng = stream(dataset.seed, "reference", table, column)
        parents = dataset.tables[reference.reference].rows
        chosen[column] = (
            rng.permutation(parents)[:rows] if reference.once else rng.integers(0, parents, size=rows)
        )
    return chosen


def _follow(dataset: Dataset, references: Mapping[str, Mapping[str, Rows]], table: str, target: str) -> Rows:
    (path,) = dataset.paths(table, target)
    index = np.arange(dataset.tables[table].rows)
    here = table
    for column in path:
        index = references[here][column][index]
        here = dataset.tables[here].references()[column].reference
    return index


class _TableDraw:
    """Draws the variables of one table's rows, given those of the rows they refer to."""

    def __init__(
        self,
        dataset: Dataset,
        model: FittedModel,
        table: str,
        references: Mapping[str, Mapping[str, Rows]],
        latents: Mapping[str, Floats],
    ) -> None:
        self.table, self.model, self.names = table, model, tuple(dataset.variables[table])
        self.rows = dataset.tables[table].rows
        self._rng = stream(dataset.seed, "variables", table)
        above = dataset.modelled_chain(table)[:-1]
        self._given = tuple(
            name for owner in above for name in model.latent_names(tuple(dataset.variables[owner]))
        )
        self._above = np.column_stack(
            [np.empty((self.rows, 0)), *(latents[o][_follow(dataset, references, table, o)] for o in above)]
        )

    def all_rows(self) -> tuple[Floats, dict[str, Floats]]:
        """Latents (rows x latents) and values by variable."""
        latent = self._draw(np.arange(self.rows))
        return latent, self.model.values(self.names, latent)

    def again(self, rows: Rows) -> tuple[Floats, dict[str, Floats]]:
        """The same for some rows only, anew."""
        latent = self._draw(rows)
        return latent, self.model.values(self.names, latent)

    def _draw(self, rows: Rows) -> Floats:
        return self.model.joint.draw(
            self._rng, len(rows), self.model.latent_names(self.names), self._given, self._above[rows]
        )


def _leave_source_rows(
    definition_path: Path, drawn: Drawn, draw: _TableDraw, sample: Sample, latent: Floats
) -> int:
    """Draw rows again, in place, until none equals a source row in all shown variables; how many that were."""
    table = draw.table
    shown = shown_variables(drawn.dataset, table)
    if not shown:
        return 0
    source = sample.values[:, [sample.variables.index(name) for name in shown]]
    first = equal = np.flatnonzero(equal_rows(drawn.matrix(table, shown), source))
    for _ in range(MOST_REDRAWS):
        if len(equal) == 0:
            return len(first)
        latent[equal], values = draw.again(equal)
        for name, column in values.items():
            drawn.values[table][name][equal] = column
        again = equal_rows(drawn.matrix(table, shown)[equal], source)
        equal = equal[again]
    raise DefinitionError.at(
        definition_path,
        f"{len(equal)} of {draw.rows} rows of {table!r} equal a source row in all of {', '.join(shown)},"
        f" and still do after they were drawn {MOST_REDRAWS} times",
        "these variables have too few combinations: model more of them, or allow such rows with"
        " `privacy.most_exact_matches`",
    )
