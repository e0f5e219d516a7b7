"""Stored recordings: what was written, and what is in one, with a picture of the rate over time."""

from __future__ import annotations

import datetime as dt
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from harness.meter import read_so_far
from harness.printing.base import Cell, facts, line, section
from harness.printing.rate_chart import can_draw_blocks, chart_columns, rate_chart, span
from harness.report import numbers

if TYPE_CHECKING:
    from harness.meter import Meter
    from harness.recording.importing import Pace
    from harness.recording.overview import Overview
    from harness.recording.store import StoredRecording
    from harness.recording.store_header import SourceFile

MOST_SHOWN = 10
JSON_BINS = 60
MOMENT_NS = 1
"""A recording lasts one nanosecond beyond the start of its last exchange."""


def print_written(recording: StoredRecording, console: Console) -> None:
    """What was written, what it is not, and how to look at it."""
    facts(console, f"Recording {recording.name}", _identity(recording))
    section(console, "Read", _sources(recording))
    section(console, "Not known", _unknown(recording))
    section(console, "Private values replaced", _redaction(recording))
    line(console, "look at it  ", f"readiness record show {recording.folder}")


def written_values(recording: StoredRecording) -> dict[str, Any]:
    """`recording.json`, with the folder and the digest of everything that decides what is replayed."""
    return {
        **recording.header.model_dump(mode="json"),
        "content_digest": recording.header.digest,
        "digest": recording.digest,
        "path": str(recording.folder),
    }


@dataclass(frozen=True)
class Exported:
    """A recording and the file of lines that was made of it."""

    recording: StoredRecording
    file: Path


def print_exported(exported: Exported, console: Console) -> None:
    """What was written, and how it is read again."""
    count = numbers.count(exported.recording.count, "exchange")
    line(console, f"{count} of {exported.recording.name} written to {exported.file}")
    line(console, f"read it again  readiness record import {exported.file} --redacted --out NAME.recording")


def exported_values(exported: Exported) -> dict[str, Any]:
    """The file, and which recording it holds."""
    recording = exported.recording
    return {"path": str(exported.file), "digest": recording.digest, "exchanges": recording.count}


def import_pace(meter: Meter) -> Callable[[Pace], None]:
    """Tells how far an import is: exchanges so far, and how fast the files are read."""

    def tell(pace: Pace) -> None:
        def text() -> str:
            done = pace.done_bytes + (read_so_far(pace.file) or 0)
            speed = f", {numbers.plain(done / 1e6 / max(meter.seconds, 1e-3))} MB/s" if done else ""
            return f"{numbers.count(pace.exchanges, 'exchange')}{speed}: {pace.file.name}"

        meter.tell(text)

    return tell


def edit_pace(meter: Meter, whole: int) -> Callable[[int], None]:
    """Tells how many of the parents' exchanges were looked at."""

    def tell(seen: int) -> None:
        meter.tell(lambda: f"{seen:,} of {numbers.count(whole, 'exchange')}")

    return tell


