"""Schedule: requests were sent when they were due, all of them. A late generator measures itself, not the service."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from harness.checks.base import EXCHANGES_FILE, Frame, finite, pointer
from harness.checks.evidence import NoParameters, evidence_finding
from harness.model.case import Case
from harness.model.findings import Finding
from harness.model.history import GENERATOR_DIED, Exchanges, History
from harness.model.plan import Arm


class Schedule:
    """See the module's head. One finding an arm."""

    name = "schedule"
    summary = "every request was sent, and not later than the policy allows"
    parameters = NoParameters

    def expect(self, frame: Frame, parameters: NoParameters) -> tuple[str, ...]:
        return tuple(f"{self.name}/{arm}" for arm in frame.arms)

    def judge(self, case: Case, parameters: NoParameters, history: History) -> Iterable[Finding]:
        for arm in case.plan.arms:
            yield self._finding(case, history, arm)

    def _finding(self, case: Case, history: History, arm: Arm) -> Finding:
        rows = history.exchanges.where(arm=arm.value)
        lag_ms = rows.lag_ms()
        sent = lag_ms[np.isfinite(lag_ms)]
        p99_ms = float(np.quantile(sent, 0.99)) if len(sent) else float("nan")
        most_ms = float(sent.max()) if len(sent) else float("nan")
        limit, most = case.policy.schedule_lag_p99, case.policy.schedule_lag_max
        problems = []
        unsent = len(rows) - len(sent)
        if len(sent) == 0:
            problems.append(f"no request was sent to {arm}")
        elif unsent:
            problems.append(f"{unsent} of {len(rows)} requests were never sent to {arm}")
        if p99_ms > limit.ms:
            problems.append(
                f"1 % of requests to {arm} were sent more than {p99_ms:.0f} ms late, {limit} is allowed"
            )
        if most_ms > most.ms:
            problems.append(f"a request to {arm} was sent {most_ms:.0f} ms late, {most} is the most allowed")
        early = int((sent < -1.0).sum())
        if early:
            problems.append(f"{early} requests to {arm} were sent before they were due")
        problems += _clock_problems(rows, arm)
        return evidence_finding(
            f"{self.name}/{arm}",
            problems,
            f"All {len(rows)} requests to {arm} were sent on time: 99 % within {p99_ms:.1f} ms, all within {most_ms:.0f} ms.",
            subject=arm.value,
            evidence=(pointer(EXCHANGES_FILE, len(rows), arm=arm.value),),
            sample_size=len(rows),
            value=finite(p99_ms),
            limit=limit.ms,
            unit_of_measure="ms",
            details={"limit_is": "most", "most_ms": finite(most_ms)},
        )


def _clock_problems(rows: Exchanges, arm: Arm) -> Iterator[str]:
    """Times that no clock can give, and answers that nobody waited for: whoever wrote them measured nothing."""
    sent, answered = rows.column("sent_ns"), rows.column("answered_ns")
    backwards = int(((answered >= 0) & (answered < sent)).sum())
    if backwards:
        yield f"{backwards} requests to {arm} were answered before they were sent: the clock ran backwards"
    orphans = int((rows.column("error") == GENERATOR_DIED).sum())
    if orphans:
        yield f"{orphans} requests to {arm} were under way when the load generator died"
    timeless = int(((rows.column("status") > 0) & ~(answered >= 0)).sum())
    if timeless:
        yield f"{timeless} requests to {arm} have an answer and no time of it"
    order = np.argsort(rows.column("seq"), kind="stable")
    turns, due = rows.column("turn")[order], rows.column("scheduled_ns")[order]
    if bool(((np.diff(due) < 0) & (np.diff(turns) == 0)).any()):
        yield f"requests to {arm} were not due in the order of the recording: the clock ran backwards"
