"""Recordings made of recordings: what stays, what goes, and that nothing is lost on the way out and in again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import DefinitionError
from harness.recording.editing import Out, cut, export, keep, merge, sample
from harness.recording.importing import ImportRequest, import_files
from harness.recording.load import load_recording
from harness.recording.selecting import Selection
from harness.recording.sessions.rules import SessionRule, SessionRules, load_rules, write_rules
from harness.recording.store import StoredRecording, open_recording
from tests.golden_files import golden
from tests.unit.recordings import EPOCH_NS, Row, row, rows, rows_of, stored

RULE: dict[str, Any] = {
    "name": "token",
    "taken_from": {"route": "/login", "source": "json", "path": "token"},
    "used_in": [{"place": "header", "name": "authorization"}],
}
Make = Callable[..., StoredRecording]


@pytest.fixture
def out(tmp_path: Path) -> Callable[[str], Out]:
    return lambda name: Out(tmp_path / f"{name}.recording")


def paths(recording: StoredRecording) -> list[str]:
    return [item["path"] for item in rows_of(recording)]


@settings(deadline=None, max_examples=40)
@given(rows(), st.integers(0, 100))
def test_export_and_import_is_the_identity(
    tmp_path_factory: pytest.TempPathFactory, given_rows: list[Row], length_ns: int
) -> None:
    folder = tmp_path_factory.mktemp("identity")
    first = stored(folder, given_rows, length_ns=length_ns)
    file = folder / "lines.ndjson"
    export(first, file)
    again = import_files(ImportRequest((file,), folder / "again.recording", redacted=True))
    assert rows_of(again) == rows_of(first)
    assert again.header.digest == first.header.digest
    wanted = ("length_ns", "clock", "start_ns", "counts", "attribution")
    assert [getattr(again.header, name) for name in wanted] == [
        getattr(first.header, name) for name in wanted
    ]
    assert load_recording(file).digest == first.digest  # in memory, as a scenario would read it


@settings(deadline=None, max_examples=40)
@given(rows(), st.integers(1, 39), st.sampled_from(["epoch", "own"]))
def test_two_cuts_merged_are_the_whole(
    tmp_path_factory: pytest.TempPathFactory, given_rows: list[Row], at_ns: int, clock: str
) -> None:
    folder = tmp_path_factory.mktemp("cuts")
    shift = EPOCH_NS if clock == "own" else 0
    moved = [
        item
        | {name: item[name] - shift for name in ("at_ns", "first_byte_ns", "answered_ns") if item[name] >= 0}
        for item in given_rows
    ]
    whole = stored(folder, moved, length_ns=60)
    before_ns, after_ns = whole.offsets_ns()[[0, -1]]
    if not before_ns < at_ns <= after_ns:
        return  # one of the two would be empty
    parts = [
        cut(whole, Out(folder / "a.recording"), 0, at_ns),
        cut(whole, Out(folder / "b.recording"), at_ns, None),
    ]
    assert [part.length_ns for part in parts] == [at_ns, whole.length_ns - at_ns]
    for number, order in enumerate((parts, parts[::-1])):
        again = merge(order, Out(folder / f"again-{number}.recording"), "clock")
        assert again.digest == whole.digest
        assert (again.header.clock, again.header.start_ns) == (whole.header.clock, whole.header.start_ns)


@settings(deadline=None, max_examples=40)
@given(rows(), st.floats(0.05, 1), st.integers(0, 5))
def test_a_sample_keeps_clients_whole_and_a_smaller_one_is_part_of_it(
    tmp_path_factory: pytest.TempPathFactory, given_rows: list[Row], share: float, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("samples")
    whole = stored(folder, given_rows)
    found: dict[float, Counter[str]] = {}
    for part in (share, share / 2):
        try:
            made = sample(whole, Out(folder / f"{part}.recording", "sampled"), part, seed)
        except DefinitionError:  # nobody was drawn
            found[part] = Counter()
        else:
            assert made.length_ns == whole.length_ns
            found[part] = Counter(item["client"] for item in rows_of(made))
    everyone = Counter(item["client"] for item in given_rows)
    for kept in found.values():
        assert all(kept[client] == everyone[client] for client in kept if client)
    assert found[share / 2] <= found[share]


def test_the_share_is_about_what_was_asked_for(tmp_path: Path, out: Callable[[str], Out]) -> None:
    known = stored(tmp_path, [row(k, client=f"client-{k}") for k in range(4000)])
    unknown = stored(tmp_path, [row(k) for k in range(4000)])
    for number, recording in enumerate((known, unknown)):
        counts = {sample(recording, out(f"{number}-{seed}"), 0.25, seed).count for seed in range(3)}
        assert all(900 < count < 1100 for count in counts)
        assert len(counts) > 1 or number


def test_a_cut_begins_anew_and_knows_where_it_comes_from(tmp_path: Path, out: Callable[[str], Out]) -> None:
    whole = stored(
        tmp_path,
        [row(EPOCH_NS + 10 * k, f"/{k}", answered_ns=EPOCH_NS + 10 * k + 3) for k in range(9)],
        "whole",
    )
    made = cut(whole, out("part"), 15, 40)
    assert open_recording(made.folder) == made
    assert [(item["path"], item["at_ns"], item["answered_ns"]) for item in rows_of(made)] == [
        ("/2", 5, 8),
        ("/3", 15, 18),
    ]
    assert (made.name, made.length_ns, made.header.start_ns) == ("part", 25, EPOCH_NS + 15)
    (parent,) = made.header.parents
    assert (parent.recording, parent.digest) == ("whole", whole.digest)
    assert made.header.done == ("cut from 15ns to 40ns",)
    assert made.attribution == whole.attribution


SHOP = [
    row(0, "/a", route="/a", method="GET", status=200, client="c1", host="one.example"),
    row(1, "/a", route="/a", method="POST", status=503, client="c2", host="two.example"),
    row(2, "/b/1", route="/b/{id}", method="GET", status=404, client="c1", host="one.example"),
    row(3, "/b/2", route="/b/{id}", method="GET", status=0, client="d1", host=""),
    row(4, "/c", route="/c", method="GET", status=-1, client="", host=""),
]


@pytest.mark.parametrize(
    ("chosen", "kept"),
    [
        ({"route": ("/b/*",)}, [2, 3]),
        ({"route": ("/a", "/c")}, [0, 1, 4]),
        ({"method": ("post",)}, [1]),
        ({"status": ("5xx", "0")}, [1, 3]),
        ({"status": ("200-499",)}, [0, 2]),
        ({"client": ("c*",)}, [0, 1, 2]),
        ({"host": ("one.example", "")}, [0, 2, 3, 4]),
        ({"route": ("/a",), "status": ("200",)}, [0]),
    ],
)
def test_what_fits_is_kept_or_dropped(
    chosen: dict[str, tuple[str, ...]], kept: list[int], tmp_path: Path, out: Callable[[str], Out]
) -> None:
    whole = stored(tmp_path, SHOP, length_ns=77)
    selection = Selection(**chosen)
    for name, drop in (("kept", False), ("dropped", True)):
        made = keep(whole, out(name), selection, drop)
        wanted = [k for k in range(5) if (k in kept) is not drop]
        assert made.offsets_ns().tolist() == wanted
        assert made.length_ns == 77


def test_recordings_merged_at_their_starts_have_their_own_clients(
    tmp_path: Path, out: Callable[[str], Out]
) -> None:
    one = stored(
        tmp_path, [row(EPOCH_NS, "/1", client="c", body=b"x" * 99), row(EPOCH_NS + 9, "/2", client="c")]
    )
    other = stored(tmp_path, [row(7, "/3", client="c", connection="c", body=b"y" * 99), row(8, "/4")])
    both = merge([one, other], out("both"), "start")
    assert [(item["at_ns"], item["path"], item["client"]) for item in rows_of(both)] == [
        (0, "/1", "c"),
        (7, "/3", "2-c"),
        (8, "/4", ""),
        (9, "/2", "c"),
    ]
    assert [len(e.body) for e in both.slice(0, 4)] == [99, 99, 0, 0]
    assert [parent.digest for parent in both.header.parents] == [one.digest, other.digest]
    same = merge([one, other], out("same"), "start", apart=False)
    assert {item["client"] for item in rows_of(same)} == {"c", ""}


def test_session_rules_go_with_what_is_made(tmp_path: Path, out: Callable[[str], Out]) -> None:
    parents = [stored(tmp_path, [row(1), row(2)]) for _ in range(3)]
    other = {**RULE, "taken_from": {**RULE["taken_from"], "path": "other"}}
    for parent, rules in zip(
        parents, ((RULE,), (RULE, {**RULE, "name": "same-again"}), (other,)), strict=True
    ):
        made_rules = tuple(SessionRule.model_validate(rule) for rule in rules)
        write_rules(SessionRules(rules=made_rules), parent.folder / "sessions.yaml")
    opened = [open_recording(parent.folder) for parent in parents]
    part = cut(opened[0], out("part"), 2, None)
    assert part.sessions_path is not None
    assert part.sessions_path.read_bytes() == (parents[0].folder / "sessions.yaml").read_bytes()
    both = merge(opened, out("both"), "start")
    assert both.sessions_path is not None
    assert [(rule.name, rule.taken_from.path) for rule in load_rules(both.sessions_path).rules] == [
        ("token", "token"),
        ("token-2", "other"),
    ]


def test_what_is_said_where_nothing_can_be_made(tmp_path: Path, out: Callable[[str], Out]) -> None:
    dated = stored(tmp_path, [row(EPOCH_NS, key="K"), row(EPOCH_NS + 5 * 10**9)], "dated")
    offsets = stored(tmp_path, [row(0, key="K")], "offsets")
    (tmp_path / "there.ndjson").touch()
    wrong: list[Callable[[], object]] = [
        lambda: cut(dated, out("new"), 6 * 10**9, None),
        lambda: cut(dated, out("new"), 10**9, 2 * 10**9),
        lambda: keep(dated, out("new"), Selection(route=("/nowhere",))),
        Selection,
        lambda: Selection(status=("4x",)),
        lambda: sample(dated, out("new"), 1e-9, 1),
        lambda: merge([dated, offsets], out("new"), "clock"),
        lambda: merge([dated], out("new"), "clock"),
        lambda: merge([dated, offsets], out("new"), "start"),
        lambda: cut(dated, out("dated"), 0, None),
        lambda: export(dated, tmp_path / "there.ndjson"),
        lambda: export(dated, tmp_path / "dated.json"),
    ]
    said = []
    for make in wrong:
        with pytest.raises(DefinitionError) as error:
            make()
        said.append(str(error.value).replace(str(tmp_path), "FOLDER") + "\n")
    golden("recording_edit.txt", "\n".join(said))
    assert {path.name for path in tmp_path.iterdir()} == {
        "dated.recording",
        "offsets.recording",
        "there.ndjson",
    }
