"""The command `readiness record audit`: is anything private in what recordings and runs have left?

Takes the command line, gives an exit code, as `cli.py` does; only the command that is run imports what it needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.arguments import Json, RedactionKey, RedactionRules
from harness.console import terminal

Artefacts = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="PATH", help="Recordings, reports, logs, whole folders to search.", show_default=False
    ),
]
Originals = Annotated[
    Path | None,
    typer.Option("--originals", metavar="FILE", help="Private values that must not be found, one a line."),
]
Sources = Annotated[
    list[Path] | None,
    typer.Option(
        "--source",
        metavar="FILE",
        help="A file that was imported: what redaction replaces in it must not be found; may be repeated.",
    ),
]
NoCanaries = Annotated[
    bool, typer.Option("--no-canaries", help="Only search PATH; import and replay no canaries.")
]
NoReplay = Annotated[bool, typer.Option("--no-replay", help="Import canaries, but replay none.")]


def add_audit(record: typer.Typer) -> None:
    """Adds the command to `readiness record`."""
    record.command("audit", short_help="Is anything private in what was written?")(record_audit)


def record_audit(
    paths: Artefacts = None,
    originals: Originals = None,
    source: Sources = None,
    redaction: RedactionRules = None,
    redaction_key: RedactionKey = None,
    no_canaries: NoCanaries = False,
    no_replay: NoReplay = False,
    as_json: Json = False,
) -> None:
    """Plant canaries in every place of a recording, import and replay them, and search all that was written for them.

    Each PATH is searched for private values that you know: those of --originals, and what redaction replaces in each
    --source. Values are sought as they are and in the forms that they take on the way (base64, hex, percent-encoded,
    compressed, inside Parquet and SQLite). What is found is told by its place, never by its value.

    \b
    Examples:
      readiness record audit
      readiness record audit shop.recording readiness-reports --source access.log

    \b
    Exit codes: 0 nothing private was found, 1 something was, 2 bad usage or bad file,
    3 not everything could be searched, 4 the canaries could not be imported.
    """
    with terminal(as_json) as speaker:
        from harness.printing import audits
        from harness.recording.audit import AuditRequest, audit

        request = AuditRequest(
            artefacts=tuple(paths or ()),
            originals=originals,
            sources=tuple(source or ()),
            rules=redaction,
            key=redaction_key,
            plant=not no_canaries,
            replay=not no_replay,
        )
        result = audit(request, speaker.progress)
        speaker.answer(result, audits.print_audit, audits.audit_values)
        speaker.exit_code = result.exit_code