def print_overview(found: Overview, console: Console) -> None:
    """Identity, the rate over time, what is in it, where it comes from, what is not known."""
    recording = found.recording
    facts(console, f"Recording {recording.name}", _identity(recording))
    _picture(found, console)
    section(console, f"Routes ({len(found.routes):,})", _most(found.routes, recording.count))
    section(
        console,
        "Statuses",
        _most({_status(status): n for status, n in found.statuses.items()}, recording.count),
    )
    section(console, "Methods", _most(found.methods, recording.count))
    if set(found.hosts) != {""}:
        section(console, "Hosts", _most(found.hosts, recording.count, "not known"))
    section(
        console,
        f"Clients ({len(found.clients.keys() - {''}):,})",
        _most(found.clients, recording.count, "not known", MOST_SHOWN // 2),
    )
    section(console, "Sessions", _sessions(found))
    section(console, "Read", _sources(recording))
    section(console, "Not known", _unknown(recording))
    section(console, "Private values replaced", _redaction(recording))
    section(console, "Made from", _parents(recording))


def overview_values(found: Overview) -> dict[str, Any]:
    """`recording.json`, counts by value, and the rate in equal stretches."""
    rates, step_s = found.rate(JSON_BINS)
    return {
        **written_values(found.recording),
        "routes": dict(found.routes.most_common()),
        "statuses": {str(status): count for status, count in found.statuses.most_common()},
        "methods": dict(found.methods.most_common()),
        "hosts": dict(found.hosts.most_common()),
        "clients": len(found.clients.keys() - {""}),
        "rate": {
            "step_s": step_s,
            "exchanges_per_s": rates.tolist(),
            "most_in_a_second": found.most_in_a_second,
        },
        "session_rules": [rule.name for rule in found.sessions.rules] if found.sessions is not None else [],
    }


def _identity(recording: StoredRecording) -> Iterator[tuple[str, str]]:
    header = recording.header
    yield "digest", recording.digest
    if recording.digest != header.digest:
        yield "", f"{header.digest} without its session rules"
    yield "folder", str(recording.folder)
    yield "whose", header.attribution
    bodies = numbers.count(header.counts.bodies, "body", "bodies") if header.counts.bodies else "no bodies"
    size = f" of {numbers.size(header.counts.bodies_bytes)}" if header.counts.bodies else ""
    yield "holds", f"{numbers.count(recording.count, 'exchange')}, {bodies}{size}"
    yield "length", span(recording.length_ns) if recording.length_ns > MOMENT_NS else "a moment"
    if header.clock == "epoch":
        yield "began", f"{dt.datetime.fromtimestamp(header.start_ns // 10**9, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"


def _picture(found: Overview, console: Console) -> None:
    recording = found.recording
    if recording.length_ns <= MOMENT_NS:
        line(console, ("Rate over time", "bold"), ": all of it is of one moment")
        return
    mean = recording.count / (recording.length_ns / 1e9)
    rates, _ = found.steady_rate(chart_columns(console.width, mean))
    columns = chart_columns(console.width, float(rates.max()))
    rates, step_ns = found.steady_rate(columns)
    wide = max(columns // len(rates), 1)
    title = f"{numbers.plain(mean)} a second on average, at most {found.most_in_a_second:,} in one second"
    step = f"{'a column is' if wide == 1 else f'{wide} columns are'} {span(step_ns)}"
    line(console, ("Rate over time", "bold"), f": {title}; {step}")
    drawn = [rate for rate in rates.tolist() for _ in range(wide)]
    lines = rate_chart(drawn, float(rates.max()), step_ns * len(rates), can_draw_blocks(sys.stdout))
    for text in lines:
        line(console, f"  {text}")


def _most(
    counted: Mapping[str, int], whole: int, unnamed: str = "", most: int = MOST_SHOWN
) -> Iterator[tuple[Cell, ...]]:
    ordered = Counter(counted).most_common()
    for name, count in ordered[:most]:
        yield name or unnamed, f"{count:,}", f"{numbers.percent(count / max(whole, 1))} %"
    if len(ordered) > most:
        rest = sum(count for _, count in ordered[most:])
        yield f"{len(ordered) - most:,} more", f"{rest:,}", f"{numbers.percent(rest / max(whole, 1))} %"


def _status(status: int) -> str:
    return {-1: "not known", 0: "no answer"}.get(status, str(status))


def _sessions(found: Overview) -> Iterator[tuple[Cell, ...]]:
    if found.sessions is None:
        return
    for rule in found.sessions.rules:
        taken = rule.taken_from
        state = "" if rule.enabled else "off"
        yield rule.name, f"{taken.method} {taken.route}: {taken.source} {taken.path}", state
    if found.sessions.searched is not None:
        yield "searched", f"the first {numbers.count(found.sessions.searched, 'exchange')} alone", ""
    yield (
        "cookies",
        "of each client, as live answers set them",
        "" if found.sessions.cookies.enabled else "off",
    )


def _sources(recording: StoredRecording) -> Iterator[tuple[Cell, ...]]:
    rows = (
        (
            source.file,
            source.reader,
            numbers.size(source.size_bytes) if source.size_bytes else "",
            "; ".join(_of_source(source)),
        )
        for source in recording.header.sources
    )
    yield from dict.fromkeys(rows)  # parts of one recording that were merged again name the same file


def _of_source(source: SourceFile) -> Iterator[str]:
    yield numbers.count(source.exchanges, "exchange")
    if source.steps_back:
        yield f"{numbers.count(source.steps_back, 'step', 'steps')} back in time"
    for reason, count in source.skipped.items():
        yield f"{count:,} skipped: {reason}"
    for reason, count in source.left_out.items():
        yield f"{count:,} left out: {reason}"


def _unknown(recording: StoredRecording) -> Iterator[tuple[Cell, ...]]:
    said = {source.reader: source.unknown for source in recording.header.sources}
    yield from said.items()


def _redaction(recording: StoredRecording) -> Iterator[tuple[Cell, ...]]:
    found = recording.header.redaction
    if found is None:
        yield "nothing was replaced: it was made or imported as it is", "", ""
        return
    rows: list[tuple[Cell, ...]] = []
    for report in found.get("parents", [found]):
        replaced = (report or {}).get("replaced", ())
        if report is not None and not replaced:
            rows.append(("none was found", "", ""))
        rows += [(str(item["place"]), str(item["how"]), f"{item['values']:,}") for item in replaced]
    yield from dict.fromkeys(rows)  # as above


def _parents(recording: StoredRecording) -> Iterator[tuple[Cell, ...]]:
    for parent in recording.header.parents:
        yield parent.recording, parent.digest
    for done in recording.header.done:
        yield "", done
