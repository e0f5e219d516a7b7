"""All measures of one replay's fidelity, each against the policy's limit, and sentences for those that are beyond.

Takes rows of exchanges (of one arm: any number of turns), the figures that its load generators left, and the policy;
gives a `Fidelity`. Pure: the check of every run and `readiness replay` use the same.

Lateness, rate, bursts and gaps compare what was sent with what was *due*: where a request had to wait for an answer of
the target, that is no shortage of the generator, and is measured by itself (`shifted`, `fallen_out`), outside faults.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness.checks import replay_shape
from harness.checks.base import finite, percent
from harness.checks.generator_parts import measure_generators
from harness.checks.judged_parts import Parts, said_ms
from harness.checks.replay_shape import Stretch
from harness.checks.shortages import Figures, number, sending_processes, shortages
from harness.model.fidelity import CLIENT_FELL_OUT, FURTHEST_BEYOND, Fidelity
from harness.model.history import GENERATOR_DIED, Array, Exchanges
from harness.model.plan import Phase
from harness.model.policy import Policy
from harness.model.quantities import Duration

EARLY_NS = 1_000_000
"""Sent this long before it was due is early, and no rounding."""
FAULT_PHASES = (Phase.FAULT.value, Phase.SWITCHING.value, Phase.RECOVERY.value)
WIDTHS = (("10ms", 10_000_000), ("100ms", 100_000_000), ("1s", 1_000_000_000))


@dataclass
class _Rows:
    """The columns that are looked at, as arrays."""

    table: Exchanges
    due: Array = field(init=False)
    sent: Array = field(init=False)
    fell_out: Array = field(init=False)
    stretches: list[Stretch] = field(init=False)

    def __post_init__(self) -> None:
        self.due, self.sent = self.table.column("due_ns"), self.table.column("sent_ns")
        self.fell_out = np.asarray(pc.equal(self.table.table.column("error"), CLIENT_FELL_OUT))
        turns = self.table.column("turn")
        expected = ~self.fell_out
        self.stretches = [
            Stretch.of(self.due[mask], self.sent[mask])
            for turn in np.unique(turns)
            for mask in [(turns == turn) & expected]
        ]

    def __len__(self) -> int:
        return len(self.due)

    def calm(self) -> Array:
        """Outside faults: under one, and after it, a target that answers late or not is what is to be seen."""
        phases = self.table.table.column("phase")
        return ~np.asarray(pc.is_in(phases, pa.array(FAULT_PHASES)))

    def codes(self, name: str) -> tuple[Array, int]:
        """A text column as numbers, and how many there are."""
        encoded = self.table.table.column(name).combine_chunks().dictionary_encode()
        return np.asarray(encoded.indices), len(encoded.dictionary)


def measure(
    exchanges: Exchanges,
    replays: Sequence[Figures],
    policy: Policy,
    who: str,
    problems: Sequence[str] = (),
    generator: str = "",
) -> Fidelity:
    """How faithfully these exchanges were sent to `who` (the arm or the target, as sentences name it) by `generator`.

    `replays`: details of the REPLAY events that go with them. `problems`: what is known to be wrong already; a generator
    that did not finish is one of them, and need not have left figures.
    """
    rows, parts = _Rows(exchanges), Parts()
    _lateness(rows, policy, who, parts)
    _not_sent(rows, policy, who, parts)
    parts.problems += _clock_problems(rows, replays, who)
    _shape(rows, policy, who, parts)
    _order(rows, policy, who, parts)
    _waiting(rows, policy, who, parts)
    generator = generator or f"the load generator of {who}"
    measure_generators(replays, policy, generator, parts)
    if not replays and not problems:
        parts.problems.append(f"{generator} left no figures")
    if not problems and any(item.get("finished") is False for item in replays):
        parts.problems.append(f"{generator} did not finish")
    connected = exchanges.column("connected_ns").astype(float)
    connect_ms = np.where((connected < 0) | (rows.sent < 0), np.nan, (connected - rows.sent) / 1e6)
    wrong = (*problems, *parts.problems)
    short = shortages(replays, connect_ms, policy.generator_cpu) if wrong else ()
    if any(not part.good for part in parts.found if part.name in ("fallen_out", "shifted")):
        short += ("the target (answers that later requests need came late or failed)",)
    return Fidelity(
        requests=len(rows),
        sent=int((rows.sent >= 0).sum()),
        parts=tuple(parts.found),
        problems=wrong,
        shortages=short,
    )


def _lateness(rows: _Rows, policy: Policy, who: str, parts: Parts) -> None:
    late_ms = (rows.sent - rows.due)[rows.sent >= 0] / 1e6
    if len(late_ms) == 0:
        parts.problems.append(f"no request was sent to {who}")
    limits = ((0.5, policy.schedule_lag_p50), (0.9, policy.schedule_lag_p90), (0.99, policy.schedule_lag_p99))
    for quantile, limit in limits:
        value = float(np.quantile(late_ms, quantile)) if len(late_ms) else None
        parts.add(
            f"lag_p{100 * quantile:.0f}",
            f"lateness of {100 * quantile:.0f} %, at most",
            value,
            limit.ms,
            f"{100 * (1 - quantile):.0f} % of requests to {who} were sent more than {said_ms(value)} late, {limit} is allowed",
            unit="ms",
        )
    most = float(late_ms.max()) if len(late_ms) else None
    parts.add(
        "lag_max",
        "lateness of all, at most",
        most,
        policy.schedule_lag_max.ms,
        f"a request to {who} was sent {said_ms(most)} late, {policy.schedule_lag_max} is the most allowed",
        unit="ms",
    )


def _not_sent(rows: _Rows, policy: Policy, who: str, parts: Parts) -> None:
    total = len(rows)
    unsent = int(((rows.sent < 0) & ~rows.fell_out).sum())
    parts.add(
        "unsent",
        "not sent",
        unsent / total if total else None,
        policy.unsent,
        f"{unsent} of {total} requests were never sent to {who}",
        unit="share",
    )
    calm = rows.calm()
    out, of = int((rows.fell_out & calm).sum()), int(calm.sum())
    everywhere = int(rows.fell_out.sum())
    parts.add(
        "fallen_out",
        "not sent as their client fell out, outside faults",
        out / of if of else None,
        policy.fallen_out,
        f"{out} of {of} requests to {who} were not sent because an earlier answer failed their client, "
        f"{percent(policy.fallen_out)} is allowed",
        unit="share",
        note=f"{everywhere} in all" if everywhere else "",
    )


def _clock_problems(rows: _Rows, replays: Sequence[Figures], who: str) -> Iterator[str]:
    """Times that no clock can give, and answers that nobody waited for: whoever wrote them measured nothing.

    No comparison holds of a null, so that a request without a time would be neither late nor missing.
    """
    nulls = [name for name in Exchanges.schema.names if rows.table.table.column(name).null_count]
    if nulls:
        yield f"requests to {who} are on record without a value in {', '.join(nulls)}"
    answered, sent = rows.table.column("answered_ns"), rows.sent
    unsure_ns = max(
        (_unsure_ns(process) for item in replays for process in sending_processes(item)), default=0
    )
    early = int(((sent >= 0) & (sent < rows.due - max(EARLY_NS, unsure_ns))).sum())
    if early:
        yield f"{early} requests to {who} were sent before they were due"
    backwards = int(((answered >= 0) & (answered < sent)).sum())
    if backwards:
        yield f"{backwards} requests to {who} were answered before they were sent: the clock ran backwards"
    orphans = int((rows.table.column("error") == GENERATOR_DIED).sum())
    if orphans:
        yield f"{orphans} requests to {who} were under way when the load generator died"
    timeless = int(((rows.table.column("status") > 0) & ~(answered >= 0)).sum())
    if timeless:
        yield f"{timeless} requests to {who} have an answer and no time of it"
    scheduled = rows.table.column("scheduled_ns")
    order = np.argsort(rows.table.column("seq"), kind="stable")
    turns = rows.table.column("turn")[order]
    if bool(((np.diff(scheduled[order]) < 0) & (np.diff(turns) == 0)).any()):
        yield f"requests to {who} were not due in the order of the recording: the clock ran backwards"
    if bool((rows.due < scheduled).any()):
        yield f"requests to {who} were due before the recording has them"


def _unsure_ns(process: Figures) -> int:
    return int(number(process, "offset_uncertainty_ns") or 0)


def _shape(rows: _Rows, policy: Policy, who: str, parts: Parts) -> None:
    slack = policy.schedule_lag_p99
    second = replay_shape.worst_second(rows.stretches, slack.ns)
    parts.add(
        "rate",
        f"rate of the worst second, off beyond {slack} of lateness",
        second.beyond if second else None,
        policy.rate_deviation,
        f"in one second {second.sent if second else 0} requests went to {who} where {second.due if second else 0} "
        f"were due, {percent(policy.rate_deviation)} is the most that a rate may be off",
        unit="share",
        due=second.due if second else None,
        sent=second.sent if second else None,
    )
    routes, count = rows.codes("route")
    expected = ~rows.fell_out
    was_sent = rows.sent >= 0
    mix = replay_shape.mix_distance(
        np.bincount(routes[expected], minlength=count).tolist(),
        np.bincount(routes[was_sent], minlength=count).tolist(),
    )
    parts.add(
        "mix",
        "mix by route, off by",
        finite(mix),
        policy.mix_distance,
        f"the routes of what was sent to {who} differ from the recording's by {percent(mix)} of the requests, "
        f"{percent(policy.mix_distance)} is allowed",
        unit="share",
    )
    for name, width_ns in WIDTHS:
        _burstiness(rows, name, width_ns, getattr(policy, f"burstiness_{name}"), who, parts)
    gaps = replay_shape.gap_distance(rows.stretches, policy.gap_slack.ns)
    exact = finite(replay_shape.gap_distance(rows.stretches))
    parts.add(
        "gaps",
        f"gaps between requests, off by (K-S, slack {policy.gap_slack})",
        finite(gaps),
        policy.gap_distance,
        f"the gaps between requests to {who} are {gaps:.2f} (Kolmogorov-Smirnov) from those of the recording, "
        f"{policy.gap_distance:g} is allowed",
        note="" if exact is None else f"{exact:.3f} without slack",
    )


def _burstiness(rows: _Rows, name: str, width_ns: int, limit: float, who: str, parts: Parts) -> None:
    """The factor is judged by its logarithm: twice as bursty is as far off as half as bursty."""
    found = replay_shape.burstiness(rows.stretches, width_ns)
    width = Duration(width_ns)
    words = f"burstiness at {width}, off by the factor"
    if replay_shape.coarser_than(rows.stretches, width_ns):
        note = "the recording's clock is too coarse for it"
        parts.add(
            f"burstiness_{name}",
            words,
            found.factor,
            limit,
            "",
            use=0.0,
            note=note,
            unit="×",
            due=found.due,
            sent=found.sent,
        )
        return
    beyond = math.log(found.factor) / math.log(limit) if limit > 1 else FURTHEST_BEYOND * (found.factor > 1)
    more = "burstier" if found.ratio > 1 else "smoother"
    parts.add(
        f"burstiness_{name}",
        words,
        found.factor,
        limit,
        f"the load on {who} was {found.factor:.1f} times {more} at {width} than the recording "
        f"(index of dispersion {found.sent:.2f} instead of {found.due:.2f}), {limit:g} times is allowed",
        use=beyond,
        unit="×",
        due=found.due,
        sent=found.sent,
    )


def _order(rows: _Rows, policy: Policy, who: str, parts: Parts) -> None:
    clients, _ = rows.codes("client")
    named = np.asarray(pc.not_equal(rows.table.table.column("client"), ""))
    seqs, turns = rows.table.column("seq"), rows.table.column("turn").astype(np.int64)
    owners = turns * (int(clients.max(initial=0)) + 1) + clients
    chosen = [array[named] for array in (owners, rows.due, seqs, rows.sent)]
    violations = replay_shape.order_violations(*chosen)
    sent = int((chosen[3] >= 0).sum())
    parts.add(
        "order",
        "sent before an earlier one of their client",
        violations / sent if sent else None,
        policy.order_violations,
        f"{violations} requests to {who} were sent before an earlier one of the same client",
        unit="share",
        note="" if sent else "no request names its client",
    )


def _waiting(rows: _Rows, policy: Policy, who: str, parts: Parts) -> None:
    """Requests due later than recorded, because they carry something of an answer that came late."""
    shift_ns = rows.due - rows.table.column("scheduled_ns")
    calm = rows.calm() & ~rows.fell_out
    far, of = int(((shift_ns > policy.shifted_by.ns) & calm).sum()), int(calm.sum())
    moved = int((shift_ns > 0).sum())
    most_ms = float(shift_ns.max(initial=0)) / 1e6
    parts.add(
        "shifted",
        f"waited for an answer over {policy.shifted_by}, outside faults",
        far / of if of else None,
        policy.shifted,
        f"{far} of {of} requests to {who} had to wait for an earlier answer more than {policy.shifted_by} longer than "
        f"when recorded (the longest {most_ms:.0f} ms), {percent(policy.shifted)} is allowed",
        unit="share",
        note=f"{moved} waited at all, the longest {most_ms:.0f} ms" if moved else "",
    )
