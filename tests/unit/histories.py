"""A small shop graph, and clean runs of it to plant faults in: what the tests of the checks stand on.

`plan_case` compiles a case as a run would (same units, turns and findings owed); `Run` is a clean run of it, whose rows
are plain dicts until `history()` freezes them. A test plants one fault with `change`, `drop`, `double` and `say`, and
judges. Behaviour in the graph: while `store` is away four of ten answers are made with a fallback; while `pricer`
refuses, three of ten; while `scorer` is dead, all.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.checks import CheckOrder, Frame, decide, judge, plan_checks, validate_parameters
from harness.model.case import Case
from harness.model.change import Change
from harness.model.environment import Environment
from harness.model.findings import Finding, Outcome, Verdict
from harness.model.history import (
    Event,
    EventKind,
    History,
)
from harness.model.plan import Plan, Unit
from harness.model.policy import Policy
from harness.timeline import take_turns
from tests.unit.recorded import APPLIED_NS, ARMS, HEALED_NS, RATE, SECOND, SEED, TABLES, Row, record

SCHEMA = {
    "type": "object",
    "required": ["decision", "score", "rate", "queue", "degraded"],
    "properties": {"decision": {"enum": ["approve", "decline"]}, "rate": {"type": "number"}},
}
CHECKS: tuple[dict[str, Any], ...] = (
    {"check": "availability"},
    {"check": "latency", "at_most": "400ms"},
    {"check": "degradation"},
    {"check": "recovery"},
    {"check": "retry_amplification"},
    {"check": "contract"},
    {"check": "decision_quality", "scale_field": "score_max"},
    {"check": "fairness", "attributes": ["sex"]},
    {
        "check": "outcome",
        "service": "pricer",
        "field": "rate",
        "statistic": "mean",
        "max_shift": 0.3,
        "says": "is the mean rate",
    },
    {
        "check": "outcome",
        "service": "front",
        "field": "queue",
        "equals": "manual",
        "max_shift": 0.05,
        "says": "of orders go to a person",
    },
)

FAULTS: dict[str, dict[str, Any]] = {
    "slow-scorer": {
        "fault": "latency",
        "level": "streams",
        "edge": "front->scorer",
        "parameters": '{"delay":"100ms"}',
        "cuts": False,
    },
    "held-scorer": {"fault": "stall", "level": "streams", "edge": "front->scorer", "cuts": True},
    "store-away": {"fault": "black_hole", "level": "packets", "edge": "scorer->store", "cuts": True},
    "refusing-pricer": {
        "fault": "error_status",
        "level": "requests",
        "edge": "front->pricer",
        "parameters": '{"percent":30.0,"route":"","status":503}',
        "cuts": False,
    },
    "scorer-killed": {"fault": "kill", "level": "containers", "service": "scorer", "cuts": True},
}
TIMELINE = ("calm", "slow-scorer", "store-away", "refusing-pricer", "scorer-killed")
UNIT_NS = {"calm": 8 * SECOND}
FAULT_UNIT_NS = 7 * SECOND


def environment() -> Environment:
    """client -> front -> scorer -> store, archive when store is away; front -> pricer."""

    def edge(caller: str, callee: str, port: int, protocol: str, **more: Any) -> dict[str, Any]:
        loss = more.pop("loss", 1.0)
        tolerance = {"timeout": "250ms", "retries": 1, "fallback": "a guess", "quality_loss": loss}
        tolerance["recovery"] = "2s"
        return {
            "from": caller,
            "to": callee,
            "port": port,
            "protocol": protocol,
            "tolerance": tolerance,
            **more,
        }

    return Environment.model_validate(
        {
            "environment": "shop",
            "services": {
                name: {"image": f"shop/{name}:1", "health": {"port": 8080}}
                for name in ("front", "scorer", "pricer", "store", "archive")
            },
            "edges": [
                edge("front", "scorer", 8080, "http"),
                edge("front", "pricer", 8080, "http", loss=0.5),
                edge("scorer", "store", 6379, "redis", loss=0.6),
                edge("scorer", "archive", 5432, "postgres", traffic="on_fallback"),
            ],
            "entries": {"api": {"to": "front", "port": 80}},
        }
    )


def change() -> Change:
    owners = dict.fromkeys(("change_sponsor", "data_steward", "model_validator", "service_owner"), "Ada")
    return Change.model_validate(
        {
            "change": "scorer-2",
            "title": "Scorer 2",
            "why": "it ranks better",
            "intended_outcome": "the same decisions, sooner",
            "scenarios": ["shop.scenario.yaml"],
            "services": {"scorer": {"candidate": {"image": "shop/scorer:2"}}},
            "owners": owners,
        }
    )


def units(names: Sequence[str] = TIMELINE) -> tuple[Unit, ...]:
    found: list[Unit] = []
    for name in names:
        first = found[-1].stop_seq if found else 0
        length_ns = UNIT_NS.get(name, FAULT_UNIT_NS)
        window = None
        if name in FAULTS:
            window = {"name": name, "start_ns": APPLIED_NS, "stop_ns": HEALED_NS, **FAULTS[name]}
        found.append(
            Unit.model_validate(
                {
                    "name": name,
                    "warmup_ns": SECOND,
                    "length_ns": length_ns,
                    "recording_from_ns": first * SECOND // RATE,
                    "first_seq": first,
                    "stop_seq": first + RATE * length_ns // SECOND,
                    "window": window,
                }
            )
        )
    return tuple(found)


def plan_case(
    checks: Sequence[Mapping[str, Any]] = CHECKS,
    names: Sequence[str] = TIMELINE,
    graph: Environment | None = None,
    **policy: Any,
) -> Case:
    """A case as `prepare` compiles it, with few resamples."""
    graph = graph if graph is not None else environment()
    stretches = units(names)
    frame = Frame(graph, stretches, ARMS, "api", ("scorer",), has_labels=True, has_answers_schema=True)
    orders = []
    for item in checks:
        parameters = {key: value for key, value in item.items() if key != "check"}
        orders.append(CheckOrder(item["check"], "scenario", validate_parameters(item["check"], parameters)))
    plan = Plan(
        change="scorer-2",
        scenario="shop",
        environment="shop",
        entry="api",
        seed=SEED,
        mode="interleaved",
        mode_reason="this machine is small",
        arms=ARMS,
        units=stretches,
        turns=take_turns(stretches, ARMS, "interleaved", SEED),
        checks=plan_checks(orders, frame),
        recording_digest="sha256:" + "ab" * 32,
        dataset_digest="sha256:" + "cd" * 32,
    )
    return Case(
        environment=graph,
        change=change(),
        plan=plan,
        policy=Policy(**{"resamples": 200, **policy}),
        answers_schema=SCHEMA,
    )


@dataclass(frozen=True)
class Planted:
    """One fault to plant, the finding that must notice, and words that its sentence must have."""

    finding: str
    plant: Callable[[Run], object]
    outcome: Outcome
    words: tuple[str, ...]

    @property
    def check(self) -> str:
        return self.finding.partition("/")[0]


@dataclass
class Run:
    """One run that tests may spoil. Rows are dicts, to be changed in place."""

    case: Case
    tables: dict[str, list[Row]]
    events: list[Event]

    def rows(self, table: str, **where: Any) -> list[Row]:
        """Rows whose columns equal the values, or are among those of a tuple."""
        return [row for row in self.tables[table] if _fits(row, where)]

    def change(
        self, table: str, values: Mapping[str, Any] | Callable[[Row], Mapping[str, Any]], **where: Any
    ) -> Run:
        """Overwrite columns of rows."""
        chosen = self.rows(table, **where)
        assert chosen, f"no row of {table} fits {where}"
        for row in chosen:
            row.update(values(row) if callable(values) else values)
        return self

    def answer(self, fields: Mapping[str, Any] | Callable[[Row], Mapping[str, Any]], **where: Any) -> Run:
        """Overwrite fields of answers; a field of None is taken out."""

        def body(row: Row) -> Row:
            changed = json.loads(row["body"])
            changed |= fields(changed) if callable(fields) else fields
            return {"body": json.dumps({name: value for name, value in changed.items() if value is not None})}

        return self.change("exchanges", body, **where)

    def drop(self, table: str, **where: Any) -> Run:
        """Lose rows."""
        kept = [row for row in self.tables[table] if not _fits(row, where)]
        assert len(kept) < len(self.tables[table])
        self.tables[table] = kept
        return self

    def double(self, table: str, **where: Any) -> Run:
        """Have rows twice."""
        self.tables[table] += [dict(row) for row in self.rows(table, **where)]
        return self

    def say(self, kind: EventKind, detail: Mapping[str, Any] | None = None, **where: Any) -> Run:
        """Overwrite details of events, or lose the events (no detail)."""
        hit = [event.kind is kind and _fits({**event.detail, **vars(event)}, where) for event in self.events]
        assert any(hit), f"no event {kind} fits {where}"
        events = []
        for event, chosen in zip(self.events, hit, strict=True):
            if not chosen:
                events.append(event)
            elif detail is not None:
                events.append(replace(event, detail={**event.detail, **detail}))
        self.events = events
        return self

    def happen(self, kind: EventKind, **fields: Any) -> Run:
        """One more event."""
        place = {
            name: fields.pop(name) for name in ("at_ns", "arm", "unit", "turn", "subject") if name in fields
        }
        place.setdefault("at_ns", self.events[-1].at_ns)
        self.events.append(Event(kind=kind, detail=fields, **place))
        return self

    def history(self) -> History:
        tables = {name: kind.from_rows(self.tables[name]) for name, kind in TABLES.items()}
        return History(events=tuple(sorted(self.events, key=lambda event: event.at_ns)), **tables)

    def findings(self) -> dict[str, Finding]:
        return {finding.id: finding for finding in judge(self.case, self.history())}

    def verdict(self) -> Verdict:
        return decide(self.case, judge(self.case, self.history()))

    def alone(self, check: str) -> dict[str, Finding]:
        """The findings of one planned check, without waiting for the others."""
        planned = tuple(item for item in self.case.plan.checks if item.check == check)
        plan = self.case.plan.model_copy(update={"checks": planned})
        case = self.case.model_copy(update={"plan": plan})
        return {finding.id: finding for finding in judge(case, self.history())}


@functools.cache
def clean_findings() -> Mapping[str, Finding]:
    """What every check says of the clean run."""
    return clean_run().findings()


def assert_noticed(planted: Planted, case: Case | None = None) -> None:
    """The planted fault is noticed by that finding, in those words; without it the finding passes."""
    run = clean_run(case)
    clean = clean_findings() if case is None else run.alone(planted.check)
    assert clean[planted.finding].outcome is Outcome.PASS, clean[planted.finding].sentence
    planted.plant(run)
    finding = run.alone(planted.check)[planted.finding]
    assert finding.outcome is planted.outcome, finding.sentence
    for words in planted.words:
        assert words.lower() in finding.sentence.lower(), finding.sentence


def not_passed(findings: Mapping[str, Finding]) -> dict[str, Outcome]:
    return {name: item.outcome for name, item in findings.items() if item.outcome is not Outcome.PASS}


def _fits(row: Mapping[str, Any], where: Mapping[str, Any]) -> bool:
    for name, wanted in where.items():
        value = row.get(name)
        if callable(wanted):
            if not wanted(value):
                return False
        elif value not in (wanted if isinstance(wanted, tuple) else (wanted,)):
            return False
    return True


def clean_run(case: Case | None = None) -> Run:
    """A run that is READY, of the given case or of one with every check and one fault of each level."""
    case = case if case is not None else plan_case()
    tables, events = _recorded(case.environment, case.plan.units)
    copied = {name: [dict(row) for row in rows] for name, rows in tables.items()}
    return Run(case, copied, list(events))


@functools.cache
def _recorded_by_names(names: tuple[str, ...]) -> tuple[dict[str, list[Row]], tuple[Event, ...]]:
    return record(environment(), units(names))


def _recorded(
    graph: Environment, stretches: tuple[Unit, ...]
) -> tuple[dict[str, list[Row]], tuple[Event, ...]]:
    names = tuple(unit.name for unit in stretches)
    if graph == environment() and stretches == units(names):
        return _recorded_by_names(names)
    return record(graph, stretches)
