"""What an audit found: which private value stands where, by the place it was planted in and never by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from harness.printing.base import facts, line, section, values
from harness.report import numbers

if TYPE_CHECKING:
    from harness.recording.audit import AuditResult


def print_audit(result: AuditResult, console: Console) -> None:
    """What was looked for and where, what was found, what else is wrong, what was not done, and whether it is clean."""
    looked_for = [numbers.count(len(result.canaries), "canary", "canaries")] if result.canaries else []
    looked_for += [numbers.count(result.originals, "original")] if result.originals else []
    facts(
        console,
        "Audit",
        [
            ("looked for", " and ".join(looked_for) or "nothing"),
            ("searched", f"{numbers.count(result.files, 'file')}, {result.bytes:,} bytes"),
        ],
    )
    section(
        console,
        "Found",
        ((Text("FOUND", "bold red"), hit.word, hit.form, _place(hit)) for hit in result.hits),
    )
    section(console, "Wrong", ((Text("WRONG", "bold red"), text) for text in result.faults))
    section(console, "Could not be read", ((text,) for text in result.unread))
    section(console, "Not done", ((text,) for text in result.not_done))
    if result.hits or result.faults:
        bad = numbers.count(len(result.hits), "value") + f" found, {len(result.faults)} more wrong"
        line(console, ("not private", "bold red"), f": {bad}")
    elif result.unread or result.not_done:
        line(console, ("nothing private found", "bold yellow"), " in what could be searched")
    else:
        line(console, ("nothing private found", "bold green"))


def _place(hit: Any) -> str:
    return f"{hit.where} ({hit.within})" if hit.within else str(hit.where)


def audit_values(result: AuditResult) -> dict[str, Any]:
    """`ok` and everything that was found, with places and without values."""
    return {"ok": result.ok, "exit_code": int(result.exit_code), **values(result)}
