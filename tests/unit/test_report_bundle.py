"""The bundle on disk: complete or not there, the same bytes for the same run, and read back as it was written."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import DefinitionError, EngineError
from harness.model.findings import EvidencePointer
from harness.model.history import Event, EventKind
from harness.report import as_written, canonical, read_bundle, write_bundle
from harness.report.layout import MANIFEST, SIGNATURE_FILES, RunMeta, path_problem, safe_path
from tests.unit import test_report_sample as samples
from tests.unit.test_report_fixtures import DEFINITIONS, files_of, meta, signer, write_report

LAYOUT = {
    "case.json",
    "definitions/environments/lending/environment.yaml",
    "definitions/up/policy.yaml",
    "findings.json",
    "history/edge_requests.parquet",
    "history/events.jsonl",
    "history/exchanges.parquet",
    "history/labels.parquet",
    "history/witness.parquet",
    "junit.xml",
    "logs/baseline/gateway.log",
    "logs/candidate/gateway.log",
    "manifest.json",
    "plan.json",
    "policy.json",
    "public-key.pem",
    "report.html",
    "statement.dsse.json",
    "statement.sigstore.json",
    "verdict.json",
}


def on_disk(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def sample() -> samples.Sample:
    return samples.sample(failing=True)


def test_the_layout_is_the_documented_one_and_nothing_is_left_beside_it(
    tmp_path: Path, sample: samples.Sample
) -> None:
    report = write_report(tmp_path / "reports" / "one", sample, signer())
    assert set(on_disk(report)) == LAYOUT
    assert [entry.name for entry in (tmp_path / "reports").iterdir()] == ["one"]


def test_the_manifest_has_digest_and_size_of_every_other_file(tmp_path: Path, sample: samples.Sample) -> None:
    files = on_disk(write_report(tmp_path / "one", sample, signer()))
    manifest = json.loads(files[MANIFEST])
    assert set(manifest["files"]) == LAYOUT - {MANIFEST, *SIGNATURE_FILES}
    for path, digest in manifest["files"].items():
        assert digest == {"sha256": hashlib.sha256(files[path]).hexdigest(), "size_bytes": len(files[path])}
    assert manifest["run"]["seed"] == samples.SEED
    assert manifest["run"]["evaluated_at"] == "2026-03-01T10:20:30Z"


def test_json_files_are_what_anyones_json_library_writes(sample: samples.Sample) -> None:
    for path, data in files_of(sample, signer()).items():
        if path.endswith(".json"):
            again = json.dumps(json.loads(data), sort_keys=True, indent=2, ensure_ascii=False) + "\n"
            assert again.encode() == data, path


def test_the_same_run_gives_the_same_bytes_in_another_process(tmp_path: Path, sample: samples.Sample) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from tests.unit import test_report_sample as s; from tests.unit.test_report_fixtures import *\n"
        "write_report(Path(sys.argv[1]), s.sample(failing=True), signer())\n"
    )
    root = str(Path(__file__).parents[2])
    env = {**os.environ, "PYTHONPATH": root, "PYTHONHASHSEED": "12345", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "a")], check=True, timeout=120, env=env)
    assert on_disk(tmp_path / "a") == files_of(sample, signer())


def test_it_is_read_back_as_it_was_written(tmp_path: Path, sample: samples.Sample) -> None:
    bundle = read_bundle(write_report(tmp_path / "one", sample, signer()))
    assert bundle.case == sample.case
    assert bundle.findings == sample.findings
    assert bundle.verdict == sample.verdict
    assert bundle.history.events == as_written(sample.history).events
    for name in ("exchanges", "edge_requests", "witness", "labels"):
        assert getattr(bundle.history, name).table.equals(getattr(sample.history, name).table), name


def test_numbers_that_json_has_not_become_null_and_numpy_becomes_plain(
    tmp_path: Path, sample: samples.Sample
) -> None:
    import numpy as np

    odd = sample.findings[0].model_copy(
        update={
            "value": float("nan"),
            "details": {"n": np.int64(3), "x": np.float64("inf"), "path": Path("a/b")},
        }
    )
    event = Event(1, EventKind.PROBE, detail={"delays_ms": (np.float64(1.5), 2), "bad": float("nan")})
    history = replace(sample.history, events=(event,))
    altered = replace(sample, findings=(odd, *sample.findings[1:]), history=history)
    bundle = read_bundle(write_report(tmp_path / "one", altered, signer()))
    assert bundle.findings[0].value is None
    assert bundle.findings[0].details == {"n": 3, "x": None, "path": "a/b"}
    assert bundle.history.events[0].detail == {"delays_ms": [1.5, 2], "bad": None}
    assert as_written(history).events == bundle.history.events


def test_an_existing_report_is_never_overwritten(tmp_path: Path, sample: samples.Sample) -> None:
    report = write_report(tmp_path / "one", sample, signer())
    before = on_disk(report)
    with pytest.raises(EngineError, match="something is there already"):
        write_report(tmp_path / "one", sample, signer())
    assert on_disk(report) == before


def test_names_from_outside_stay_inside(tmp_path: Path, sample: samples.Sample) -> None:
    definitions = {
        "../../../etc/passwd": b"1",
        "/etc/passwd": b"2",
        "up/up/up/etc/passwd": b"3",
        "a\nb": b"4",
        "": b"5",
    }
    logs = {"x/../../../y": "1", "gateway.log": "2", "gateway": "3"}
    report = write_bundle(
        tmp_path / "one",
        sample.case,
        sample.history,
        sample.findings,
        sample.verdict,
        definitions,
        logs,
        meta(),
        signer(),
    )
    files = on_disk(report)
    assert {path: data for path, data in files.items() if path.startswith("definitions")} == {
        "definitions/up/up/up/etc/passwd": b"1",
        "definitions/etc/passwd": b"2",
        "definitions/up/up/up/etc/passwd~2": b"3",
        "definitions/a_b": b"4",
        "definitions/unnamed": b"5",
    }
    assert sorted(path for path in files if path.startswith("logs/")) == [
        "logs/gateway.log",
        "logs/gateway.log~2",
        "logs/x/up/up/up/y.log",
    ]


def test_safe_paths_are_paths_that_a_manifest_accepts() -> None:
    for name in ("", ".", "..", "/", "a//b", "a/./b", "a\\..\\b", "x" * 900, "é/ü", "a\tb"):
        assert path_problem(safe_path("definitions", name)) is None, name
    for path in ("", "/a", "../a", "a/../b", "a//b", "a/.", "a\\b", "a\nb", "x" * 900):
        assert path_problem(path) is not None, path


def test_a_moment_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        RunMeta(
            run_id="r", seed=1, engine_version="0", evaluated_at="2026-03-01T10:20:30", repeat_command="x"
        )


class TestFullDisk:
    def limited(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    script = (
        "import sys; from pathlib import Path\n"
        "from harness.errors import EngineError\n"
        "from tests.unit import test_report_sample as s; from tests.unit.test_report_fixtures import *\n"
        "try:\n"
        "    write_report(Path(sys.argv[1]), s.sample(failing=True), signer())\n"
        "except EngineError as error:\n"
        "    print(error); sys.exit(int(error.exit_code))\n"
    )

    def run(self, report: Path, **more: object) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        command = [sys.executable, "-B", "-c", self.script, str(report)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, env=env, **more)  # type: ignore[call-overload,no-any-return]

    def test_a_file_that_cannot_grow_leaves_nothing_behind(self, tmp_path: Path) -> None:
        report = tmp_path / "reports" / "one"
        done = self.run(report, preexec_fn=self.limited)
        assert done.returncode == 4, done.stderr
        assert f"the report could not be written to {report}: File too large" in done.stdout
        assert "make room" in done.stdout
        assert list((tmp_path / "reports").iterdir()) == []

    @pytest.mark.skipif(
        subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0,
        reason="mounting a small disk needs root",
    )
    def test_a_full_disk_leaves_nothing_behind(self, tmp_path: Path) -> None:
        disk = tmp_path / "disk"
        disk.mkdir()
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        inside = f'mount -t tmpfs -o size=64k none "{disk}" && "$0" -B -c "$1" "{disk}/one"; code=$?; ls -A "{disk}"; exit $code'
        done = subprocess.run(
            ["unshare", "-m", "bash", "-c", inside, sys.executable, self.script],
            capture_output=True,
            text=True,
            timeout=120,
            env=env,
        )
        assert done.returncode == 4, done.stderr
        assert "No space left on device" in done.stdout
        assert done.stdout.rstrip().splitlines()[-1].strip().startswith("0."), done.stdout


class TestReadingABrokenReport:
    def test_a_folder_that_is_no_report_is_a_message(self, tmp_path: Path) -> None:
        with pytest.raises(DefinitionError, match=r"manifest\.json: error: is missing"):
            read_bundle(tmp_path)

    def test_a_folder_that_is_not_there_is_said_to_be_missing(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        for name in ("nowhere", "file"):
            with pytest.raises(DefinitionError, match=rf"{name}: error: there is no such folder"):
                read_bundle(tmp_path / name)

    def test_a_broken_file_is_named(self, tmp_path: Path, sample: samples.Sample) -> None:
        report = write_report(tmp_path / "one", sample, signer())
        (report / "verdict.json").write_text("{")
        with pytest.raises(DefinitionError, match=r"verdict\.json: error: is not JSON"):
            read_bundle(report)


def test_findings_keep_their_evidence(tmp_path: Path, sample: samples.Sample) -> None:
    pointer = EvidencePointer(file="history/exchanges.parquet", where={"arm": "candidate"}, rows=3)
    altered = samples.altered(sample, sample.findings[0].id, evidence=(pointer,))
    assert read_bundle(write_report(tmp_path / "one", altered, signer())).findings[0].evidence == (pointer,)


def test_definitions_are_kept_as_they_were(tmp_path: Path, sample: samples.Sample) -> None:
    report = write_report(tmp_path / "one", sample, signer())
    source = DEFINITIONS["environments/lending/environment.yaml"]
    assert (report / "definitions/environments/lending/environment.yaml").read_bytes() == source


def test_canonical_json_refuses_what_can_be_read_in_two_ways() -> None:
    for data in (
        b'{"a": 1, "a": 2}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b"\xff\xfe",
        b"[" * 100_000,
        b"1" * 5000,
    ):
        with pytest.raises(canonical.BrokenFile, match=r"x\.json"):
            canonical.parse("x.json", data)
