"""How faithful the replay was, as a table: a measure a row, an arm a column, each value with the share of its limit.

Takes findings of the check `fidelity` (or a `Fidelity` of its own, for `readiness replay`), gives texts. Details that do
not hold parts, as in a report that somebody altered, are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from harness.model.fidelity import FidelityPart
from harness.model.findings import Finding
from harness.report import numbers

CHECK = "fidelity"
BAR_WIDTH = 46.0
_PARTS = TypeAdapter(tuple[FidelityPart, ...])


@dataclass(frozen=True)
class Cell:
    """One value. `state` is pass, unknown (beyond its limit) or empty (not judged); `bar` the used share in pixels."""

    text: str
    compared: str = ""
    note: str = ""
    state: str = ""
    bar: float | None = None


@dataclass(frozen=True)
class Row:
    """One measure in every column."""

    words: str
    limit: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class FidelityTable:
    """`scores`, `shortages` (what ran short) and the cells of each row go with `columns`."""

    columns: tuple[str, ...]
    scores: tuple[str, ...]
    rows: tuple[Row, ...]
    shortages: tuple[str, ...]


@dataclass(frozen=True)
class Column:
    """One arm, or the one target of a replay."""

    name: str
    score: float | None
    parts: tuple[FidelityPart, ...]
    shortages: tuple[str, ...] = ()


def of_findings(findings: Iterable[Finding], arms: Sequence[str]) -> FidelityTable | None:
    """None where no finding says how faithful the replay was."""
    by_arm = {finding.subject: finding for finding in findings if finding.check == CHECK}
    columns = []
    for arm in arms:
        finding = by_arm.get(arm)
        if finding is not None:
            columns.append(Column(arm, finding.value, _parts(finding), _shortages(finding)))
    return table(columns) if any(column.parts for column in columns) else None


def _parts(finding: Finding) -> tuple[FidelityPart, ...]:
    try:
        return _PARTS.validate_python(finding.details.get("parts"))
    except ValidationError:
        return ()


def _shortages(finding: Finding) -> tuple[str, ...]:
    said = finding.details.get("shortages")
    return tuple(str(item) for item in said) if isinstance(said, list | tuple) else ()


def table(columns: Sequence[Column]) -> FidelityTable:
    """Measures in the order of the first column that has them."""
    first: dict[str, FidelityPart] = {}
    for column in columns:
        for part in column.parts:
            first.setdefault(part.name, part)
    rows = []
    for name, part in first.items():
        found = [next((item for item in column.parts if item.name == name), None) for column in columns]
        rows.append(Row(part.words, _limit(part), tuple(_cell(item) for item in found)))
    scores = tuple(
        numbers.NO_VALUE if c.score is None else f"{100 * c.score:.0f}\N{NO-BREAK SPACE}%" for c in columns
    )
    short = tuple("; ".join(column.shortages) for column in columns)
    return FidelityTable(tuple(column.name for column in columns), scores, tuple(rows), short)


def _limit(part: FidelityPart) -> str:
    return numbers.NO_VALUE if part.limit is None else numbers.measure(part.limit, part.unit)


def _cell(part: FidelityPart | None) -> Cell:
    if part is None:
        return Cell(numbers.NO_VALUE)
    compared = ""
    if part.due is not None and part.sent is not None:
        compared = f"due {numbers.plain(part.due)}, sent {numbers.plain(part.sent)}"
    return Cell(
        text=numbers.measure(part.value, part.unit),
        compared=compared,
        note=part.note,
        state="" if part.use is None else "pass" if part.good else "unknown",
        bar=None if part.use is None else round(min(part.use, 1.0) * BAR_WIDTH, 1),
    )
