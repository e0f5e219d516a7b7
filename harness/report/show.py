"""A report on the terminal, and as a plain dict for `--json`.

Takes a Bundle (or a Verification), prints with rich or gives JSON values. Nothing is verified here, and it says so. Every
text of the report passes through `visible`: a report is somebody else's, and a terminal obeys what is in it.
"""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from harness.model.findings import Finding, Outcome, VerdictWord
from harness.report import canonical, fidelity_view, numbers, summary
from harness.report.fidelity_view import FidelityTable
from harness.report.layout import Bundle
from harness.report.verification import Trust, Verification
from harness.visible import visible

STYLE = {
    VerdictWord.READY: "bold green",
    VerdictWord.NOT_READY: "bold red",
    VerdictWord.UNKNOWN: "bold yellow",
}
OUTCOME_STYLE = {Outcome.PASS: "green", Outcome.FAIL: "red", Outcome.UNKNOWN: "yellow"}
OUTCOME_WORD = {Outcome.PASS: "passed", Outcome.FAIL: "FAILED", Outcome.UNKNOWN: "UNKNOWN"}


def print_report(bundle: Bundle, console: Console) -> None:
    """Verdict, reasons, findings."""
    verdict, run = bundle.verdict, bundle.manifest.run
    head = Text(summary.VERDICT_TEXT[verdict.verdict], style=STYLE[verdict.verdict])
    head.append(f"  {visible(verdict.sentence)}", style="default not bold")
    console.print(Panel(head, title=Text(visible(bundle.case.change.title)), title_align="left"))
    for reason in verdict.reasons:
        if reason != verdict.sentence:
            console.print(Padding(Text(f"• {visible(reason)}"), (0, 1)))
    console.print()
    console.print(_findings_table(bundle))
    fidelity = fidelity_view.of_findings(bundle.findings, [arm.value for arm in bundle.case.plan.arms])
    if fidelity is not None:
        console.print()
        console.print(fidelity_grid(fidelity))
        console.print()
    console.print(
        Text(
            f"{summary.head_counts(bundle)}. Run {visible(run.run_id)}, seed {run.seed}, evaluated "
            f"{summary.moment(run.evaluated_at)}, key {bundle.manifest.signer.keyid[:16]}…"
            + (" (self-signed)" if bundle.manifest.signer.self_signed else ""),
            style="dim",
        )
    )
    console.print(Text("As the report says it; `readiness verify` checks that it is so.", style="dim"))


def _findings_table(bundle: Bundle) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim", expand=True)
    table.add_column("Outcome", no_wrap=True)
    table.add_column("Finding", ratio=1)
    for name in ("Value", "Limit", "n"):
        table.add_column(name, justify="right", no_wrap=True)
    for finding in summary.sorted_findings(bundle.findings):
        table.add_row(*_row(finding))
    return table


def fidelity_grid(found: FidelityTable) -> Table:
    """The table of measures; what is beyond its limit in the colour of an unknown."""
    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim", expand=True)
    grid.add_column("Replay fidelity", ratio=1)
    for name in ("At most", *found.columns):
        grid.add_column(visible(name), justify="right", no_wrap=True)
    grid.add_row("Score", "", *(Text(score, style="bold") for score in found.scores))
    for row in found.rows:
        cells = [Text(visible(cell.text), style=_CELL_STYLE.get(cell.state, "")) for cell in row.cells]
        grid.add_row(Text(visible(row.words)), Text(row.limit), *cells)
    return grid


_CELL_STYLE = {"unknown": OUTCOME_STYLE[Outcome.UNKNOWN]}


def _row(finding: Finding) -> tuple[Text, ...]:
    unit = finding.unit_of_measure
    return (
        Text(OUTCOME_WORD[finding.outcome], style=OUTCOME_STYLE[finding.outcome]),
        Text(visible(finding.sentence)),
        Text(visible(numbers.measure(finding.value, unit))),
        Text(visible(numbers.limit(finding))),
        Text(f"{finding.sample_size:,}"),
    )


def report_as_dict(bundle: Bundle) -> dict[str, Any]:
    """What the terminal shows, for programs; findings in full."""
    run, signer = bundle.manifest.run, bundle.manifest.signer
    fields: dict[str, Any] = canonical.jsonable(
        {
            "change": bundle.case.change.change,
            "scenario": bundle.case.plan.scenario,
            "verdict": bundle.verdict.verdict,
            "sentence": bundle.verdict.sentence,
            "reasons": bundle.verdict.reasons,
            "counts": bundle.verdict.counts,
            "findings": summary.sorted_findings(bundle.findings),
            "run_id": run.run_id,
            "seed": run.seed,
            "engine_version": run.engine_version,
            "evaluated_at": run.evaluated_at,
            "repeat_command": run.repeat_command,
            "signed_by": signer.keyid,
            "self_signed": signer.self_signed,
            "verified": False,
        }
    )
    return fields


TRUST_TEXT = {
    Trust.GIVEN: "the given key",
    Trust.OWN: "your own key",
    Trust.INSIDE: "the key inside the report, which nobody vouched for",
}


def print_verification(verification: Verification, console: Console) -> None:
    """One line when all is well, else one line a problem."""
    for problem in verification.problems:
        console.print(
            Text(f"{visible(problem.file)}: ", style="bold red").append(
                visible(problem.what), style="default not bold"
            )
        )
    if not verification.ok or verification.verdict is None:
        console.print(Text("NOT VERIFIED", style="bold red"))
        return
    word = summary.VERDICT_TEXT[verification.verdict.verdict]
    console.print(
        Text("verified ", style="bold green").append(
            visible(
                f"{verification.change}, {verification.scenario}: {word}. {verification.verdict.sentence}"
            ),
            style="default not bold",
        )
    )
    signed = (
        f"signed with {TRUST_TEXT.get(verification.trust, 'no known key')} ({verification.signed_by[:16]}…)"
    )
    signed += ", self-signed" if verification.self_signed else ""
    console.print(
        Text(
            f"{signed}; {numbers.count(verification.files, 'file')} unaltered, "
            f"{numbers.count(verification.findings, 'finding')} and the verdict computed again",
            style="dim",
        )
    )
    if verification.evaluated_at is not None:
        when = summary.moment(verification.evaluated_at)
        about = f"run {verification.run_id}, evaluated {when}; policy {verification.policy}"
        console.print(Text(visible(about), style="dim"))


def verification_as_dict(verification: Verification) -> dict[str, Any]:
    """The verification for programs."""
    fields: dict[str, Any] = canonical.jsonable(
        {
            "ok": verification.ok,
            "problems": [{"file": p.file, "what": p.what} for p in verification.problems],
            "verdict": verification.verdict,
            "signed_by": verification.signed_by,
            "trust": verification.trust,
            "self_signed": verification.self_signed,
            "change": verification.change,
            "scenario": verification.scenario,
            "run_id": verification.run_id,
            "evaluated_at": verification.evaluated_at,
            "policy": verification.policy,
            "files": verification.files,
            "findings": verification.findings,
        }
    )
    return fields
