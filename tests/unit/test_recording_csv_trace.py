"""CSV traces: times of every kind, the request that each row makes, and what is wrong with options."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.recording.readers.csv_trace import CsvTraceReader
from harness.recording.readers.har import HarReader
from tests.golden_files import golden
from tests.unit.log_reading import Read, read, recognises, written
from tests.unit.real_data import AZURE, TRAFFIC, needs

CSV = CsvTraceReader()
SECOND = 1_000_000_000


def of(folder: Path, text: str, skip_bad: bool = False, **options: str) -> Read:
    return read(CSV, written(folder, "trace.csv", text), skip_bad, **options)


def times(folder: Path, text: str, **options: str) -> list[int]:
    found = of(folder, text, **options)
    assert found.said == []
    return [row["at_ns"] for row in found.rows]


def test_arrivals_alone_make_the_plainest_request(tmp_path: Path) -> None:
    found = of(tmp_path, "# a licence\n\noffset_ms\n0\n12.5\n7\n")
    assert found.known() == [
        {"at_ns": at_ns, "method": "GET", "path": "/", "body": b""} for at_ns in (0, 12_500_000, 7_000_000)
    ]


def test_times_of_every_kind(tmp_path: Path) -> None:
    assert times(tmp_path, "when;x\n1.5;a\n", time="when", unit="us") == [1_500]
    assert times(tmp_path, "ts_ns,x\n1700158623979960000,a\n") == [1_700_158_623_979_960_000]
    dated = "TIMESTAMP,x\n2023-11-16 18:17:03.9799600,a\n2023-11-16T19:17:03.97996+01:00,a\n"
    assert times(tmp_path, dated) == [1_700_158_623_979_960_000] * 2
    assert times(tmp_path, "time\n2026-03-01 00:00:00\n", zone="Europe/Berlin") == [1_772_319_600 * SECOND]


def test_a_row_fills_the_whole_request(tmp_path: Path) -> None:
    found = of(
        tmp_path,
        'offset_s\tid\tn\ttext\n1\ta/b c\t4808\tsay "hi"\n2\té\t-0.50\t\n',
        method="POST",
        path="/v1/{id}?n={n}",
        body='{"n": "{n}", "id": "{id}", "t": "<{text}>", "list": [1, null, "{text}"], "none": {}}',
        header__X_Id="{id}",
        client="c-{n}",
        key="id",
        host="Shop.test",
    )
    assert found.said == []
    first, second = found.known()
    assert first == {
        "at_ns": SECOND,
        "client": "c-4808",
        "key": "a/b c",
        "method": "POST",
        "host": "shop.test",
        "path": "/v1/a%2Fb%20c?n=4808",
        "route": "/v1/{id}",
        "headers": "x_id: a/b c\ncontent-type: application/json",
        "body": b'{"n":4808,"id":"a/b c","t":"<say \\"hi\\">","list":[1,null,"say \\"hi\\""],"none":{}}',
    }
    assert second["path"] == "/v1/%C3%A9?n=-0.50"
    assert second["headers"] == "x_id: \xc3\xa9\ncontent-type: application/json"
    assert second["body"] == '{"n":-0.50,"id":"é","t":"<>","list":[1,null,""],"none":{}}'.encode()


def test_a_body_that_is_no_json(tmp_path: Path) -> None:
    (row,) = of(tmp_path, "offset_s,a\n0,x y\n", body="a={a}&b=1", method="PUT").known()
    assert (row["body"], "headers" in row) == (b"a=x y&b=1", False)


@pytest.mark.parametrize(
    ("text", "rows"), [("offset_s,a\n0,1\n1,2", 2), ("a,offset_s\n1,0\n2,1", 1), ("offset_s\n0\n1", 1)]
)
def test_a_last_line_without_an_end_counts_when_its_time_is_whole(
    tmp_path: Path, text: str, rows: int
) -> None:
    found = of(tmp_path, text, skip_bad=True)
    assert len(found.rows) == rows
    assert found.skipped == ({} if rows == 2 else {"the last line does not end": 1})


def test_what_is_no_trace(tmp_path: Path) -> None:
    assert recognises(CSV, written(tmp_path, "t.csv", "# c\ntimestamp|a\n2026-03-01 00:00:00|x\n"))
    for text in (
        "",
        "a,b\n1,2\n",
        "timestamp,a\nyesterday,2\n",
        "timestamp\n",
        "offset_s\n",
        '{"time": 1}\n',
        "\xff\xfe",
    ):
        assert not recognises(CSV, written(tmp_path, "t.csv", text)), text


WRONG = {
    "no times": ("a,b\n1,2\n", {}),
    "no such column": ("offset_s,path\n1,2\n", {"time": "ofset_s"}),
    "no unit": ("time,b\n1.5,2\n", {}),
    "columns of a template": ("offset_s,order\n1,2\n", {"path": "/{oder}"}),
    "columns with one name": ("offset_s,a,a\n1,2,3\n", {}),
    "path": ("offset_s,a\n1,2\n", {"path": "http://shop.test/"}),
    "template": ("offset_s,a\n1,2\n", {"path": "/{a.b}"}),
    "header": ("offset_s,a\n1,2\n", {"header.content-length": "3"}),
    "options": ("offset_s,a\n1,2\n", {"pth": "/", "unit": "h", "zone": "Mars", "delimiter": "::"}),
    "only comments": ("# nothing\n", {}),
    "rows": ("offset_s,a\n-1,x\n1e400,x\n\n3\n1,y\n2,\nNaN,z\n9300000000,z\n", {"path": "/{a}"}),
    "a value that no header carries": ('offset_s,a\n1,"x\x01"\n', {"header.a": "{a}"}),
}


def test_what_is_wrong_with_traces_and_options(tmp_path: Path) -> None:
    said = []
    for name, (text, options) in WRONG.items():
        found = of(tmp_path, text, **{option.replace(".", "__"): value for option, value in options.items()})
        said.append("\n".join([f"# {name}", *found.said, ""]))
    golden("recording_csv_trace.txt", "\n".join(said))


CELL = st.text(
    st.characters(codec="utf-8", exclude_characters="\r\n\0", exclude_categories=("Cs",)), max_size=6
)


@given(st.lists(st.tuples(st.integers(0, 10**12), CELL, CELL), min_size=1, max_size=20))
def test_cells_arrive_as_they_were_written(tmp_path_factory, rows: list[tuple[int, str, str]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("offset_us", "a", "b"), *rows])
    folder = tmp_path_factory.mktemp("csv")
    found = of(folder, text.getvalue(), path="/x{a}", body='["{a}", "-{b}"]', skip_bad=True)
    expected = [(at * 1_000, "/x" + quote(a, safe=""), a, "-" + b) for at, a, b in rows if a]
    shown = [
        (row["at_ns"], row["path"], *map(str, json.loads(row["body"], parse_float=str, parse_int=str)))
        for row in found.rows
    ]
    assert shown == expected


@needs(AZURE)
def test_the_azure_trace_becomes_completions() -> None:
    options = {
        "method": "POST",
        "path": "/v1/completions",
        "body": '{"prompt_tokens": "{ContextTokens}", "max_tokens": "{GeneratedTokens}"}',
    }
    found = read(CSV, AZURE, **options)
    assert (len(found.rows), found.said) == (8_819, [])
    assert found.rows[0]["at_ns"] == 1_700_158_623_979_960_000
    assert found.rows[0]["body"] == b'{"prompt_tokens":4808,"max_tokens":10}'
    assert found.rows[-1]["body"] == b'{"prompt_tokens":549,"max_tokens":173}'
    assert recognises(CSV, AZURE)


@needs(TRAFFIC / "firefox.har")
def test_no_other_reader_takes_real_traffic_for_its_own() -> None:
    for path in sorted(TRAFFIC.iterdir()):
        assert recognises(CSV, path) == (path == AZURE), path.name
        assert recognises(HarReader(), path) == (path.suffix == ".har"), path.name
