"""The Dataset: which tables a run needs, and how synthetic rows for them are made from a private sample.

Takes what `NAME.dataset.yaml` says (validated by pydantic), gives tables, variables and their relations with the few
derived facts that building them needs. Nothing here reads the sample: that is `synthetic/`'s alone. What contradicts
what in a definition is told by `harness/model/dataset_misfits.py`.

Drifts of a dataset (null bursts, unit changes, late and duplicate rows) will get a key of their own here.
"""

from __future__ import annotations

import ast
import datetime as dt
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Discriminator,
    Field,
    JsonValue,
    StringConstraints,
    Tag,
    field_validator,
    model_validator,
)

from harness.model.base import Definition, Name

Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_]{0,62}$")]
"""Lower-case letters, digits and underscores: a name that SQL takes without quotes."""

MOST_ROWS = 10_000_000
FORMULA_FUNCTIONS = ("abs", "max", "min", "round")


class Source(Definition):
    """The private sample: a CSV file, or a data file that an installed Python package carries."""

    csv: str | None = Field(default=None, description="CSV file, relative to the file that names it.")
    package: str | None = Field(default=None, description="Installed Python package; it is not imported.")
    file: str | None = Field(default=None, description="CSV file inside `package`.")
    columns: tuple[str, ...] | None = Field(
        default=None, description="Column names, for a file without a header line."
    )
    delimiter: Annotated[str, StringConstraints(min_length=1, max_length=1)] = ","
    missing: tuple[str, ...] = Field(default=("", "NA"), description="Cells that mean: no value.")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.csv is None) == (self.package is None) or (self.package is None) != (self.file is None):
            raise ValueError("give either `csv`, or `package` with `file`")
        return self


class Variable(Definition):
    """One thing that is read from the source and modelled together with all others."""

    column: str | None = Field(default=None, description="Column of the source.")
    equals: str | None = Field(default=None, description="1 where the column is this text, else 0.")
    indicators: dict[str, str] | None = Field(
        default=None, description="0/1 columns of the source -> the level that each stands for."
    )
    otherwise: str | None = Field(default=None, description="Level where no indicator is 1.")
    type: Literal["integer", "number", "boolean", "category"]
    decimals: int = Field(default=2, ge=0, le=9, description="Of a number; what the source has more is cut.")
    at_least: float | None = Field(default=None, allow_inf_nan=False)
    at_most: float | None = Field(default=None, allow_inf_nan=False)
    missing_codes: tuple[float, ...] = Field(
        default=(), description="Numbers that mean: no value, such as 999."
    )
    missing: Literal["keep", "drop", "most_frequent"] = Field(
        default="keep", description="Missing values: model them, drop the row, or take the commonest value."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.column is None) == (self.indicators is None):
            raise ValueError("give either `column` or `indicators`")
        if self.indicators is not None and (not self.indicators or self.type != "category"):
            raise ValueError("`indicators` name at least one column and make a variable of `type: category`")
        if self.otherwise is not None and self.indicators is None:
            raise ValueError("`otherwise` is the level of rows in which none of the `indicators` is 1")
        if self.equals is not None and (self.column is None or self.type not in {"integer", "boolean"}):
            raise ValueError("`equals` compares a `column` and makes an integer or a boolean")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"`at_least` {self.at_least:g} is above `at_most` {self.at_most:g}")
        return self


class FromColumn(Definition):
    """The value of a variable: this row's own, or that of the row it refers to."""

    variable: str = Field(alias="from")


class FakerColumn(Definition):
    """An invented identity: a method of Faker, such as `name` or `ascii_safe_email`."""

    faker: str
    arguments: dict[str, JsonValue] = Field(default_factory=dict)
    unique: bool = False


class KeyColumn(Definition):
    """The row's own key: a template for 1, 2, 3 … such as `A{:06d}`, or `integer` for the bare number."""

    key: str

    @field_validator("key")
    @classmethod
    def _tells_rows_apart(cls, key: str) -> str:
        if key == "integer":
            return key
        try:
            keys = {key.format(number) for number in (1, 2, 10, 123_456)}
        except (LookupError, ValueError) as error:
            raise ValueError(
                f"{key!r} is no template for a number ({error}); write for example A{{:06d}}"
            ) from error
        if len(keys) < 4:
            raise ValueError(
                f"{key!r} gives the same key to several rows; write for example A{{:06d}}, or `integer`"
            )
        return key

    def value(self, number: int) -> str | int:
        """Key of row `number`, counted from 1."""
        return number if self.key == "integer" else self.key.format(number)


