"""Trains a model from the `loanapp` table and writes it as plain numbers; runs once, when the image is built.

    python3 -m lending.training VERSION loanapp.csv.bz2 model.json

Needs scikit-learn, which the services do not. The features are what a lender may look at: neither race nor sex, nor
marriage, age or neighbourhood, is among them. `model.json` also says how the model did on rows held out from training.
"""

from __future__ import annotations

import bz2
import csv
import io
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lending.scoring import Factor

SEED = 1989
HELD_OUT_SHARE = 0.3
APPROVED_SHARE = 0.89
"""What lenders approved; each model's operating point is set so that it approves as many."""
REGULARISATION = 0.3

Term = tuple[Factor, ...]

SOURCE_COLUMNS = {
    "housing_percent": "hrat",
    "obligations_percent": "obrat",
    "loan_to_price": "loanprc",
    "unverifiable": "unver",
    "self_employed": "self",
    "multi_unit": "multi",
    "unemployment_percent": "unem",
    "consumer_history": "cons",
    "mortgage_history": "mortg",
    "public_record": "pubrec",
    "meets_guidelines": "gdlin",
    "thick_file": "thick",
}
NO_VALUE = {("gdlin", "666"): 1.0, ("thick", ""): 0.0, ("multi", ""): 0.0}
"""Codes and gaps of the source, and the most frequent value that stands in for them."""


def plain(*names: str) -> tuple[Term, ...]:
    return tuple((Factor(name),) for name in names)


@dataclass(frozen=True)
class Recipe:
    """What a version is made of. With `resamples` it also says how sure it is."""

    terms: tuple[Term, ...]
    resamples: int = 0
    score_max: float = 1.0


FIRST = plain(
    "housing_percent",
    "obligations_percent",
    "loan_to_price",
    "consumer_history",
    "mortgage_history",
    "public_record",
)
SECOND = (
    *FIRST,
    *plain(
        "meets_guidelines",
        "unverifiable",
        "self_employed",
        "multi_unit",
        "unemployment_percent",
        "thick_file",
    ),
    (Factor("obligations_percent", above=36.0),),
    (Factor("obligations_percent", above=36.0), Factor("meets_guidelines")),
    (Factor("meets_guidelines"), Factor("unverifiable")),
    (Factor("loan_to_price", above=0.8),),
)
RECIPES = {
    "1.4.0": Recipe(FIRST),
    "2.0.0": Recipe(SECOND, resamples=4),
    "2.0.0-rescaled": Recipe(SECOND, resamples=4, score_max=1000.0),
}


def read_applicants(path: Path) -> tuple[list[dict[str, float]], Any]:
    """Features by name for each applicant, and whether the lender approved (0 or 1)."""
    with io.TextIOWrapper(bz2.open(path), "utf-8") as file:
        rows = list(csv.DictReader(file))
    applicants = [
        {name: _number(column, row[column]) for name, column in SOURCE_COLUMNS.items()} for row in rows
    ]
    return applicants, np.array([int(row["approve"]) for row in rows])


def _number(column: str, text: str) -> float:
    return NO_VALUE[column, text] if (column, text) in NO_VALUE else float(text)


def term_values(applicants: Sequence[dict[str, float]], terms: Sequence[Term]) -> Any:
    return np.array(
        [[np.prod([factor.value(one) for factor in term]) for term in terms] for one in applicants],
        dtype=float,
    )


def regression() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(C=REGULARISATION))


def fit(values: Any, approved: Any) -> dict[str, Any]:
    """Intercept and weights for the values as they are: the scaling is folded in."""
    pipeline = regression().fit(values, approved)
    scaler, logistic = pipeline[0], pipeline[1]
    weights = logistic.coef_[0] / scaler.scale_
    intercept = logistic.intercept_[0] - float(weights @ scaler.mean_)
    return {"intercept": round(float(intercept), 6), "terms": [round(float(weight), 6) for weight in weights]}


def train(version: str, recipe: Recipe, source: Path) -> dict[str, Any]:
    applicants, approved = read_applicants(source)
    values = term_values(applicants, recipe.terms)
    known, held_out, known_approved, held_out_approved = train_test_split(
        values, approved, test_size=HELD_OUT_SHARE, random_state=SEED, stratify=approved
    )
    members = [fit(known, known_approved)]
    draw = np.random.default_rng(SEED)
    for _ in range(recipe.resamples):
        chosen = draw.integers(0, len(known), len(known))
        members.append(fit(known[chosen], known_approved[chosen]))
    honest = cross_val_predict(regression(), known, known_approved, cv=10, method="predict_proba")[:, 1]
    approve_at = round(float(np.quantile(honest, 1.0 - APPROVED_SHARE)), 3)
    chances = regression().fit(known, known_approved).predict_proba(held_out)[:, 1]
    return {
        "version": version,
        "score_max": recipe.score_max,
        "approve_at": round(approve_at * recipe.score_max, 3),
        "held_out": {
            "rows": len(held_out),
            "auc": round(float(roc_auc_score(held_out_approved, chances)), 4),
            "approved_share": round(float(np.mean(chances >= approve_at)), 4),
        },
        "terms": [
            [{"feature": f.feature} | ({} if f.above is None else {"above": f.above}) for f in term]
            for term in recipe.terms
        ],
        "members": members,
    }


def main(version: str, source: str, target: str) -> None:
    if version not in RECIPES:
        sys.exit(f"no model version {version!r}; there are: {', '.join(RECIPES)}")
    model = train(version, RECIPES[version], Path(source))
    Path(target).write_text(json.dumps(model, indent=1) + "\n", "utf-8")
    print(f"model {version}: approve at {model['approve_at']}, held out {model['held_out']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
