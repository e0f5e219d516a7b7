"""Whole runs whose load is a real application recorded live: sessions that begin in one unit go on in later ones.

Members of environments/members join at once and stay to the end, so that every unit but the first depends on what the
units before it were given. Each arm gives its own tokens and refuses anybody else's.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.driver.base import ContainerSpec
from harness.driver.docker import DockerDriver
from harness.model.findings import Outcome, VerdictWord
from harness.model.plan import Arm, Unit
from harness.recording.mitmdump import NoMitmdumpError, find_mitmdump
from harness.recording.sessions.planning import SessionPlanner
from harness.recording.sessions.rules import load_rules
from harness.report.bundle import read_bundle
from harness.run import RunRequest, RunResult, run_change
from tests.containers.members_world import ENVIRONMENT, Recorded, recorded_live
from tests.containers.test_runs import words
from tests.containers.tiny_graph import POLICY
from tests.unit.members_app import digests

try:
    find_mitmdump()
except NoMitmdumpError:
    pytest.skip("mitmproxy is not installed (scripts/bootstrap python makes it)", allow_module_level=True)

READINESS = Path(sys.executable).parent / "readiness"
MEMBERS = tuple(f"member-{number}" for number in range(1, 13))
STEP_S = 0.06
"""Between two steps of any member: all of it takes about ten seconds."""
WEB = "/opt/members/members/web.py"

SCENARIO = """\
scenario: members
environment: {environment}
recording: {recording}
entry: web
warmup: 300ms
timeline:
  - steady: first     # long enough for everybody to log in and get a token
    for: 4300ms
  - fault: latency
    edge: client->app
    delay: 100ms
    name: slow
    before: 300ms
    for: 1200ms
    recovery: 700ms
  - steady: last
    for: 1500ms
checks:
  - check: availability      # so wide that a few requests more or less do not show
    at_least: 0.7
    at_least_in_fault: 0.5
    at_least_in_recovery: 0.5
    worse_by_at_most: 0.25
    worse_by_at_most_under_fault: 0.4
  - check: recovery
"""

CHANGE = """\
change: shop
title: Another version of the shop
why: to have something to try
intended_outcome: nothing moves
scenarios: [members.scenario.yaml]
services:
  app:
    candidate:
      {candidate}
