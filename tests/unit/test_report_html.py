"""The page: complete without script, style or network, in the promised order, and safe whatever a finding says."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from harness.model.findings import Finding, Interval, Outcome
from harness.model.history import EventKind
from harness.report.arm_chart import arm_chart
from tests.unit import test_report_sample as samples
from tests.unit.test_report_fixtures import files_of, signer

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Outline(HTMLParser):
    """Tags must nest; collects what the tests ask about."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)

    def said(self) -> str:
        return " ".join(" ".join(self.text).split())

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.attributes if key == name]


def page_of(sample: samples.Sample, *, self_signed: bool = False) -> str:
    return files_of(sample, signer(self_signed=self_signed))["report.html"].decode()


@pytest.fixture(scope="module")
def page() -> str:
    return page_of(samples.sample(failing=True))


@pytest.fixture(scope="module")
def outline(page: str) -> Outline:
    return Outline(page)


ALL = {
    "ready": samples.sample(),
    "not ready": samples.sample(failing=True),
    "slow": samples.sample(slow=40),
    "together": samples.sample(together=True),
    "empty": samples.sample(empty=True),
}


@pytest.mark.parametrize("name", ALL)
def test_nothing_is_fetched_and_nothing_is_run(name: str) -> None:
    text = page_of(ALL[name])
    outline = Outline(text)
    assert "script" not in outline.tags
    assert "iframe" not in outline.tags
    assert not [key for key, _ in outline.attributes if key.startswith("on") or key == "style"]
    assert set(outline.values("href")) <= {f"#{i}" for i in outline.values("id")} | {"data:,"}
    assert outline.values("src") == []
    assert not re.search(r"url\((?!#)|@import", text)


@pytest.mark.parametrize("name", ALL)
def test_every_drawing_is_valid_and_speaks(name: str) -> None:
    drawings = re.findall(r"<svg.*?</svg>", page_of(ALL[name]), re.DOTALL)
    assert drawings
    for drawing in drawings:
        svg = ET.fromstring(drawing)
        labelled = svg.get("aria-labelledby")
        titles = {title.get("id"): title.text for title in svg.iter("title")}
        assert svg.get("aria-hidden") == "true" or svg.get("aria-label") or titles[labelled]
        assert svg.get("width")
        assert svg.get("viewBox")
        for shape in svg.iter():
            if shape.tag in ("path", "rect", "circle", "text", "polyline", "line"):
                assert shape.get("fill") or shape.get("stroke"), (
                    "a page without its style would draw this black"
                )


@pytest.mark.parametrize("name", ALL)
def test_ids_are_there_once(name: str) -> None:
    ids = Outline(page_of(ALL[name])).values("id")
    assert sorted(ids) == sorted(set(ids))


def test_the_order_is_the_one_that_a_manager_reads(page: str) -> None:
    sample = ALL["not ready"]
    wanted = [
        "NOT READY</strong>",
        sample.verdict.sentence,
        ">Summary</h2>",
        "What changes",
        "Who answers for it",
        "Risks",
        "When to go back",
        "What was proven",
        ">Findings</h2>",
        "Failed</h3>",
        "Passed</h3>",
        ">Faults</h2>",
        ">Service graph</h2>",
        ">Timeline</h2>",
        ">Appendix</h2>",
        "openssl pkeyutl",
    ]
    body = page[page.index("<body>") :]
    places = [body.index(text) for text in wanted]
    assert places == sorted(places)


def test_everything_that_a_decision_needs_is_said(outline: Outline) -> None:
    said = outline.said()
    change = ALL["not ready"].case.change
    for text in (
        change.title,
        change.why,
        change.intended_outcome,
        change.owners.model_validator,
        change.risks[0].mitigation,
        change.rollback[0].action,
        "5 % of traffic, hold 4 h",
        "2026-03-02 08:00 UTC to 2026-03-04 16:00 UTC",
        "SCORE_FIELD=score_v2",
        "2,460 requests replayed",
        "3 of 3 faults applied and healed",
        "readiness run scenarios/changes/rate-model-v2.change.yaml --seed 20260301",
        "2026-03-01 10:20 UTC",
    ):
        assert text in said, text


def test_a_failed_finding_shows_value_limit_interval_n_evidence_and_charts(page: str) -> None:
    card = page[page.index('<article class="finding k-fail"') :]
    card = card[: card.index("</article>")]
    for text in (
        "89.4\N{NO-BREAK SPACE}%",
        "at least 95\N{NO-BREAK SPACE}%",
        "95 % interval",
        "160",
        "history/exchanges.parquet",
        "unit=redis-away",
        "availability/redis-away",
        "black hole, 2.7\N{NO-BREAK SPACE}s",
    ):
        assert text in card, text
    assert card.count("<svg") == 2


def test_the_reasons_lead_to_their_findings(page: str, outline: Outline) -> None:
    verdict = page[page.index("<header") : page.index("</header>")]
    (anchor,) = re.findall(r'href="#(f-\d+)"', verdict)
    assert f'<article class="finding k-fail" id="{anchor}">' in page


