"""JUnit XML for build servers: one testcase a finding, a failure for FAIL, an error for UNKNOWN.

Takes a Bundle, gives bytes that satisfy both the Ant schema (Windy Road's `JUnit.xsd`, which demands every element) and
Jenkins's `junit-10.xsd` (which refuses unknown attributes). Times are 0: a finding takes none.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from harness.model.findings import Finding, Outcome, VerdictWord
from harness.report.layout import Bundle
from harness.report.numbers import interval, limit, measure

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
KINDS = {Outcome.FAIL: "failure", Outcome.UNKNOWN: "error"}


def render_junit(bundle: Bundle) -> bytes:
    """The XML file."""
    plan, run = bundle.case.plan, bundle.manifest.run
    findings = bundle.findings
    silent = _verdict_case_needed(bundle)
    failures = sum(1 for finding in findings if finding.outcome is Outcome.FAIL)
    errors = sum(1 for finding in findings if finding.outcome is Outcome.UNKNOWN) + silent
    root = ET.Element("testsuites")
    suite = ET.SubElement(
        root,
        "testsuite",
        {
            "id": "0",
            "package": "readiness",
            "name": _text(f"{plan.change}.{plan.scenario}"),
            "timestamp": run.evaluated_at.strftime("%Y-%m-%dT%H:%M:%S"),
            "hostname": "localhost",
            "tests": str(len(findings) + silent),
            "failures": str(failures),
            "errors": str(errors),
            "skipped": "0",
            "time": "0.000",
        },
    )
    ET.SubElement(suite, "properties")
    if silent:
        case = _case(suite, "verdict", "readiness.verdict")
        error = ET.SubElement(case, "error", {"message": _text(bundle.verdict.sentence), "type": "UNKNOWN"})
        error.text = _text("\n".join(bundle.verdict.reasons))
    for finding in findings:
        _finding_case(suite, finding)
    ET.SubElement(suite, "system-out").text = _text(
        f"{bundle.verdict.verdict.value}: {bundle.verdict.sentence}\nrun {run.run_id}, seed {run.seed}\n"
        f"repeat with: {run.repeat_command}\n"
    )
    ET.SubElement(suite, "system-err")
    ET.indent(root)
    xml: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return xml + b"\n"


def _verdict_case_needed(bundle: Bundle) -> bool:
    """True when the verdict is not READY although no finding says why: a build server must not turn green."""
    worrying = any(finding.outcome is not Outcome.PASS for finding in bundle.findings)
    return bundle.verdict.verdict is not VerdictWord.READY and not worrying


def _case(suite: ET.Element, name: str, class_name: str) -> ET.Element:
    return ET.SubElement(
        suite, "testcase", {"name": _text(name), "classname": _text(class_name), "time": "0.000"}
    )


def _finding_case(suite: ET.Element, finding: Finding) -> None:
    case = _case(suite, finding.id, f"readiness.{finding.check}")
    kind = KINDS.get(finding.outcome)
    if kind is None:
        return
    said = ET.SubElement(
        case, kind, {"message": _text(finding.sentence), "type": finding.outcome.value.upper()}
    )
    said.text = _text("\n".join(_lines(finding)))


def _lines(finding: Finding) -> list[str]:
    lines = [
        finding.sentence,
        f"subject: {finding.subject}",
        f"value: {measure(finding.value, finding.unit_of_measure)}",
        f"limit: {limit(finding)}",
        f"interval: {interval(finding)}",
        f"n: {finding.sample_size}",
    ]
    for pointer in finding.evidence:
        where = ", ".join(f"{key}={value}" for key, value in sorted(pointer.where.items()))
        lines.append(f"evidence: {pointer.file} where {where or 'all rows'}: {pointer.rows} rows")
    return lines


def _text(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
