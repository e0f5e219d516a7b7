"""Made-up sessions: whatever a service hands out and wherever its clients send it, replay sends what a second instance,
with other tokens, expects."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.model.recording import Exchange
from harness.recording.sessions.distinct import Strength, strength
from harness.recording.sessions.finding import find_rules
from harness.recording.sessions.rules import SessionRules, load_rules, write_rules
from tests.unit.session_traffic import (
    FORM,
    JSON,
    MS,
    SOURCES,
    USES,
    Answer,
    Request,
    document,
    exchange,
    replayed,
)


@dataclass(frozen=True)
class Step:
    """One request: it may carry one of the tokens that its client was given (`carries` chooses), and its answer may
    give one."""

    route: int
    carries: int | None
    use: str
    gives: str | None
    client: int
    gap_ms: int


def steps(most: int) -> st.SearchStrategy[list[Step]]:
    one = st.builds(
        Step,
        st.integers(0, 3),
        st.none() | st.integers(0, most),
        st.sampled_from(sorted(USES)),
        st.none() | st.sampled_from(sorted(SOURCES)),
        st.integers(0, 2),
        st.integers(3, 40),
    )
    return st.lists(one, min_size=2, max_size=most)


def token(seed: int, number: int) -> str:
    """Tokens of one instance of the service: forms that real ones have. (One in some thousands looks like a word.)"""
    chance = random.Random(f"{seed} {number}")
    made = ""
    while strength(made) is not Strength.STRONG:
        made = _token(chance)
    return made


def _token(chance: random.Random) -> str:
    letters = (
        "0123456789abcdef" if chance.random() < 0.5 else "0123456789abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQ+/"
    )
    return "".join(chance.choice(letters) for _ in range(chance.randrange(12, 40))) + "4f"


def session(plan: list[Step], seed: int) -> tuple[list[Exchange], list[Answer]]:
    """The requests that the instance of that seed expects, and its answers."""
    exchanges, answers = [], []
    at_ns = 0
    given_to: dict[int, list[int]] = defaultdict(list)
    for number, step in enumerate(plan):
        at_ns += step.gap_ms * MS
        request = Request("POST", f"/step{step.route}", JSON, document({"lang": "en", "page": number}))
        had = given_to[step.client]
        if had and step.carries is not None:
            sent = USES[step.use](token(seed, had[step.carries % len(had)]))
            request = replace(sent, path=sent.path.replace("/things", f"/things{step.route}", 1))
        answer = (
            SOURCES[step.gives](token(seed, number)) if step.gives else Answer(200, JSON, b'{"lang": "en"}')
        )
        if step.gives:
            had.append(number)
        one = exchange(number, request, answer, f"c{step.client}", took_ms=2)
        shift_ns = at_ns - one.at_ns
        recorded = replace(one.answer, answered_ns=one.answer.answered_ns + shift_ns)
        exchanges.append(replace(one, at_ns=at_ns, answer=recorded))
        answers.append(answer)
    return exchanges, answers


@settings(max_examples=300, deadline=None)
@given(steps(12), st.integers(0, 2**32), st.integers(2**33, 2**34))
def test_the_second_instance_is_sent_what_it_expects(plan: list[Step], one: int, other: int) -> None:
    recorded, _ = session(plan, one)
    expected, live = session(plan, other)
    sent = replayed(recorded, live, find_rules(recorded))
    assert sent == [Request(e.method, e.path, e.headers, e.body) for e in expected]


@settings(max_examples=60, deadline=None)
@given(plan=steps(10), seed=st.integers(0, 2**32))
def test_rules_that_are_written_are_read_as_they_were(plan: list[Step], seed: int, tmp_path_factory) -> None:
    rules = find_rules(session(plan, seed)[0])
    path = tmp_path_factory.mktemp("rules") / "sessions.yaml"
    write_rules(rules, path)
    assert load_rules(path) == rules


@settings(max_examples=60, deadline=None)
@given(plan=steps(12), seed=st.integers(0, 2**32))
def test_against_the_same_answers_everything_is_sent_as_recorded(plan: list[Step], seed: int) -> None:
    recorded, answers = session(plan, seed)
    sent = replayed(recorded, answers, find_rules(recorded))
    assert sent == [Request(e.method, e.path, e.headers, e.body) for e in recorded]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=6), st.sampled_from([JSON, FORM, ()]))
def test_no_request_is_too_odd_to_be_planned(
    bodies: list[bytes], headers: tuple[tuple[str, str], ...]
) -> None:
    recorded = [
        exchange(k, Request("POST", "/", headers, body), Answer(200, headers, body))
        for k, body in enumerate(bodies)
    ]
    sent = replayed(recorded, [Answer(200, headers, body) for body in bodies], find_rules(recorded))
    assert [one and one.body for one in sent] == bodies
    assert replayed(recorded, [None] * len(bodies), SessionRules()) == sent
