"""Fidelity: what was sent is what the recording has, when the recording has it. A starved generator measures itself.

One finding an arm. Its value is the score: how much is left of the limit that was used up most, from 1 (nothing
differs) to 0 (a limit is reached). All measures with their limits are in its details (`harness/model/fidelity.py`).
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow.compute as pc

from harness.checks.base import EVENTS_FILE, EXCHANGES_FILE, Frame, percent, pointer
from harness.checks.evidence import NoParameters, evidence_finding
from harness.checks.fidelity_parts import FAULT_PHASES, measure
from harness.checks.shortages import sending_processes
from harness.model.case import Case
from harness.model.fidelity import CLIENT_FELL_OUT, Fidelity
from harness.model.findings import Finding
from harness.model.history import Event, EventKind, History
from harness.model.plan import Arm, Phase


class FidelityCheck:
    """See the module's head."""

    name = "fidelity"
    summary = "every request was sent, when and as the recording has it, within the policy's limits"
    parameters = NoParameters

    def expect(self, frame: Frame, parameters: NoParameters) -> tuple[str, ...]:
        return tuple(f"{self.name}/{arm}" for arm in frame.arms)

    def judge(self, case: Case, parameters: NoParameters, history: History) -> Iterable[Finding]:
        for arm in case.plan.arms:
            rows = history.exchanges.where(arm=arm.value)
            events = history.events_of(EventKind.REPLAY, arm=arm.value)
            known = [
                *_without_figures(case, arm, {event.turn for event in events}),
                *_without_workers(case, arm, events),
                *_fell_out_more(case, arm, history),
                *_worse_than_recorded(case, arm, history),
            ]
            found = measure(rows, [event.detail for event in events], case.policy, arm.value, known)
            yield evidence_finding(
                f"{self.name}/{arm}",
                found.problems,
                good_sentence(found, arm.value),
                because=because(found),
                subject=arm.value,
                evidence=(
                    pointer(EXCHANGES_FILE, len(rows), arm=arm.value),
                    pointer(EVENTS_FILE, len(events), kind=EventKind.REPLAY.value, arm=arm.value),
                ),
                sample_size=len(rows),
                value=found.score,
                unit_of_measure="share",
                details={
                    "parts": [part.model_dump(mode="json") for part in found.parts],
                    "shortages": list(found.shortages),
                },
            )


def _without_figures(case: Case, arm: Arm, turns: set[int]) -> list[str]:
    silent = [turn.unit for turn in case.plan.turns if arm in turn.arms and turn.turn not in turns]
    return [f"the load generator of {arm} left no figures in {', '.join(silent)}"] if silent else []


def _without_workers(case: Case, arm: Arm, events: Iterable[Event]) -> list[str]:
    """Units in which fewer workers gave figures than were to send: nobody knows what became of the others' shares."""
    planned = case.plan.workers
    if planned == 1:
        return []
    counts = {event.unit: len(sending_processes(event.detail)) for event in events}
    return [
        f"{count} of {planned} workers of {arm} left figures in {unit}"
        for unit, count in counts.items()
        if count < planned
    ]


def _fell_out_more(case: Case, arm: Arm, history: History) -> list[str]:
    """Requests that only this arm's answers kept from being sent: nobody knows how they would have been answered."""
    share = {
        one: pc.mean(pc.equal(rows.table.column("error"), CLIENT_FELL_OUT)).as_py() or 0.0
        for one in (arm, Arm.BASELINE)
        for rows in [history.exchanges.where(arm=one.value)]
    }
    excess = share[arm] - share[Arm.BASELINE]
    if excess <= case.policy.fallen_out_excess:
        return []
    said = (
        f"{percent(share[arm])} of the requests to {arm} were not sent because an earlier answer failed their client, "
        f"{percent(share[Arm.BASELINE])} in the baseline: what they would have shown is not known"
    )
    return [said]


def _worse_than_recorded(case: Case, arm: Arm, history: History) -> list[str]:
    """A baseline that turns away what it took when recorded: all arms may do so alike, and then nothing is compared."""
    if arm is not Arm.BASELINE:
        return []
    calm = tuple(phase.value for phase in Phase if phase.value not in FAULT_PHASES)
    rows = history.exchanges.where(arm=arm.value, phase=calm)
    good, worse = (int(flags.sum()) for flags in rows.worse())
    if worse <= case.policy.worse_than_recorded * good:
        return []
    said = (
        f"{worse} of {good} requests to {arm} that had succeeded when recorded failed outside faults "
        f"({percent(worse / good)}, at most {percent(case.policy.worse_than_recorded)}): see whether the recording begins "
        "where sessions do, and whether the graph holds the data that it asks for"
    )
    return [said]


def good_sentence(found: Fidelity, who: str) -> str:
    """What a faithful replay says."""
    p99_ms, most_ms = found.part("lag_p99").value, found.part("lag_max").value
    return (
        f"{sent_words(found, who)} were sent as recorded: 99 % within {p99_ms or 0:.1f} ms of their time, "
        f"all within {most_ms or 0:.0f} ms; {100 * found.score:.0f} % of the tightest limit is left."
    )


def sent_words(found: Fidelity, who: str = "") -> str:
    """How many went out: not all, where the policy allows for some that did not."""
    to = f" to {who}" if who else ""
    if found.sent == found.requests:
        return f"All {found.sent} requests{to}"
    return f"{found.sent} of {found.requests} requests{to}"


def because(found: Fidelity) -> str:
    """Which resource ran short, for the end of a sentence."""
    return f"what ran short: {' and '.join(found.shortages[:2]) or 'not known'}"