owners: {{change_sponsor: A, data_steward: B, model_validator: C, service_owner: D}}
"""
PATIENT = POLICY.replace("minimum_fault_samples: 30", "minimum_fault_samples: 10") + "shifted_by: 1s\n"
HARMLESS = 'variables: {COMMENT: "1"}'
FORGETFUL = f"files: {{{WEB}: forgetful.py}}"


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and journals of a test are its own."""
    monkeypatch.setenv("READINESS_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return recorded_live(tmp_path_factory.mktemp("recorded"), MEMBERS, STEP_S)


@dataclass
class LastWords(DockerDriver):
    """Asks every instance what it was sent, just before the arms are taken down."""

    words: dict[str, set[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()
        self._apps: list[str] = []

    def start(self, spec: ContainerSpec) -> None:
        super().start(spec)
        if spec.name.endswith("-app"):
            self._apps.append(spec.name)

    def stage(self, text: str) -> None:
        if text != "taking the arms down":
            return
        ask = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080/seen').read().decode())"
        for name in self._apps:
            said = json.loads(self.execute(name, ("python3", "-c", ask)).stdout)
            arm = next(arm for arm in Arm if f"-{arm}-" in name)
            self.words[arm] = set(said["words"])

    def note(self, text: str) -> None:
        """Nothing to do."""


def run(recorded: Recorded, folder: Path, candidate: str) -> tuple[RunResult, LastWords]:
    recording = recorded.recording.folder
    scenario = SCENARIO.format(environment=ENVIRONMENT / "environment.yaml", recording=recording)
    folder.joinpath("members.scenario.yaml").write_text(scenario)
    folder.joinpath("policy.yaml").write_text(PATIENT)
    change = folder / "shop.change.yaml"
    change.write_text(CHANGE.format(candidate=candidate))
    driver = LastWords()
    wanted = RunRequest(change, policy=folder / "policy.yaml", seed=7, out=folder / "reports")
    return run_change(wanted, driver, driver)[0], driver


def answered(result: RunResult, arm: Arm) -> Mapping[int, tuple[int, str]]:
    """Status and error of every request of the arm, by seq."""
    exchanges = read_bundle(result.report).history.exchanges.where(arm=arm.value)
    rows = exchanges.table.select(["seq", "status", "error"]).to_pylist()
    return {row["seq"]: (row["status"], row["error"]) for row in rows}


def begun_before(recorded: Recorded, unit: Unit) -> int:
    """How many requests of that unit carry something that an answer of an earlier unit gave."""
    assert recorded.recording.sessions_path is not None
    planner = SessionPlanner(load_rules(recorded.recording.sessions_path))
    given, needing = {}, 0
    for exchange in recorded.exchanges()[: unit.stop_seq]:
        steps = planner.plan(exchange)
        templates = (steps.path, steps.body, *(value for _, value in steps.headers))
        slots = {part.number for template in templates for part in template if not isinstance(part, bytes)}
        if exchange.seq >= unit.first_seq:
            needing += any(given.get(slot, unit.first_seq) < unit.first_seq for slot in slots)
        given.update({take.slot: exchange.seq for take in steps.takes})
    return needing


def test_sessions_go_on_from_unit_to_unit_in_every_arm(recorded: Recorded, tmp_path: Path) -> None:
    result, driver = run(recorded, tmp_path, HARMLESS)
    assert result.verdict.verdict is VerdictWord.READY, words(result)
    _, slow, last = result.case.plan.units
    assert begun_before(recorded, slow) > 20
    assert begun_before(recorded, last) > 20
    found = [one for one in recorded.exchanges() if one.seq < last.stop_seq]
    assert {one.answer.status for one in found} >= {200, 201, 302, 303, 304, 401}
    tokens = digests(recorded.given() | set(recorded.tokens))
    for arm in result.case.plan.arms:
        replayed = answered(result, arm)
        differing = [
            (arm, one.seq, one.method, one.path, one.answer.status, replayed.get(one.seq))
            for one in found
            if replayed.get(one.seq) != (one.answer.status, "")
        ]
        assert differing == []
        assert tokens & driver.words[arm] == set()
        others = set.union(*(words for other, words in driver.words.items() if other != arm))
        assert len(driver.words[arm] - others) > 5 * len(MEMBERS)  # each was sent what itself had given
    verified = subprocess.run(
        [READINESS, "verify", result.report, "--json"], capture_output=True, text=True, timeout=60
    )
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_a_candidate_that_leaves_out_a_token_now_and_then_is_never_ready(
    recorded: Recorded, tmp_path: Path
) -> None:
    """Every third order comes without the token that confirms it: what depends on it cannot be sent to that arm."""
    source = (ENVIRONMENT / "images/app/members/web.py").read_text()
    given = '"confirmation": {"token": order.confirm_token}}'
    assert source.count(given) == 1
    forgetful = source.replace(given, given[:-1] + " if len(request.shop.orders) % 3 else {}}")
    tmp_path.joinpath("forgetful.py").write_text(forgetful)
    result, _ = run(recorded, tmp_path, FORGETFUL)
    assert result.verdict.verdict is not VerdictWord.READY, words(result)
    sentences = {finding.id: finding for finding in result.findings}
    fidelity = sentences["fidelity/candidate"]
    assert fidelity.outcome is Outcome.UNKNOWN
    assert (
        "of the requests to candidate were not sent because an earlier answer failed their client"
        in fidelity.sentence
    )
    assert "0.0 % in the baseline" in fidelity.sentence
    assert sentences["fidelity/baseline"].outcome is sentences["fidelity/control"].outcome is Outcome.PASS
