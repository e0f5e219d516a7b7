"""JUnit XML, the terminal and `--json`: the same findings in other clothes, and numbers that do not lie."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from harness.model.findings import Outcome
from harness.report import (
    Bundle,
    numbers,
    print_report,
    print_verification,
    read_bundle,
    report_as_dict,
    verification_as_dict,
    verify,
)
from harness.report.junit import render_junit
from tests.golden_files import golden
from tests.unit import test_report_sample as samples
from tests.unit.test_report_fixtures import (
    files_of,
    judged_by_sample,
    signer,
    write_key,
    write_report,
)

SPACE = "\N{NO-BREAK SPACE}"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return read_bundle(
        write_report(tmp_path_factory.mktemp("report") / "one", samples.sample(failing=True), signer())
    )


def junit(sample: samples.Sample) -> ET.Element:
    return ET.fromstring(files_of(sample, signer())["junit.xml"])


class TestJunit:
    """Element order and attributes are those of the Ant schema (JUnit.xsd), which leaves nothing out."""

    def test_it_is_the_golden_file(self) -> None:
        golden("report/junit.xml", files_of(samples.sample(failing=True), signer())["junit.xml"].decode())

    @pytest.mark.parametrize("how", [{}, {"failing": True}, {"empty": True}])
    def test_counts_and_shape_fit_strict_readers(self, how: dict[str, bool]) -> None:
        root = junit(samples.sample(**how))
        (suite,) = root
        assert root.attrib == {}
        assert [child.tag for child in suite if child.tag != "testcase"] == [
            "properties",
            "system-out",
            "system-err",
        ]
        assert suite[0].tag == "properties"
        assert len(suite[0]) == 0
        cases = suite.findall("testcase")
        assert int(suite.attrib["tests"]) == len(cases)
        assert int(suite.attrib["failures"]) == len(suite.findall("testcase/failure"))
        assert int(suite.attrib["errors"]) == len(suite.findall("testcase/error"))
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.attrib["timestamp"])
        for case in cases:
            assert set(case.attrib) == {"name", "classname", "time"}
            assert len(case) <= 1
            for child in case:
                assert set(child.attrib) == {"message", "type"}

    def test_fail_is_a_failure_and_unknown_an_error(self) -> None:
        assert len(junit(samples.sample(failing=True)).findall(".//failure")) == 1
        unknown = junit(samples.sample(empty=True))
        assert len(unknown.findall(".//error")) == len(samples.sample(empty=True).findings)

    def test_a_build_server_does_not_turn_green_when_nothing_was_found(self) -> None:
        sample = samples.sample(empty=True)
        root = junit(replace(sample, findings=()))
        assert [case.attrib["name"] for case in root.iter("testcase")] == ["verdict"]
        assert len(root.findall(".//error")) == 1

    def test_what_xml_cannot_hold_is_replaced(self) -> None:
        sample = samples.altered(
            samples.sample(failing=True),
            "availability/redis-away",
            sentence='a\x00b\x1b[31m \ufffe <&" \ud800',
        )
        (failure,) = junit(sample).iter("failure")
        assert failure.attrib["message"].startswith('a\ufffdb\ufffd[31m \ufffd <&"')


def shown(thing: object, width: int = 110) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False, color_system=None)
    if isinstance(thing, Bundle):
        print_report(thing, console)
    else:
        print_verification(thing, console)  # type: ignore[arg-type]
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


class TestShow:
    def test_it_is_the_golden_text(self, bundle: Bundle) -> None:
        golden("report/show.txt", shown(bundle).replace(bundle.manifest.signer.keyid[:16], "KEY"))

    def test_markup_in_a_sentence_is_text(self, bundle: Bundle) -> None:
        finding = bundle.findings[0].model_copy(
            update={"sentence": "[red]not[/red] [/nothing]", "outcome": Outcome.FAIL}
        )
        assert "[red]not[/red] [/nothing]" in shown(replace(bundle, findings=(finding,)), 160)

    def test_json_has_everything_and_does_not_claim_to_be_verified(self, bundle: Bundle) -> None:
        fields = json.loads(json.dumps(report_as_dict(bundle)))
        assert fields["verdict"] == "NOT_READY"
        assert fields["findings"][0]["outcome"] == "fail"
        assert len(fields["findings"]) == len(bundle.findings)
        assert fields["verified"] is False
        assert fields["seed"] == samples.SEED


class TestShownVerification:
    @pytest.fixture(autouse=True)
    def _judged(self, monkeypatch: pytest.MonkeyPatch) -> None:
        judged_by_sample(monkeypatch)

    def test_a_good_and_an_altered_report_are_the_golden_text(self, tmp_path: Path) -> None:
        report = write_report(tmp_path / "one", samples.sample(failing=True), signer(self_signed=True))
        key = write_key(tmp_path / "public.pem", public=True)
        text = "# good\n" + shown(verify(report, key))
        text += "\n# without a key\n" + shown(verify(report))
        (report / "findings.json").write_bytes(
            (report / "findings.json").read_bytes().replace(b"fail", b"pass")
        )
        (report / "logs" / "candidate" / "gateway.log").unlink()
        (report / "notes.txt").write_text("hello")
        text += "\n# altered\n" + shown(verify(report, key))
        golden("report/verify.txt", text.replace(signer().public.keyid[:16], "KEY"))
        fields = json.loads(json.dumps(verification_as_dict(verify(report, key))))
        assert fields["ok"] is False
        assert {"file": "notes.txt", "what": "is not in the manifest: added after signing"} in fields[
            "problems"
        ]


class TestNumbers:
    @pytest.mark.parametrize(
        ("value", "unit", "text"),
        [
            (None, "ms", "—"),
            (0.0, "ms", "0 ms"),
            (0.01234, "ratio", "0.0123 ratio"),
            (1.0, "", "1"),
            (1.5, "s", "1.5 s"),
            (12.345, "ms", "12.3 ms"),
            (99.97, "ms", "100 ms"),
            (123.4, "ms", "123 ms"),
            (1234567.0, "requests", "1,234,567 requests"),
            (-0.5, "", "-0.5"),
            (0.95, "share", "95 %"),
            (0.9996, "share", "99.96 %"),
            (0.999999, "share", "99.9999 %"),
            (0.0004, "share", "0.04 %"),
            (1.0, "share", "100 %"),
            (0.0, "share", "0 %"),
            (0.89375, "share", "89.4 %"),
        ],
    )
    def test_measures(self, value: float | None, unit: str, text: str) -> None:
        assert numbers.measure(value, unit).replace(SPACE, " ") == text

    def test_spans_and_sizes(self) -> None:
        assert numbers.seconds(350e6).replace(SPACE, " ") == "350 ms"
        assert numbers.seconds(12.34e9).replace(SPACE, " ") == "12.3 s"
        assert numbers.seconds(245e9).replace(SPACE, " ") == "4 min 5 s"
        assert numbers.seconds(179.9e9).replace(SPACE, " ") == "3 min 0 s"
        assert numbers.size(812).replace(SPACE, " ") == "812 B"
        assert numbers.size(1_234_567).replace(SPACE, " ") == "1.23 MB"


def test_importing_the_package_is_cheap_and_brings_no_table_library() -> None:
    script = "import sys, harness.report; print([n for n in ('pyarrow', 'jinja2', 'cryptography', 'rich') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_junit_is_drawn_from_what_was_read(bundle: Bundle) -> None:
    assert render_junit(bundle) == files_of(samples.sample(failing=True), signer())["junit.xml"]
