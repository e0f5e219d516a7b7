"""The commands `readiness record …`: help, exit codes, what is printed, and what is left behind."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.meter import Meter, read_so_far
from harness.printing import recordings
from harness.printing.rate_chart import can_draw_blocks, chart_columns, rate_chart
from harness.recording.overview import overview
from harness.recording.store import open_recording
from tests.golden_files import golden
from tests.unit.cli_tools import Done, readiness, shown
from tests.unit.recordings import EPOCH_NS, row, stored

COMMANDS = ("import", "live", "show", "cut", "filter", "sample", "merge", "export", "audit")
LINE = '10.0.0.{client} - - [17/May/2015:10:05:{second:02} +0000] "GET /shop/{number} HTTP/1.1" 200 17 "-" "test"\n'


@pytest.fixture(autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READINESS_STATE_DIR", str(tmp_path_factory.mktemp("state")))
    for name in ("NO_COLOR", "READINESS_DEBUG", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """60 requests of 5 clients in a minute."""
    path = tmp_path / "access.log"
    path.write_text("".join(LINE.format(client=k % 5, second=k, number=k) for k in range(60)))
    return path


@pytest.fixture
def shop(tmp_path: Path, log: Path) -> Path:
    assert readiness("record", "import", log, "--out", tmp_path / "shop.recording").code == 0
    return tmp_path / "shop.recording"


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_is_the_golden_text(command: str) -> None:
    done = readiness("record", *command.split(), "--help")
    assert done.code == 0
    golden(f"cli/help-record{'-' if command else ''}{command}.txt", done.out)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_its_exit_codes_gives_an_example_and_takes_json(command: str) -> None:
    text = readiness("record", command, "--help").out
    assert "Exit codes: 0 " in text
    assert re.search(rf"Examples?:\n\s+readiness record {command}", text)
    assert "--json" in text


def test_import_says_what_was_read_and_what_is_not_known(tmp_path: Path, log: Path) -> None:
    with log.open("a") as file:
        file.write("rubbish\n")
    refused = readiness("record", "import", log, "--out", tmp_path / "shop.recording")
    assert refused.code == 2
    assert f"{log}:61: error: record 61: " in refused.err
    assert not list(tmp_path.glob("*.recording"))
    done = readiness("record", "import", log, "--out", tmp_path / "shop.recording", "--skip-bad")
    assert done.code == 0
    said = done.out.replace(str(tmp_path), "FOLDER").replace("\n         ", " ")
    assert "60 exchanges, no bodies" in done.out.replace("\N{NO-BREAK SPACE}", " ")
    assert "1 skipped: " in done.out
    assert "Not known" in said
    assert "readiness record show FOLDER/shop.recording" in said


def test_json_is_one_document_with_everything_that_the_recording_says(tmp_path: Path, log: Path) -> None:
    done = readiness(
        "record", "import", log, "--out", tmp_path / "shop.recording", "--name", "other", "--json"
    )
    assert done.json["recording"] == "other"
    assert done.json["digest"] == open_recording(tmp_path / "shop.recording").digest
    assert done.json["sources"][0]["exchanges"] == 60
    shown_ = readiness("record", "show", tmp_path / "shop.recording", "--json").json
    assert shown_["routes"] == {"/shop/{id}": 60}
    assert shown_["statuses"] == {"200": 60}
    assert shown_["clients"] == 5
    assert shown_["rate"]["most_in_a_second"] == 1
    assert sum(shown_["rate"]["exchanges_per_s"]) * shown_["rate"]["step_s"] == pytest.approx(60)


def test_a_message_in_json(tmp_path: Path) -> None:
    done = readiness("record", "show", tmp_path / "nowhere.recording", "--json")
    assert done.code == 2
    assert done.json["problems"][0]["what"] == "there is no such recording"


def test_one_is_made_of_another(tmp_path: Path, shop: Path) -> None:
    def made(*words: str | Path) -> Done:
        done = readiness("record", *words)
        assert (done.code, done.err) == (0, "")
        return done

    def out(name: str) -> Path:
        return tmp_path / f"{name}.recording"

    made("cut", shop, "--from", "10s", "--to", "20s", "--out", out("cut"))
    assert open_recording(out("cut")).count == 10
    made("cut", shop, "--to", "10s", "--out", out("head"))
    made("filter", shop, "--route", "/shop/*", "--status", "2xx", "--out", out("filter"))
    made("filter", shop, "--status", "404", "--drop", "--out", out("drop"))
    assert open_recording(out("drop")).digest == open_recording(shop).digest
    made("sample", shop, "--share", "50%", "--seed", "1", "--out", out("sample"))
    assert open_recording(out("sample")).count in (12, 24, 36, 48)
    made("merge", out("head"), out("cut"), "--align", "clock", "--out", out("merged"))
    assert open_recording(out("merged")).offsets_ns().tolist() == [k * 10**9 for k in range(20)]
    assert made("show", out("merged")).out.count("access.log") == 1  # both parts come from one file
    exported = made("export", shop, "--out", tmp_path / "shop.ndjson", "--json").json
    assert exported["exchanges"] == 60
    made("import", tmp_path / "shop.ndjson", "--redacted", "--out", out("again"))
    assert open_recording(out("again")).digest == open_recording(shop).digest


@pytest.mark.parametrize(
    "words",
    [
        ("cut", "SHOP", "--from", "10", "--out", "NEW"),
        ("cut", "SHOP", "--from", "90s", "--out", "NEW"),
        ("cut", "SHOP", "--from", "-5s", "--out", "NEW"),
        ("filter", "SHOP", "--out", "NEW"),
        ("filter", "SHOP", "--status", "ok", "--out", "NEW"),
        ("sample", "SHOP", "--share", "0", "--out", "NEW"),
        ("sample", "SHOP", "--share", "many", "--out", "NEW"),
        ("merge", "SHOP", "--out", "NEW"),
        ("merge", "SHOP", "SHOP", "--align", "noon", "--out", "NEW"),
        ("export", "SHOP", "--out", "NEW"),
        ("import", "LOG", "--option", "spread", "--out", "NEW"),
        ("import", "LOG", "--option", "spred=even", "--out", "NEW"),
        ("import", "LOG", "--format", "har", "--out", "NEW"),
        ("import", "LOG", "--route", "shop", "--out", "NEW"),
        ("import", "LOG", "--redaction-key", "LOG", "--out", "NEW"),
        ("import", "LOG"),
    ],
)
def test_bad_usage_is_exit_code_2_and_leaves_nothing(words: tuple[str, ...], shop: Path, log: Path) -> None:
    before = sorted(path.name for path in shop.parent.iterdir())
    places = {"SHOP": str(shop), "LOG": str(log), "NEW": str(shop.with_name("new.recording"))}
    done = readiness("record", *(places.get(word, word) for word in words))
    assert done.code == 2
    assert done.out == ""
    assert "rror: " in done.err
    assert "Traceback" not in done.err
    assert sorted(path.name for path in shop.parent.iterdir()) == before


def test_ctrl_c_is_130_and_leaves_nothing(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with log.open("w") as file:
        for k in range(400_000):
            file.write(LINE.format(client=k % 250, second=k % 60, number=k))
    out = tmp_path / "out"
    out.mkdir()
    child = subprocess.Popen(
        [sys.executable, "-m", "harness.cli", "record", "import", log, "--out", out / "shop.recording"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    while child.poll() is None and not list(out.iterdir()):
        pass
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "interrupted" in said
    assert not list(out.iterdir())


class TestShow:
    def test_it_is_the_golden_text(self, tmp_path: Path) -> None:
        rows_ = [
            row(
                EPOCH_NS + 10**8 * k * k,
                f"/{'orders' if k % 3 else 'offers'}/{k}",
                client=f"client-{k % 4}",
                route="/orders/{id}" if k % 3 else "/offers/{id}",
                status=(200, 200, 404, 0, -1)[k % 5],
                host="shop.example:8443",
                body=b"one" if k % 2 else None,
            )
            for k in range(40)
        ]
        kept = stored(
            tmp_path,
            rows_,
            "shop",
            redaction={"replaced": [{"place": "header cookie", "how": "pseudonym", "values": 40}]},
        )
        text = shown(recordings.print_overview, overview(kept), width=80)
        golden("cli/record-show.txt", text.replace(str(tmp_path), "FOLDER"))

    def test_the_picture_fits_the_terminal(self, shop: Path) -> None:
        for width in (40, 80, 200):
            text = shown(recordings.print_overview, overview(open_recording(shop)), width=width)
            drawn = [line for line in text.splitlines() if "│" in line]
            assert len(drawn) == 6
            assert width * 0.6 <= max(len(line) for line in drawn) <= width

    def test_the_picture_knows_no_time_below_a_tick_of_the_clock(self, tmp_path: Path) -> None:
        """Peaks of 12 a second in columns of 0.1 s would be the clock's."""
        kept = stored(
            tmp_path, [row(EPOCH_NS + 10**9 * (k // 3), f"/{k}") for k in range(30)], "whole-seconds"
        )
        text = " ".join(shown(recordings.print_overview, overview(kept), width=80).split())
        assert "3/s │" in text
        assert "7 columns are 1 s" in text

    def test_of_one_moment_there_is_no_picture(self, tmp_path: Path) -> None:
        kept = stored(tmp_path, [row(EPOCH_NS, "/a"), row(EPOCH_NS, "/b")], "moment")
        text = shown(recordings.print_overview, overview(kept), width=80)
        assert "Rate over time: all of it is of one moment" in text
        assert "length  a moment" in text


class TestRateChart:
    def test_in_blocks_and_in_ascii(self) -> None:
        rates = [0, 0.1, 1, 2, 3, 4, 5, 6, 7, 8, 4, 0]
        text = "\n".join("\n".join(rate_chart(rates, 8, 90 * 10**9, blocks)) for blocks in (True, False))
        golden("cli/rate-chart.txt", text + "\n")

    def test_what_is_there_at_all_can_be_seen(self) -> None:
        lowest = rate_chart([1000, 0, 1], 1000, 10**9, blocks=True)[-3]
        assert lowest.endswith("█ ▁")

    def test_silence(self) -> None:
        assert len(rate_chart([0, 0], 0, 10**9, blocks=False)) == 8

    def test_ascii_where_the_encoding_has_no_blocks(self) -> None:
        for encoding, blocks in (("utf-8", True), ("ascii", False), ("latin-1", False)):
            assert can_draw_blocks(io.TextIOWrapper(io.BytesIO(), encoding=encoding)) is blocks
        drawn = "".join(rate_chart([1, 2, 3], 3, 10**9, blocks=False))
        assert drawn.replace("\N{NO-BREAK SPACE}", " ").isascii()

    def test_a_narrow_terminal_has_a_chart_as_well(self) -> None:
        assert chart_columns(5, 1234.5) == 10
        assert chart_columns(1000, 1.0) == 200


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


class TestMeter:
    def test_a_terminal_has_one_line_that_is_gone_in_the_end(self) -> None:
        screen, notes = Screen(), []
        with Meter(notes.append, screen) as meter:
            meter._last_s -= 1
            meter.tell(lambda: "1,000 exchanges")
            meter.tell(lambda: "too soon")
        assert screen.getvalue() == "\r\x1b[K1,000 exchanges\r\x1b[K"
        assert not notes

    def test_a_log_has_a_line_now_and_then(self) -> None:
        log, notes = io.StringIO(), []
        with Meter(notes.append, log) as meter:
            meter.tell(lambda: "too soon")
            meter._last_s -= 11
            meter.tell(lambda: "1,000 exchanges")
        assert notes == ["1,000 exchanges"]
        assert log.getvalue() == ""

    def test_how_far_a_file_was_read(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_bytes(b"x" * 100)
        assert read_so_far(path) is None
        with path.open("rb", buffering=0) as file:
            file.read(30)
            assert read_so_far(path) == 30


def test_values_are_plain_json(shop: Path) -> None:
    found = overview(open_recording(shop))
    json.dumps(recordings.overview_values(found), allow_nan=False)
    json.dumps(recordings.written_values(found.recording), allow_nan=False)
