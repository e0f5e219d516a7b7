"""The application form: what `POST /applications` must bring, and what a bad one is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LIMITS: Mapping[str, tuple[float, float]] = {
    "loan_thousands": (1, 100_000),
    "income_thousands": (0, 100_000),
    "housing_percent": (0, 1_000),
    "obligations_percent": (0, 1_000),
    "loan_to_price": (0, 10),
    "unverifiable": (0, 1),
    "self_employed": (0, 1),
    "multi_unit": (0, 1),
    "unemployment_percent": (0, 100),
}
"""Every number of the form, with the lowest and highest value that is no slip of the pen."""


class BadApplicationError(ValueError):
    """Says every field that is wrong."""


@dataclass(frozen=True)
class Application:
    """One application; `numbers` has exactly the names of LIMITS."""

    application_id: str
    applicant_id: str
    numbers: Mapping[str, float]


def read_application(form: Mapping[str, Any]) -> Application:
    """Raises BadApplicationError."""
    problems = [
        f"{name} must be a text of 1 to 64 characters"
        for name in ("application_id", "applicant_id")
        if not isinstance(form.get(name), str) or not 0 < len(form[name]) <= 64
    ]
    problems += [
        f"{name} must be a number from {low:g} to {high:g}"
        for name, (low, high) in LIMITS.items()
        if not _is_number(form.get(name)) or not low <= form[name] <= high
    ]
    if problems:
        raise BadApplicationError("; ".join(problems))
    return Application(form["application_id"], form["applicant_id"], {name: form[name] for name in LIMITS})


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
