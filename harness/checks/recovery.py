"""Recovery: how long after a fault was healed until answers were normal again, against the tolerance's claim.

An answer is normal when it is no server error, no fallback answer (where a field says so) and no slower than three
times the same arm's steady p95 (and 50 ms, so that a fast service is not judged by jitter). The arm has recovered at the
first request from which on at least 80 % of every ten consecutive requests are normal. An arm that has not recovered
when the unit ends took at least that long: a failure when that is beyond the limit, unknown otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field

from harness.checks.base import EVENTS_FILE, Frame, Parameters, finite, pointer
from harness.checks.degradation import faulted_tolerances
from harness.checks.pairs import field_of, parse_body
from harness.checks.slots import Slot, slot_pointer, slots
from harness.model.case import Case
from harness.model.findings import Finding, Outcome
from harness.model.history import EventKind, Exchanges, History
from harness.model.plan import Arm, Phase

Flags = npt.NDArray[np.bool_]

RUN_LENGTH = 10
NORMAL_SHARE = 0.8


class RecoveryParameters(Parameters):
    degraded_field: str = Field(
        default="degraded", description="Path of the boolean in the answer; may be absent."
    )
    slower_than_steady_p95: float = Field(default=3.0, gt=1)


@dataclass(frozen=True)
class _Recovered:
    """Seconds from heal to normal; `censored` when it was not normal again before the unit ended."""

    after_s: float
    censored: bool
    requests: int


class Recovery:
    """See the module's head."""

    name = "recovery"
    summary = "time from the end of a fault until answers are normal again, against the tolerance's claim"
    parameters = RecoveryParameters

    def expect(self, frame: Frame, parameters: RecoveryParameters) -> tuple[str, ...]:
        return tuple(f"{self.name}/{slot.id}" for slot in slots(frame, ("entries",), ("recovery",)))

    def judge(self, case: Case, parameters: RecoveryParameters, history: History) -> Iterable[Finding]:
        for slot in slots(Frame.of(case), ("entries",), ("recovery",)):
            recovered = {arm: _recovered(history, slot, arm, parameters) for arm in case.plan.arms}
            yield self._finding(case, slot, recovered)

    def _finding(self, case: Case, slot: Slot, recovered: dict[Arm, _Recovered | None]) -> Finding:
        assert slot.unit is not None
        assert slot.unit.window is not None
        _, limit_s = faulted_tolerances(case.environment, slot.unit.window)
        candidate, baseline, control = (recovered[arm] for arm in (Arm.CANDIDATE, Arm.BASELINE, Arm.CONTROL))
        least = case.policy.minimum_fault_samples
        if candidate is None or candidate.requests < least:
            seen = 0 if candidate is None else candidate.requests
            outcome = Outcome.UNKNOWN
            what = f"cannot be judged: {seen} requests after the fault was healed, {least} are needed"
        elif candidate.after_s > limit_s:
            outcome = Outcome.FAIL
            what = f"took {'more than ' if candidate.censored else ''}{candidate.after_s:.1f} s"
        elif candidate.censored:
            outcome = Outcome.UNKNOWN
            what = f"was not seen within {candidate.after_s:.1f} s, when the unit ended: lengthen its `recovery:`"
        else:
            outcome = Outcome.PASS
            what = f"took {candidate.after_s:.1f} s"
        baseline_words = "not seen" if baseline is None else f"{baseline.after_s:.1f} s"
        return Finding(
            id=f"{self.name}/{slot.id}",
            check=self.name,
            outcome=outcome,
            subject=slot.unit.window.target,
            phase=slot.phase,
            unit=slot.unit_name,
            sentence=(
                f"Recovery of {slot.subject} {slot.when} {what}; {slot.unit.window.target} claims at most "
                f"{limit_s:g} s, the baseline took {baseline_words}."
            ),
            value=None if candidate is None else finite(candidate.after_s),
            limit=limit_s,
            unit_of_measure="s",
            sample_size=0 if candidate is None else candidate.requests,
            baseline_value=None if baseline is None else finite(baseline.after_s),
            control_value=None if control is None else finite(control.after_s),
            evidence=(
                slot_pointer(slot, 0 if candidate is None else candidate.requests),
                pointer(EVENTS_FILE, 1, kind="fault_healed", unit=slot.unit_name, arm=Arm.CANDIDATE.value),
            ),
            rank=22,
            details={
                "limit_is": "most",
                "arms": {
                    arm.value: {"value": finite(item.after_s), "n": item.requests}
                    for arm, item in recovered.items()
                    if item is not None
                },
            },
        )


def _recovered(history: History, slot: Slot, arm: Arm, parameters: RecoveryParameters) -> _Recovered | None:
    """None when the fault was never healed or no request followed."""
    healed = history.events_of(EventKind.FAULT_HEALED, arm=arm.value, unit=slot.unit_name)
    rows = history.exchanges.where(arm=arm.value, **slot.place())
    steady = history.exchanges.where(arm=arm.value, phase=Phase.STEADY.value)
    if not healed or len(rows) == 0 or len(steady) == 0:
        return None
    limit_ms = _slow_limit_ms(steady, parameters)
    after_s = (rows.column("scheduled_ns") - healed[-1].at_ns) / 1e9
    order = np.argsort(after_s, kind="stable")
    normal = _normal(rows, limit_ms, parameters.degraded_field)[order]
    position = _first_normal(normal)
    if position is None:
        return _Recovered(float(after_s.max()), True, len(rows))
    return _Recovered(max(0.0, float(after_s[order][position])), False, len(rows))


def _slow_limit_ms(steady: Exchanges, parameters: RecoveryParameters) -> float:
    latency = steady.latency_ms()
    known = latency[np.isfinite(latency)]
    if len(known) == 0:
        return float("inf")
    p95 = float(np.quantile(known, 0.95))
    return max(parameters.slower_than_steady_p95 * p95, p95 + 50)


def _normal(rows: Exchanges, limit_ms: float, field: str) -> Flags:
    degraded = np.array(
        [field_of(parse_body(body), field) is True for body in rows.column("body")], dtype=bool
    )
    in_time: Flags = np.nan_to_num(rows.latency_ms(), nan=np.inf) <= limit_ms
    normal: Flags = rows.ok() & ~degraded & in_time
    return normal


def _first_normal(normal: Flags) -> int | None:
    """Index from which on every run of ten requests is mostly normal; None when the last run is not."""
    length = min(RUN_LENGTH, len(normal))
    shares = np.convolve(normal.astype(float), np.ones(length) / length, mode="valid")
    bad = np.flatnonzero(shares < NORMAL_SHARE)
    if len(bad) == 0:
        return 0
    if bad[-1] == len(shares) - 1:
        return None
    later = np.flatnonzero(normal[bad[-1] + 1 :])
    return int(bad[-1] + 1 + later[0]) if len(later) else None
