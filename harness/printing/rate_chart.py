"""A picture of a rate over time, as wide as the terminal, in block characters or in plain ASCII.

Takes the rate in each of some equal stretches, gives lines of text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from harness.report import numbers

BLOCKS = " ▁▂▃▄▅▆▇█"
ASCII = " .:#"
ROWS = 6
LEAST_COLUMNS, MOST_COLUMNS = 10, 200


def chart_columns(width: int, most: float) -> int:
    """How many stretches a chart of this width has room for beside its axis."""
    return max(LEAST_COLUMNS, min(MOST_COLUMNS, width - len(_top(most)) - 4))


def rate_chart(rates: Sequence[float], most: float, length_ns: int, blocks: bool) -> list[str]:
    """One line a row, the highest first, then the axis and its times. `most` is the rate of a full column."""
    levels = BLOCKS if blocks else ASCII
    steps = len(levels) - 1
    # What is there at all can be seen: the least is one step.
    heights = [max(round(rate / most * ROWS * steps), 1) if rate > 0 else 0 for rate in rates] if most else []
    margin = len(_top(most))
    corner, bar, line = ("└", "│", "─") if blocks else ("+", "|", "-")
    lines = []
    for row in reversed(range(ROWS)):
        label = _top(most) if row == ROWS - 1 else ""
        cells = "".join(levels[min(max(height - row * steps, 0), steps)] for height in heights)
        lines.append(f"{label:>{margin}} {bar}{cells}".rstrip())
    lines.append(f"{'0':>{margin}} {corner}{line * len(rates)}")
    middle, end = span(length_ns / 2), span(length_ns)
    left = "0".ljust(len(rates) // 2 - len(middle) // 2)
    under = (
        (left + middle).ljust(len(rates) - len(end))
        + " " * (len(left + middle) >= len(rates) - len(end))
        + end
    )
    lines.append(f"{'':>{margin}}  {under}")
    return lines


def span(length_ns: float) -> str:
    """As `numbers.seconds`, and beyond an hour in hours or days: `3.5 h`, `4.2 d`."""
    for unit, unit_s in (("d", 86_400), ("h", 3_600)):
        if length_ns >= 2 * unit_s * 1e9:
            return numbers.measure(length_ns / unit_s / 1e9, unit)
    return numbers.seconds(length_ns)


def _top(most: float) -> str:
    return f"{numbers.plain(most)}/s"


def can_draw_blocks(stream: TextIO) -> bool:
    """Whether the stream's encoding has the characters."""
    try:
        (BLOCKS + "└│─").encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
