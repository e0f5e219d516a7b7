"""Recordings: what the two forms mean, and what is said about ones that are wrong."""

from __future__ import annotations

import datetime as dt
import decimal
import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import DefinitionError
from harness.model.recording import Exchange, RecordedAnswer, Recording, request_id
from harness.recording.load import load_recording, recording_files, write_exchanges
from tests.golden_files import golden

DEFINITION = """\
recording: loans
attribution: "Arrival times: made up for this test"
arrivals:
  file: arrivals.csv
  column: offset_ms
requests:
  table: applications
  method: POST
  path: /applications/{application_id}?via={channel}
  headers:
    X-Channel: "{channel}"
  client: "{applicant_id}"
  key: application_id
  body:
    id: "{application_id}"
    income: "{income}"
    owner: "{owner}"
    since: "{since}"
    rate: "{rate}"
    nothing: "{nothing}"
    note: "from {channel}, {{as is}}"
    list: ["{income}", 3, true, null]
"""

ARRIVALS = "# a licence\noffset_ms,tokens\n0,1\n10.5,2\n10.5,3\n"


def applications(rows: int = 5) -> pa.Table:
    return pa.table(
        {
            "application_id": [f"A/{k}" for k in range(rows)],
            "applicant_id": [k % 2 for k in range(rows)],
            "income": [k * 1.5 for k in range(rows)],
            "owner": [k % 2 == 0 for k in range(rows)],
            "since": [dt.date(2020, 1, 1 + k) for k in range(rows)],
            "rate": pa.array([decimal.Decimal("6.25")] * rows, pa.decimal128(5, 2)),
            "nothing": pa.array([float("nan")] * rows),
            "channel": ["web", "branch", None, "web", "web"][:rows],
        }
    )


def tables(name: str) -> pa.Table:
    return {"applications": applications()}[name]


def written(folder: Path, definition: str = DEFINITION, arrivals: str = ARRIVALS) -> Path:
    (folder / "arrivals.csv").write_text(arrivals)
    path = folder / "loans.recording.yaml"
    path.write_text(definition)
    return path


def plain(folder: Path, *lines: object, end: str = "\n") -> Path:
    header = {"format": 1, "recording": "plain", "source": "a test", "attribution": "ours"}
    text = [line if isinstance(line, str) else json.dumps(line) for line in (header, *lines)]
    path = folder / "plain.ndjson"
    path.write_text("\n".join(text) + end)
    return path


def test_row_k_is_drawn_for_arrival_k_with_types_kept(tmp_path: Path) -> None:
    path = written(tmp_path, arrivals="offset_ms,tokens\n0,1\n10.5,2\n")
    recording = load_recording(path, tables)
    assert recording.name == "loans"
    assert [exchange.at_ns for exchange in recording.exchanges] == [0, 10_500_000]
    second = recording.exchanges[1]
    assert (second.seq, second.client, second.key) == (1, "1", "A/1")
    assert (second.method, second.path) == ("POST", "/applications/A%2F1?via=branch")
    assert second.route == "/applications/{application_id}"
    assert second.headers == (("x-channel", "branch"), ("content-type", "application/json"))
    assert json.loads(second.body) == {
        "id": "A/1",
        "income": 1.5,
        "owner": False,
        "since": "2020-01-02",
        "rate": 6.25,
        "nothing": None,
        "note": "from branch, {as is}",
        "list": [1.5, 3, True, None],
    }


