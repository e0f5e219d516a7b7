"""`make demo` after the set-up: two changes, two verdicts. Exits 0 when both are the announced ones."""

from __future__ import annotations

import sys
import time

from _runs import EXPECTED, Outcome, build_datasets, fresh_folder, run, shown

REASONS_SHOWN = 5


def main() -> int:
    started = time.monotonic()
    build_datasets()
    folder = fresh_folder("demo")
    outcomes: list[Outcome] = []
    for number, change in enumerate(EXPECTED, start=1):
        print(f"\n[demo] {number} of {len(EXPECTED)}: readiness run {shown(change)}", flush=True)
        outcomes.append(run(change, folder / change.name.removesuffix(".change.yaml")))
    print(f"\n[demo] both runs and their data: {time.monotonic() - started:.0f} s")
    for outcome in outcomes:
        print_outcome(outcome)
    return 0 if all(outcome.as_announced for outcome in outcomes) else 1


def print_outcome(outcome: Outcome) -> None:
    """The verdict with its reasons and where the report is; what was announced, when it is another."""
    verdict, exit_code = EXPECTED[outcome.change]
    print(f"\n{outcome.verdict or 'NO VERDICT':<9}  {shown(outcome.change)}  ({outcome.seconds:.0f} s)")
    print(f"  {outcome.sentence}")
    for reason in outcome.reasons[:REASONS_SHOWN]:
        if reason != outcome.sentence:
            print(f"  - {reason}")
    if len(outcome.reasons) > REASONS_SHOWN:
        print(f"  - and {len(outcome.reasons) - REASONS_SHOWN} more in the report")
    if outcome.bundle is not None:
        print(f"  report: {shown(outcome.bundle / 'report.html')}")
        print(f"  check:  .venv/bin/readiness verify {shown(outcome.bundle)}")
    if not outcome.as_announced:
        print(
            f"  NOT AS ANNOUNCED: {verdict} with exit code {exit_code} was; exit code {outcome.exit_code} came"
        )


if __name__ == "__main__":
    sys.exit(main())