def test_self_signed_is_said_and_only_then() -> None:
    assert "self-signed" in page_of(ALL["ready"], self_signed=True)
    assert "self-signed" not in page_of(ALL["ready"])


def test_an_empty_history_says_that_nothing_happened() -> None:
    said = Outline(page_of(ALL["empty"])).said()
    for text in (
        "UNKNOWN",
        "Nothing ever started.",
        "nothing was sent",
        "0 of 3 faults",
        "No request was sent in this unit.",
    ):
        assert text in said, text
    assert "The fault was never applied, on every arm." in said


def test_a_unit_that_one_arm_never_ran_is_missing_in_the_timeline() -> None:
    sample = ALL["ready"]
    events = tuple(e for e in sample.history.events if (e.arm, e.unit) != ("control", "model-slow"))
    exchanges = sample.history.exchanges
    import pyarrow.compute as pc

    gone = pc.and_(
        pc.equal(exchanges.table["arm"], "control"), pc.equal(exchanges.table["unit"], "model-slow")
    )
    history = replace(
        sample.history, events=events, exchanges=type(exchanges)(exchanges.table.filter(pc.invert(gone)))
    )
    said = Outline(page_of(replace(sample, history=history))).said()
    assert "Planned and never started: model-slow on control." in said
    assert "2 of 3 faults" in said
    assert "control never applied" in said


def test_a_fault_that_was_never_healed_is_drawn_and_not_counted() -> None:
    sample = ALL["ready"]
    events = tuple(
        e for e in sample.history.events if not (e.kind is EventKind.FAULT_HEALED and e.unit == "redis-away")
    )
    said = Outline(page_of(replace(sample, history=replace(sample.history, events=events)))).said()
    assert "2 of 3 faults" in said


HOSTILE = '</title></style><script>alert(1)</script>" onload="x" {{ 7*7 }} &amp;'


def test_what_findings_say_stays_text() -> None:
    sample = samples.altered(
        ALL["not ready"],
        "availability/redis-away",
        sentence=HOSTILE,
        subject=HOSTILE,
        unit_of_measure=HOSTILE,
        details={"x" + HOSTILE: HOSTILE, "arms": {"candidate": {"value": 1}, HOSTILE: {"value": 2}}},
    )
    outline = Outline(page_of(sample))
    assert "script" not in outline.tags
    assert not [key for key, _ in outline.attributes if key.startswith("on")]
    assert " ".join(HOSTILE.split()) in outline.said()


def finding(**fields: object) -> Finding:
    base: dict[str, object] = {
        "id": "a/b",
        "check": "a",
        "outcome": Outcome.FAIL,
        "subject": "b",
        "sentence": "No.",
    }
    return Finding.model_validate(base | fields)


class TestArmChart:
    def test_values_lie_on_the_side_of_the_limit_where_they_are(self) -> None:
        chart = arm_chart(
            finding(
                value=120.0,
                limit=100.0,
                baseline_value=80.0,
                control_value=90.0,
                interval=Interval(low=110.0, high=130.0),
                unit_of_measure="ms",
                details={"limit_is": "most"},
            ),
            "x",
        )
        assert chart is not None
        baseline, control, candidate = chart.marks
        assert chart.limit is not None
        assert chart.left <= baseline.x < control.x < chart.limit.x < candidate.x <= chart.right
        assert candidate.low_x is not None
        assert candidate.high_x is not None
        assert chart.limit.x < candidate.low_x < candidate.x < candidate.high_x
        assert (chart.limit.bad_from, chart.limit.bad_to) == (chart.limit.x, chart.right)
        assert [mark.name for mark in chart.marks] == ["baseline", "control", "candidate"]
        assert "candidate 120\N{NO-BREAK SPACE}ms" in chart.label

    def test_a_lower_limit_is_bad_on_its_left(self) -> None:
        chart = arm_chart(
            finding(value=0.9, limit=0.95, unit_of_measure="share", details={"limit_is": "least"}), "x"
        )
        assert chart is not None
        assert chart.limit is not None
        assert (chart.limit.bad_from, chart.limit.bad_to) == (chart.left, chart.limit.x)

    def test_groups_are_one_row_each(self) -> None:
        groups = {
            "candidate": {"female": {"value": 0.7, "n": 90}, "male": {"value": 0.8}},
            "baseline": {"female": 0.8},
        }
        chart = arm_chart(finding(value=0.88, details={"groups": groups}), "x")
        assert chart is not None
        assert [mark.name for mark in chart.marks] == [
            "female, baseline",
            "female, candidate",
            "male, candidate",
        ]

    def test_no_value_is_no_chart_and_a_single_value_is_one(self) -> None:
        assert arm_chart(finding(), "x") is None
        for value in (0.0, 5.0, -3.0, 1e-9, 1e12):
            chart = arm_chart(finding(value=value), "x")
            assert chart is not None
            assert chart.left <= chart.marks[0].x <= chart.right

    def test_nonsense_in_details_is_left_out(self) -> None:
        details = {"arms": {"baseline": "fast", "candidate": {"value": None}, "control": {"value": True}}}
        assert arm_chart(finding(details=details), "x") is None
