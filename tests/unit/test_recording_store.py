"""The stored recording: any order in, order of time out, one digest for equal traffic, all or nothing on disk."""

from __future__ import annotations

import hashlib
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import DefinitionError
from harness.model.recording import Exchange, RecordedAnswer, Recording
from harness.model.recording_columns import STORED
from harness.recording import bodies, sorting
from harness.recording.captured import CAPTURED, header_pairs
from harness.recording.editing import Out, cut
from harness.recording.load import find_recording, load_recording, recording_files
from harness.recording.store import open_recording
from harness.recording.store_writer import RecordingWriter, Said
from tests.golden_files import golden
from tests.unit.recordings import EPOCH_NS, Row, batch, cut_up, row, rows, rows_of, stored

SIZES = st.lists(st.integers(1, 7), max_size=4)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a handful of rows makes many pieces, blocks and runs, and merges in between."""
    monkeypatch.setattr(sorting, "PIECE_ROWS", 3)
    monkeypatch.setattr(sorting, "BLOCK_ROWS", 2)
    monkeypatch.setattr(sorting, "MOST_RUNS", 3)


def exchange(item: Row, start_ns: int) -> Exchange:
    """The row as an exchange, offsets from a start."""

    def offset(at_ns: int) -> int:
        return at_ns if at_ns < 0 else at_ns - start_ns

    answer = RecordedAnswer(
        item["status"],
        offset(item["first_byte_ns"]),
        offset(item["answered_ns"]),
        tuple(header_pairs(item["answer_headers"])),
        item["answer_body"],
        item["error"],
        item["answer_bytes"],
    )
    texts = ("client", "key", "method", "path", "route")
    return Exchange(
        0,
        item["at_ns"] - start_ns,
        **{name: item[name] for name in texts},
        headers=tuple(header_pairs(item["headers"])),
        body=item["body"] or b"",
        **{name: item[name] for name in ("scheme", "host", "http", "connection")},
        answer=answer,
        size_bytes=item["request_bytes"],
    )


@settings(deadline=None, max_examples=60)
@given(rows(), SIZES, SIZES, st.integers(0, 100))
def test_any_order_comes_out_in_order_with_one_digest(
    tmp_path_factory: pytest.TempPathFactory,
    given_rows: list[Row],
    one: list[int],
    other: list[int],
    length_ns: int,
) -> None:
    folder = tmp_path_factory.mktemp("stored")
    first = stored(folder, given_rows, sizes=one, length_ns=length_ns)
    second = stored(folder, given_rows, sizes=other, length_ns=length_ns)
    assert open_recording(first.folder) == first
    assert first.digest == second.digest
    in_order = sorted(given_rows, key=lambda item: item["at_ns"])  # stable
    assert [item["error"] for item in rows_of(first)] == [item["error"] for item in in_order]
    start_ns = in_order[0]["at_ns"]
    in_memory = Recording.of("memory", "ours", [exchange(item, start_ns) for item in given_rows], length_ns)
    assert in_memory.digest == first.digest
    assert tuple(first.slice(0, first.count)) == in_memory.exchanges
    assert (first.length_ns, first.count) == (in_memory.length_ns, in_memory.count)
    assert first.offsets_ns().tolist() == in_memory.offsets_ns().tolist()


def test_both_ways_of_keeping_a_recording_offer_the_same(tmp_path: Path) -> None:
    many = [row(EPOCH_NS + 10 * number, f"/{number}", body=b"%d" % number) for number in range(50)]
    kept = stored(tmp_path, many)
    for first, stop in ((0, 0), (0, 1), (7, 23), (49, 50), (40, 99), (99, 120)):
        wanted = [(seq, f"/{seq}", b"%d" % seq) for seq in range(50)][first:stop]
        assert [(e.seq, e.path, e.body) for e in kept.slice(first, stop)] == wanted


def test_the_digest_can_be_computed_by_hand(tmp_path: Path) -> None:
    """As README.md says: bundles and request ids rest on it."""
    kept = stored(tmp_path, [row(EPOCH_NS, "/a", body=b"x", status=200), row(EPOCH_NS + 5, "/b?c")])

    def sha(data: bytes) -> str:
        return hashlib.sha256(data).hexdigest()

    def texts(*values: str) -> str:
        lengths = b"".join(len(value.encode()).to_bytes(4, "little") for value in values)
        return f"{sha(lengths)} {sha(''.join(values).encode())}"

    def numbers(size: int, *values: int) -> str:
        return sha(b"".join(value.to_bytes(size, "little", signed=True) for value in values))

    digests = hashlib.sha256(b"x").digest() + hashlib.sha256(b"").digest()
    known: dict[str, str] = {
        "at_ns": numbers(8, 0, 5),
        "method": texts("GET", "GET"),
        "path": texts("/a", "/b?c"),
        "body": sha(digests),
        "status": numbers(4, 200, -1),
        "answer_body": sha(bytes(64)),
    }
    lines = ["recording 2", "length_ns 6", "exchanges 2"]
    for field in STORED:
        unknown = texts("", "") if field.type == pa.string() else numbers(8, -1, -1)
        lines.append(f"{field.name} {known.get(field.name, unknown)}")
    assert kept.digest == "sha256:" + sha("".join(f"{line}\n" for line in lines).encode())


def test_every_column_enters_the_digest_and_nothing_else(tmp_path: Path) -> None:
    plain = row(EPOCH_NS, "/a", answered_ns=EPOCH_NS + 5)
    digests = {stored(tmp_path, [plain]).digest}
    for field in CAPTURED:
        if field.name == "at_ns":  # the start of the whole
            continue
        other = EPOCH_NS + 7 if field.name.endswith("_ns") else 7
        value: Any = "x" if field.type == pa.string() else b"x" if field.type == pa.binary() else other
        digests.add(stored(tmp_path, [{**plain, field.name: value}]).digest)
    assert len(digests) == len(CAPTURED)
    later = {**plain, "at_ns": EPOCH_NS + 9, "answered_ns": EPOCH_NS + 14}
    assert stored(tmp_path, [later]).digest == stored(tmp_path, [plain]).digest
    assert STORED.names == CAPTURED.names


def test_an_answer_before_its_request_is_an_answer_of_unknown_time(tmp_path: Path) -> None:
    kept = stored(tmp_path, [row(EPOCH_NS, first_byte_ns=EPOCH_NS - 1, answered_ns=EPOCH_NS)])
    assert [(item["first_byte_ns"], item["answered_ns"]) for item in rows_of(kept)] == [(-1, 0)]


def test_a_source_with_a_clock_of_its_own_starts_at_its_zero(tmp_path: Path) -> None:
    kept = stored(tmp_path, [row(5, "/b"), row(2, "/a")])
    assert kept.offsets_ns().tolist() == [2, 5]
    assert (kept.header.clock, kept.header.start_ns) == ("own", 0)


def test_equal_bodies_are_kept_once_and_the_empty_one_not_at_all(tmp_path: Path) -> None:
    given_ = [b"same" * 100, b"same" * 100, b"", None, b"other"]
    kept = stored(tmp_path, [row(EPOCH_NS + k, body=body, answer_body=body) for k, body in enumerate(given_)])
    assert (kept.header.counts.bodies, kept.header.counts.bodies_bytes) == (2, 405)
    read = [(e.body, e.answer.body) for e in kept.slice(0, 5)]
    assert read == [(body or b"", body) for body in given_]


def test_bodies_that_resemble_each_other_take_little_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BLOCK_BYTES", 10_000)
    monkeypatch.setattr(bodies, "RECENT_DIGESTS", 3)
    many = [b'{"number": %d, "name": "a name that all of them have"}' % (k % 1000) for k in range(2000)]
    long = bytes(range(256)) * 100
    kept = stored(tmp_path, [row(EPOCH_NS + k, body=body) for k, body in enumerate([*many, long])])
    assert kept.header.counts.bodies == 1001
    assert kept.bodies_path.stat().st_size * 1.2 < kept.header.counts.bodies_bytes
    assert [e.body for e in kept.slice(0, 2001)] == [*many, long]
    assert [e.body for e in kept.slice(1998, 2001)] == [*many[-2:], long]
    again = cut(kept, Out(tmp_path / "again.recording"), 0, None)
    assert again.digest == kept.digest
    assert [e.body for e in again.slice(0, 2001)] == [*many, long]


def test_a_scenario_may_name_the_folder(tmp_path: Path) -> None:
    kept = stored(tmp_path, [row(EPOCH_NS)], "shop")
    assert load_recording(kept.folder) == kept
    assert find_recording(tmp_path) == kept.folder
    assert recording_files(kept.folder) == (kept.folder / "recording.json",)
    (kept.folder / "sessions.yaml").write_text("sessions: 1\n")
    assert [path.name for path in recording_files(kept.folder)] == ["recording.json", "sessions.yaml"]


def test_session_rules_decide_what_is_sent_and_so_enter_the_digest(tmp_path: Path) -> None:
    kept = stored(tmp_path, [row(EPOCH_NS)])
    (kept.folder / "sessions.yaml").write_text("sessions: 1\n")
    found = open_recording(kept.folder)
    assert found.header.digest == kept.digest
    assert found.digest != kept.digest


class TestAllOrNothing:
    def test_an_error_leaves_nothing(self, tmp_path: Path) -> None:
        def write() -> None:
            with RecordingWriter(tmp_path / "a.recording") as writer:
                writer.add(batch([row(EPOCH_NS, body=b"x")]))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            write()
        assert not list(tmp_path.iterdir())

    def test_a_recording_that_is_not_finished_leaves_nothing(self, tmp_path: Path) -> None:
        with RecordingWriter(tmp_path / "a.recording") as writer:
            writer.add(batch([row(EPOCH_NS)]))
            writer.finish_traffic()
        assert not list(tmp_path.iterdir())

    def test_text_that_is_no_utf_8_is_an_error(self, tmp_path: Path) -> None:
        broken = pa.Array.from_buffers(
            pa.string(), 1, [None, pa.py_buffer(np.array([0, 1], np.int32)), pa.py_buffer(b"\xff")]
        )
        rows_ = batch([row(EPOCH_NS)]).set_column(CAPTURED.get_field_index("host"), "host", broken)

        def write() -> None:
            with RecordingWriter(tmp_path / "a.recording") as writer:
                writer.add(rows_)
                writer.finish_traffic()

        with pytest.raises(ValueError, match="UTF"):
            write()
        assert not list(tmp_path.iterdir())

    def test_a_recording_that_is_there_is_not_touched(self, tmp_path: Path) -> None:
        kept = stored(tmp_path, [row(EPOCH_NS)])
        before = (kept.folder / "recording.json").read_bytes()
        with pytest.raises(DefinitionError, match="is there already"):
            RecordingWriter(kept.folder)
        assert (kept.folder / "recording.json").read_bytes() == before

    def test_ctrl_c_leaves_nothing(self, tmp_path: Path) -> None:
        script = f"""
