"""`make seeds`: both changes of the demo with five seeds each; exits 0 when no run had another outcome. Long."""

from __future__ import annotations

import sys

from _runs import EXPECTED, Outcome, build_datasets, fresh_folder, run, shown

SEEDS = (1, 2, 3, 4, 5)


def main() -> int:
    build_datasets()
    folder = fresh_folder("seeds")
    rows: list[tuple[int, Outcome]] = []
    for seed in SEEDS:
        for change in EXPECTED:
            name = f"{change.name.removesuffix('.change.yaml')}-{seed}"
            outcome = run(change, folder / name, "--seed", str(seed), quiet=True)
            rows.append((seed, outcome))
            print(f"[seeds] {row(seed, outcome)}", flush=True)
    print(
        "\n| change | seed | verdict | exit | s | as announced | first sentence |\n|---|---|---|---|---|---|---|"
    )
    for seed, outcome in sorted(rows, key=lambda pair: (str(pair[1].change), pair[0])):
        print(row(seed, outcome))
    good = sum(outcome.as_announced for _, outcome in rows)
    print(f"\n{good} of {len(rows)} as announced; reports in {shown(folder)}")
    return 0 if good == len(rows) else 1


def row(seed: int, outcome: Outcome) -> str:
    """One line of the table."""
    name = outcome.change.name.removesuffix(".change.yaml")
    fits = "yes" if outcome.as_announced else "NO"
    return (
        f"| {name} | {seed} | {outcome.verdict or '-'} | {outcome.exit_code} | {outcome.seconds:.0f} | {fits} "
        f"| {outcome.sentence} |"
    )


if __name__ == "__main__":
    sys.exit(main())
