"""Contract: every good answer of the candidate fits the scenario's JSON Schema (draft 2020-12, by `jsonschema`).

Fallback answers are answers too: consumers parse them all the same. One violation is one too many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

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
        return (f"{self.name}/entry:{frame.entry}",)

    def judge(self, case: Case, parameters: ContractParameters, history: History) -> Iterable[Finding]:
        rows = history.exchanges.where(arm=Arm.CANDIDATE.value)
        status = rows.column("status")
        bodies = [parse_body(body) for body in rows.column("body")[(status >= 200) & (status < 300)]]
        violations: Counter[str] = Counter()
        if case.answers_schema is not None:
            validator = Draft202012Validator(case.answers_schema)
            for body in bodies:
                if not validator.is_valid(body):
                    error = best_match(validator.iter_errors(body))
                    violations[f"{error.json_path}: {error.message[:120]}"] += 1
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
