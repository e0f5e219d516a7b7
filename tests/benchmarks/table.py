"""Tables that read well on a terminal and are Markdown at once, and the few statistics that they show.

Takes rows of text, gives one string. Captions say how to read the figures; nothing is cut or wrapped inside a table.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CAPTION_COLUMNS = 118


@dataclass(frozen=True)
class Table:
    """`columns` are headings; all columns but the first `left` ones hold figures and stand to the right."""

    title: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1

    def markdown(self) -> str:
        """Title, table and caption, each after an empty line."""
        widths = [max(map(len, column)) for column in zip(self.columns, *self.rows, strict=True)]
        rule = [
            "-" * width if index < self.left else "-" * (width - 1) + ":"
            for index, width in enumerate(widths)
        ]
        lines = [self._line(row, widths) for row in (self.columns, tuple(rule), *self.rows)]
        caption = textwrap.wrap(self.caption, CAPTION_COLUMNS, break_on_hyphens=False)
        return "\n".join([f"## {self.title}", "", *lines, "", *caption, ""])

    def _line(self, cells: Sequence[str], widths: Sequence[int]) -> str:
        placed = [
            cell.ljust(width) if index < self.left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(placed)} |"


def quantile(values: Sequence[float], share: float) -> float:
    """Of the raw values, linear between neighbours; there must be some."""
    return float(np.quantile(np.asarray(values), share))


def median(values: Sequence[float]) -> float:
    return quantile(values, 0.5)


def spread(values: Sequence[float], digits: int) -> str:
    """Least and greatest, such as `1.2-1.4`."""
    return f"{min(values):.{digits}f}-{max(values):.{digits}f}"