class ReferenceColumn(Definition):
    """The key of a row of an earlier table. `once`: no two rows refer to the same one."""

    reference: str
    once: bool = False


class FormulaColumn(Definition):
    """Arithmetic over columns before it and `TABLE.column` of a row it refers to: + - * / ( ) abs min max round."""

    formula: str
    type: Literal["integer", "number"] = "number"
    decimals: int = Field(default=2, ge=0, le=9)

    @field_validator("formula")
    @classmethod
    def _is_arithmetic(cls, formula: str) -> str:
        formula_names(formula)
        return formula


class ChoiceColumn(Definition):
    """One of these texts, by weight; for what the source does not tell."""

    choice: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(min_length=1)


class BetweenColumn(Definition):
    """A day (or a second) between two days, both included, all equally likely."""

    between: tuple[dt.date, dt.date]
    type: Literal["date", "timestamp"] = "date"

    @field_validator("between")
    @classmethod
    def _forwards(cls, between: tuple[dt.date, dt.date]) -> tuple[dt.date, dt.date]:
        if between[0] > between[1]:
            raise ValueError(f"{between[0]} is after {between[1]}")
        return between


class ConstantColumn(Definition):
    """The same in every row."""

    constant: bool | int | float | str


_COLUMN_KEYS = ("from", "faker", "key", "reference", "formula", "choice", "between", "constant")


def _column_kind(value: Any) -> str | None:
    """Which of the column's kinds is meant: the one whose own key is there."""
    if isinstance(value, dict):
        return next((key for key in _COLUMN_KEYS if key in value), None)
    kind: str = type(value).__name__.removesuffix("Column").lower()
    return kind


Column = Annotated[
    Annotated[FromColumn, Tag("from")]
    | Annotated[FakerColumn, Tag("faker")]
    | Annotated[KeyColumn, Tag("key")]
    | Annotated[ReferenceColumn, Tag("reference")]
    | Annotated[FormulaColumn, Tag("formula")]
    | Annotated[ChoiceColumn, Tag("choice")]
    | Annotated[BetweenColumn, Tag("between")]
    | Annotated[ConstantColumn, Tag("constant")],
    Discriminator(
        _column_kind,
        custom_error_type="column_kind",
        custom_error_message=f"a column is made by one of: {', '.join(_COLUMN_KEYS)}",
    ),
]


class TableDefinition(Definition):
    """Rows and columns of one table. The order of columns is the order in the file."""

    rows: int = Field(ge=1, le=MOST_ROWS)
    columns: dict[Identifier, Column] = Field(min_length=1)

    def references(self) -> dict[str, ReferenceColumn]:
        """Columns that refer to other tables."""
        return {name: column for name, column in self.columns.items() if isinstance(column, ReferenceColumn)}


class LabelsDefinition(Definition):
    """The truth that is kept outside the graph: which variable it is, for which rows, and the protected groups."""

    table: str
    key: str = Field(description="Column of the table that joins an exchange to its label.")
    label: str = Field(description="Variable with the values 0 and 1.")
    groups: tuple[str, ...] = Field(default=(), description="Variables: protected attributes.")


class PrivacyLimits(Definition):
    """Above one of these, a dataset is not built."""

    holdout: float = Field(
        default=0.5, ge=0.1, le=0.9, description="Share of the source kept from the fit, to compare with."
    )
    most_exact_matches: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of rows equal to a source row in every variable; 0: such rows are drawn again.",
    )
    most_copied_share: float = Field(
        default=0.15,
        gt=0,
        le=1,
        description="Share of copies that would explain how many rows are nearer to the fitted half of the source.",
    )
    most_membership_auc: float = Field(
        default=0.6, gt=0.5, le=1, description="How well nearness tells a fitted source row from a kept one."
    )
    fewest_rows: int = Field(
        default=5, ge=1, description="A value that fewer fitted rows share is never given out."
    )


