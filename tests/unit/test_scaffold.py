"""The skeleton of `readiness init`: it loads and compiles anywhere, overwrites nothing, leaves nothing half done."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from harness.errors import DefinitionError
from harness.loading import load_change
from harness.prepare import prepare, scenario_paths
from harness.scaffold import _files, _skeleton, write_skeleton

READINESS = Path(sys.executable).with_name("readiness")


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content, folders with none."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
    }


@pytest.fixture
def team(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the skeleton, seen from another one: nothing may rest on where the user stands."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    folder = tmp_path / "team" / "checkout"
    written = write_skeleton(folder)
    assert {path for path in folder.rglob("*") if path.is_file()} == set(written)
    return folder


def test_it_loads_fits_together_and_compiles(team: Path) -> None:
    change = load_change(team / "scenarios/changes/first.change.yaml")
    (scenario,) = scenario_paths(change, ())
    prepared = prepare(change, scenario, None, 1, lambda _line: None)
    environment = prepared.environment
    # what a reader is to see used: protocols, equal ports, one image for all, two protocols to one callee
    assert {edge.protocol for edge in environment.all_edges()} == {"http", "tcp", "redis"}
    assert len({service.image for service in environment.services.values()}) == 1
    assert {edge.callee for edge in environment.edges if edge.port == 8080} == {"catalog", "pricing", "stock"}
    assert {edge.protocol for edge in environment.edges if edge.callee == "stock"} == {"http", "tcp"}
    # two of three arms are the same; the candidate differs by what the change says
    baseline, control, candidate = prepared.services.values()
    assert baseline == control
    assert candidate["pricing"].variables["ROUND_TO"] != baseline["pricing"].variables["ROUND_TO"]
    assert candidate["pricing"].files != baseline["pricing"].files
    assert all(candidate[name] == baseline[name] for name in baseline if name != "pricing")


def test_every_unit_has_the_requests_that_its_checks_need(team: Path) -> None:
    """With fewer the first verdict of a new user would be UNKNOWN."""
    change = load_change(team / "scenarios/changes/first.change.yaml")
    prepared = prepare(change, team / "scenarios/shop.scenario.yaml", None, 1, lambda _line: None)
    times_ns = [exchange.at_ns for exchange in prepared.recording.exchanges]

    def between(from_ns: int, to_ns: int) -> int:
        return sum(from_ns <= at_ns < to_ns for at_ns in times_ns)

    for unit in prepared.plan.units:
        begins = unit.recording_from_ns
        ends = begins + unit.length_ns
        if unit.window is None:
            assert between(begins + unit.warmup_ns, ends) >= 200
        else:
            assert between(begins + unit.window.start_ns, begins + unit.window.stop_ns) >= 75
            assert between(begins + unit.window.stop_ns, ends) >= 75


def test_the_recording_is_what_its_script_writes(team: Path) -> None:
    recordings = team / "scenarios/recordings"
    shipped = (recordings / "offers.ndjson").read_bytes()
    subprocess.run([sys.executable, recordings / "make_offers.py"], check=True, timeout=30)
    assert (recordings / "offers.ndjson").read_bytes() == shipped


def test_the_readme_names_what_is_there(team: Path) -> None:
    readme = (team / "scenarios/README.md").read_text()
    paths = set(re.findall(r"(?:environments|scenarios)/[\w./-]+\.\w+", readme))
    missing = {path for path in paths if "NAME" not in path and not (team / path).exists()}
    assert len(paths) > 5
    assert not missing
    for command in sorted(set(re.findall(r"readiness ([a-z]+(?: list| plan)?)\b", readme))):
        answer = subprocess.run([READINESS, *command.split(), "--help"], capture_output=True, timeout=60)
        assert answer.returncode == 0, command


def test_files_that_are_there_are_named_all_at_once_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mine = Path("scenarios/changes/first.change.yaml")
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    Path("scenarios/README.md").symlink_to("gone.md")
    Path("environments").write_text("a file of that name")
    before = tree(tmp_path)
    with pytest.raises(DefinitionError) as caught:
        write_skeleton(Path())
    assert str(caught.value).splitlines() == [
        "environments: error: is no folder, and the skeleton needs one of this name",
        "  move it away, or write the skeleton elsewhere: readiness init DIR",
        "scenarios/README.md: error: is there already, and `readiness init` overwrites nothing",
        "  move it away, or write the skeleton elsewhere: readiness init DIR",
        "scenarios/changes/first.change.yaml: error: is there already, and `readiness init` overwrites nothing",
        "  move it away, or write the skeleton elsewhere: readiness init DIR",
    ]
    assert tree(tmp_path) == before


def test_it_goes_beside_what_a_team_has_already(tmp_path: Path) -> None:
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "README.md").write_text("ours")
    (tmp_path / "scenarios/other.scenario.yaml").write_text("ours, too")
    written = write_skeleton(tmp_path)
    assert (tmp_path / "README.md").read_text() == "ours"
    assert tmp_path / "environments/shop/environment.yaml" in written


def test_a_disk_that_fills_up_leaves_nothing_half_done(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk: the recording, written late, is larger than it."""
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios/mine.txt").write_text("mine")
    before = tree(tmp_path)
    answer = subprocess.run(
        ["sh", "-c", f"ulimit -f 100; exec {READINESS} init team-or-not"],
        cwd=tmp_path / "scenarios",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert answer.returncode == 4
    assert "the skeleton could not be written to team-or-not: File too large" in answer.stdout + answer.stderr
    assert tree(tmp_path) == before


def test_what_an_installer_compiled_is_not_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__/web.cpython-311.pyc").write_bytes(b"compiled")
    (tmp_path / "web.py").write_text("source")
    assert [path.as_posix() for path, _ in _files(tmp_path, Path())] == ["web.py"]


def test_an_installed_package_carries_all_of_it(tmp_path: Path) -> None:
    """The wheel is built from a copy, as a build leaves files beside its sources."""
    root = Path(__file__).parents[2]
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, tmp_path / name)
    for name in ("harness", "synthetic"):
        shutil.copytree(root / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    build = "import setuptools.build_meta as backend; backend.build_wheel('out')"
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path, check=True, capture_output=True, timeout=120)
    (wheel,) = (tmp_path / "out").glob("*.whl")
    inside = {name.removeprefix("harness/skeleton/") for name in zipfile.ZipFile(wheel).namelist()}
    assert {path.as_posix() for path, _ in _skeleton()} <= inside
