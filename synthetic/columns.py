"""Fills tables: keys, references, values of variables, invented identities, choices, days, formulas, constants.

Takes the definition and the drawn rows, gives one pyarrow table per table of the definition, and the labels apart from
them. Every column has a random stream of its own, so adding one leaves the others as they were.
"""

from __future__ import annotations

import ast
import datetime as dt
import difflib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from harness.errors import DefinitionError, Location, Problem
from harness.model.dataset import (
    BetweenColumn,
    ChoiceColumn,
    Column,
    ConstantColumn,
    Dataset,
    FakerColumn,
    FormulaColumn,
    FromColumn,
    KeyColumn,
    ReferenceColumn,
    Variable,
)
from harness.model.history import Labels
from synthetic.rows import Drawn, stream

Floats = npt.NDArray[np.float64]
Levels = Mapping[str, tuple[str, ...]]

TIMESTAMP = pa.timestamp("us", tz="UTC")


def fill_tables(definition_path: Path, drawn: Drawn, levels: Levels) -> dict[str, pa.Table]:
    """All tables in order of definition; columns in order of definition."""
    tables: dict[str, pa.Table] = {}
    for name in drawn.dataset.tables:
        tables[name] = _TableFill(definition_path, drawn, levels, tables, name).table()
    return tables


def fill_labels(drawn: Drawn, levels: Levels, tables: Mapping[str, pa.Table]) -> Labels:
    """Label and protected groups by key; empty when the dataset has none. Groups are texts."""
    wanted = drawn.dataset.labels
    if wanted is None:
        return Labels.empty()
    variables = drawn.dataset.all_variables()
    groups = {
        name: typed_column(variables[name], drawn.seen_from(wanted.table, name), levels.get(name)).to_pylist()
        for name in wanted.groups
    }
    keys = tables[wanted.table].column(wanted.key).cast(pa.string())
    return Labels(
        pa.table(
            {
                "key": keys,
                "label": pa.array(drawn.seen_from(wanted.table, wanted.label).astype(np.int8)),
                "groups": [
                    json.dumps(
                        {name: str(values[row]) for name, values in groups.items()}, ensure_ascii=False
                    )
                    for row in range(len(keys))
                ],
            },
            schema=Labels.schema,
        )
    )


def typed_column(variable: Variable, values: Floats, levels: tuple[str, ...] | None) -> pa.Array:
    """Numbers as the type that the variable has in a table; NaN is null."""
    missing = np.isnan(values)
    if variable.type == "number":
        return pa.array(values, pa.float64(), mask=missing)
    whole = np.where(missing, 0, values).astype(np.int64)
    if variable.type == "integer":
        return pa.array(whole, pa.int64(), mask=missing)
    if variable.type == "boolean":
        return pa.array(whole.astype(bool), pa.bool_(), mask=missing)
    return pa.DictionaryArray.from_arrays(pa.array(whole, mask=missing), pa.array(levels)).dictionary_decode()


def column_type(dataset: Dataset, item: Column) -> pa.DataType | None:
    """The type that a column has in its table; None where Faker decides."""
    by_name = {"number": pa.float64(), "integer": pa.int64(), "boolean": pa.bool_(), "category": pa.string()}
    match item:
        case FromColumn(variable=variable):
            return by_name[dataset.all_variables()[variable].type]
        case FormulaColumn(type=name):
            return by_name[name]
        case KeyColumn():
            return pa.array([item.value(1)]).type
        case ReferenceColumn(reference=table):
            return column_type(dataset, dataset.tables[table].columns[key_column(dataset, table)])
        case ChoiceColumn():
            return pa.string()
        case BetweenColumn(type=name):
            return pa.date32() if name == "date" else TIMESTAMP
        case ConstantColumn(constant=value):
            return pa.array([value]).type
    return None


def key_column(dataset: Dataset, table: str) -> str:
    """The one `key:` column of a table that others refer to."""
    columns = dataset.tables[table].columns
    (key,) = (name for name, item in columns.items() if isinstance(item, KeyColumn))
    return key


