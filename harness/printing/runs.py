"""The verdicts of a run, an environment that stands, a skeleton that was written."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from harness.printing.base import facts, line, section, values
from harness.visible import visible

if TYPE_CHECKING:
    from harness.run import RunResult
    from harness.standing import StandingEnvironment


REASONS_SHOWN = 8


@dataclass(frozen=True)
class Verdicts:
    """The results of a run. `key` is the private key that signed, None for the user's own."""

    results: tuple[RunResult, ...]
    key: Path | None

    def verify_command(self, result: RunResult) -> str:
        """What whoever gets the report types."""
        words = ["readiness", "verify", str(result.report)]
        return shlex.join(words) if self.key is None else f"{shlex.join(words)} --key PUBLIC.pem"


def print_verdicts(verdicts: Verdicts, console: Console) -> None:
    """For each report the verdict, why, where it is and how to check it."""
    from harness.report.show import STYLE
    from harness.report.summary import VERDICT_TEXT

    for result in verdicts.results:
        verdict, plan = result.verdict, result.case.plan
        console.print()
        line(
            console,
            (VERDICT_TEXT[verdict.verdict], STYLE[verdict.verdict]),
            f"  {plan.change}, scenario {plan.scenario}",
        )
        console.print(Text(visible(verdict.sentence)))
        reasons = [reason for reason in verdict.reasons if reason != verdict.sentence]
        for reason in reasons[:REASONS_SHOWN]:
            section(console, "", [("•", reason)])
        if len(reasons) > REASONS_SHOWN:
            line(console, f"  and {len(reasons) - REASONS_SHOWN} more in the report")
        line(console, f"report  {result.report / 'report.html'}")
        line(console, f"check   {verdicts.verify_command(result)}")
        if verdicts.key is not None:
            line(
                console,
                f"        PUBLIC.pem: openssl pkey -in {shlex.quote(str(verdicts.key))} -pubout -out PUBLIC.pem",
            )
        line(console, f"repeat  {result.repeat_command}")


def verdicts_values(verdicts: Verdicts) -> dict[str, Any]:
    """One item a report; all findings are in the report's own files."""
    return {
        "reports": [
            {
                "change": result.case.plan.change,
                "scenario": result.case.plan.scenario,
                **values(result.verdict),
                "report": str(result.report),
                "page": str(result.report / "report.html"),
                "seed": result.seed,
                "repeat_command": result.repeat_command,
                "verify_command": verdicts.verify_command(result),
            }
            for result in verdicts.results
        ]
    }


def print_skeleton(written: Sequence[Path], console: Console) -> None:
    """What was written, and what to type next."""
    line(console, ("Written", "bold"))
    for path in written:
        line(console, f"  {path}")
    environments = [path for path in written if path.name == "environment.yaml"]
    changes = [path for path in written if path.name.endswith(".change.yaml")]
    facts(
        console,
        "Next",
        [
            *(
                (
                    shlex.join(["readiness", "doctor", str(path)]),
                    "can it run here, and how will its images come?",
                )
                for path in environments
            ),
            *((shlex.join(["readiness", "run", str(path)]), "is this change ready?") for path in changes),
        ],
    )


def skeleton_values(written: Sequence[Path]) -> dict[str, Any]:
    """The files written."""
    return {"written": [str(path) for path in written]}


def print_standing(arm: StandingEnvironment, console: Console) -> None:
    """Where the entries are."""
    facts(console, "Up", arm.entries.items())
    line(console, "Ctrl-C ends it and removes everything.")


def standing_values(arm: StandingEnvironment) -> dict[str, Any]:
    """The run's id and the entries' URLs."""
    return {"run_id": arm.run_id, "entries": dict(arm.entries)}
