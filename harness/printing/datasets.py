"""A dataset bundle with its evidence, each measure beside its limit, and what a check of it found; never a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from harness.printing.base import facts, line, section, values
from harness.report import numbers

if TYPE_CHECKING:
    from synthetic import DatasetBundle, DatasetCheck


def print_dataset(bundle: DatasetBundle, console: Console) -> None:
    """Rows, lineage, privacy measures with their limits, quality, digest and place."""
    lineage = bundle.lineage
    facts(
        console,
        f"Dataset {bundle.name}",
        [
            ("digest", bundle.digest),
            ("folder", str(bundle.path)),
            ("source", _source(bundle)),
            ("made by", f"{lineage.synthesizer}, seed {lineage.seed}"),
        ],
    )
    section(console, "Tables", ((name, numbers.count(rows, "row")) for name, rows in lineage.rows.items()))
    for table, evidence in bundle.privacy.tables.items():
        section(
            console,
            f"Privacy of {table}: {numbers.count(evidence.rows, 'row')} of {numbers.count(evidence.variables, 'variable')}",
            [
                (numbers.words(name), *_measure(getattr(evidence, name)))
                for name in ("exact_matches", "copied_share", "membership_auc")
            ]
            + [(f"control {item.name}", *_control(item.as_it_must)) for item in evidence.controls],
        )
    section(console, "Likeness to the source", _likeness(bundle))


def _source(bundle: DatasetBundle) -> str:
    source = bundle.lineage.source
    if source is None:
        return "none: every row is made up"
    return (
        f"{source.name}, {numbers.count(source.rows_read, 'row')} read, {source.fitted_rows:,} fitted, "
        f"{source.kept_rows:,} kept apart to test on ({source.digest})"
    )


def _measure(measure: Any) -> tuple[Text, str]:
    word = Text("within", "green") if measure.within else Text("beyond", "bold red")
    return word, f"{measure.value:.3f} ({measure.low:.3f} to {measure.high:.3f}), limit {measure.limit:g}"


def _control(as_it_must: bool) -> tuple[Text, str]:
    return (Text("as it must", "green"), "") if as_it_must else (Text("NOT as it must", "bold red"), "")


def _likeness(bundle: DatasetBundle) -> list[tuple[str, str]]:
    rows = [
        (
            name,
            (
                f"variables at most {item.largest_marginal_distance:.3f} apart ({item.worst_marginal}), correlations "
                f"at most {item.largest_correlation_error:.3f}, {item.mean_correlation_error:.3f} on average"
            ),
        )
        for name, item in bundle.quality.tables.items()
    ]
    label = bundle.quality.label
    if label is not None:
        rows.append(
            (
                "label",
                (
                    f"a model of it has AUC {label.source_on_kept:.3f} when trained and tested on the source, "
                    f"{label.source_on_synthetic:.3f} tested on synthetic rows, {label.synthetic_on_kept:.3f} trained on them"
                ),
            )
        )
    return rows


def dataset_values(bundle: DatasetBundle) -> dict[str, Any]:
    """The bundle's evidence in full; never a row."""
    return {
        "dataset": bundle.name,
        "digest": bundle.digest,
        "path": str(bundle.path),
        "rows": dict(bundle.lineage.rows),
        "privacy": values(bundle.privacy),
        "quality": values(bundle.quality),
        "lineage": values(bundle.lineage),
    }


def print_check(found: DatasetCheck, console: Console) -> None:
    """Each question with its answer; then what could not be checked, and whether the bundle holds."""
    facts(
        console,
        f"Dataset {found.dataset}",
        [("digest", found.digest or "unreadable"), ("folder", str(found.folder))],
    )
    holds, fails = Text("holds", "green"), Text("FAILS", "bold red")
    section(
        console,
        "Findings",
        ((holds if item.ok else fails, numbers.words(item.name), item.sentence) for item in found.findings),
    )
    section(console, "Not checked", ((text,) for text in found.not_checked))
    if not found.ok:
        line(
            console,
            ("does not hold", "bold red"),
            f": {len(found.problems)} of {numbers.count(len(found.findings), 'finding')}",
        )
    elif found.not_checked:
        line(console, ("nothing wrong", "bold yellow"), " in what could be checked")
    else:
        line(console, ("holds", "bold green"))


def check_values(found: DatasetCheck) -> dict[str, Any]:
    """`ok`, every finding, and what could not be checked."""
    return {"ok": found.ok, **values(found)}