def test_speed_squeezes_arrivals_and_leaves_what_comes_after_them(tmp_path: Path) -> None:
    definition = """\
recording: two-steps
attribution: ours
arrivals: {file: arrivals.csv, column: offset_s, speed: 4}
requests:
  - {table: applications, path: "/first/{applicant_id}"}
  - {table: applications, path: "/then/{applicant_id}", after: 300ms}
"""
    recording = load_recording(written(tmp_path, definition, "offset_s\n0\n1\n2\n"), tables)
    assert [(e.at_ns // 1_000_000, e.path) for e in recording.exchanges] == [
        (0, "/first/0"),
        (250, "/first/1"),
        (300, "/then/0"),
        (500, "/first/0"),
        (550, "/then/1"),
        (800, "/then/0"),
    ]
    assert [e.seq for e in recording.exchanges] == list(range(6))
    assert recording.between(250_000_000, 550_000_000) == (1, 4)
    assert [e.path for e in recording.slice(1, 4)] == ["/first/1", "/then/0", "/first/0"]


def test_a_plain_recording_says_the_same_whichever_way_a_body_is_written(tmp_path: Path) -> None:
    recording = load_recording(
        plain(
            tmp_path,
            {"at_ns": 0, "path": "/a?b=c", "headers": {"X-One": "1"}, "json": {"é": 1}},
            {"at_ns": 0, "path": "/b", "method": "POST", "body": "text", "client": "c", "key": "k"},
            {
                "at_ns": 5,
                "path": "/c",
                "route": "/{c}",
                "headers": [["a", "1"], ["a", "2"]],
                "body_base64": "/w==",
            },
        )
    )
    first, second, third = recording.exchanges
    assert (first.method, first.route, first.body) == ("GET", "/a", '{"é":1}'.encode())
    assert first.headers == (("x-one", "1"), ("content-type", "application/json"))
    assert (second.body, second.client, second.key, second.headers) == (b"text", "c", "k", ())
    assert (third.route, third.headers, third.body) == ("/{c}", (("a", "1"), ("a", "2")), b"\xff")
    assert recording.length_ns == 6


TEXTS = st.text(st.characters(codec="utf-8"))
ANSWERS = st.builds(
    RecordedAnswer,
    status=st.integers(-1, 599),
    first_byte_ns=st.integers(-1, 9),
    answered_ns=st.integers(-1, 9),
    headers=st.lists(
        st.tuples(st.sampled_from(["set-cookie", "content-length"]), st.sampled_from(["", "1: 2"]))
    ).map(tuple),
    body=st.one_of(st.none(), st.binary()),
    error=TEXTS,
    size_bytes=st.integers(-1, 9),
)
EXCHANGES = st.lists(
    st.builds(
        Exchange,
        seq=st.just(0),
        at_ns=st.integers(0, 10**12),
        client=st.text(),
        key=st.just(""),
        method=st.sampled_from(["GET", "POST"]),
        path=st.sampled_from(["/", "/a/b?c=d%20e"]),
        route=st.text(),
        headers=st.lists(st.tuples(st.sampled_from(["accept", "x-a"]), st.sampled_from(["", "1, 2"]))).map(
            tuple
        ),
        body=st.binary(),
        scheme=st.sampled_from(["", "https"]),
        host=st.sampled_from(["", "example.org:8080"]),
        http=st.sampled_from(["", "1.1", "2"]),
        connection=TEXTS,
        answer=ANSWERS,
        size_bytes=st.integers(-1, 9),
    ),
    min_size=1,
    max_size=5,
)


@given(EXCHANGES, st.integers(0, 10**13))
def test_writing_and_reading_is_the_identity(
    tmp_path_factory: pytest.TempPathFactory, exchanges: list[Exchange], length_ns: int
) -> None:
    path = tmp_path_factory.mktemp("recordings") / "written.ndjson"
    recording = Recording.of("written", "ours", exchanges, length_ns)
    write_exchanges(recording, path)
    assert load_recording(path) == recording


def test_the_digest_is_over_the_traffic_and_not_over_its_name(tmp_path: Path) -> None:
    first = load_recording(plain(tmp_path, {"at_ns": 0, "path": "/a"}))
    other_name = Recording.of("other", "theirs", first.exchanges, first.length_ns)
    other_body = load_recording(plain(tmp_path, {"at_ns": 0, "path": "/a", "body": "x"}))
    longer = Recording.of("plain", "ours", first.exchanges, 100)
    assert first.digest == other_name.digest
    assert len({first.digest, other_body.digest, longer.digest}) == 3
    # tests/unit/test_recording_store.py computes one by hand.
    assert request_id(7, first.digest, 3) == hashlib.sha256(f"7 {first.digest} 3".encode()).hexdigest()[:32]


def test_a_folder_stands_for_the_one_recording_in_it(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert (
        load_recording(
            tmp_path,
            lambda _: (
                applications(2).take([0, 1, 0]).set_column(0, "application_id", pa.array(["a", "b", "c"]))
            ),
        ).name
        == "loans"
    )
    assert recording_files(tmp_path) == (path, tmp_path / "arrivals.csv")
    other = plain(tmp_path, {"at_ns": 0, "path": "/a"})
    assert recording_files(other) == (other,)
    with pytest.raises(
        DefinitionError, match=r"holds 2 recordings\n  name one of loans.recording.yaml, plain.ndjson"
    ):
        load_recording(tmp_path, tables)


LINE = {"at_ns": 5, "path": "/a"}

WRONG_PLAIN: dict[str, tuple[tuple[object, ...], str]] = {
    "no exchange": ((), "\n"),
    "cut off in a line": ((LINE, '{"at_ns": 6, "pa'), ""),
    "cut off at the end of a line": ((LINE, LINE), ""),
    "out of order": (
        (LINE, {"at_ns": 3, "path": "/a"}, {"at_ns": 4, "path": "/a"}, {"at_ns": 9, "path": "/b"}),
        "\n",
    ),
    "no JSON": ((LINE, "at_ns: 5", '["at_ns", 5]', '{"at_ns": NaN, "path": "/"}'), "\n"),
    "unknown and missing keys": (({"at_ns": 1, "pth": "/a"}, {"path": "/a", "clinet": "c"}), "\n"),
    "bad numbers": (
        ({"at_ns": "1", "path": "/a"}, {"at_ns": -1, "path": "/a"}, {"at_ns": 1.5, "path": "/"}),
        "\n",
    ),
    "repeated key of an object": (('{"at_ns": 1, "path": "/a", "path": "/b"}',), "\n"),
    "repeated key of a label": (({**LINE, "key": "K"}, {**LINE, "key": "L"}, {**LINE, "key": "K"}), "\n"),
    "not a path": (
        (
            {"at_ns": 1, "path": "http://example.org/"},
            {"at_ns": 1, "path": "x"},
            {"at_ns": 1, "path": "/a b"},
        ),
        "\n",
    ),
    "answers": (
        (
            {**LINE, "answer": {"status": "200"}},
            {**LINE, "answer": {"json": 1, "body": "x"}},
            {**LINE, "answer": {"headers": [["a", "b\nc"]]}},
            {**LINE, "http": "4", "host": "a b", "answer": {"stauts": 200}},
        ),
        "\n",
    ),
    "headers": (
        (
            {**LINE, "headers": {"X-Request-ID": "1"}},
            {**LINE, "headers": [["a", "b\nc"]]},
            {**LINE, "headers": {"a": 1}},
        ),
        "\n",
    ),
    "bodies": (
        (
            {**LINE, "json": 1, "body": "x"},
            {**LINE, "body_base64": "%"},
            '{"at_ns": 5, "path": "/", "body": "\\ud800"}',
        ),
        "\n",
    ),
}


def message(error: DefinitionError, folder: Path) -> str:
    return str(error).replace(str(folder), "FOLDER") + "\n"


def test_what_is_wrong_with_a_plain_recording(tmp_path: Path) -> None:
    said = []
    for name, (lines, end) in WRONG_PLAIN.items():
        with pytest.raises(DefinitionError) as error:
            load_recording(plain(tmp_path, *lines, end=end))
        said.append(f"# {name}\n{message(error.value, tmp_path)}")
    golden("recording_plain.txt", "\n".join(said))


WRONG_HEADERS = {
    "empty": "",
    "blank": "\n\n",
    "no header": '{"at_ns": 1, "path": "/a"}\n',
    "another format": '{"format": 3, "recording": "a", "source": "b", "attribution": "c"}\n',
    "half a header": '{"format": 1, "recording": "A B", "count": 1}\n',
    "fewer than promised": (
        '{"format": 1, "recording": "a", "source": "b", "attribution": "c", "exchanges": 2}\n'
        '{"at_ns": 1, "path": "/a"}\n'
    ),
    "not UTF-8": '{"format": 1, "recording": "a", "source": "b", "attribution": "c"}\n\udcff\n',
}


def test_what_is_wrong_with_a_plain_recordings_head(tmp_path: Path) -> None:
    said = []
    path = tmp_path / "plain.ndjson"
    for name, text in WRONG_HEADERS.items():
        path.write_text(text, "utf-8", "surrogateescape")
        with pytest.raises(DefinitionError) as error:
            load_recording(path)
        said.append(f"# {name}\n{message(error.value, tmp_path)}")
    for missing in (tmp_path / "nowhere.ndjson", tmp_path / "traffic.har"):
        with pytest.raises(DefinitionError) as error:
            load_recording(missing)
        said.append(f"# {missing.name}\n{message(error.value, tmp_path)}")
    golden("recording_plain_head.txt", "\n".join(said))


WRONG_DEFINITIONS = {
    "unknown columns": (("{channel}", "{chanel}"), ("key: application_id", "key: application")),
    "unknown table": (("table: applications", "table: loans"),),
    "empty values": (),
    "templates": (("{application_id}?", "{application_id?"), ('"{income}"', '"{income:>3}"')),
    "no such column": (("column: offset_ms", "column: ofset_ms"),),
    "keys that repeat": (
        ("key: application_id", "key: applicant_id"),
        ("via={channel}", ""),
        ('"{channel}"', "a"),
        ("from {channel}", ""),
    ),
}


def test_what_is_wrong_with_a_married_recording(tmp_path: Path) -> None:
    said = []
    for name, changes in WRONG_DEFINITIONS.items():
        definition = DEFINITION
        for before, after in changes:
            assert before in definition, (name, before)
            definition = definition.replace(before, after)
        with pytest.raises(DefinitionError) as error:
            load_recording(written(tmp_path, definition), tables)
        said.append(f"# {name}\n{message(error.value, tmp_path)}")
    golden("recording_married.txt", "\n".join(said))


@pytest.mark.parametrize(
    "changed",
    [{"path": "/a\n"}, {"headers": [["x-a", "b\n"]]}, {"headers": [["x-a\n", "b"]]}],
    ids=["path", "header", "header-name"],
)
def test_a_line_break_at_the_end_is_one_as_well(tmp_path: Path, changed: dict[str, object]) -> None:
    """Sent, it would end the request's head early: the headers that follow would be lost or be another request."""
    head = {"format": 2, "recording": "shop", "source": "made up", "attribution": "ours"}
    path = tmp_path / "shop.ndjson"
    path.write_text(f"{json.dumps(head)}\n{json.dumps({'at_ns': 0, 'path': '/a', **changed})}\n", "utf-8")
    with pytest.raises(DefinitionError, match=r"is no path|is no header"):
        load_recording(path)


@pytest.mark.parametrize(
    ("before", "after", "line", "what"),
    [
        ("X-Channel", "Content-Length", 10, "'Content-Length' is set by the generator"),
        (
            "path: /applications",
            "path: http://elsewhere",
            9,
            "'http://elsewhere/{application_id}?via={channel}' is no path",
        ),
        ("  method: POST", "  methud: POST", 8, "unknown key 'methud'"),
        ("column: offset_ms", "column: offset", 5, "the name of column 'offset' does not say its unit"),
        ("arrivals.csv", "arivals.csv", 4, "'arivals.csv' does not exist"),
        ("  column: offset_ms", "  column: offset_ms\n  speed: fast", 6, "'speed' cannot be 'fast'"),
    ],
)
def test_what_the_definition_itself_gets_wrong(
    tmp_path: Path, before: str, after: str, line: int, what: str
) -> None:
    assert before in DEFINITION
    with pytest.raises(DefinitionError) as error:
        load_recording(written(tmp_path, DEFINITION.replace(before, after)), tables)
    assert [(problem.where.line, what in problem.what) for problem in error.value.problems] == [(line, True)]


WRONG_ARRIVALS = {
    "empty": "",
    "only a header": "offset_ms\n",
    "cut off": "offset_ms\n0\n10\n20.",
    "out of order": "offset_ms\n0\n30\n20\n25\n40\n",
    "bad numbers": "offset_ms,tokens\n0,1\nten,2\n,3\nnan,4\n-1,5\n2,6,7\n8\n",
    "more than rows": "offset_ms\n" + "".join(f"{k}\n" for k in range(6)),
    "many": "offset_ms\n" + "x\n" * 1000,
}


def test_what_is_wrong_with_arrival_times(tmp_path: Path) -> None:
    said = []
    for name, arrivals in WRONG_ARRIVALS.items():
        with pytest.raises(DefinitionError) as error:
            load_recording(written(tmp_path, arrivals=arrivals), tables)
        said.append(f"# {name}\n{message(error.value, tmp_path)}")
    with pytest.raises(DefinitionError) as error:
        load_recording(written(tmp_path), None)
    said.append(f"# no dataset\n{message(error.value, tmp_path)}")
    golden("recording_arrivals.txt", "\n".join(said))
