"""The command `readiness record live`: a recording of what clients say to a service while it runs.

Takes the command line, gives an exit code, as `cli.py` does; only the command that is run imports what it needs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.arguments import (
    AsHttp1,
    Attribution,
    Insecure,
    Json,
    KeepHosts,
    RecordingName,
    RecordingOut,
    RedactionKey,
    RedactionRules,
    Routes,
)
from harness.console import Terminal, terminal

if TYPE_CHECKING:
    from harness.meter import Meter
    from harness.recording.live import LiveProgress

Listen = Annotated[
    str,
    typer.Option(
        "--listen",
        metavar="HOST:PORT",
        help="Where clients speak to; PORT alone is 127.0.0.1, 0 any free port.",
    ),
]
To = Annotated[
    str,
    typer.Option(
        "--to", metavar="URL", help="The service that is recorded: http://HOST:PORT or https://HOST."
    ),
]
For = Annotated[
    str | None, typer.Option("--for", metavar="TIME", help="How long (90s, 15m); without it until Ctrl-C.")
]
Ca = Annotated[
    Path | None, typer.Option("--ca", metavar="FILE", help="Certificates (PEM) that vouch for the service.")
]


def add_live(record: typer.Typer) -> None:
    """Adds the command to `readiness record`."""
    record.command("live", short_help="Record a service while it runs.")(record_live)


def record_live(
    listen: Listen,
    to: To,
    out: RecordingOut,
    for_: For = None,
    name: RecordingName = None,
    attribution: Attribution = None,
    route: Routes = None,
    keep_host: KeepHosts = None,
    redaction: RedactionRules = None,
    redaction_key: RedactionKey = None,
    http1: AsHttp1 = False,
    insecure: Insecure = False,
    ca: Ca = None,
    as_json: Json = False,
) -> None:
    """Record what clients say to a service, through a proxy before it: private values never reach the disk.

    Let clients speak to --listen instead of the service. Ctrl-C, SIGTERM or --for end the recording; what is under way is
    finished first. A second Ctrl-C gives it up. Needs mitmproxy (the extra [mitm], or mitmdump on PATH).

    \b
    Example:
      readiness record live --listen 8080 --to http://127.0.0.1:5000 --out shop.recording

    \b
    Exit codes: 0 written, 2 bad usage, no request came, or traffic holds what looks like a
    secret that no rule names, 4 it cannot listen, the service cannot be reached, or the proxy
    died, 130 given up. Unless it is 0, nothing is left behind.
    """
    with terminal(as_json) as speaker:
        from harness.meter import Meter
        from harness.printing import recordings
        from harness.recording.capturing import capture
        from harness.recording.importing import ImportRequest
        from harness.recording.live import LiveRequest

        live = LiveRequest.of(listen, to, _seconds(for_), insecure, ca)
        keep = ImportRequest(
            files=(),
            out=out,
            name=name,
            attribution=attribution,
            routes=tuple(route or ()),
            hosts=tuple(keep_host or ()),
            rules=redaction,
            key=redaction_key,
            http1=http1,
        )
        with Meter(speaker.progress.note) as meter:
            made = capture(live, keep, _watch(speaker, meter, live.target))
        speaker.answer(made, recordings.print_written, recordings.written_values)


def _watch(speaker: Terminal, meter: Meter, target: str) -> Callable[[LiveProgress], None]:
    """One line when it begins, then how far it is."""
    begun = False

    def tell(now: LiveProgress) -> None:
        nonlocal begun
        if not begun:
            begun = True
            end = "Ctrl-C ends it" if now.left_s is None else f"ends in {now.left_s:.0f} s, or at Ctrl-C"
            speaker.progress.note(f"recording {target} on {now.address}; {end}")
        left = "" if now.left_s is None else f", {now.left_s:.0f} s left"
        meter.tell(lambda: f"{now.exchanges:,} exchanges, {now.per_s:.0f} a second{left}")

    return tell


def _seconds(text: str | None) -> float | None:
    """`90s`. Raises DefinitionError."""
    from harness.errors import DefinitionError
    from harness.model.quantities import Duration

    if text is None:
        return None
    try:
        return Duration.parse(text).ns / 1e9
    except ValueError as error:
        what, _, fix = str(error).partition("; ")
        raise DefinitionError.at("--for", what, fix or "write for example 90s or 15m") from None
