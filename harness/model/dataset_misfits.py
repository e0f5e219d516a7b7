"""What does not fit together in a dataset's definition: unknown names, references that lead nowhere, labels that leak.

Takes a `Dataset`, gives `Misfit`s, each with the path of keys to its place in the file, so that the loader can name
line and column. Pure: reads neither the sample nor any file.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from harness.model.dataset import (
    BetweenColumn,
    ChoiceColumn,
    Dataset,
    FakerColumn,
    FormulaColumn,
    FromColumn,
    KeyColumn,
    ReferenceColumn,
    formula_names,
)


@dataclass(frozen=True)
class Misfit:
    """Two parts of a definition that contradict each other: path of keys to the place, what is wrong, what to do."""

    loc: tuple[str | int, ...]
    what: str
    fix: str


def misfits(dataset: Dataset) -> tuple[Misfit, ...]:
    """All of them, in the order of the file; empty when everything fits."""
    return (
        *_variable_misfits(dataset),
        *_table_misfits(dataset),
        *_use_misfits(dataset),
        *_label_misfits(dataset),
    )


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    """`did you mean X?` where one is near, else the list of what there is."""
    names = list(known)
    near = difflib.get_close_matches(word, names, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"there is: {', '.join(names)}" if names else "there is none"


def _variable_misfits(dataset: Dataset) -> Iterator[Misfit]:
    seen: dict[str, str] = {}
    if dataset.variables and dataset.source is None:
        yield Misfit(("variables",), "variables need a source to be read from", "add `source:`")
    for table, variables in dataset.variables.items():
        if table not in dataset.tables:
            yield Misfit(("variables", table), f"no table {table!r}", _did_you_mean(table, dataset.tables))
        for name in variables:
            if name in seen:
                yield Misfit(
                    ("variables", table, name),
                    f"variable {name!r} is drawn with {seen[name]!r} already",
                    "variables have one name across all tables; rename one",
                )
            seen[name] = table


def _table_misfits(dataset: Dataset) -> Iterator[Misfit]:
    for name, table in dataset.tables.items():
        before = dataset.before(name)
        for column, reference in table.references().items():
            loc = ("tables", name, "columns", column, "reference")
            target = reference.reference
            if target not in before:
                what = "is not defined before it" if target in dataset.tables else "does not exist"
                yield Misfit(
                    loc, f"{name} refers to table {target!r}, which {what}", _did_you_mean(target, before)
                )
                continue
            keys = [
                key for key, item in dataset.tables[target].columns.items() if isinstance(item, KeyColumn)
            ]
            if len(keys) != 1:
                yield Misfit(
                    loc,
                    f"table {target!r} has {len(keys)} `key:` columns, so {column} cannot refer to it",
                    "give it exactly one",
                )
            if reference.once and table.rows > dataset.tables[target].rows:
                yield Misfit(
                    loc,
                    f"{table.rows} rows cannot each refer to another of {dataset.tables[target].rows} rows",
                    f"lower the rows of {name}, raise those of {target}, or leave out `once`",
                )
        yield from _formula_misfits(dataset, name)


def _formula_misfits(dataset: Dataset, name: str) -> Iterator[Misfit]:
    table = dataset.tables[name]
    known: list[str] = []
    for column, item in table.columns.items():
        if isinstance(item, FormulaColumn):
            for used in formula_names(item.formula):
                if used not in known:
                    yield Misfit(
                        ("tables", name, "columns", column, "formula"),
                        f"{used!r} is no column that stands before it",
                        _did_you_mean(used, known),
                    )
        if not isinstance(item, (FakerColumn, ReferenceColumn, ChoiceColumn, BetweenColumn)):
            known.append(column)
        elif isinstance(item, ReferenceColumn) and item.reference in dataset.before(name):
            known += [f"{item.reference}.{other}" for other in dataset.tables[item.reference].columns]


def _use_misfits(dataset: Dataset) -> Iterator[Misfit]:
    variables = dataset.all_variables()
    hidden = dataset.hidden_variables()
    used: set[str] = set(hidden)
    for name, table in dataset.tables.items():
        for column, item in table.columns.items():
            if not isinstance(item, FromColumn):
                continue
            loc = ("tables", name, "columns", column, "from")
            used.add(item.variable)
            if item.variable not in variables:
                yield Misfit(loc, f"no variable {item.variable!r}", _did_you_mean(item.variable, variables))
            elif item.variable in hidden:
                yield Misfit(
                    loc,
                    f"{item.variable!r} is a label or a protected group and would enter the graph",
                    "leave the column out; labels travel in a table of their own",
                )
            else:
                yield from _reach_misfits(dataset, name, item.variable, loc)
    for table_name, group in dataset.variables.items():
        for variable in group:
            if variable not in used:
                yield Misfit(
                    ("variables", table_name, variable),
                    f"variable {variable!r} is in no table and no label",
                    f"write it to a column (`{{from: {variable}}}`) or take it out",
                )


def _reach_misfits(
    dataset: Dataset, table: str, variable: str, loc: tuple[str | int, ...]
) -> Iterator[Misfit]:
    owner = dataset.owner(variable)
    if owner not in dataset.tables:
        return
    ways = dataset.paths(table, owner)
    if len(ways) != 1:
        how = "no reference leads there" if not ways else "several references lead there"
        yield Misfit(
            loc,
            f"{variable!r} is drawn with {owner!r}; from a row of {table!r} {how}",
            f"draw it with {table!r}, or let exactly one chain of references lead to {owner!r}",
        )


def _label_misfits(dataset: Dataset) -> Iterator[Misfit]:
    labels = dataset.labels
    if labels is None:
        return
    table = dataset.tables.get(labels.table)
    if table is None:
        yield Misfit(
            ("labels", "table"), f"no table {labels.table!r}", _did_you_mean(labels.table, dataset.tables)
        )
        return
    key = table.columns.get(labels.key)
    if not (isinstance(key, KeyColumn) or (isinstance(key, ReferenceColumn) and key.once)):
        unique = [
            name
            for name, column in table.columns.items()
            if isinstance(column, KeyColumn) or (isinstance(column, ReferenceColumn) and column.once)
        ]
        yield Misfit(
            ("labels", "key"),
            f"{labels.key!r} is no column of {labels.table!r} that tells its rows apart",
            _did_you_mean(labels.key, unique),
        )
    variables = dataset.all_variables()
    wanted = [("label", labels.label), *((f"groups.{k}", name) for k, name in enumerate(labels.groups))]
    for place, name in wanted:
        first, _, index = place.partition(".")
        loc: tuple[str | int, ...] = ("labels", first, int(index)) if index else ("labels", first)
        if name not in variables:
            yield Misfit(loc, f"no variable {name!r}", _did_you_mean(name, variables))
            continue
        yield from _reach_misfits(dataset, labels.table, name, loc)
    label = variables.get(labels.label)
    if label is not None and label.type not in {"integer", "boolean"}:
        yield Misfit(
            ("labels", "label"),
            f"label {labels.label!r} is of type {label.type}",
            "a label is an integer of 0 and 1 or a boolean",
        )
