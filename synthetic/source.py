"""Reads the private sample: the only module that ever sees a source row.

Takes the definition's source and variables, gives a `Sample`: one number per row and variable (categories as codes of
their levels, NaN where there is no value). Messages name columns and row numbers, never a cell's content.
"""

from __future__ import annotations

import bz2
import csv
import difflib
import gzip
import hashlib
import importlib.metadata
import importlib.util
import lzma
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from harness.errors import DefinitionError, Location, Problem
from harness.model.dataset import Dataset, Source, Variable

Floats = npt.NDArray[np.float64]
Cells = list[str | None]

FEWEST_SOURCE_ROWS = 50
"""Below this neither a joint distribution nor any privacy evidence means anything."""
_TRUE, _FALSE = ("1", "1.0", "true", "yes", "t", "y"), ("0", "0.0", "false", "no", "f", "n")


class SourceMissingError(DefinitionError):
    """The source is not on this machine; a bundle that was built from it may still be used."""


@dataclass(frozen=True)
class SourceFile:
    """Where the sample lies and what may be told about it: a name without folders, and a digest."""

    path: Path
    name: str
    digest: str


@dataclass(frozen=True)
class Sample:
    """Private. `values` has a row per source row and a column per variable, in the definition's order.

    A category's value is the index of its level in `levels`; NaN is no value. `rows_read` counts the source's rows,
    of which those without a needed value (`missing: drop`) are left out of `values`.
    """

    variables: tuple[str, ...]
    values: Floats
    levels: dict[str, tuple[str, ...]]
    rows_read: int


def locate(definition_path: Path, source: Source) -> SourceFile:
    """Find the sample and digest it. Raises SourceMissingError when it is not here."""
    if source.csv is not None:
        path = definition_path.parent / source.csv
        name = Path(source.csv).name
        fix = "give the path of a CSV file, relative to the dataset's definition"
    else:
        assert source.package is not None and source.file is not None  # noqa: PT018  (the model's validator)
        path, version = _package_file(definition_path, source.package, source.file)
        name = f"{source.package} {version} {source.file}"
        fix = f"see which data files the package {source.package!r} carries"
    try:
        content = path.read_bytes()
    except OSError as error:
        what = f"the source {source.csv or name} cannot be read: {error.strerror or error}"
        raise SourceMissingError([Problem(Location(str(definition_path)), what, fix)]) from error
    return SourceFile(path, name, f"sha256:{hashlib.sha256(content).hexdigest()}")


def _package_file(definition_path: Path, package: str, file: str) -> tuple[Path, str]:
    """The file in the package's folder, found without importing the package (its imports may be heavy)."""
    try:
        spec = importlib.util.find_spec(package) if "." not in package else None
    except (ImportError, ValueError):
        spec = None
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    if not folders:
        raise SourceMissingError(
            [
                Problem(
                    Location(str(definition_path)),
                    f"the source is a file of the Python package {package!r}, which is not installed",
                    f"install it: pip install {package}",
                )
            ]
        )
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        version = "(no version)"
    return Path(folders[0]) / file, version


def read_sample(definition_path: Path, dataset: Dataset, file: SourceFile) -> Sample:
    """Read the variables. Raises DefinitionError with every problem found."""
    assert dataset.source is not None
    table = _read_csv(definition_path, dataset.source, file)
    variables = dataset.all_variables()
    problems = [
        Problem(Location(str(definition_path)), what, fix)
        for name, variable in variables.items()
        for what, fix in _missing_columns(name, variable, table)
    ]
    columns: list[Floats] = []
    levels: dict[str, tuple[str, ...]] = {}
    if not problems:
        for name, variable in variables.items():
            try:
                values, found = _read_variable(table, variable)
            except _UnreadableError as error:
                what = f"variable {name!r}: {error.what}"
                problems.append(Problem(Location(str(definition_path)), what, error.fix))
                continue
            columns.append(_filled(values) if variable.missing == "most_frequent" else values)
            if variable.type == "category":
                levels[name] = found
    if problems:
        raise DefinitionError(problems)
    values = np.column_stack(columns)
    needed = [k for k, variable in enumerate(variables.values()) if variable.missing == "drop"]
    values = values[~np.isnan(values[:, needed]).any(axis=1)]
    if len(values) < FEWEST_SOURCE_ROWS:
        raise DefinitionError.at(
            definition_path,
            f"the source has {len(values)} usable rows; at least {FEWEST_SOURCE_ROWS} are needed",
            "use a larger sample, or keep rows with missing values (`missing: keep`)",
        )
    return Sample(tuple(variables), values, levels, len(next(iter(table.values()))))


class _UnreadableError(Exception):
    """A variable cannot be read from its columns."""

    def __init__(self, what: str, fix: str) -> None:
        self.what, self.fix = what, fix
        super().__init__(what)


