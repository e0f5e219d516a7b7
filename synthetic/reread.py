"""From a bundle's tables back to drawn rows, so that privacy can be measured on what really lies in the files.

Takes the definition, its tables and the levels of categories as the source has them, gives `Reread`: the rows as
`synthetic.rows.Drawn` has them, label and groups left out. References must hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from harness.model.dataset import Dataset, FromColumn
from synthetic.columns import key_column
from synthetic.rows import Drawn, shown_variables

Floats = npt.NDArray[np.float64]

UNSEEN = np.inf
"""Stands for a value that no table shows, because no row refers to the row that it was drawn with."""
STRANGE_LEVEL = -1.0
"""Code of a level that the source does not have."""


@dataclass(frozen=True)
class Reread:
    """`conflicts`: a sentence for each variable that two rows show differently, or with a level that is none."""

    drawn: Drawn
    conflicts: tuple[str, ...]

    def whole_rows(self, leaf: str) -> Floats:
        """Rows of `leaf` x its shown variables; rows of which a value is not to be seen are left out."""
        rows = self.drawn.matrix(leaf, shown_variables(self.drawn.dataset, leaf))
        return rows[~np.isinf(rows).any(axis=1)]


def reread(
    definition: Dataset, tables: Mapping[str, pa.Table], levels: Mapping[str, tuple[str, ...]]
) -> Reread:
    references = {
        name: {
            column: pc.index_in(
                tables[name].column(column),
                value_set=tables[item.reference]
                .column(key_column(definition, item.reference))
                .combine_chunks(),
            ).to_numpy()
            for column, item in table.references().items()
        }
        for name, table in definition.tables.items()
    }
    hidden = definition.hidden_variables()
    values = {
        owner: {
            name: np.full(definition.tables[owner].rows, UNSEEN) for name in variables if name not in hidden
        }
        for owner, variables in definition.variables.items()
    }
    drawn = Drawn(definition, references, values, {})
    conflicts = []
    for table, column, variable in _shown(definition):
        owner = definition.owner(variable)
        cells = _numbers(tables[table].column(column), levels.get(variable))
        if np.any(cells == STRANGE_LEVEL) and variable in levels:
            conflicts.append(f"{table}.{column} has a level that the source has not")
        known, rows = values[owner][variable], drawn.rows_of(table, owner)
        before = known.copy()
        known[rows] = cells
        agrees = np.isinf(before[rows]) | _same(before[rows], cells)
        if not np.all(agrees & _same(known[rows], cells)):
            conflicts.append(f"{table}.{column} shows other values of {variable!r} than another row or table")
    return Reread(drawn, tuple(conflicts))


def _shown(definition: Dataset) -> Iterator[tuple[str, str, str]]:
    for table, item in definition.tables.items():
        for name, column in item.columns.items():
            if isinstance(column, FromColumn):
                yield table, name, column.variable


def _numbers(column: pa.ChunkedArray, levels: tuple[str, ...] | None) -> Floats:
    """As `Sample.values` has them: categories as codes of their levels, NaN where there is no value."""
    if levels is None:
        numbers: Floats = column.cast(pa.float64()).to_numpy().astype(float)
        return numbers
    codes = pc.index_in(column, value_set=pa.array(levels, pa.string()))
    codes = pc.if_else(pc.is_null(column), None, pc.fill_null(codes, int(STRANGE_LEVEL)))
    result: Floats = codes.cast(pa.float64()).to_numpy().astype(float)
    return result


def _same(a: Floats, b: Floats) -> npt.NDArray[np.bool_]:
    return np.asarray((a == b) | (np.isnan(a) & np.isnan(b)), dtype=bool)