class QualityLimits(Definition):
    """Below one of these, a dataset is of no use and is not built."""

    most_auc_gap: float | None = Field(
        default=None,
        gt=0,
        le=0.5,
        description="Difference of a model's AUC for the label on synthetic rows and on kept source rows.",
    )


class Dataset(Definition):
    """Tables, what they are modelled from, labels, limits."""

    dataset: Name
    description: str = ""
    seed: int = Field(default=0, ge=0, lt=2**63)
    locale: str = "en_US"
    source: Source | None = Field(default=None, description="None: every column is invented.")
    variables: dict[Identifier, dict[Identifier, Variable]] = Field(
        default_factory=dict, description="Table -> variables that are drawn with each of its rows."
    )
    tables: dict[Identifier, TableDefinition] = Field(min_length=1)
    labels: LabelsDefinition | None = None
    privacy: PrivacyLimits = PrivacyLimits()
    quality: QualityLimits = QualityLimits()

    def all_variables(self) -> dict[str, Variable]:
        """Every variable by name, in order of definition."""
        return {name: variable for group in self.variables.values() for name, variable in group.items()}

    def owner(self, variable: str) -> str:
        """The table with whose rows a variable is drawn. Raises KeyError for an unknown variable."""
        for table, variables in self.variables.items():
            if variable in variables:
                return table
        raise KeyError(variable)

    def paths(self, table: str, target: str) -> tuple[tuple[str, ...], ...]:
        """Every way from a row of `table` to a row of `target`: the reference columns to follow, in order."""
        if table == target:
            return ((),)
        return tuple(
            (column, *rest)
            for column, reference in self.tables[table].references().items()
            if reference.reference in self.before(table)
            for rest in self.paths(reference.reference, target)
        )

    def ancestors(self, table: str) -> tuple[str, ...]:
        """Tables that a row of `table` leads to, in order of definition, without itself."""
        return tuple(name for name in self.before(table) if self.paths(table, name))

    def modelled_chain(self, table: str) -> tuple[str, ...]:
        """Of the table and its ancestors those that variables are drawn with, in order of definition."""
        return tuple(name for name in (*self.ancestors(table), table) if self.variables.get(name))

    def modelled_leaves(self) -> tuple[str, ...]:
        """Modelled tables that no other modelled table leads to: their chains are the whole modelled rows."""
        modelled = [name for name in self.tables if self.variables.get(name)]
        return tuple(
            name for name in modelled if not any(name in self.ancestors(other) for other in modelled)
        )

    def hidden_variables(self) -> tuple[str, ...]:
        """Label and protected groups: drawn, but never written to a table."""
        return (self.labels.label, *self.labels.groups) if self.labels is not None else ()

    def before(self, table: str) -> tuple[str, ...]:
        """Tables that are defined, and so filled, before this one."""
        names = tuple(self.tables)
        return names[: names.index(table)]


def formula_names(formula: str) -> tuple[str, ...]:
    """Names that a formula uses, `column` or `table.column`. Raises ValueError when it is no plain arithmetic."""
    try:
        body = ast.parse(formula, mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"{formula!r} is no formula: {error.msg}") from error
    return tuple(dict.fromkeys(_names_in(body, formula)))


def _names_in(node: ast.expr, formula: str) -> Iterator[str]:
    match node:
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div(), right=right):
            yield from _names_in(left, formula)
            yield from _names_in(right, formula)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            yield from _names_in(operand, formula)
        case ast.Call(func=ast.Name(id=function), args=arguments, keywords=[]) if (
            function in FORMULA_FUNCTIONS and len(arguments) == (2 if function in {"min", "max"} else 1)
        ):
            for argument in arguments:
                yield from _names_in(argument, formula)
        case ast.Constant(value=bool()):
            raise ValueError(f"{ast.unparse(node)!r} in {formula!r} is no number")
        case ast.Constant(value=int() | float()):
            return
        case ast.Name(id=name):
            yield name
        case ast.Attribute(value=ast.Name(id=table), attr=column):
            yield f"{table}.{column}"
        case _:
            raise ValueError(
                f"{ast.unparse(node)!r} in {formula!r} is no plain arithmetic: "
                "+ - * / ( ) abs(x) min(x, y) max(x, y) round(x)"
            )
