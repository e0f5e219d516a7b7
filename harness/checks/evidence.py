"""What the evidence checks share: they are always on, give a pass or an unknown, and never blame the change.

A run that was late, incomplete, unwitnessed or unclean proves nothing about the change, whatever its numbers say.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.checks.base import Parameters
from harness.model.findings import EvidencePointer, Finding, Outcome


class NoParameters(Parameters):
    """Evidence checks take their limits from the policy."""


def evidence_finding(
    finding_id: str,
    problems: Sequence[str],
    good: str,
    *,
    because: str = "",
    subject: str = "run",
    unit: str = "",
    evidence: tuple[EvidencePointer, ...] = (),
    sample_size: int = 0,
    value: float | None = None,
    limit: float | None = None,
    unit_of_measure: str = "",
    rank: int = 40,
    details: dict[str, object] | None = None,
) -> Finding:
    """A pass with the sentence `good`, or an unknown that lists what is wrong (the first three, and how many more).

    `because` ends the sentence of an unknown.
    """
    more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
    why = f"; {because}" if because else ""
    sentence = good if not problems else f"{'; '.join(problems[:3])}{more}{why}."
    return Finding(
        id=finding_id,
        check=finding_id.partition("/")[0],
        outcome=Outcome.UNKNOWN if problems else Outcome.PASS,
        subject=subject,
        unit=unit,
        sentence=_begun(sentence),
        value=value,
        limit=limit,
        unit_of_measure=unit_of_measure,
        sample_size=sample_size,
        evidence=evidence,
        rank=rank,
        details=details or {},
    )


def _begun(sentence: str) -> str:
    """With a capital, unless it begins with a name such as `front->back`, which is as it is."""
    return sentence[:1].upper() + sentence[1:] if sentence.partition(" ")[0].isalpha() else sentence
