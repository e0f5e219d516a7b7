"""The table of the replay's fidelity: in the page and on the terminal, with what is beyond its limit and what ran short."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.model.history import EventKind, Exchanges
from harness.report import Bundle, fidelity_view
from harness.report.show import print_report
from tests.unit import test_report_sample as samples
from tests.unit.cli_tools import shown
from tests.unit.test_report_fixtures import signer, write_report
from tests.unit.test_report_html import Outline, page_of

BUNCH_NS = 100_000_000


def starved() -> samples.Sample:
    """A run whose control got its requests in bunches from a generator that was held back."""
    found = samples.sample()
    rows = found.history.exchanges.rows()
    for row in rows:
        if row["arm"] == "control":
            row["sent_ns"] = -(-row["due_ns"] // BUNCH_NS) * BUNCH_NS + 30_000_000
            row["answered_ns"] = max(row["answered_ns"], row["sent_ns"])
    held = {"throttled_ms": 3000.0, "wall_ms": 7000.0}
    events = tuple(
        replace(event, detail={**event.detail, **held})
        if event.kind is EventKind.REPLAY and event.arm == "control"
        else event
        for event in found.history.events
    )
    history = replace(found.history, exchanges=Exchanges.from_rows(rows), events=events)
    findings = samples.judge(found.case, history)
    return samples.Sample(found.case, history, findings, samples.decide(found.case, findings))


def test_the_page_has_every_measure_of_every_arm_and_its_limit() -> None:
    page = page_of(samples.sample())
    text = Outline(page).said()
    assert "Replay fidelity How faithfully the recording was sent." in text
    table = text[text.index("Measure At most baseline control candidate") :]
    for words in (
        "lateness of 99 %",
        "rate of the worst second",
        "burstiness at 10ms",
        "mix by route",
        "gaps between",
    ):
        assert words in table
    assert "What ran short" not in text
    assert "bar-over" not in page.partition("</style>")[2]


def test_what_is_beyond_its_limit_stands_out_and_the_page_says_what_ran_short() -> None:
    page = page_of(starved())
    assert 'class="bar-over"' in page
    assert (
        "What ran short for control: the CPU limit of the generator's control group "
        "(it was held back for 3000 of 7000 ms)." in Outline(page).said().replace("&#39;", "'")
    )


def bundle_of(sample: samples.Sample, tmp_path: Any) -> Bundle:
    from harness.report import read_bundle

    return read_bundle(write_report(tmp_path, sample, signer()))


def test_the_terminal_shows_the_same_table(tmp_path: Any) -> None:
    text = shown(print_report, bundle_of(starved(), tmp_path))
    (line,) = [line for line in text.splitlines() if line.startswith("Score")]
    assert line.split()[1:] == ["94", "%", "0", "%", "94", "%"] or line.split()[3] == "0"
    (line,) = [line for line in text.splitlines() if line.startswith("lateness of 90 %")]
    assert "80 ms" in line.replace("\xa0", " ")


@pytest.mark.parametrize("details", [{}, {"parts": None}, {"parts": [{"name": 3}]}, {"parts": "<b>"}])
def test_details_that_hold_no_parts_give_no_table(details: dict[str, Any]) -> None:
    finding = samples.sample().findings[-1].model_copy(update={"details": details})
    assert finding.check == "fidelity"
    assert fidelity_view.of_findings([finding], [finding.subject]) is None
