"""Privacy evidence and quality of drawn rows, and whether they are within the definition's limits.

Takes the private sample and drawn rows, gives `Privacy` and `Quality` (aggregates), or the error that says which limit
is exceeded by how much.
"""

from __future__ import annotations

from pathlib import Path

from harness.errors import DefinitionError, Location, Problem
from harness.model.dataset import Dataset
from synthetic.evidence import LabelQuality, Privacy, Quality
from synthetic.privacy import privacy_evidence
from synthetic.private import PrivateSample
from synthetic.quality import label_quality, table_quality
from synthetic.rows import Drawn, shown_variables


def assess(definition: Dataset, private: PrivateSample, drawn: Drawn) -> tuple[Privacy, Quality]:
    tables = {}
    qualities = {}
    for leaf in definition.modelled_leaves():
        shown = shown_variables(definition, leaf)
        chain = tuple(
            name for table in definition.modelled_chain(leaf) for name in definition.variables[table]
        )
        qualities[leaf] = table_quality(
            chain, private.columns(chain), private.fitted, drawn.matrix(leaf, chain)
        )
        if shown:
            tables[leaf] = privacy_evidence(
                private.columns(shown),
                private.fitted,
                drawn.matrix(leaf, shown),
                private.levels(shown),
                definition.privacy,
                definition.seed,
            )
    return Privacy(tables=tables), Quality(tables=qualities, label=_label_quality(definition, private, drawn))


def _label_quality(definition: Dataset, private: PrivateSample, drawn: Drawn) -> LabelQuality | None:
    if definition.labels is None:
        return None
    table, label = definition.labels.table, definition.labels.label
    shown = shown_variables(definition, table)
    if not shown:
        return None
    return label_quality(
        private.columns(shown),
        private.columns((label,))[:, 0],
        private.fitted,
        drawn.matrix(table, shown),
        drawn.seen_from(table, label),
        private.levels(shown),
    )


def raise_beyond_limits(
    definition_path: Path, definition: Dataset, privacy: Privacy, quality: Quality
) -> None:
    where = Location(str(definition_path))
    problems = [
        Problem(
            where,
            finding,
            "model fewer variables, raise privacy.fewest_rows, or use a larger source; its owner may raise a limit",
        )
        for finding in privacy.findings()
    ]
    most = definition.quality.most_auc_gap
    if most is not None and quality.label is not None and quality.label.gap > most:
        problems.append(
            Problem(
                where,
                f"a model's AUC for the label is {quality.label.source_on_synthetic:.3f} on synthetic rows and"
                f" {quality.label.source_on_kept:.3f} on kept source rows, further apart than"
                f" quality.most_auc_gap {most:g}",
                "model the variables that the label depends on, or keep fewer rows from the fit (privacy.holdout)",
            )
        )
    if problems:
        raise DefinitionError(problems)
