"""Contract: every good answer of the candidate fits the scenario's JSON Schema (draft 2020-12, by `jsonschema`).

Fallback answers are answers too: consumers parse them all the same. One violation is one too many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from referencing import Registry

from harness.checks.base import EXCHANGES_FILE, Frame, Parameters, pointer
from harness.checks.pairs import parse_body
from harness.model.case import Case
from harness.model.findings import Finding, Outcome
from harness.model.history import History
from harness.model.plan import Arm


class ContractParameters(Parameters):
    """None."""


class Contract:
    """See the module's head."""

    name = "contract"
    summary = "every good answer fits the scenario's JSON Schema"
    parameters = ContractParameters

    def expect(self, frame: Frame, parameters: ContractParameters) -> tuple[str, ...]:
        return (f"{self.name}/entry:{frame.entry}",) if frame.has_answers_schema else ()

    def judge(self, case: Case, parameters: ContractParameters, history: History) -> Iterable[Finding]:
        rows = history.exchanges.where(arm=Arm.CANDIDATE.value)
        status = rows.column("status")
        bodies = rows.column("body")[(status >= 200) & (status < 300)]
        violations = _violations(case.answers_schema, bodies)
        broken = sum(violations.values())
        least = case.policy.minimum_samples
        if case.answers_schema is None:
            outcome, what = Outcome.UNKNOWN, "cannot be checked: the scenario names no `answers:` schema"
        elif len(bodies) < least:
            outcome, what = (
                Outcome.UNKNOWN,
                f"cannot be judged by {len(bodies)} good answers, {least} are needed",
            )
        elif broken:
            common, times = violations.most_common(1)[0]
            outcome, what = (
                Outcome.FAIL,
                f"is broken by {broken} of {len(bodies)} answers ({times} times {common})",
            )
        else:
            outcome, what = Outcome.PASS, f"is kept by all {len(bodies)} good answers"
        yield Finding(
            id=f"{self.name}/entry:{case.plan.entry}",
            check=self.name,
            outcome=outcome,
            subject=case.plan.entry,
            sentence=f"The contract of {case.plan.entry}'s answers {what}.",
            value=float(broken),
            limit=0.0,
            unit_of_measure="count",
            sample_size=len(bodies),
            evidence=(pointer(EXCHANGES_FILE, len(bodies), arm=Arm.CANDIDATE.value),),
            rank=15,
            details={"limit_is": "most", "violations": dict(violations.most_common(5))},
        )


def _violations(schema: Mapping[str, Any] | None, bodies: Iterable[str]) -> Counter[str]:
    """How often each kind was seen. Raises jsonschema's SchemaError for a schema that is none."""
    violations: Counter[str] = Counter()
    if schema is None:
        return violations
    Draft202012Validator.check_schema(schema)
    # A registry of its own: a `$ref` that leads elsewhere must fail, never be fetched.
    validator = Draft202012Validator(schema, registry=Registry())
    for text in bodies:
        body = parse_body(text)
        if body is None and (text or "").strip() != "null":
            violations["$: the answer is no JSON"] += 1
        elif not validator.is_valid(body):
            error = best_match(validator.iter_errors(body))
            violations[f"{error.json_path}: {error.message[:120]}"] += 1
    return violations