class _TableFill:
    """Makes the columns of one table, one after the other."""

    def __init__(
        self, definition_path: Path, drawn: Drawn, levels: Levels, tables: Mapping[str, pa.Table], name: str
    ) -> None:
        self._path, self._drawn, self._levels, self._tables, self._name = (
            definition_path,
            drawn,
            levels,
            tables,
            name,
        )
        self._rows = drawn.dataset.tables[name].rows
        self._columns: dict[str, pa.Array] = {}

    def table(self) -> pa.Table:
        for column, item in self._drawn.dataset.tables[self._name].columns.items():
            self._columns[column] = self._make(column, item)
        return pa.table(self._columns)

    def _make(self, column: str, item: Column) -> pa.Array:
        rng = stream(self._drawn.dataset.seed, "column", self._name, column)
        match item:
            case FromColumn(variable=variable):
                definition = self._drawn.dataset.all_variables()[variable]
                values = self._drawn.seen_from(self._name, variable)
                return typed_column(definition, values, self._levels.get(variable))
            case KeyColumn():
                return pa.array([item.value(number) for number in range(1, self._rows + 1)])
            case ReferenceColumn():
                return self._keys_of(item.reference).take(
                    pa.array(self._drawn.references[self._name][column])
                )
            case ChoiceColumn(choice=choice):
                weights = np.array(list(choice.values()))
                picked = rng.choice(len(choice), size=self._rows, p=weights / weights.sum())
                return pa.array(list(choice)).take(pa.array(picked))
            case BetweenColumn():
                return _moments(item, rng, self._rows)
            case ConstantColumn(constant=value):
                return pa.array([value] * self._rows)
            case FormulaColumn():
                return self._formula(item)
            case FakerColumn():
                seed = int(rng.integers(0, 2**63))
                make = faker_method(self._path, self._drawn.dataset, self._name, column, item, seed)
                return _invented(self._path, f"{self._name}.{column}", item, make, self._rows)

    def _keys_of(self, table: str) -> pa.ChunkedArray:
        return self._tables[table].column(key_column(self._drawn.dataset, table)).combine_chunks()

    def _formula(self, item: FormulaColumn) -> pa.Array:
        with np.errstate(all="ignore"):
            values = np.broadcast_to(
                _evaluate(ast.parse(item.formula, mode="eval").body, self._number), self._rows
            )
        values = np.where(np.isfinite(values), values, np.nan)
        rounded = np.round(values, item.decimals if item.type == "number" else 0) + 0.0
        return typed_column(Variable(column="-", type=item.type), rounded, None)

    def _number(self, name: str) -> Floats:
        """The column, or the column of the row referred to, as numbers."""
        table, _, other = name.rpartition(".")
        if not table:
            array = self._columns[other]
        else:
            array = self._tables[table].column(other).take(pa.array(self._drawn.rows_of(self._name, table)))
        try:
            numbers: Floats = array.cast(pa.float64()).to_numpy(zero_copy_only=False)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise DefinitionError.at(
                self._path,
                f"a formula of table {self._name!r} calculates with {name!r}, which holds {array.type}",
                "calculate with numbers only",
            ) from None
        return numbers


def _evaluate(node: ast.expr, number: Callable[[str], Floats]) -> Any:
    """The value of a formula that `harness.model.dataset.formula_names` has accepted."""
    match node:
        case ast.BinOp(left=left, op=operator, right=right):
            a, b = _evaluate(left, number), _evaluate(right, number)
            match operator:
                case ast.Add():
                    return a + b
                case ast.Sub():
                    return a - b
                case ast.Mult():
                    return a * b
                case _:
                    return np.divide(a, b)
        case ast.UnaryOp(operand=operand):
            return -_evaluate(operand, number)
        case ast.Call(func=ast.Name(id=function), args=arguments):
            functions: dict[str, Callable[..., Any]] = {
                "abs": np.abs,
                "min": np.minimum,
                "max": np.maximum,
                "round": np.rint,
            }
            return functions[function](*(_evaluate(argument, number) for argument in arguments))
        case ast.Constant(value=value):
            return float(str(value))
        case _:
            return number(ast.unparse(node))


def _moments(item: BetweenColumn, rng: np.random.Generator, rows: int) -> pa.Array:
    first, last = item.between
    days = (last - first).days + 1
    if item.type == "date":
        since = (first - dt.date(1970, 1, 1)).days
        return pa.array((since + rng.integers(0, days, size=rows)).astype(np.int32), pa.int32()).cast(
            pa.date32()
        )
    start = int(dt.datetime(first.year, first.month, first.day, tzinfo=dt.UTC).timestamp())
    seconds = start + rng.integers(0, days * 86_400, size=rows)
    return pa.array(seconds * 1_000_000, pa.int64()).cast(TIMESTAMP)


def faker_method(
    definition_path: Path, dataset: Dataset, table: str, column: str, item: FakerColumn, seed: int
) -> Callable[[], Any]:
    """The Faker method with its arguments, seeded. Raises DefinitionError for an unknown one or a bad locale."""
    from faker import Faker

    where = Location(str(definition_path))
    try:
        fake = Faker(dataset.locale, use_weighting=False)
    except AttributeError as error:
        what, fix = f"locale {dataset.locale!r} is unknown to Faker", "use one such as en_US"
        raise DefinitionError([Problem(where, what, fix)]) from error
    fake.seed_instance(seed)
    if item.faker.startswith("_") or not callable(getattr(fake, item.faker, None)):
        near = difflib.get_close_matches(item.faker, [name for name in dir(fake) if name[0] != "_"], n=1)
        fix = f"did you mean {near[0]!r}?" if near else "see Faker's standard providers"
        what = f"column {table}.{column}: Faker has no method {item.faker!r}"
        raise DefinitionError([Problem(where, what, fix)])
    method = getattr(fake.unique if item.unique else fake, item.faker)
    return lambda: method(**item.arguments)


def _invented(
    definition_path: Path, column: str, item: FakerColumn, make: Callable[[], Any], rows: int
) -> pa.Array:
    from faker.exceptions import UniquenessException

    try:
        return pa.array([make() for _ in range(rows)])
    except UniquenessException:
        raise DefinitionError.at(
            definition_path,
            f"column {column}: Faker's {item.faker!r} has fewer than {rows} different values",
            "leave out `unique`, lower the table's rows, or make it from more parts",
        ) from None
    except (TypeError, ValueError, pa.ArrowException) as error:
        raise DefinitionError.at(
            definition_path,
            f"column {column}: Faker's {item.faker!r} failed: {error}",
            "check its `arguments`; it must give text, numbers, booleans or dates",
        ) from error
