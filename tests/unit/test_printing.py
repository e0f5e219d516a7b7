"""What commands answer: the words of verdicts, of the doctor and of a sweep, and the same for programs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.cli import worst
from harness.doctor import DoctorReport, Tool
from harness.environment.host import Capability, EngineFacts, HostFacts
from harness.environment.images import ImagePlan
from harness.model.findings import VerdictWord
from harness.printing import machine, runs
from harness.run import RunResult
from harness.standing import StandingEnvironment
from harness.sweep import LeftOver, LiveRun, Stubborn, SweepReport
from tests.golden_files import golden
from tests.unit import test_report_sample as samples
from tests.unit.cli_tools import shown


def result(tmp_path: Path, **how: Any) -> RunResult:
    sample = samples.sample(**how)
    return RunResult(
        case=sample.case,
        verdict=sample.verdict,
        findings=sample.findings,
        report=tmp_path / "rate-model-v2-lending-demo-r1",
        seed=samples.SEED,
        repeat_command=f"readiness run rate-model-v2.change.yaml --seed {samples.SEED}",
        logs={},
    )


class TestRun:
    def test_the_three_verdicts_are_the_golden_text(self) -> None:
        folder = Path("readiness-reports")
        found = tuple(result(folder, **how) for how in ({}, {"failing": True, "slow": 9.0}, {"empty": True}))
        text = shown(runs.print_verdicts, runs.Verdicts(found, None))
        text += shown(runs.print_verdicts, runs.Verdicts(found[:1], Path("team key.pem")))
        golden("cli/run.txt", text)

    def test_paths_and_commands_are_never_broken_and_text_is_never_markup(self, tmp_path: Path) -> None:
        found = result(tmp_path, failing=True)
        verdict = found.verdict.model_copy(update={"sentence": "[red]no[/red] [/nothing] :smile:"})
        text = shown(runs.print_verdicts, runs.Verdicts((replace(found, verdict=verdict),), None), width=40)
        assert f"check   readiness verify {found.report}\n" in text
        assert "[red]no[/red] [/nothing] :smile:" in text

    def test_json(self, tmp_path: Path) -> None:
        found = result(tmp_path, failing=True)
        (fields,) = runs.verdicts_values(runs.Verdicts((found,), None))["reports"]
        json.dumps(fields, allow_nan=False)
        assert fields["verdict"] == "NOT_READY"
        assert fields["sentence"] == fields["reasons"][0]
        assert fields["page"] == str(found.report / "report.html")
        assert fields["verify_command"] == f"readiness verify {found.report}"

    @pytest.mark.parametrize(
        ("verdicts", "code"),
        [
            (("READY",), 0),
            (("READY", "UNKNOWN"), 3),
            (("UNKNOWN", "NOT_READY", "READY"), 1),
            ((), 3),
        ],
    )
    def test_the_exit_code_is_the_worst_verdict(self, verdicts: tuple[str, ...], code: int) -> None:
        assert worst(VerdictWord(word) for word in verdicts) == code


HOST = HostFacts("3.11.2", "6.1.0", "x86_64", 2, 8 * 2**30, 5 * 2**30, 40 * 2**30, Path("/state"))
ENGINE = EngineFacts(
    "26.1", "1.45", "overlay2", "2", "systemd", "Debian 12", "6.1.0", 2, 8 * 2**30, "/var", ("No swap limit",)
)


class TestDoctor:
    @pytest.fixture
    def found(self) -> machine.Examination:
        return machine.Examination(
            (Path("environments/lending/environment.yaml"),),
            DoctorReport(
                host=HOST,
                engine=ENGINE,
                capabilities=(
                    Capability("nftables", "packet faults", True, "tried in a container"),
                    Capability("netem", "nothing here", False, "kernel configuration"),
                    Capability("pause", "fault pause", None, "/proc/mounts cannot be read"),
                ),
                tools=(Tool("debootstrap", "/usr/sbin/debootstrap", "a base"), Tool("go", None, "Toxiproxy")),
                images=(
                    ImagePlan("debian:bookworm-slim", "present", "", 0.0),
                    ImagePlan("lending/services:1", "build", "its files changed", 40.0),
                    ImagePlan("shop:[red]", "missing", "no registry answers", 0.0),
                ),
                left_over=(LeftOver("container", "readiness-x-baseline", "r-1", "paused", "abc"),),
                live=(LiveRun("r-2", 4711),),
                problems=("image 'shop:[red]' cannot be had: no registry answers",),
            ),
        )

    def test_a_machine_with_problems_is_the_golden_text(self, found: machine.Examination) -> None:
        golden("cli/doctor.txt", shown(machine.print_doctor, found))

    def test_a_machine_without_an_engine_is_the_golden_text(self, found: machine.Examination) -> None:
        bare = replace(
            found.report,
            engine=None,
            capabilities=(),
            images=(),
            left_over=(),
            live=(),
            problems=("no Docker engine answers; install one",),
        )
        golden("cli/doctor-no-engine.txt", shown(machine.print_doctor, replace(found, report=bare)))

    def test_a_healthy_machine_says_so(self, found: machine.Examination) -> None:
        healthy = replace(found.report, problems=(), left_over=(), live=())
        text = shown(machine.print_doctor, replace(found, report=healthy, environments=()))
        assert text.endswith("healthy: a run can start\n")
        assert "no environment was named or found" in text

    def test_json(self, found: machine.Examination) -> None:
        fields = json.loads(json.dumps(machine.doctor_values(found), allow_nan=False))
        assert fields["healthy"] is False
        assert fields["images"][1] == {
            "reference": "lending/services:1",
            "how": "build",
            "reason": "its files changed",
            "expected_s": 40.0,
        }
        assert fields["host"]["state_folder"] == "/state"

    def test_a_sweep_is_the_golden_text(self) -> None:
        gone = LeftOver("container", "readiness-x-baseline", "r-1", "paused", "abc")
        stubborn = Stubborn(LeftOver("network", "readiness-x-net", "r-1", "bridge", "def"), "in use")
        texts = [
            shown(machine.print_sweep, report)
            for report in (
                SweepReport((), (), ()),
                SweepReport((gone,), (), (LiveRun("r-2", 4711),)),
                SweepReport((gone,), (stubborn,), ()),
            )
        ]
        golden("cli/sweep.txt", "\n".join(texts))
        assert machine.sweep_values(SweepReport((gone,), (stubborn,), ()))["clean"] is False


def test_an_environment_that_stands_shows_its_urls() -> None:
    arm = StandingEnvironment("r-1", None, {"api": "http://127.0.0.1:32768"})  # type: ignore[arg-type]
    text = shown(runs.print_standing, arm)
    assert "api  http://127.0.0.1:32768\n" in text
    assert "Ctrl-C" in text
    assert runs.standing_values(arm) == {"run_id": "r-1", "entries": {"api": "http://127.0.0.1:32768"}}


def test_a_skeleton_shows_what_to_type_next() -> None:
    written = (Path("my shop/environments/shop/environment.yaml"), Path("my shop/scenarios/a.change.yaml"))
    text = shown(runs.print_skeleton, written)
    assert "  my shop/environments/shop/environment.yaml\n" in text
    assert "readiness run 'my shop/scenarios/a.change.yaml'" in text
