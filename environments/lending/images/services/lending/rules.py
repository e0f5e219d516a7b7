"""The credit rules that decide when no model answers: short, well known, and good enough for a few minutes.

Takes the numbers of an application and, where there is one, the applicant's credit profile.
"""

from __future__ import annotations

from collections.abc import Mapping

VERSION = "rules"
APPROVE_AT = 0.72

TYPICAL_PROFILE: Mapping[str, float] = {
    "consumer_history": 1,
    "mortgage_history": 2,
    "public_record": 0,
    "meets_guidelines": 1,
    "thick_file": 0,
}
"""The most frequent credit profile; used when the applicant's own cannot be read."""


def rules_score(features: Mapping[str, float]) -> float:
    """0 (bad) to 1 (good): points off for what lenders of every school look at."""
    score = 0.95
    score -= 0.25 if features["public_record"] else 0.0
    score -= 0.04 * (features["consumer_history"] - 1)
    score -= 0.015 * max(0.0, features["obligations_percent"] - 36.0)
    score -= 0.5 * max(0.0, features["loan_to_price"] - 0.80)
    return round(min(max(score, 0.01), 0.99), 4)
