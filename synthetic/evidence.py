"""What a dataset bundle tells about itself: privacy evidence, quality, lineage. Aggregates only, never a row.

Pydantic models, so that what is read back from a bundle is checked; written as `privacy.json`, `quality.json` and
`lineage.json`.
"""

from __future__ import annotations

from pydantic import Field

from harness.model.base import Definition


class Measure(Definition):
    """A measured value, its 95 % interval and the most that its upper end may be."""

    value: float
    low: float
    high: float
    limit: float

    @classmethod
    def of(cls, value: float, low: float, high: float, limit: float) -> Measure:
        """Rounded to six digits: what lies beyond is noise of one machine's arithmetic."""
        return cls(value=round(value, 6), low=round(low, 6), high=round(high, 6), limit=limit)

    @property
    def within(self) -> bool:
        """The whole interval lies within the limit."""
        return self.high <= self.limit


class Control(Definition):
    """The same measures on rows whose answer is known beforehand."""

    name: str
    must_pass: bool
    copied_share: Measure
    membership_auc: Measure

    @property
    def as_it_must(self) -> bool:
        """Passed where it must pass; exceeded at least one limit where it must fail."""
        return (self.copied_share.within and self.membership_auc.within) is self.must_pass


class PrivacyEvidence(Definition):
    """Evidence for the whole modelled rows of one table."""

    rows: int
    fitted_rows: int
    kept_rows: int
    variables: int
    exact_matches: Measure
    kept_rows_equal_to_fitted_rows: float = Field(
        description="Share of kept source rows that equal a fitted one: how often chance alone does it."
    )
    copied_share: Measure
    membership_auc: Measure
    controls: tuple[Control, ...]


class Privacy(Definition):
    """Evidence by table; empty for a dataset without modelled variables."""

    tables: dict[str, PrivacyEvidence] = Field(default_factory=dict)

    def findings(self) -> tuple[str, ...]:
        """One sentence for each limit that is exceeded and each control that did not turn out as it must."""
        return tuple(sentence for name, item in self.tables.items() for sentence in _findings(name, item))


def _findings(table: str, evidence: PrivacyEvidence) -> list[str]:
    names = ("exact_matches", "copied_share", "membership_auc")
    sentences = [
        f"table {table!r}: {name} is {measure.value:.3f} (95 % interval {measure.low:.3f} to {measure.high:.3f}),"
        f" more than privacy.most_{name} {measure.limit:g}"
        for name in names
        if not (measure := getattr(evidence, name)).within
    ]
    for control in evidence.controls:
        if not control.as_it_must:
            verdict = (
                "exceeds the limits, though no row was copied" if control.must_pass else "goes unnoticed"
            )
            sentences.append(
                f"table {table!r}: the control with {control.name} {verdict}"
                f" (copied share up to {control.copied_share.high:.3f}, membership AUC up to"
                f" {control.membership_auc.high:.3f}), so the evidence shows nothing"
            )
    return sentences


class LabelQuality(Definition):
    """AUC of a logistic model for the label: what it was trained on, and what it was tested on."""

    source_on_kept: float
    source_on_synthetic: float
    synthetic_on_kept: float
    label_rate_source: float
    label_rate_synthetic: float

    @property
    def gap(self) -> float:
        """How differently a model that was trained on the source does on synthetic rows."""
        return abs(self.source_on_synthetic - self.source_on_kept)


class TableQuality(Definition):
    """How like the source a table's whole modelled rows are; label and groups included."""

    largest_marginal_distance: float = Field(
        description="Kolmogorov-Smirnov, worst variable, against kept rows."
    )
    worst_marginal: str
    largest_correlation_error: float = Field(
        description="Rank correlations, worst pair, against all source rows."
    )
    mean_correlation_error: float


class Quality(Definition):
    """By table, and for the label where there is one."""

    tables: dict[str, TableQuality] = Field(default_factory=dict)
    label: LabelQuality | None = None


class SourceLineage(Definition):
    """What the rows were made from."""

    name: str
    digest: str
    rows_read: int
    fitted_rows: int
    kept_rows: int
    values_left_out: dict[str, int] = Field(
        description="Variable -> fitted rows whose value is too rare to be given out."
    )


class Lineage(Definition):
    """Where a bundle comes from: enough to make it again, nothing of the source itself."""

    dataset: str
    seed: int
    definition_digest: str
    source: SourceLineage | None
    rows: dict[str, int]
    rows_drawn_again: dict[str, int]
    synthesizer: str
    versions: dict[str, str]