import sys
from collections.abc import Callable
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from harness.interrupts import interruptible
from harness.recording.store_writer import RecordingWriter
from tests.unit.recordings import batch, row
with interruptible(), RecordingWriter(Path(sys.argv[1]) / "a.recording") as writer:
    while True:
        writer.add(batch([row(1, body=b"x")] * 1000))
        print("written", flush=True)
"""
        child = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert child.stdout is not None
        child.stdout.readline()
        assert list(tmp_path.iterdir())
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=60)
        assert child.returncode
        assert not list(tmp_path.iterdir())


class Spoiled:
    """A stored recording, and what can be done to it."""

    def __init__(self, folder: Path, name: str) -> None:
        rows_ = [row(EPOCH_NS, body=b"one" * 9), row(EPOCH_NS + 1)]
        self.folder = stored(folder, rows_, name.replace(" ", "-")).folder
        self.exchanges, self.header = self.folder / "exchanges.parquet", self.folder / "recording.json"

    def says(self, **fields: Any) -> None:
        """Other fields in recording.json."""
        self.header.write_text(json.dumps({**json.loads(self.header.read_text()), **fields}))

    def names_their_digest(self) -> None:
        """The digests of the files as they are now."""
        names = ("exchanges.parquet", "bodies.sqlite")
        self.says(
            files={name: hashlib.sha256((self.folder / name).read_bytes()).hexdigest() for name in names}
        )

    def one_byte_changed(self) -> None:
        with self.exchanges.open("r+b") as file:
            file.seek(10)
            file.write(b"!")

    def other_exchanges(self) -> None:
        table = pq.read_table(self.exchanges)
        where = table.schema.get_field_index("path")
        pq.write_table(table.set_column(where, "path", pa.array(["/x", "/y"])), self.exchanges)
        self.names_their_digest()

    def no_parquet(self) -> None:
        self.exchanges.write_bytes(b"PAR1")
        self.names_their_digest()


WRONG: dict[str, Callable[[Spoiled], object]] = {
    "one byte changed": Spoiled.one_byte_changed,
    "other exchanges under their own digest": Spoiled.other_exchanges,
    "no parquet": Spoiled.no_parquet,
    "missing bodies": lambda it: (it.folder / "bodies.sqlite").unlink(),
    "longer than it was": lambda it: it.says(length_ns=99),
    "fewer exchanges than it has": lambda it: it.says(
        counts={**json.loads(it.header.read_text())["counts"], "exchanges": 1}
    ),
    "from somewhere else": lambda it: it.says(attribution="not told"),
    "a newer version": lambda it: it.says(version=2),
    "no version": lambda it: it.says(version=None),
    "a header with a mistake": lambda it: it.says(counts={"exchanges": -1}, bodys=1),
    "no digests": lambda it: it.says(files={}),
    "no header": lambda it: it.header.unlink(),
    "half a header": lambda it: it.header.write_text(it.header.read_text()[:40]),
}


def test_what_is_wrong_with_a_stored_recording(tmp_path: Path) -> None:
    said = []
    for what, spoil in WRONG.items():
        wrong = Spoiled(tmp_path, what)
        spoil(wrong)
        with pytest.raises(DefinitionError) as error:
            open_recording(wrong.folder)
        said.append(f"# {what}\n{str(error.value).replace(str(tmp_path), 'FOLDER')}\n")
    for missing in (tmp_path / "nowhere.recording", Path(__file__)):
        with pytest.raises(DefinitionError) as error:
            open_recording(missing)
        text = str(error.value).replace(str(tmp_path), "FOLDER").replace(str(Path(__file__).parent), "FOLDER")
        said.append(f"# {missing.name}\n{text}\n")
    golden("recording_stored.txt", "\n".join(said))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("UPDATE blocks SET zstd = CAST('abd' AS BLOB)", "was altered"),
        ("DELETE FROM blocks", "its block is missing"),
        ("DELETE FROM bodies", "is missing"),
        ("DROP TABLE bodies", "no such table"),
    ],
)
def test_a_body_that_was_altered_is_never_given(spoil: str, said: str, tmp_path: Path) -> None:
    kept = stored(tmp_path, [row(EPOCH_NS, body=b"abc")])
    database = sqlite3.connect(kept.bodies_path)
    database.execute(spoil)
    database.commit()
    database.close()
    with pytest.raises(DefinitionError, match=said):
        list(open_recording(kept.folder, verify=False).slice(0, 1))


def test_many_batches_do_not_wait_in_memory(tmp_path: Path) -> None:
    """Whoever reads faster than is written waits."""
    with RecordingWriter(tmp_path / "a.recording") as writer:
        for piece in cut_up([row(EPOCH_NS + k) for k in range(200)], [1]):
            writer.add(batch(piece))
            assert len(writer._behind) <= 3
        assert writer.finish_traffic().count == 200


def test_what_the_header_says_is_read_again(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "a.recording") as writer:
        writer.add(batch([row(EPOCH_NS)]))
        writer.finish_traffic()
        made = writer.finish("other-name", Said("theirs", redaction={"rules": "ours"}, done=("made up",)))
    assert open_recording(made.folder) == made
    assert (made.name, made.attribution, made.header.done) == ("other-name", "theirs", ("made up",))
