"""From the private sample to a model of its variables, and from drawn latents back to values.

Takes the sample's rows that are meant for fitting, gives a `FittedModel`. Two things are decided here: a category's
levels are put in the order of their label rate (else of frequency), because a copula knows only more and less; and
whether a value is missing is a binary variable of its own, so that missing values depend on the others as they did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.errors import DefinitionError, Location, Problem
from harness.model.dataset import Dataset, Variable
from synthetic.copula import JointModel, latent_correlation
from synthetic.marginals import Marginal, fit_marginal
from synthetic.source import Sample

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FittedModel:
    """`codes[v][k]` is the code of category v's level at place k; `latents[v]` are the names of v's latents."""

    joint: JointModel
    variables: Mapping[str, Variable]
    codes: Mapping[str, Floats]
    latents: Mapping[str, tuple[str, ...]]
    left_out: Mapping[str, int]

    def latent_names(self, variables: Sequence[str]) -> tuple[str, ...]:
        """Latents of these variables, in order."""
        return tuple(latent for name in variables for latent in self.latents[name])

    def values(self, names: Sequence[str], latent: Floats) -> dict[str, Floats]:
        """Values by variable for latents in the order of `latent_names`; rounded, within limits, NaN where missing."""
        columns = dict(zip(self.latent_names(names), latent.T, strict=True))
        return {name: self._values(name, columns) for name in names}

    def ordered(self, names: Sequence[str], rows: Floats) -> Floats:
        """Rows x these variables, the codes of categories replaced by the places of their levels."""
        columns = [
            _places(column, self.codes[name]) if name in self.codes else column
            for name, column in zip(names, rows.T, strict=True)
        ]
        return np.column_stack(columns)

    def _values(self, name: str, columns: Mapping[str, Floats]) -> Floats:
        variable = self.variables[name]
        values = self.joint.values(name, columns[name])
        if name in self.codes:
            values = self.codes[name][np.rint(values).astype(int)]
        elif variable.type == "number":
            values = np.round(values, variable.decimals)
        else:
            values = np.rint(values)
        if variable.at_least is not None or variable.at_most is not None:
            values = np.clip(values, variable.at_least, variable.at_most)
        for indicator in self.latents[name][1:]:
            values = np.where(self.joint.values(indicator, columns[indicator]) > 0.5, np.nan, values)
        return values + 0.0  # -0.0 is 0.0


def fit(definition_path: Path, dataset: Dataset, sample: Sample, rows: npt.NDArray[np.int_]) -> FittedModel:
    """Fit on these rows of the sample. Raises DefinitionError for variables without any value that may be given out."""
    label = _label_values(dataset, sample, rows)
    names: list[str] = []
    marginals: list[Marginal] = []
    scores: list[Floats] = []
    codes: dict[str, Floats] = {}
    latents: dict[str, tuple[str, ...]] = {}
    left_out: dict[str, int] = {}
    problems: list[Problem] = []
    fewest = dataset.privacy.fewest_rows
    variables = dataset.all_variables()
    for index, (name, variable) in enumerate(variables.items()):
        values = sample.values[rows, index]
        if variable.type == "category":
            codes[name] = _order(values, len(sample.levels[name]), label)
            values = _places(values, codes[name])
        fitted = fit_marginal(values, fewest, atoms_only=variable.type in {"category", "boolean"})
        if fitted is None:
            problems.append(_too_rare(definition_path, name, fewest))
            continue
        latents[name] = (name,)
        left_out[name] = int((np.isnan(fitted[1]) & ~np.isnan(values)).sum())
        indicator = fit_marginal(np.isnan(values).astype(float), fewest, atoms_only=True)
        added = [(name, fitted)]
        if indicator is not None and len(indicator[0].low) == 2:
            added.append((f"{name} is missing", indicator))
            latents[name] = (name, f"{name} is missing")
        for latent_name, (marginal, latent_scores) in added:
            names.append(latent_name)
            marginals.append(marginal)
            scores.append(latent_scores)
    if problems:
        raise DefinitionError(problems)
    correlation = latent_correlation(marginals, np.column_stack(scores))
    joint = JointModel(tuple(names), tuple(marginals), correlation)
    return FittedModel(joint, variables, codes, latents, left_out)


def _too_rare(definition_path: Path, name: str, fewest: int) -> Problem:
    return Problem(
        Location(str(definition_path)),
        f"variable {name!r} has no value that {fewest} fitted rows share, so none may be given out",
        "invent it (`faker:`) instead of modelling it",
    )


def _label_values(dataset: Dataset, sample: Sample, rows: npt.NDArray[np.int_]) -> Floats | None:
    if dataset.labels is None:
        return None
    labels: Floats = sample.values[rows, sample.variables.index(dataset.labels.label)]
    return labels


def _order(values: Floats, levels: int, label: Floats | None) -> Floats:
    """Codes in the order of the label's mean (else of frequency), shrunk towards the mean of all for rare levels."""
    count = np.array([(values == code).sum() for code in range(levels)], dtype=float)
    if label is None:
        return np.argsort(-count, kind="stable").astype(float)
    total = np.array([label[values == code].sum() for code in range(levels)])
    rate = (total + 5.0 * label.mean()) / (count + 5.0)
    return np.argsort(rate, kind="stable").astype(float)


def _places(values: Floats, codes: Floats) -> Floats:
    """Code -> its place in the order; NaN stays."""
    place = np.empty(len(codes))
    place[codes.astype(int)] = np.arange(len(codes))
    known = ~np.isnan(values)
    places = np.full(len(values), np.nan)
    places[known] = place[values[known].astype(int)]
    return places
