"""A made-up run of a lending-like graph for the report's tests: built in memory, judged by the project's own checks.

Takes a seed and what should go wrong, gives `Sample`: case, history, findings and verdict as a run would hand them to
`write_bundle`. The one test here guards the sample itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness.checks.evidence import NoParameters
from harness.checks.fidelity import FidelityCheck
from harness.model.case import Case
from harness.model.change import Change
from harness.model.environment import Environment
from harness.model.findings import EvidencePointer, Finding, Interval, Outcome, Verdict, VerdictWord
from harness.model.history import (
    EdgeRequests,
    Event,
    EventKind,
    Exchanges,
    History,
    Labels,
    WitnessSamples,
)
from harness.model.plan import Plan
from harness.model.policy import Policy

SEED = 20260301
ARMS = ("baseline", "control", "candidate")
SECOND = 1_000_000_000
RATE = 20  # requests a second
ENTRY = "client->gateway"


def edge(caller: str, callee: str, port: int, protocol: str, **more: Any) -> dict[str, Any]:
    tolerance = {"timeout": "500ms", "retries": 1, **more.pop("tolerance", {})}
    return {"from": caller, "to": callee, "port": port, "protocol": protocol, "tolerance": tolerance, **more}


def environment() -> Environment:
    names = [
        "gateway",
        "decision-api",
        "feature-service",
        "redis",
        "history",
        "model-server",
        "ledger",
        "pricing-service",
        "case-router",
        "ingestor",
    ]
    services = {
        name: {"image": f"readiness/lending-{name}:1", "health": {"port": 8080, "http": "/healthz"}}
        for name in names
    }
    edges = [
        edge("gateway", "decision-api", 8080, "http"),
        edge("decision-api", "feature-service", 8080, "http"),
        edge("feature-service", "redis", 6379, "redis", tolerance={"fallback": "history"}),
        edge("feature-service", "history", 5432, "postgres", traffic="on_fallback"),
        edge(
            "decision-api", "model-server", 8080, "http", tolerance={"fallback": "rules", "quality_loss": 0.1}
        ),
        edge("decision-api", "pricing-service", 8080, "http"),
        edge("decision-api", "case-router", 8080, "http"),
        edge("decision-api", "ledger", 5432, "postgres", tolerance={"retries": 2}),
        edge("decision-api", "redis", 6379, "redis", name="decision-api->redis:stream"),
        edge("ingestor", "redis", 6379, "redis"),
        edge("ingestor", "history", 5432, "postgres"),
    ]
    return Environment.model_validate(
        {
            "environment": "lending",
            "services": services,
            "edges": edges,
            "entries": {"api": {"to": "gateway", "port": 80}},
        }
    )


def change() -> Change:
    return Change.model_validate(
        {
            "change": "rate-model-v2",
            "title": "Rate model 2: a better score, and pricing that reads its new field",
            "why": "The old model was trained before the rate rise and turns down good applicants with short files.",
            "intended_outcome": "Two points more AUC at the same approval rate, with no group worse off and no slower answer.",
            "scenarios": ["../lending.scenario.yaml"],
            "services": {
                "model-server": {
                    "baseline": {"image": "readiness/lending-model-server:1"},
                    "candidate": {"image": "readiness/lending-model-server:2"},
                },
                "pricing-service": {
                    "candidate": {
                        "image": "readiness/lending-pricing-service:2",
                        "variables": {"SCORE_FIELD": "score_v2"},
                    }
                },
            },
            "rollback": [
                {
                    "when": "more than 1 % of applications fail",
                    "check": "availability",
                    "action": "route back to model 1",
                },
                {
                    "when": "a group's approval ratio falls under 0.8",
                    "check": "fairness",
                    "action": "stop and call the data steward",
                },
            ],
            "risks": [
                {
                    "risk": "A consumer of the score still expects the old scale",
                    "likelihood": "medium",
                    "impact": "wrong queue or rate",
                    "mitigation": "contract and quality checks on every dependent",
                },
                {
                    "risk": "The bigger model is slower while its feature store is away",
                    "likelihood": "low",
                    "impact": "timeouts at the gateway",
                    "mitigation": "fault windows on redis and model-server",
                },
            ],
            "owners": {
                "change_sponsor": "Mira Olsen",
                "data_steward": "Tariq Haddad",
                "model_validator": "Ines Falk",
                "service_owner": "Team Lending Core",
            },
            "stages": [
                {"name": "shadow", "traffic_percent": 0, "hold": "1 day"},
                {"name": "first", "traffic_percent": 5, "hold": "4 h"},
                {"name": "half", "traffic_percent": 50, "hold": "1 day"},
                {"name": "all", "traffic_percent": 100, "hold": "stays"},
            ],
            "window": {"opens": "2026-03-02T08:00:00Z", "closes": "2026-03-04T16:00:00Z"},
        }
    )


UNITS: tuple[tuple[str, str, str | None, str, int], ...] = (
    # name, fault, edge (None: service "ledger"), level, seconds
    ("steady-start", "", None, "", 8),
    ("redis-away", "black_hole", "feature-service->redis", "packets", 9),
    ("model-slow", "latency", "decision-api->model-server", "streams", 9),
    ("ledger-killed", "kill", None, "containers", 9),
    ("steady-end", "", None, "", 6),
)
APPLIED_NS, HEALED_NS = int(3.5 * SECOND), int(6.2 * SECOND)
CHECKED_UNITS = tuple(unit[0] for unit in UNITS)


def plan(environment_: Environment, *, together: bool = False) -> Plan:
    units, seq = [], 0
    for name, fault, on_edge, level, length_s in UNITS:
        window = None
        if fault:
            window = {
                "name": name,
                "fault": fault,
                "level": level,
                "edge": on_edge,
                "service": None if on_edge else "ledger",
                "parameters": json.dumps({"delay": "300ms"} if fault == "latency" else {}),
                "start_ns": APPLIED_NS,
                "stop_ns": HEALED_NS,
                "cuts": fault in ("black_hole", "kill"),
            }
        units.append(
            {
                "name": name,
                "warmup_ns": SECOND,
                "length_ns": length_s * SECOND,
                "recording_from_ns": seq * SECOND // RATE,
                "first_seq": seq,
                "stop_seq": seq + length_s * RATE,
                "window": window,
            }
        )
        seq += length_s * RATE
    turns = []
    for index, unit in enumerate(units):
        order = [*ARMS[index % 3 :], *ARMS[: index % 3]]
        for arms in [order] if together else [[arm] for arm in order]:
            turns.append({"turn": len(turns), "unit": unit["name"], "arms": arms})
    return Plan.model_validate(
        {
            "change": "rate-model-v2",
            "scenario": "lending-demo",
            "environment": environment_.environment,
            "entry": "api",
            "seed": SEED,
            "mode": "together" if together else "interleaved",
            "mode_reason": "3 arms need 18.0 CPUs and 9.0 GiB, this machine has 8 CPUs and 16.0 GiB",
            "arms": ARMS,
            "units": units,
            "turns": turns,
            "checks": [
                {
                    "check": "availability",
                    "origin": "scenario",
                    "findings": [f"availability/{u}" for u in CHECKED_UNITS],
                },
                {
                    "check": "latency",
                    "origin": "scenario",
                    "findings": [f"latency/{u}" for u in CHECKED_UNITS],
                },
                {
                    "check": "fault_witnessed",
                    "origin": "evidence",
                    "findings": ["fault_witnessed/redis-away"],
                },
            ],
            "recording_digest": "sha256:" + "ab" * 32,
            "dataset_digest": "sha256:" + "cd" * 32,
        }
    )


def history(  # noqa: C901 - a run, told from its beginning to its end
    case_plan: Plan, environment_: Environment, *, slow: float = 1.0, failing: bool = False
) -> History:
    """A run of the plan. `slow` multiplies the candidate's latency; `failing`: it fails while redis is away."""
    random = np.random.default_rng(SEED)
    exchanges: list[dict[str, Any]] = []
    requests: list[dict[str, Any]] = []
    witness: list[dict[str, Any]] = []
    events: list[Event] = []
    counters = {(arm, e.name): 0 for arm in ARMS for e in environment_.all_edges()}
    now = SECOND
    for turn in case_plan.turns:
        unit = case_plan.unit(turn.unit)
        for arm_ in turn.arms:
            arm = arm_.value
            place = {"arm": arm, "unit": unit.name, "turn": turn.turn}
            events.append(
                Event(now - SECOND // 2, EventKind.UNIT_STARTED, subject="", detail={"zero_ns": now}, **place)
            )
            for seq in range(unit.first_seq, unit.stop_seq):
                due = now + (seq - unit.first_seq) * SECOND // RATE
                since = due - now
                phase = phase_of(since, unit.window is not None)
                latency = float(random.lognormal(3.2, 0.35)) * (slow if arm == "candidate" else 1.0)
                status = 200
                if phase == "fault":
                    if unit.name == "model-slow":
                        latency += 300
                    elif unit.name == "redis-away":
                        latency += 60 + 40 * random.random()
                        if failing and arm == "candidate" and random.random() < 0.35:
                            status = 503
                    elif random.random() < 0.06:
                        status, latency = 503, latency + 480
                exchanges.append(
                    {
                        **place,
                        "phase": phase,
                        "seq": seq,
                        "request_id": f"{seq:032x}",
                        "client": f"P{seq:06}",
                        "key": f"A{seq:06}",
                        "route": "/applications",
                        "scheduled_ns": due,
                        "due_ns": due,
                        "connected_ns": due,
                        "sent_ns": due + int(random.exponential(400_000)),
                        "first_byte_ns": due + int(latency * 1e6),
                        "answered_ns": due + int(latency * 1e6),
                        "sent_bytes": 300,
                        "received_bytes": 220,
                        "body_digest": "",
                        "status": status,
                        "recorded_status": -1,
                        "error": "",
                        "body": json.dumps({"decision": "approve" if random.random() < 0.8 else "decline"}),
                    }
                )
                requests += [
                    {
                        **place,
                        "phase": phase,
                        "edge": e.name,
                        "at_ns": due + 1_000_000,
                        "request_id": f"{seq:032x}",
                        "method": "POST",
                        "path": "/applications",
                        "status": status,
                        "duration_ms": latency * 0.8,
                        "bytes_to_caller": 220,
                        "termination": "----",
                        "fault": "",
                    }
                    for e in environment_.all_edges()
                    if e.protocol == "http"
                ]
            for e in environment_.all_edges():
                for moment, at in (("unit_started", now), ("unit_finished", now + unit.length_ns)):
                    if moment == "unit_finished" and e.traffic == "always":
                        counters[arm, e.name] += unit.exchanges
                    witness.append(witness_row(place, at, moment, e.name, counters[arm, e.name]))
            if unit.window is not None:
                for kind, at in (
                    (EventKind.FAULT_APPLYING, APPLIED_NS - 40_000_000),
                    (EventKind.FAULT_APPLIED, APPLIED_NS),
                    (EventKind.FAULT_HEALING, HEALED_NS),
                    (EventKind.FAULT_HEALED, HEALED_NS + 30_000_000),
                ):
                    events.append(Event(now + at, kind, subject=unit.name, detail={}, **place))
            figures = {"cpu_share": 0.05, "most_in_flight": 9, "in_flight_limit_hits": 0}
            events += [
                Event(now + unit.length_ns, kind, subject="", detail=detail, **place)
                for kind, detail in ((EventKind.REPLAY, figures), (EventKind.UNIT_FINISHED, {}))
            ]
        now += unit.length_ns + 300_000_000
    events.append(Event(now, EventKind.WORLD, detail={"clean": True, "left": []}))
    labels = [
        {
            "key": f"A{seq:06}",
            "label": int(random.random() < 0.8),
            "groups": json.dumps({"sex": "female" if seq % 3 else "male"}),
        }
        for seq in range(case_plan.units[-1].stop_seq)
    ]
    return History(
        Exchanges.from_rows(exchanges),
        EdgeRequests.from_rows(requests),
        WitnessSamples.from_rows(witness),
        tuple(sorted(events, key=lambda event: event.at_ns)),
        Labels.from_rows(labels),
    )


def phase_of(since_ns: int, fault: bool) -> str:
    if since_ns < SECOND:
        return "warmup"
    if not fault or since_ns < APPLIED_NS:
        return "steady"
    return "fault" if since_ns < HEALED_NS else "recovery"


def witness_row(place: dict[str, Any], at_ns: int, moment: str, edge_: str, count: int) -> dict[str, Any]:
    numbers = {
        name: count * factor
        for name, factor in (
            ("in_packets", 9),
            ("in_connections", 1),
            ("in_bytes_from_caller", 400),
            ("in_bytes_to_caller", 300),
            ("out_connections", 1),
            ("out_requests", 1),
            ("out_bytes_to_callee", 400),
            ("out_bytes_from_callee", 300),
            ("rule_packets", 0),
        )
    }
    return {**place, "at_ns": at_ns, "moment": moment, "edge": edge_, **numbers}


@dataclass(frozen=True)
class Sample:
    """What a run hands to `write_bundle`."""

    case: Case
    history: History
    findings: tuple[Finding, ...]
    verdict: Verdict


CHANGED = ("model-server", "pricing-service")


def make_case(*, together: bool = False) -> Case:
    environment_ = environment()
    ids = {
        arm: {
            name: f"{service.image} sha256:{(name + arm if name in CHANGED else name).encode().hex():0<64.64}"
            for name, service in environment_.services.items()
        }
        for arm in ARMS
    }
    return Case(
        environment=environment_,
        change=change(),
        plan=plan(environment_, together=together),
        policy=Policy(),
        answers_schema={"type": "object", "required": ["decision"]},
        images=ids,
    )


def sample(
    *, slow: float = 1.0, failing: bool = False, together: bool = False, empty: bool = False
) -> Sample:
    """A run: ready as it is, not ready when slow or failing, unknown when empty."""
    case = make_case(together=together)
    found = History.empty() if empty else history(case.plan, case.environment, slow=slow, failing=failing)
    findings = judge(case, found)
    return Sample(case, found, findings, decide(case, findings))


def judge(case: Case, found: History) -> tuple[Finding, ...]:
    """A stand-in for the project's checks with the same shape: pure, and a finding for each outcome.

    The fidelity check is the project's own.
    """
    findings: list[Finding] = []
    for unit in case.plan.units:
        arms: dict[str, dict[str, float]] = {}
        p95: dict[str, dict[str, float]] = {}
        rows = 0
        for arm in case.plan.arms:
            part = found.exchanges.where(arm=arm.value, unit=unit.name, phase=("steady", "fault", "recovery"))
            if not len(part):
                continue
            ok, latency = part.ok(), part.latency_ms()
            share, rows = float(ok.mean()), len(part)
            half = 1.96 * (share * (1 - share) / rows) ** 0.5 + 0.001
            arms[arm.value] = {
                "value": share,
                "low": max(share - half, 0),
                "high": min(share + half, 1),
                "n": rows,
            }
            middle = float(np.quantile(latency, 0.95))
            p95[arm.value] = {"value": middle, "low": middle * 0.93, "high": middle * 1.08, "n": rows}
        window = "fault" if unit.window else "steady"
        pointer = EvidencePointer(file="history/exchanges.parquet", where={"unit": unit.name}, rows=3 * rows)
        findings.append(_availability(unit.name, window, arms, rows, pointer))
        findings.append(_latency(unit.name, window, p95, rows, pointer))
    seen = bool(found.events_of(EventKind.FAULT_APPLIED))
    findings.append(
        Finding(
            id="fault_witnessed/redis-away",
            check="fault_witnessed",
            outcome=Outcome.PASS if seen else Outcome.UNKNOWN,
            subject="feature-service->redis",
            unit="redis-away",
            sentence="The black hole on feature-service->redis swallowed packets on every arm."
            if seen
            else "Nothing shows that the black hole on feature-service->redis touched any traffic.",
            value=812.0 if seen else None,
            limit=1.0,
            unit_of_measure="packets",
            sample_size=812 if seen else 0,
            details={"limit_is": "least"},
            evidence=(EvidencePointer(file="history/witness.parquet", where={"unit": "redis-away"}, rows=6),),
        )
    )
    return (*findings, *FidelityCheck().judge(case, NoParameters(), found))


def _availability(
    unit: str, phase: str, arms: dict[str, dict[str, float]], n: int, pointer: EvidencePointer
) -> Finding:
    if not arms:
        return Finding(
            id=f"availability/{unit}",
            check="availability",
            outcome=Outcome.UNKNOWN,
            subject="gateway",
            unit=unit,
            sentence=f"No request was answered in {unit}, so nothing is known about availability.",
            details={"reason": "no_samples"},
        )
    value, limit = arms["candidate"], 0.95
    failed = value["high"] < limit or value["value"] < limit
    return Finding(
        id=f"availability/{unit}",
        check="availability",
        outcome=Outcome.FAIL if failed else Outcome.PASS,
        subject="gateway",
        phase=phase,
        unit=unit,
        sentence=f"The candidate answered {value['value']:.1%} of requests at the gateway in {unit}, "
        + (
            f"less than the {limit:.0%} that the change promises."
            if failed
            else f"at least {limit:.0%} were asked."
        ),
        value=value["value"],
        limit=limit,
        unit_of_measure="share",
        interval=Interval(low=value["low"], high=value["high"]),
        sample_size=n,
        baseline_value=arms["baseline"]["value"],
        control_value=arms["control"]["value"],
        details={"limit_is": "least", "arms": arms},
        evidence=(pointer,),
        rank=10,
    )


def _latency(
    unit: str, phase: str, p95: dict[str, dict[str, float]], n: int, pointer: EvidencePointer
) -> Finding:
    if not p95:
        return Finding(
            id=f"latency/{unit}",
            check="latency",
            outcome=Outcome.UNKNOWN,
            subject="gateway",
            unit=unit,
            sentence=f"No request was answered in {unit}, so nothing is known about latency.",
        )
    value, limit = p95["candidate"], 700.0 if phase == "fault" else 90.0
    return Finding(
        id=f"latency/{unit}",
        check="latency",
        outcome=Outcome.FAIL if value["value"] > limit else Outcome.PASS,
        subject="gateway",
        phase=phase,
        unit=unit,
        sentence=f"95 % of the candidate's answers in {unit} took at most {value['value']:.0f} ms; the limit is {limit:.0f} ms.",
        value=value["value"],
        limit=limit,
        unit_of_measure="ms",
        interval=Interval(low=value["low"], high=value["high"]),
        sample_size=n,
        baseline_value=p95["baseline"]["value"],
        control_value=p95["control"]["value"],
        details={"limit_is": "most", "arms": p95},
        evidence=(pointer,),
    )


def decide(case: Case, findings: tuple[Finding, ...]) -> Verdict:
    counts = {outcome: sum(1 for f in findings if f.outcome is outcome) for outcome in Outcome}
    worst = (
        Outcome.FAIL if counts[Outcome.FAIL] else Outcome.UNKNOWN if counts[Outcome.UNKNOWN] else Outcome.PASS
    )
    reasons = tuple(
        f.sentence
        for f in sorted(findings, key=lambda f: f.rank)
        if f.outcome is worst and worst is not Outcome.PASS
    )
    word = {
        Outcome.FAIL: VerdictWord.NOT_READY,
        Outcome.UNKNOWN: VerdictWord.UNKNOWN,
        Outcome.PASS: VerdictWord.READY,
    }[worst]
    text = (
        reasons[0]
        if reasons
        else f"All {len(findings)} findings passed: the candidate does what the change promises."
    )
    return Verdict(verdict=word, sentence=text, reasons=reasons, counts=counts)


def altered(found: Sample, finding_id: str, **fields: Any) -> Sample:
    """The sample with one finding changed by hand."""
    findings = tuple(f.model_copy(update=fields) if f.id == finding_id else f for f in found.findings)
    return replace(found, findings=findings)


def test_the_sample_tells_the_three_verdicts_apart() -> None:
    assert sample().verdict.verdict is VerdictWord.READY
    assert sample(failing=True).verdict.verdict is VerdictWord.NOT_READY
    assert sample(empty=True).verdict.verdict is VerdictWord.UNKNOWN
