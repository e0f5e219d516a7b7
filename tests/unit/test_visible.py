"""A report is somebody else's: whatever is in it, a terminal shows it and obeys none of it."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.console import LineProgress
from harness.printing.runs import Verdicts, print_verdicts
from harness.pytest_summary import _tail
from harness.report import canonical, print_report, read_bundle
from harness.run import RunResult
from harness.visible import visible, visible_json
from tests.unit import test_report_sample as samples
from tests.unit.cli_tools import readiness, shown
from tests.unit.test_report_fixtures import judged_by_sample, signer, write_key, write_report

HOSTILE = "\x1b[2J\x9b1Averified \u202edeifirev"
"""Clears the screen, goes up a line, and reads backwards."""
SPELLED = r"\x1b[2J\x9b1Averified \u202edeifirev"


@pytest.fixture
def sample() -> samples.Sample:
    """A run in which whatever may hold any text holds this one."""
    found = samples.sample(failing=True)
    found = samples.altered(found, found.findings[0].id, sentence=HOSTILE, unit_of_measure=HOSTILE)
    change = found.case.change.model_copy(update={"title": HOSTILE})
    verdict = found.verdict.model_copy(update={"sentence": HOSTILE, "reasons": (HOSTILE, f"{HOSTILE}\n!")})
    return replace(found, case=found.case.model_copy(update={"change": change}), verdict=verdict)


@pytest.fixture
def report(tmp_path: Path, sample: samples.Sample, monkeypatch: pytest.MonkeyPatch) -> Path:
    judged_by_sample(monkeypatch)
    return write_report(tmp_path / "one", sample, signer())


def harmless(text: str) -> bool:
    return all(char == "\n" or visible(char) == char for char in text)


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("café — 12\N{NO-BREAK SPACE}ms, 日本, 🙂, a\\b", None),
        (HOSTILE, SPELLED),
        ("a\nverified", r"a\nverified"),
        ("a\r\t\x7f\x00", r"a\r\t\x7f\x00"),
        ("\udc9b\u2028\u2066\u200b\U000e0001", r"\udc9b\u2028\u2066\u200b\U000e0001"),
    ],
)
def test_what_a_terminal_would_obey_is_spelled_out(text: str, spelled: str | None) -> None:
    assert visible(text) == (text if spelled is None else spelled)
    document = json.dumps({text: [text]}, indent=2, ensure_ascii=False)
    assert json.loads(visible_json(document)) == {text: [text]}
    assert harmless(visible_json(document))


def test_lines_stay_lines_where_a_text_has_several() -> None:
    assert visible("a\n\x1bb\tc", keep="\n\t") == "a\n\\x1bb\tc"


def test_show_spells_out_title_reasons_and_findings(report: Path) -> None:
    text = shown(print_report, read_bundle(report), 600)
    assert text.count(SPELLED) >= 4
    assert rf"{SPELLED}\n!" in text
    assert harmless(text)


def test_verify_spells_out_names_and_sentences(tmp_path: Path, report: Path) -> None:
    key = write_key(tmp_path / "public.pem", public=True)
    done = readiness("verify", report, "--key", key)
    assert done.code == 1  # the sentence was signed and does not follow from the history
    assert f"sentence {SPELLED} (computed" in done.out.replace("\n", " ")
    assert harmless(done.out)
    (report / f"{HOSTILE}.txt").write_text("not in the manifest")
    done = readiness("verify", report, "--key", key)
    assert f"{SPELLED}.txt: " in done.out
    assert harmless(done.out)
    as_json = readiness("verify", report, "--key", key, "--json")
    assert f"{HOSTILE}.txt" in {problem["file"] for problem in as_json.json["problems"]}
    assert harmless(as_json.out)


def test_an_error_spells_out_what_it_quotes(report: Path) -> None:
    verdict = json.loads((report / "verdict.json").read_bytes())
    (report / "verdict.json").write_bytes(canonical.dump({**verdict, HOSTILE: 1}))
    done = readiness("show", report)
    assert done.code == 2
    assert f"verdict.json: error: does not hold what it should: {SPELLED}: " in done.err
    assert harmless(done.err)


def test_a_run_spells_out_its_sentences_progress_and_logs(sample: samples.Sample) -> None:
    result = RunResult(
        verdict=sample.verdict,
        findings=sample.findings,
        case=sample.case,
        report=Path("reports/one"),
        seed=1,
        repeat_command="readiness run",
        logs={},
    )
    text = shown(print_verdicts, Verdicts((result,), None), 600)
    assert text.count(SPELLED) == 2
    assert harmless(text)
    stream = io.StringIO()
    LineProgress(stream).note(f"one\n{HOSTILE}")
    assert SPELLED in stream.getvalue()
    assert harmless(stream.getvalue())
    assert _tail(f"one\n{HOSTILE}", Path("report")) == f"one\n{SPELLED}"
