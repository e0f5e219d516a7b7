"""The commands `readiness record …`: recordings made of what teams have, looked at, and made into others.

Takes the command line, gives an exit code, as `cli.py` does; only the command that is run imports what it needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from harness.arguments import (
    Align,
    Apart,
    AsHttp1,
    Attribution,
    Captures,
    ClientPatterns,
    Drop,
    ExportFile,
    Format,
    FromOffset,
    HostPatterns,
    Json,
    KeepHosts,
    MethodPatterns,
    ReaderOptions,
    Recording,
    RecordingName,
    RecordingOut,
    Recordings,
    Redacted,
    RedactionKey,
    RedactionRules,
    RoutePatterns,
    Routes,
    SampleSeed,
    Share,
    SkipBad,
    SkipSessions,
    StatusPatterns,
    ToOffset,
    Unverified,
)
from harness.console import Terminal, terminal

if TYPE_CHECKING:
    from harness.meter import Meter
    from harness.recording.editing import Out
    from harness.recording.store import StoredRecording

record = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@record.command("import", short_help="Make a recording of logs and captures.")
def record_import(
    files: Captures,
    out: RecordingOut,
    name: RecordingName = None,
    attribution: Attribution = None,
    format_: Format = None,
    option: ReaderOptions = None,
    skip_bad: SkipBad = False,
    route: Routes = None,
    keep_host: KeepHosts = None,
    redaction: RedactionRules = None,
    redaction_key: RedactionKey = None,
    http1: AsHttp1 = False,
    no_sessions: SkipSessions = False,
    redacted: Redacted = False,
    as_json: Json = False,
) -> None:
    """Make a recording of logs and captures: private values are replaced before anything is written.

    Formats are recognised: HAR, combined, common and JSON access logs, GoReplay, mitmproxy, CSV traces, NDJSON.
    Several files become one recording, in order of time. What is wrong is said with the number of the record, and
    nothing is written then; --skip-bad leaves such records out and counts them.

    \b
    Example:
      readiness record import access.log --out shop.recording

    \b
    Exit codes: 0 written, 2 a file, a rule or an option cannot be used, or holds what
    looks like a secret that no rule names, 4 it could not be written, 130 interrupted.
    Unless it is 0, nothing is left behind.
    """
    with terminal(as_json) as speaker:
        from harness.meter import Meter
        from harness.printing import recordings
        from harness.recording.importing import ImportRequest, import_files

        request = ImportRequest(
            files=tuple(files),
            out=out,
            name=name,
            attribution=attribution,
            format=format_,
            options=_pairs(option or ()),
            skip_bad=skip_bad,
            routes=tuple(route or ()),
            hosts=tuple(keep_host or ()),
            rules=redaction,
            key=redaction_key,
            http1=http1,
            sessions=not no_sessions,
            redacted=redacted,
        )
        with Meter(speaker.progress.note) as meter:
            made = import_files(request, recordings.import_pace(meter))
        speaker.answer(made, recordings.print_written, recordings.written_values)


@record.command("show", short_help="What is in a recording?")
def record_show(recording: Recording, unverified: Unverified = False, as_json: Json = False) -> None:
    """Show a recording: its rate over time, routes, statuses, clients, where it comes from, what is not known.

    Every file is held to its digest first.

    \b
    Example:
      readiness record show shop.recording

    \b
    Exit codes: 0 shown, 2 no recording, or an altered one.
    """
    with terminal(as_json) as speaker:
        from harness.printing import recordings
        from harness.recording.overview import overview
        from harness.recording.store import open_recording

        found = overview(open_recording(recording, verify=not unverified))
        speaker.answer(found, recordings.print_overview, recordings.overview_values)


@record.command("cut", short_help="Keep a stretch of time.")
def record_cut(
    recording: Recording,
    out: RecordingOut,
    from_: FromOffset = "0s",
    to: ToOffset = None,
    name: RecordingName = None,
    as_json: Json = False,
) -> None:
    """Keep a stretch of time, which becomes the whole length of the new recording.

    \b
    Example:
      readiness record cut shop.recording --from 10m --to 15m --out peak.recording

    \b
    Exit codes: 0 written, 2 no such recording or stretch, 130 interrupted.
    """
    with terminal(as_json) as speaker:
        from harness.recording.editing import cut

        from_ns, to_ns = _offset("--from", from_), _offset("--to", to) if to is not None else None
        parent = _opened(recording)
        with _meter(speaker) as meter:
            made = cut(parent, _out(out, name, meter, parent.count), from_ns, to_ns)
        _written(speaker, made)


@record.command("filter", short_help="Keep or drop exchanges by what they are.")
def record_filter(
    recording: Recording,
    out: RecordingOut,
    route: RoutePatterns = None,
    method: MethodPatterns = None,
    status: StatusPatterns = None,
    client: ClientPatterns = None,
    host: HostPatterns = None,
    drop: Drop = False,
    name: RecordingName = None,
    as_json: Json = False,
) -> None:
    """Keep the exchanges that fit, or with --drop all others; the time between them stays as it was.

    An exchange fits when one pattern of every kind that is given fits.

    \b
    Examples:
      readiness record filter shop.recording --route '/api/*' --out api.recording
      readiness record filter shop.recording --status 5xx --drop --out well.recording

    \b
    Exit codes: 0 written, 2 no such recording, a bad pattern, or nothing is left,
    130 interrupted.
    """
    with terminal(as_json) as speaker:
        from harness.recording.editing import keep
        from harness.recording.selecting import Selection

        given = (tuple(kind or ()) for kind in (route, method, status, client, host))
        selection = Selection(*given)
        parent = _opened(recording)
        with _meter(speaker) as meter:
            made = keep(parent, _out(out, name, meter, parent.count), selection, drop)
        _written(speaker, made)


@record.command("sample", short_help="Keep a share of the clients.")
def record_sample(
    recording: Recording,
    out: RecordingOut,
    share: Share,
    seed: SampleSeed = 0,
    name: RecordingName = None,
    as_json: Json = False,
) -> None:
    """Keep a share of the clients, each with all of its exchanges. A smaller share is part of a larger one.

    \b
    Example:
      readiness record sample shop.recording --share 10% --out tenth.recording

    \b
    Exit codes: 0 written, 2 no such recording, no share, or nothing is left,
    130 interrupted.
    """
    with terminal(as_json) as speaker:
        from harness.recording.editing import sample

        parent = _opened(recording)
        with _meter(speaker) as meter:
            made = sample(parent, _out(out, name, meter, parent.count), _share(share), seed)
        _written(speaker, made)


@record.command("merge", short_help="Put recordings together.")
def record_merge(
    recordings: Recordings,
    out: RecordingOut,
    align: Align = "start",
    apart: Apart = None,
    name: RecordingName = None,
    as_json: Json = False,
) -> None:
    """Put recordings together, all beginning at once (--align start) or each at its own time (--align clock).

    \b
    Example:
      readiness record merge web.recording app.recording --align clock --out both.recording

    \b
    Exit codes: 0 written, 2 no such recording, or their times do not compare,
    130 interrupted.
    """
    with terminal(as_json) as speaker:
        from harness.recording.editing import merge

        parents = [_opened(recording) for recording in recordings]
        with _meter(speaker) as meter:
            whole = sum(parent.count for parent in parents)
            made = merge(parents, _out(out, name, meter, whole), align, apart)
        _written(speaker, made)


@record.command("export", short_help="Write a recording as lines of JSON.")
def record_export(recording: Recording, out: ExportFile, as_json: Json = False) -> None:
    """Write a recording as lines of JSON, recorded answers included; import it with --redacted and it is the same.

    \b
    Example:
      readiness record export shop.recording --out shop.ndjson

    \b
    Exit codes: 0 written, 2 no such recording, or the file is there already,
    130 interrupted.
    """
    with terminal(as_json) as speaker:
        from harness.printing import recordings
        from harness.recording.editing import export

        parent = _opened(recording)
        with _meter(speaker) as meter:
            export(parent, out, recordings.edit_pace(meter, parent.count))
        exported = recordings.Exported(parent, out)
        speaker.answer(exported, recordings.print_exported, recordings.exported_values)


def _opened(folder: Path) -> StoredRecording:
    from harness.recording.store import open_recording

    return open_recording(folder)


def _meter(speaker: Terminal) -> Meter:
    from harness.meter import Meter

    return Meter(speaker.progress.note)


def _out(folder: Path, name: str | None, meter: Meter, whole: int) -> Out:
    from harness.printing.recordings import edit_pace
    from harness.recording.editing import Out

    return Out(folder, name, edit_pace(meter, whole))


def _written(speaker: Terminal, made: StoredRecording) -> None:
    from harness.printing import recordings

    speaker.answer(made, recordings.print_written, recordings.written_values)


def _offset(option: str, text: str) -> int:
    """Nanoseconds of `90s`. Raises DefinitionError."""
    from harness.errors import DefinitionError
    from harness.model.quantities import Duration

    try:
        return Duration.parse(0 if text == "0" else text).ns
    except ValueError as error:
        what, _, fix = str(error).partition("; ")
        raise DefinitionError.at(option, what, fix or "write for example 90s or 15m") from None


def _share(text: str) -> float:
    """`10%` or `0.1`. Raises DefinitionError."""
    from harness.errors import DefinitionError

    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise DefinitionError.at("--share", f"{text!r} is no share", "write for example 10% or 0.1")
    return share


def _pairs(options: tuple[str, ...] | list[str]) -> dict[str, str]:
    """NAME=VALUE. Raises DefinitionError."""
    from harness.errors import DefinitionError

    pairs = {}
    for text in options:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise DefinitionError.at("--option", f"{text!r} is no option", "write NAME=VALUE")
        pairs[name] = value
    return pairs
