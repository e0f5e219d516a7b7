"""Runs the planned checks over a history and draws the verdict. Nothing here can turn silence into a pass.

A check that raises leaves UNKNOWN for every finding it owes; so does a finding that was owed and not given, one that was
given without being owed, a requested check that owes nothing, and a pass that rests on no sample or on no number. The
verdict is the worst of all findings, and READY needs every evidence check in the plan and at least one passed finding
that is about the change itself.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.checks.base import Frame, Origin
from harness.checks.registry import EVIDENCE, checks, find_check
from harness.model.case import Case
from harness.model.findings import Finding, Interval, Outcome, Verdict, VerdictWord
from harness.model.history import History
from harness.model.plan import PlannedCheck

MOST_REASONS = 12
DECIMALS = 9
_EVIDENCE_NAMES = frozenset(check.name for check in EVIDENCE)


@dataclass(frozen=True)
class CheckOrder:
    """A check that a scenario or change asks for; `parameters` as `validate_parameters` gave them."""

    check: str
    origin: Origin
    parameters: str


def plan_checks(orders: Sequence[CheckOrder], frame: Frame) -> tuple[PlannedCheck, ...]:
    """Evidence checks first, then what was asked for; each with the findings it owes.

    Where one asks for what another asks for already, both run, each under a prefix of its own: a change may add
    bounds, never take one away.
    """
    always = [CheckOrder(check.name, "evidence", "{}") for check in EVIDENCE]
    planned: list[PlannedCheck] = []
    taken: set[str] = set()
    for order in (*always, *orders):
        item = _planned(order, frame, taken)
        taken |= set(item.findings)
        planned.append(item)
    return tuple(planned)


def _planned(order: CheckOrder, frame: Frame, taken: set[str]) -> PlannedCheck:
    check = find_check(order.check)
    parameters = check.parameters.model_validate_json(order.parameters)
    owed = check.expect(frame, parameters)
    stem = "objectives/" if order.origin == "change" else ""
    prefixes = itertools.chain([stem], (f"{stem}{number}/" for number in itertools.count(2)))
    prefix = next(prefix for prefix in prefixes if not taken & {prefix + name for name in owed})
    return PlannedCheck(
        check=order.check,
        origin=order.origin,
        parameters=order.parameters,
        prefix=prefix,
        findings=tuple(prefix + name for name in owed),
    )


def judge(case: Case, history: History) -> tuple[Finding, ...]:
    """Every planned check's findings, ordered by id; exactly the ids that the plan owes.

    Evidence checks see everything; the others only exchanges that were attempted: what a generator failed to send is a
    hole in the evidence, not a failure of the service.
    """
    attempted = history.attempted()
    findings = [
        finding
        for planned in case.plan.checks
        for finding in _judged(case, history if planned.check in _EVIDENCE_NAMES else attempted, planned)
    ]
    return tuple(sorted(findings, key=lambda finding: finding.id))


def _judged(case: Case, history: History, planned: PlannedCheck) -> list[Finding]:
    name = planned.check
    if not planned.findings and name not in _EVIDENCE_NAMES:
        why = f"the check {name!r} was asked for, and nothing in this scenario is there for it to look at"
        return [_unknown(planned, planned.prefix + name, why)]
    try:
        check = checks()[name]
        parameters = check.parameters.model_validate_json(planned.parameters)
        given = [
            _sound(finding.model_copy(update={"id": planned.prefix + finding.id, "check": name}))
            for finding in check.judge(case, parameters, history)
        ]
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a check that raises has not passed
        why = f"the check {name!r} broke down: {type(error).__name__}: {error}"
        return [_unknown(planned, owed, why) for owed in planned.findings or (planned.prefix + name,)]
    counted = Counter(finding.id for finding in given)
    owed_ids = set(planned.findings)
    sound = [finding for finding in given if counted[finding.id] == 1 and finding.id in owed_ids]
    found = {finding.id for finding in sound}
    missing = [
        _unknown(planned, owed, f"{owed} was planned, and the check {name!r} gave it {_times(counted[owed])}")
        for owed in dict.fromkeys(planned.findings)
        if owed not in found
    ]
    strays = [
        _unknown(planned, f"{name}/unplanned/{stray}", f"{name!r} gave {stray}, which nobody planned")
        for stray in sorted(set(counted) - owed_ids)
    ]
    return [*sound, *missing, *strays]


def _times(count: int) -> str:
    return "not at all" if count == 0 else f"{count} times"


def _sound(finding: Finding) -> Finding:
    """The finding, rounded; a pass that rests on no sample (of a check about the change) or on no number is unknown."""
    finding = rounded(finding)
    if finding.outcome is not Outcome.PASS:
        return finding
    interval = finding.interval
    numbers = [finding.value, finding.limit, *((interval.low, interval.high) if interval else ())]
    if any(number is not None and math.isnan(number) for number in numbers):
        why = "it passed with a number that is none"
    elif finding.check not in _EVIDENCE_NAMES and finding.sample_size <= 0:
        why = "it passed without a single sample"
    else:
        return finding
    sentence = f"{finding.sentence.removesuffix('.')}: {why}, so nothing is known."
    return finding.model_copy(update={"outcome": Outcome.UNKNOWN, "sentence": sentence})


def rounded(finding: Finding) -> Finding:
    """All numbers to nine decimals: processors add up floats in different orders, and anyone must get the same bytes."""
    interval = finding.interval
    numbers = {
        name: _rounded(getattr(finding, name))
        for name in ("value", "limit", "baseline_value", "control_value")
    }
    if interval is not None:
        interval = Interval(low=_rounded(interval.low), high=_rounded(interval.high))
    return finding.model_copy(update={**numbers, "interval": interval, "details": _rounded(finding.details)})


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(float(value), DECIMALS) + 0.0  # + 0.0: no negative zero
    if isinstance(value, Mapping):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value


def _unknown(planned: PlannedCheck, finding_id: str, why: str) -> Finding:
    return Finding(
        id=finding_id,
        check=planned.check,
        outcome=Outcome.UNKNOWN,
        subject="run",
        sentence=f"{why[:1].upper()}{why[1:]}.",
        rank=30,
        details={"reason": "crashed"},
    )


def decide(case: Case, findings: Iterable[Finding]) -> Verdict:
    """Worst finding wins, NOT_READY over UNKNOWN over READY; READY needs all planned findings and one about the change."""
    known = list(findings)
    counts = {outcome: sum(finding.outcome is outcome for finding in known) for outcome in Outcome}
    owed = {owed for planned in case.plan.checks for owed in planned.findings}
    absent = sorted(owed - {finding.id for finding in known})
    about_change = [finding for finding in known if finding.check not in _EVIDENCE_NAMES]
    failed = _sentences(known, Outcome.FAIL)
    unknown = [f"{name} was planned and never ran." for name in absent] + _sentences(known, Outcome.UNKNOWN)
    left_out = sorted(_EVIDENCE_NAMES - {planned.check for planned in case.plan.checks})
    unknown = [f"The plan leaves out the check {name!r}, which is always on." for name in left_out] + unknown
    if not about_change:
        unknown.insert(0, "No check looked at the change itself, so nothing is known about it.")
    if failed:
        word, sentence, reasons = VerdictWord.NOT_READY, failed[0], [*failed, *unknown]
    elif unknown:
        word, sentence, reasons = VerdictWord.UNKNOWN, unknown[0], unknown
    else:
        word, sentence = VerdictWord.READY, _ready_sentence(case, known)
        reasons = [sentence]
    more = len(reasons) - MOST_REASONS
    shown = tuple(reasons[:MOST_REASONS]) + ((f"… and {more} more findings.",) if more > 0 else ())
    return Verdict(verdict=word, sentence=sentence, reasons=shown, counts=counts)


def _sentences(findings: Sequence[Finding], outcome: Outcome) -> list[str]:
    """Each once, by rank; where evidence is missing that comes first, as what else is unknown follows from it."""

    def order(finding: Finding) -> tuple[bool, int, str]:
        follows = outcome is Outcome.UNKNOWN and finding.check not in _EVIDENCE_NAMES
        return follows, finding.rank, finding.id

    chosen = sorted((finding for finding in findings if finding.outcome is outcome), key=order)
    return list(dict.fromkeys(finding.sentence for finding in chosen))


def _ready_sentence(case: Case, findings: Sequence[Finding]) -> str:
    requests = next((f.sample_size for f in findings if f.check == "completeness"), 0)
    windows = len(case.plan.windows())
    services = " and ".join(case.change.services)
    return (
        f"{case.change.change} ({services}) held up: {requests} requests over {len(case.plan.arms)} arms and "
        f"{windows} faults, every one of them witnessed; all {len(findings)} findings passed."
    )
