"""Lines, headed sections and plain values: what all answers are made of.

Text is never read as markup, and never obeyed by the terminal: see `harness.visible`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.visible import visible

Cell = str | Text


def line(console: Console, *parts: str | tuple[str, str]) -> None:
    """One line that is never broken, so that paths and commands can be copied whole."""
    shown = (visible(part) if isinstance(part, str) else (visible(part[0]), part[1]) for part in parts)
    console.print(Text.assemble(*shown), soft_wrap=True)


def section(console: Console, title: str, rows: Iterable[Sequence[Cell]]) -> None:
    """A heading (none where empty) and rows of columns below it. Prints nothing without rows."""
    listed = [tuple(row) for row in rows]
    if not listed:
        return
    if title:
        line(console, (title, "bold"))
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=0)
    for _ in listed[0]:
        table.add_column(overflow="fold")  # the widest gives way first, and nothing is cut off
    for row in listed:
        table.add_row("", *(visible(cell) if isinstance(cell, str) else cell for cell in row))
    console.print(table)


def facts(console: Console, title: str, pairs: Iterable[tuple[str, str]]) -> None:
    """A heading and named facts below it that are never broken, so that paths and digests can be copied whole."""
    listed = list(pairs)
    width = max((len(name) for name, _ in listed), default=0)
    line(console, (title, "bold"))
    for name, text in listed:
        line(console, f"  {name:<{width}}  {text}")


def values(thing: object) -> Any:
    """Plain JSON values of a dataclass or a model."""
    from harness.report.canonical import jsonable

    return jsonable(thing)
