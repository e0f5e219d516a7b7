"""A replay that is under way: a page that is drawn over on a terminal, or a line now and then in a log.

Takes `Snapshot`s, prints to stderr, so that stdout holds the answer alone. The page is gone when the replay ends.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.console import coloured
from harness.report.numbers import count, span_ms
from harness.visible import visible

if TYPE_CHECKING:
    from harness.replaying.live import Snapshot, Spread

LOG_EVERY_NS = 10_000_000_000
ERRORS_SHOWN = 4


@contextlib.contextmanager
def watching(note: Callable[[str], None], title: str) -> Iterator[Callable[[Snapshot], None]]:
    """Gives what takes snapshots."""
    if not sys.stderr.isatty():
        yield _Log(note).take
        return
    console = Console(
        file=sys.stderr, color_system="auto" if coloured(sys.stderr) else None, highlight=False, emoji=False
    )
    with Live(console=console, auto_refresh=False, transient=True) as live:

        def take(snapshot: Snapshot) -> None:
            live.update(page(snapshot, title, console.width), refresh=True)

        yield take


class _Log:
    """A line every `LOG_EVERY_NS`."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._next_ns = LOG_EVERY_NS

    def take(self, snapshot: Snapshot) -> None:
        if snapshot.at_ns >= self._next_ns:
            self._next_ns = snapshot.at_ns + LOG_EVERY_NS
            self._note(log_line(snapshot))


def log_line(now: Snapshot) -> str:
    """The page in one line."""
    parts = [
        f"{100 * _share(now):.0f} %",
        f"{now.over:,} of {now.total:,} over",
        f"{now.rate_over:,.0f}/s (due {now.rate_due:,.0f}/s)",
        f"{now.in_flight:,} in flight",
        f"late p99 {span_ms(now.lag.p99)}",
        f"latency p50 {span_ms(now.latency.p50)}, p99 {span_ms(now.latency.p99)}",
    ]
    return ", ".join(parts) + (f", {count(now.failed, 'error')}" if now.failed else "")


def page(now: Snapshot, title: str, width: int) -> Group:
    """Everything at once, for a terminal of that width."""
    head = Text(visible(title), style="bold", no_wrap=True, overflow="ellipsis")
    if now.at_ns < 0:
        return Group(head, Text(f"begins in {-now.at_ns / 1e9:.1f} s", style="dim"))
    bar = Table.grid(padding=(0, 1, 0, 0))
    bar.add_row(
        ProgressBar(total=1.0, completed=_share(now), width=max(min(width, 100) - 40, 10)),
        Text(f"{100 * _share(now):3.0f} %"),
        Text(f"{_clock(now.at_ns)} of {_clock(now.length_ns)}", style="dim"),
        Text(_left(now), style="dim"),
    )
    counts = Table.grid(padding=(0, 3, 0, 0))
    slow = now.rate_due > 0 and now.rate_over < 0.9 * now.rate_due
    counts.add_row(
        _fact("rate", f"{now.rate_over:,.0f}/s", f"of {now.rate_due:,.0f}/s due", "yellow" if slow else ""),
        _fact("over", f"{now.over:,}", f"of {now.total:,}"),
        _fact("in flight", f"{now.in_flight:,}"),
        _fact("errors", f"{now.failed:,}", style="red" if now.failed else ""),
    )
    spreads = Table.grid(padding=(0, 3, 0, 0))
    spreads.add_column(style="dim")
    for _ in range(4):
        spreads.add_column(justify="right", min_width=9)
    spreads.add_row("", *(Text(name, style="dim") for name in ("p50", "p90", "p99", "max")))
    for name, spread in (
        ("sent late, last 5 s", now.lag),
        ("latency, last 5 s", now.latency),
        ("latency, overall", now.latency_overall),
    ):
        spreads.add_row(name, *_cells(spread))
    rows: list[Text | Table] = [head, bar, counts, spreads]
    if now.errors:
        shown = [f"{visible(name)} {many:,}" for name, many in list(now.errors.items())[:ERRORS_SHOWN]]
        more = len(now.errors) - ERRORS_SHOWN
        rows.append(Text(", ".join(shown) + (f" and {more} more" if more > 0 else ""), style="red"))
    return Group(*rows)


def _cells(spread: Spread) -> tuple[str, ...]:
    return tuple(span_ms(value) for value in (spread.p50, spread.p90, spread.p99, spread.most))


def _fact(name: str, number: str, more: str = "", style: str = "") -> Text:
    text = Text(f"{name} ", style="dim")
    text.append(number, style=f"not dim bold {style}".rstrip())
    return text.append(f" {more}") if more else text


def _share(now: Snapshot) -> float:
    return min(now.over / now.total, 1.0) if now.total else 1.0


def _left(now: Snapshot) -> str:
    left_ns = now.length_ns - now.at_ns
    if left_ns > 0:
        return f"{_clock(left_ns)} left"
    return "waiting for the last answers" if now.over < now.total else "done"


def _clock(span_ns: int) -> str:
    seconds = max(span_ns, 0) // 1_000_000_000
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{hours}:{minutes:02}:{seconds % 60:02}" if hours else f"{minutes}:{seconds % 60:02}"
