"""Retry amplification: how many more requests an edge carries for one request of a client while a fault is on.

A caller that retries without bound turns a small outage into a large one. For every HTTP edge and fault, requests on
the edge per exchange are compared with the baseline's steady fan-out times the tries that the edges on the way there
allow (1 + retries each). On the faulted edge itself requests may be held or cut, so new connections count as tries
where they are more; an edge whose packets are dropped or refused carries nothing that could be counted and is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydantic import Field

from harness.checks.base import EDGES_FILE, Frame, Parameters, finite, pointer
from harness.model.case import Case
from harness.model.environment import CLIENT, Edge, Environment
from harness.model.findings import Finding, Outcome
from harness.model.history import History, Moment
from harness.model.plan import Arm, Phase, Unit


class RetryParameters(Parameters):
    slack: float = Field(
        default=0.25, ge=0, description="Allowed above the claimed tries; requests straddle a window."
    )


class RetryAmplification:
    """See the module's head."""

    name = "retry_amplification"
    summary = (
        "requests on every HTTP edge per request of a client while a fault is on, against the claimed retries"
    )
    parameters = RetryParameters

    def expect(self, frame: Frame, parameters: RetryParameters) -> tuple[str, ...]:
        return tuple(f"{self.name}/{edge.name}/fault:{unit.name}" for edge, unit in _places(frame))

    def judge(self, case: Case, parameters: RetryParameters, history: History) -> Iterable[Finding]:
        for edge, unit in _places(Frame.of(case)):
            yield self._finding(case, parameters, history, edge, unit)

    def _finding(
        self, case: Case, parameters: RetryParameters, history: History, edge: Edge, unit: Unit
    ) -> Finding:
        steady = _per_exchange(history, edge, Arm.BASELINE, None)
        ratios = {arm: _per_exchange(history, edge, arm, unit) for arm in case.plan.arms}
        exchanges = {arm: _exchanges(history, arm, unit) for arm in case.plan.arms}
        tries = allowed_tries(case.environment, edge)
        limit = steady * tries + parameters.slack
        least = case.policy.minimum_fault_samples
        candidate = ratios[Arm.CANDIDATE]
        calm = _exchanges(history, Arm.BASELINE, None)
        if calm < case.policy.minimum_samples or steady == 0:
            outcome = Outcome.UNKNOWN
            why = f"the baseline's {calm} requests in steady load, {steady:.2f} on this edge for each, are no measure"
        elif min(exchanges.values()) < least:
            outcome = Outcome.UNKNOWN
            why = f"only {min(exchanges.values())} requests of clients, {least} are needed"
        else:
            outcome = Outcome.PASS if candidate <= limit else Outcome.FAIL
            why = f"its claims allow {limit:.2f} ({tries} tries of {steady:.2f} in steady load)"
        return Finding(
            id=f"{self.name}/{edge.name}/fault:{unit.name}",
            check=self.name,
            outcome=outcome,
            subject=edge.name,
            phase="fault",
            unit=unit.name,
            sentence=(
                f"{edge.name} carried {candidate:.2f} requests for each request of a client during {unit.name}, "
                f"{ratios[Arm.BASELINE]:.2f} in the baseline: {why}."
            ),
            value=finite(candidate),
            limit=finite(limit),
            unit_of_measure="requests",
            sample_size=exchanges[Arm.CANDIDATE],
            baseline_value=finite(ratios[Arm.BASELINE]),
            control_value=finite(ratios[Arm.CONTROL]),
            evidence=(
                pointer(EDGES_FILE, exchanges[Arm.CANDIDATE], edge=edge.name, unit=unit.name, phase="fault"),
            ),
            rank=24,
            details={
                "limit_is": "most",
                "arms": {arm.value: {"value": finite(r), "n": exchanges[arm]} for arm, r in ratios.items()},
            },
        )


def _places(frame: Frame) -> Iterator[tuple[Edge, Unit]]:
    for unit in frame.fault_units():
        for edge in frame.http_edges():
            window = unit.window
            if window is not None and not (window.level == "packets" and window.edge == edge.name):
                yield edge, unit


def allowed_tries(environment: Environment, edge: Edge, seen: frozenset[str] = frozenset()) -> int:
    """Most tries on this edge for one request of a client: the product along the most generous way to it."""
    own = 1 + edge.tolerance.retries
    if edge.caller == CLIENT:
        return own
    before = [
        allowed_tries(environment, other, seen | {edge.name})
        for other in environment.all_edges()
        if other.callee == edge.caller and other.name not in seen
    ]
    return own * max(before, default=1)


def _exchanges(history: History, arm: Arm, unit: Unit | None) -> int:
    place = {"phase": Phase.STEADY.value} if unit is None else {"phase": Phase.FAULT.value, "unit": unit.name}
    return len(history.exchanges.where(arm=arm.value, **place))


def _per_exchange(history: History, edge: Edge, arm: Arm, unit: Unit | None) -> float:
    place = {"phase": Phase.STEADY.value} if unit is None else {"phase": Phase.FAULT.value, "unit": unit.name}
    requests = len(history.edge_requests.where(arm=arm.value, edge=edge.name, **place))
    if unit is not None and unit.window is not None and unit.window.edge == edge.name:
        requests = max(requests, _connections(history, edge, arm, unit))
    exchanges = _exchanges(history, arm, unit)
    return requests / exchanges if exchanges else float("nan")


def _connections(history: History, edge: Edge, arm: Arm, unit: Unit) -> int:
    """Connections that entered the edge while the fault was on."""
    rows = history.witness.where(arm=arm.value, unit=unit.name, edge=edge.name).rows()
    count = {row["moment"]: row["in_connections"] for row in rows}
    start, end = count.get(Moment.FAULT_APPLIED.value), count.get(Moment.BEFORE_HEAL.value)
    return max(0, end - start) if start is not None and end is not None else 0
