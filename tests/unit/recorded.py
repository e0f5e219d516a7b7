"""What a run of the small shop graph of `histories.py` records when nothing goes wrong: rows and events, made up.

Takes graph and units, gives rows of the four tables as dicts and the events, as `harness.turns` and the recorder would
leave them: phases by the times of the faults, counters that fit the log, probes that saw what the fault does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.model.environment import CLIENT, Environment
from harness.model.history import EdgeRequests, Event, EventKind, Exchanges, Labels, WitnessSamples
from harness.model.plan import Arm, Phase, Unit
from harness.recorder import Spans
from harness.timeline import take_turns

Row = dict[str, Any]
TABLES: Mapping[str, Any] = {
    "exchanges": Exchanges,
    "edge_requests": EdgeRequests,
    "witness": WitnessSamples,
    "labels": Labels,
}
ARMS = tuple(Arm)
SECOND = 1_000_000_000
GAP_NS = 300_000_000
RATE = 40
"""Requests a second."""
SEED = 20260301
APPLIED_NS, HEALED_NS = 2 * SECOND, int(4.5 * SECOND)


@dataclass(frozen=True)
class _Applicant:
    """What the models see of one request, and the truth that they do not."""

    chance: float
    good: bool
    sex: str


def _applicants(count: int) -> list[_Applicant]:
    random = np.random.default_rng(SEED)
    chances = random.beta(3.0, 1.2, size=count)
    good = random.random(count) < chances
    sexes = np.where(random.random(count) < 0.4, "female", "male")
    return [_Applicant(*item) for item in zip(chances.tolist(), good.tolist(), sexes.tolist(), strict=True)]


def record(graph: Environment, stretches: tuple[Unit, ...]) -> tuple[dict[str, list[Row]], tuple[Event, ...]]:
    """Every arm's units, in the order of the plan's turns."""
    tables: dict[str, list[Row]] = {name: [] for name in TABLES}
    events: list[Event] = [Event(SECOND, EventKind.ARM_UP, arm=arm.value) for arm in ARMS]
    people = _applicants(stretches[-1].stop_seq)
    totals = {(arm, edge.name): 0 for arm in ARMS for edge in graph.all_edges()}
    start_ns = 2 * SECOND
    for turn in take_turns(stretches, ARMS, "interleaved", SEED):
        unit = next(unit for unit in stretches if unit.name == turn.unit)
        place = {"arm": turn.arms[0].value, "unit": unit.name, "turn": turn.turn}
        _record_unit(graph, unit, place, start_ns, people, totals, tables, events)
        start_ns += unit.length_ns + GAP_NS
    for arm in ARMS:
        events.append(Event(start_ns, EventKind.LOG_DROPPED, arm.value, detail={"dropped": 0}))
        facts = {"unexpected": [], "containers": len(graph.services)}
        events.append(Event(start_ns, EventKind.ISOLATION, arm.value, detail=facts))
    events.append(Event(start_ns + SECOND, EventKind.WORLD, detail={"clean": True, "left": []}))
    tables["labels"] = [
        {"key": _key(seq), "label": int(person.good), "groups": json.dumps({"sex": person.sex})}
        for seq, person in enumerate(people)
    ]
    return tables, tuple(sorted(events, key=lambda event: event.at_ns))


def _key(seq: int) -> str:
    return f"A{seq:06}"


def _record_unit(
    graph: Environment,
    unit: Unit,
    place: dict[str, Any],
    start_ns: int,
    people: Sequence[_Applicant],
    totals: dict[tuple[Arm, str], int],
    tables: dict[str, list[Row]],
    events: list[Event],
) -> None:
    arm = Arm(place["arm"])
    random = np.random.default_rng([SEED, place["turn"]])
    spans = Spans(start_ns)
    if unit.window is not None:
        spans.applying_ns, spans.applied_ns = start_ns + APPLIED_NS - 20_000_000, start_ns + APPLIED_NS
        spans.healing_ns, spans.healed_ns = start_ns + HEALED_NS, start_ns + HEALED_NS + 20_000_000
    passed: dict[str, list[int]] = {edge.name: [] for edge in graph.all_edges()}
    for seq in range(unit.first_seq, unit.stop_seq):
        due_ns = start_ns + (seq - unit.first_seq) * SECOND // RATE
        phase = spans.phase(due_ns, unit)
        hit = unit.name if phase in (Phase.FAULT, Phase.SWITCHING) else ""
        latency_ms = float(random.lognormal(3.0, 0.3)) + (100 if hit == "slow-scorer" else 0)
        score = min(
            1.0, max(0.0, people[seq].chance + (0.01 * float(random.normal()) if arm is Arm.CANDIDATE else 0))
        )
        common = {**place, "phase": phase.value, "request_id": f"{seq:032x}"}
        tables["exchanges"].append(
            {
                **common,
                "seq": seq,
                "client": f"P{seq % 50:03}",
                "key": _key(seq),
                "route": "/orders",
                "scheduled_ns": due_ns,
                "due_ns": due_ns,
                "connected_ns": due_ns,
                "sent_ns": due_ns + int(random.exponential(300_000)),
                "first_byte_ns": due_ns + int(latency_ms * 1e6),
                "answered_ns": due_ns + int(latency_ms * 1e6),
                "sent_bytes": 300,
                "received_bytes": 220,
                "body_digest": "",
                "status": 200,
                "recorded_status": -1,
                "error": "",
                "body": json.dumps(_answer(score, degraded=_degraded(hit, seq))),
            }
        )
        for edge, line in _edge_lines(graph, unit, hit, seq, latency_ms):
            if line is None or not line["fault"]:  # what a fault answers never reaches the callee's side
                passed[edge].append(due_ns)
            if line is not None:
                tables["edge_requests"].append({**common, "edge": edge, "at_ns": due_ns, **line})
    _record_witness(graph, unit, place, spans, passed, totals, tables["witness"])
    events += _unit_events(graph, unit, place, spans)


def _answer(score: float, *, degraded: bool) -> dict[str, Any]:
    return {
        "decision": "approve" if score >= 0.6 else "decline",
        "score": round(score, 4),
        "score_max": 1,
        "rate": round(4 + 5 * (1 - score), 3),
        "queue": "manual" if 0.5 <= score < 0.65 else "auto",
        "degraded": degraded,
    }


def _degraded(hit: str, seq: int) -> bool:
    tenths = {"store-away": 4, "refusing-pricer": 3, "scorer-killed": 10, "held-scorer": 10}
    return seq % 10 < tenths.get(hit, 0)


def _edge_lines(
    graph: Environment, unit: Unit, hit: str, seq: int, latency_ms: float
) -> Iterator[tuple[str, Row | None]]:
    """Passages of one request over the edges, each with its log line (None: no http)."""
    line = {
        "method": "POST",
        "path": "/orders",
        "status": 200,
        "bytes_to_caller": 200,
        "termination": "--",
        "fault": "",
    }
    shares = {f"{CLIENT}->front": 0.95, "front->scorer": 0.4, "front->pricer": 0.2}
    for edge in graph.all_edges():
        took = {"duration_ms": latency_ms * shares.get(edge.name, 0.1)}
        if edge.traffic == "on_fallback":
            if hit == "store-away":
                yield edge.name, None
        elif edge.protocol != "http":
            yield edge.name, None
        elif edge.name == "front->scorer" and hit == "scorer-killed":
            for _ in range(2):
                yield edge.name, {**line, **took, "status": -1, "termination": "SC"}
        elif edge.name == "front->scorer" and hit == "held-scorer":
            continue
        elif edge.name == "front->pricer" and hit == "refusing-pricer" and seq % 10 < 3:
            for _ in range(2):
                yield edge.name, {**line, **took, "status": 503, "termination": "LR", "fault": unit.name}
        else:
            yield edge.name, {**line, **took}


def _record_witness(
    graph: Environment,
    unit: Unit,
    place: dict[str, Any],
    spans: Spans,
    passed: Mapping[str, Sequence[int]],
    totals: dict[tuple[Arm, str], int],
    witness: list[Row],
) -> None:
    """Counters at the moments at which a run reads them. A request that a fault answers is no `out_requests`."""
    start_ns, arm = spans.started_ns, Arm(place["arm"])
    moments = [("unit_started", start_ns), ("unit_finished", start_ns + unit.length_ns)]
    if unit.window is not None:
        moments[1:1] = [
            ("before_fault", spans.applying_ns),
            ("fault_applied", spans.applied_ns),
            ("before_heal", spans.healing_ns),
            ("healed", spans.healed_ns),
        ]
    for moment, at_ns in moments:
        for edge in graph.all_edges():
            count = totals[arm, edge.name] + sum(1 for due_ns in passed[edge.name] if due_ns < at_ns)
            witness.append(
                {
                    **place,
                    "at_ns": at_ns,
                    "moment": moment,
                    "edge": edge.name,
                    "in_packets": 6 * count,
                    "in_connections": count // 10,
                    "in_bytes_from_caller": 400 * count,
                    "in_bytes_to_caller": 300 * count,
                    "out_connections": count // 10,
                    "out_requests": count if edge.protocol == "http" else 0,
                    "out_bytes_to_callee": 400 * count,
                    "out_bytes_from_callee": 300 * count,
                    "rule_packets": 0,
                }
            )
    for edge in graph.all_edges():
        totals[arm, edge.name] += len(passed[edge.name])


def _unit_events(graph: Environment, unit: Unit, place: dict[str, Any], spans: Spans) -> Iterator[Event]:
    start_ns, end_ns = spans.started_ns, spans.started_ns + unit.length_ns

    def event(at_ns: int, kind: EventKind, subject: str = "", **detail: Any) -> Event:
        return Event(at_ns=at_ns, kind=kind, subject=subject, detail=detail, **place)

    def look(
        at_ns: int, service: str, state: str = "running", since: str = "1", expected: bool = False
    ) -> Event:
        facts = {"state": state, "started_at": since, "oom_killed": False, "expected": expected}
        return event(at_ns, EventKind.CONTAINER, service, **facts)

    window = unit.window
    dead = window.service if window is not None and window.fault == "kill" else None
    yield event(start_ns - SECOND, EventKind.UNIT_STARTED, zero_ns=start_ns)
    for service in graph.services:
        yield look(start_ns, service)
        yield look(end_ns, service, since="2" if service == dead else "1")
    if window is not None:
        name = window.name
        hits = {"streams": {"connections": 4, "requests": 100, "bytes_from_caller": 40_000}}.get(
            window.level, {"packets": 120, "matched": 90, "answered": 30}
        )
        yield event(spans.applying_ns, EventKind.FAULT_APPLYING, name)
        yield event(spans.applied_ns, EventKind.FAULT_APPLIED, name, hits={})
        yield event(spans.healing_ns, EventKind.FAULT_HEALING, name)
        yield event(spans.healed_ns, EventKind.FAULT_HEALED, name, healed=True, hits=hits)
        if window.edge is not None:
            for moment, at_ns in (
                ("before", start_ns),
                ("during", spans.applied_ns),
                ("after", spans.healed_ns),
            ):
                slow = 100.0 if moment == "during" and window.fault == "latency" else 0.0
                held = moment == "during" and window.fault == "stall"
                yield event(
                    at_ns + 1,
                    EventKind.PROBE,
                    name,
                    moment=moment,
                    outcome="timed_out" if held else "answered",
                    first_byte_ms=None if held else 0.4 + slow,
                )
        if dead:
            yield look(spans.applied_ns + 1, dead, "exited", expected=True)
            yield look(spans.healed_ns + 1, dead, since="2", expected=True)
    figures = {"cpu_ms": 200.0, "wall_ms": unit.length_ns / 1e6, "cpu_share": 0.03, "in_flight_limit_hits": 0}
    yield event(end_ns, EventKind.REPLAY, finished=True, most_in_flight=8, **figures)
    yield event(end_ns + 1, EventKind.UNIT_FINISHED)
