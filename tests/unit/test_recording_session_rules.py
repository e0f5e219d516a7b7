"""`sessions.yaml`: what it looks like, what is read back, and what is said of a wrong one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.errors import DefinitionError
from harness.recording.sessions.finding import find_rules
from harness.recording.sessions.rules import SessionRules, load_rules, rules_text, write_rules
from tests.golden_files import golden
from tests.unit.readmes import blocks, rows
from tests.unit.session_traffic import SOURCES, START, USES, exchange

README = "harness/recording/sessions/README.md"
TOKEN = "Zm9vQmFy9f3c1d7eA"


def found() -> SessionRules:
    """Every source once, each used in another place."""
    recorded = []
    for number, (source, use) in enumerate(zip(SOURCES, USES, strict=False)):
        token = f"{TOKEN}{number:02d}"
        recorded += [
            exchange(2 * number, START, SOURCES[source](token)),
            exchange(2 * number + 1, USES[use](token)),
        ]
    return find_rules(recorded)


def test_what_is_written_is_the_golden_text() -> None:
    golden("recording_sessions.txt", rules_text(found()))


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_rules(found(), tmp_path / "sessions.yaml")
    assert load_rules(tmp_path / "sessions.yaml") == found()


def test_the_readmes_example_is_a_whole_file(tmp_path: Path) -> None:
    (example,) = blocks(README, "yaml")
    path = tmp_path / "sessions.yaml"
    path.write_text(example.text)
    rules = load_rules(path)
    assert [rule.name for rule in rules.enabled] == ["login-csrf-token", "orders-id", "nonce-in-a-script"]


def test_the_readme_lists_every_source_and_place() -> None:
    schema = SessionRules.model_json_schema()["$defs"]
    sources = {name for row in rows(README, "`source`") for name in re.findall(r"`(\w+)`", row[0])}
    places = {name for row in rows(README, "`place`") for name in re.findall(r"`(\w+)`", row[0])}
    assert sources == set(schema["TakenFrom"]["properties"]["source"]["enum"])
    assert places == set(schema["UsedIn"]["properties"]["place"]["enum"])


WRONG = """\
sessions: 1
cookie: {enabled: true}
rules:
  - name: one
    taken_from: {route: login, source: html, path: token}
    used_in: []
  - name: two
    taken_from: {route: /login, source: text, path: '(a)|(b'}
    used_in: [{place: header, name: x-token}]
  - name: three
    taken_from: {route: /login, source: text, path: 'nonce=\\w+'}
    used_in: [{place: path, name: id}]
  - name: four
    taken_from: {route: /login, source: json, path: 'a..b['}
    used_in: [{place: heder, name: x-token}]
"""


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sessions.yaml").write_text(WRONG)
    with pytest.raises(DefinitionError) as error:
        load_rules(Path("sessions.yaml"))
    golden("recording_sessions_wrong.txt", f"{error.value}\n")


def test_two_rules_of_one_name_are_told_apart_by_nobody(tmp_path: Path) -> None:
    path = tmp_path / "sessions.yaml"
    rule = (
        "  - {name: a, taken_from: {route: /, source: json, path: a}, used_in: [{place: query, name: a}]}\n"
    )
    path.write_text(f"sessions: 1\nrules:\n{rule}{rule}")
    with pytest.raises(DefinitionError, match="there are two rules 'a'") as error:
        load_rules(path)
    assert error.value.problems[0].where.line == 4