def _read_csv(definition_path: Path, source: Source, file: SourceFile) -> dict[str, Cells]:
    """All cells as trimmed text, None where missing, by column."""

    def bad(what: str, fix: str) -> DefinitionError:
        return DefinitionError.at(definition_path, f"the source {file.name} {what}", fix)

    rows: list[list[str]] = []
    try:
        with _open_text(file.path) as stream:
            reader = csv.reader(stream, delimiter=source.delimiter, skipinitialspace=True, strict=True)
            header = list(source.columns) if source.columns is not None else next(reader, [])
            for row in reader:
                if row and len(row) != len(header):
                    raise bad(
                        f"has {len(row)} cells in line {reader.line_num}, and {len(header)} columns",
                        "check the delimiter, and `columns` when the file has no header line",
                    )
                if row:
                    rows.append(row)
    except (OSError, EOFError, lzma.LZMAError, csv.Error, UnicodeDecodeError):
        # What these say may quote the cell at which they stopped.
        raise bad("does not read as CSV", "check delimiter, compression and encoding (UTF-8)") from None
    missing = set(source.missing)
    columns = zip(*rows, strict=True) if rows else ([] for _ in header)
    return {
        name.strip(): [None if (text := cell.strip()) in missing else text for cell in column]
        for name, column in zip(header, columns, strict=True)
    }


def _open_text(path: Path) -> IO[str]:
    """The file's text, unpacked by its ending."""
    openers: dict[str, Callable[..., IO[str]]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    opener: Callable[..., IO[str]] = openers.get(path.suffix, open)
    return opener(path, "rt", encoding="utf-8", newline="")


def _missing_columns(name: str, variable: Variable, known: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Columns that a variable needs and the source has not: what is wrong, what to do."""
    known = list(known)
    for column in [variable.column] if variable.column is not None else list(variable.indicators or {}):
        if column not in known:
            near = difflib.get_close_matches(column, known, n=1)
            fix = f"did you mean {near[0]!r}?" if near else f"the source has: {', '.join(known)}"
            yield f"variable {name!r}: the source has no column {column!r}", fix


def _read_variable(table: Mapping[str, Cells], variable: Variable) -> tuple[Floats, tuple[str, ...]]:
    """Values, and the levels of a category (in alphabetical order)."""
    if variable.indicators is not None:
        texts = _read_indicators(table, variable.indicators, variable.otherwise)
        return _codes(texts)
    assert variable.column is not None
    cells = table[variable.column]
    if variable.equals is not None:
        return np.array([np.nan if cell is None else float(cell == variable.equals) for cell in cells]), ()
    if variable.type == "category":
        return _codes(cells)
    return _numbers(cells, variable), ()


def _numbers(cells: Cells, variable: Variable) -> Floats:
    if variable.type == "boolean":
        words = dict.fromkeys(_TRUE, 1.0) | dict.fromkeys(_FALSE, 0.0)
        values = [np.nan if cell is None else words.get(cell.lower()) for cell in cells]
    else:
        values = [np.nan if cell is None else _number(cell) for cell in cells]
    if None in values:
        raise _UnreadableError(
            f"column {variable.column!r} has no {variable.type} in data row {values.index(None) + 1}"
            f" ({values.count(None)} such rows)",
            "choose another type, or name what means no value under `source.missing`",
        )
    numbers = np.array(values, dtype=float)
    numbers[np.isin(numbers, variable.missing_codes)] = np.nan
    if variable.type == "integer" and np.any(numbers[~np.isnan(numbers)] % 1):
        raise _UnreadableError(
            f"column {variable.column!r} has numbers that are not whole", "use `type: number` with `decimals`"
        )
    return np.round(numbers, variable.decimals) if variable.type == "number" else numbers


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _read_indicators(
    table: Mapping[str, Cells], indicators: Mapping[str, str], otherwise: str | None
) -> Cells:
    """The level whose column is 1; `otherwise` where all are 0; missing where that cannot be told."""
    columns = []
    for column in indicators:
        numbers = [None if cell is None else _number(cell) for cell in table[column]]
        wrong = [k for k, value in enumerate(numbers) if value not in {0.0, 1.0, None}]
        if wrong:
            raise _UnreadableError(
                f"indicator column {column!r} is neither 0 nor 1 in data row {wrong[0] + 1}",
                "give columns of 0 and 1",
            )
        columns.append(numbers)
    texts: Cells = []
    for row, values in enumerate(zip(*columns, strict=True)):
        chosen = [level for level, value in zip(indicators.values(), values, strict=True) if value == 1.0]
        if len(chosen) > 1 or (not chosen and None not in values and otherwise is None):
            raise _UnreadableError(
                f"in data row {row + 1}, {len(chosen)} of the indicators {', '.join(indicators)} are 1",
                "exactly one must be, or give the level of the others as `otherwise`",
            )
        texts.append(chosen[0] if chosen else None if None in values else otherwise)
    return texts


def _codes(texts: Cells) -> tuple[Floats, tuple[str, ...]]:
    levels = tuple(sorted({text for text in texts if text is not None}))
    code = {level: float(index) for index, level in enumerate(levels)}
    return np.array([np.nan if text is None else code[text] for text in texts]), levels


def _filled(values: Floats) -> Floats:
    """Missing values replaced by the commonest one (the least of several equally common)."""
    present, counts = np.unique(values[~np.isnan(values)], return_counts=True)
    return values if len(present) == 0 else np.where(np.isnan(values), present[np.argmax(counts)], values)
