"""Checks the cached bundle of a definition: what `readiness data check` calls.

Takes a definition and the path of its file, gives a `DatasetCheck`: one finding per question, each with a plain
sentence. Nothing is believed that can be looked at: keys, references, types and source rows are read from the tables
themselves. Where the private sample is not on this machine, what needs it is listed as not checked, never as passed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from harness.errors import DefinitionError
from harness.model.dataset import Dataset, KeyColumn
from harness.model.history import Labels
from synthetic.building import definition_digest, find
from synthetic.bundle import DatasetBundle, load
from synthetic.columns import column_type, key_column
from synthetic.evidence import Privacy, PrivacyEvidence, Quality
from synthetic.privacy import privacy_evidence
from synthetic.private import PrivateSample, read_private
from synthetic.reread import Reread, reread
from synthetic.rows import equal_rows, shown_variables
from synthetic.source import SourceFile, SourceMissingError, locate

MOST_PROBLEMS = 5
"""A finding names no more than so many, and counts the rest."""


@dataclass(frozen=True)
class DatasetFinding:
    """One question about a bundle, and its answer in a sentence."""

    name: str
    ok: bool
    sentence: str


@dataclass(frozen=True)
class DatasetCheck:
    """What was found out about the bundle in `folder`; `not_checked` says what could not be, and why."""

    dataset: str
    folder: Path
    digest: str | None
    findings: tuple[DatasetFinding, ...]
    not_checked: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.problems

    @property
    def problems(self) -> tuple[DatasetFinding, ...]:
        """Findings that are not as they must be."""
        return tuple(finding for finding in self.findings if not finding.ok)


def check(definition_path: Path, definition: Dataset, progress: Callable[[str], None]) -> DatasetCheck:
    """Check the cached bundle. Raises DefinitionError when there is none; a bad one is told by findings."""
    folder = find(definition_path, definition)
    progress(f"dataset {definition.dataset}: checking {folder}")
    try:
        bundle = load(folder)
        tables = {name: bundle.table(name) for name in bundle.tables()}
        labels = bundle.labels()
    except DefinitionError as error:
        told = (f"{problem.where}: {problem.what}" for problem in error.problems)
        return DatasetCheck(definition.dataset, folder, None, (_finding("files", "", told),))
    findings = [
        DatasetFinding("files", True, f"all {len(bundle.files)} files are as the manifest says"),
        _finding("definition", "made from this definition", _other_definition(definition, bundle)),
    ]
    shape = _finding("tables", "tables, columns, types and rows are as defined", _shape(definition, tables))
    findings.append(shape)
    if shape.ok:
        findings += [
            _finding("keys", "every key is there once", _bad_keys(definition, tables)),
            _finding("references", "every reference hits a key", _bad_references(definition, tables)),
            _finding("labels", "every row has its label", _bad_labels(definition, tables, labels)),
        ]
    findings += [
        _finding(
            "privacy",
            "the recorded evidence is within the limits",
            _beyond_limits(definition, bundle.privacy),
        ),
        _finding(
            "quality", "the label is as predictable as it must be", _too_unlike(definition, bundle.quality)
        ),
    ]
    holds = all(finding.ok for finding in findings if finding.name in {"tables", "keys", "references"})
    more, not_checked = _against_source(definition_path, definition, bundle, tables if holds else None)
    return DatasetCheck(definition.dataset, folder, bundle.digest, (*findings, *more), not_checked)


def _finding(name: str, fine: str, problems: Iterable[str]) -> DatasetFinding:
    """Fine without problems; else their sentences, the first few of them."""
    told = list(problems)
    if not told:
        return DatasetFinding(name, True, fine)
    rest = [f"and {len(told) - MOST_PROBLEMS} more"] if len(told) > MOST_PROBLEMS else []
    return DatasetFinding(name, False, "; ".join(told[:MOST_PROBLEMS] + rest))


def _other_definition(definition: Dataset, bundle: DatasetBundle) -> Iterator[str]:
    lineage, wanted = bundle.lineage, definition_digest(definition)
    if lineage.definition_digest != wanted:
        yield f"made from the definition {lineage.definition_digest}, and this one is {wanted}"
    if {bundle.name, lineage.dataset} != {definition.dataset}:
        yield f"it is a bundle of {bundle.name!r}"
    if lineage.seed != definition.seed:
        yield f"made with seed {lineage.seed}, and the definition has {definition.seed}"
    if (lineage.source is None) != (definition.source is None or not definition.variables):
        yield "made without a source" if lineage.source is None else "made from a source that is not defined"


def _shape(definition: Dataset, tables: Mapping[str, pa.Table]) -> Iterator[str]:
    """Whatever makes a table another one than the definition says."""
    for name in dict.fromkeys([*definition.tables, *tables]):
        if name not in tables or name not in definition.tables:
            yield f"table {name!r} is {'not there' if name not in tables else 'not defined'}"
            continue
        table, wanted = tables[name], definition.tables[name]
        if table.num_rows != wanted.rows:
            yield f"{name} has {table.num_rows} rows, defined are {wanted.rows}"
        if table.column_names != list(wanted.columns):
            yield f"{name} has the columns {', '.join(table.column_names)}; defined are {', '.join(wanted.columns)}"
            continue
        for column, item in wanted.columns.items():
            there, expected = table.schema.field(column).type, column_type(definition, item)
            if expected is not None and there != expected:
                yield f"{name}.{column} is of type {there}, not {expected}"


def _bad_keys(definition: Dataset, tables: Mapping[str, pa.Table]) -> Iterator[str]:
    for name, table in definition.tables.items():
        for column, item in table.columns.items():
            if isinstance(item, KeyColumn):
                wanted = pa.array([item.value(number) for number in range(1, table.rows + 1)])
                wrong = (
                    table.rows
                    - pc.sum(pc.fill_null(pc.equal(tables[name].column(column), wanted), False)).as_py()
                )
                if wrong:
                    yield f"{name}.{column} is not the defined key in {wrong} rows"


def _bad_references(definition: Dataset, tables: Mapping[str, pa.Table]) -> Iterator[str]:
    for name, table in definition.tables.items():
        for column, item in table.references().items():
            there = tables[name].column(column)
            keys = tables[item.reference].column(key_column(definition, item.reference))
            lost = table.rows - pc.sum(pc.is_in(there, value_set=keys.combine_chunks())).as_py()
            if lost:
                yield f"{name}.{column} leads nowhere in {lost} rows: {item.reference} has no such key"
            if item.once and (again := table.rows - pc.count_distinct(there, mode="all").as_py()):
                yield f"{name}.{column} refers to a row of {item.reference} more than once in {again} rows"


def _bad_labels(definition: Dataset, tables: Mapping[str, pa.Table], labels: Labels) -> Iterator[str]:
    wanted = definition.labels
    if wanted is None:
        if len(labels):
            yield f"there are {len(labels)} labels, and none are defined"
        return
    keys = tables[wanted.table].column(wanted.key).cast(pa.string())
    if keys.to_pylist() != labels.table.column("key").to_pylist():
        yield f"the labels' keys are not those of {wanted.table}.{wanted.key}"
    if strange := set(labels.table.column("label").to_pylist()) - {0, 1}:
        yield f"a label is 0 or 1, and here also {', '.join(sorted(map(str, strange)))}"
    if any(_group_names(text) != set(wanted.groups) for text in labels.table.column("groups").to_pylist()):
        yield f"not every label tells the groups {', '.join(wanted.groups) or '(none)'}"


def _group_names(text: str | None) -> set[str] | None:
    try:
        return set(json.loads(text or ""))
    except (TypeError, ValueError):
        return None


def _beyond_limits(definition: Dataset, privacy: Privacy) -> Iterator[str]:
    """What the recorded evidence says against the rows, and whether it is there for each table, with the defined limits."""
    expected = {leaf for leaf in definition.modelled_leaves() if shown_variables(definition, leaf)}
    if set(privacy.tables) != expected:
        given = ", ".join(sorted(privacy.tables)) or "no table"
        yield f"evidence is recorded for {given}, and due for {', '.join(sorted(expected)) or 'none'}"
    for name, evidence in privacy.tables.items():
        yield from (f"table {name!r}: {told}" for told in _other_limits(definition, evidence))
        if name in definition.tables and evidence.rows != definition.tables[name].rows:
            yield f"table {name!r}: evidence is recorded for {evidence.rows} of {definition.tables[name].rows} rows"
    yield from privacy.findings()


def _other_limits(definition: Dataset, evidence: PrivacyEvidence) -> Iterator[str]:
    for name in ("exact_matches", "copied_share", "membership_auc"):
        limits = {getattr(item, name).limit for item in (evidence, *evidence.controls) if hasattr(item, name)}
        wanted = getattr(definition.privacy, f"most_{name}")
        if limits != {wanted}:
            yield f"{name} was held against {', '.join(map(str, sorted(limits)))}, the definition says {wanted:g}"
    if not evidence.controls:
        yield "no control shows that copies would be noticed"


def _too_unlike(definition: Dataset, quality: Quality) -> Iterator[str]:
    most, label = definition.quality.most_auc_gap, quality.label
    if most is not None and label is None:
        yield "no AUC of the label was recorded"
    if most is not None and label is not None and label.gap > most:
        yield f"the AUC of a model of the label differs by {label.gap:.3f}, more than quality.most_auc_gap {most:g}"


def _against_source(
    definition_path: Path, definition: Dataset, bundle: DatasetBundle, tables: Mapping[str, pa.Table] | None
) -> tuple[list[DatasetFinding], tuple[str, ...]]:
    """Findings that need the private sample. `tables` is None when they do not hold together."""
    if definition.source is None or not definition.variables:
        return [], ()
    try:
        file = locate(definition_path, definition.source)
    except SourceMissingError as error:
        return [], (f"source, values, source_rows, privacy_again: {error.problems[0].what}",)
    source = _finding("source", f"made from {file.name} as it is here", _other_source(bundle, file))
    if tables is None:
        return [source], ("values, source_rows, privacy_again: the tables do not hold together",)
    private = read_private(definition_path, definition, file)
    assert private is not None  # there are variables
    found = reread(definition, tables, private.sample.levels)
    values = _finding("values", "every variable has one value a row, and known levels", found.conflicts)
    measured, not_checked = _measured_again(definition, private, found)
    return [source, values, *measured], not_checked


def _other_source(bundle: DatasetBundle, file: SourceFile) -> Iterator[str]:
    made_from = bundle.lineage.source
    if made_from is not None and made_from.digest != file.digest:
        yield f"made from {made_from.name} {made_from.digest}, and here it is {file.digest}"


def _measured_again(
    definition: Dataset, private: PrivateSample, found: Reread
) -> tuple[list[DatasetFinding], tuple[str, ...]]:
    """Source rows in the tables, and the privacy evidence, measured from the tables themselves."""
    limits = definition.privacy
    evidence: dict[str, PrivacyEvidence] = {}
    not_checked: list[str] = []
    matches: list[str] = []
    measured = 0
    for leaf in definition.modelled_leaves():
        shown = shown_variables(definition, leaf)
        if not shown:
            continue
        source, rows = private.columns(shown), found.whole_rows(leaf)
        equal = int(equal_rows(rows, source).sum())
        measured += len(rows)
        if equal > limits.most_exact_matches * len(rows):
            all_shown = ", ".join(shown)
            matches.append(
                f"{equal} of {len(rows)} rows of {leaf!r} equal a source row in all of {all_shown}"
            )
        if len(rows) < definition.tables[leaf].rows:
            hidden = definition.tables[leaf].rows - len(rows)
            not_checked.append(
                f"privacy_again: the tables do not show all variables of {hidden} rows of {leaf!r}"
            )
            continue
        levels = private.levels(shown)
        evidence[leaf] = privacy_evidence(source, private.fitted, rows, levels, limits, definition.seed)
    none = "none" if limits.most_exact_matches == 0 else f"at most {limits.most_exact_matches:.1%}"
    findings = [_finding("source_rows", f"of {measured} rows {none} equal a source row", matches)]
    if evidence:
        fine = "measured again from the tables, the evidence is within the limits"
        findings.append(_finding("privacy_again", fine, Privacy(tables=evidence).findings()))
    return findings, tuple(not_checked)
