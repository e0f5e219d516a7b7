"""Progress, errors and exit codes: what every command does, whatever it is for."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from harness.console import LineProgress, console, terminal
from harness.errors import DefinitionError, EngineError, ExitCode, Interrupted
from harness.printing import runs
from tests.unit.cli_tools import ROOT, in_a_process


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "READINESS_DEBUG", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


class TestWhatGoesWrong:
    def ended(self, error: BaseException | None, as_json: bool = False) -> int:
        def command() -> None:
            with terminal(as_json):
                if error is not None:
                    raise error

        with pytest.raises(SystemExit) as stopped:
            command()
        assert isinstance(stopped.value.code, int)
        return stopped.value.code

    @pytest.mark.parametrize(
        ("error", "code", "said"),
        [
            (DefinitionError.at("a.yaml", "it is [bold]wrong[/x]", "mend it"), 2, "it is [bold]wrong[/x]"),
            (EngineError("the engine went away", "start it"), 4, "error: the engine went away\n  start it\n"),
            (Interrupted("interrupted; all is gone"), 130, "interrupted; all is gone\n"),
            (KeyboardInterrupt(), 130, "interrupted\n"),
            (ZeroDivisionError("by\nzero"), 4, "error: ZeroDivisionError: by\n  this is a bug"),
            (AssertionError(), 4, "error: AssertionError\n  this is a bug"),
            (ModuleNotFoundError("no", name="docker"), 4, "module 'docker' is not installed"),
            (
                OSError(28, "No space left on device", "/x"),
                4,
                "error: no space is left to write to: /x\n  make room",
            ),
            (OSError(28, "Error writing bytes"), 4, "error: no space is left to write to\n"),
            (OSError(5, "Input/output error", "/x"), 4, "error: Input/output error: /x\n"),
        ],
    )
    def test_it_is_a_message_and_an_exit_code_never_a_traceback(
        self, error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.ended(error) == code
        out, err = capsys.readouterr()
        assert out == ""
        assert said in err
        assert "Traceback" not in err

    def test_debug_shows_the_traceback(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("READINESS_DEBUG", "1")
        assert self.ended(ZeroDivisionError("by zero")) == 4
        assert "Traceback" in capsys.readouterr().err

    def test_json_is_one_document_also_when_it_fails_after_the_answer(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.ended(EngineError("gone", "start it"), as_json=True) == 4
        assert json.loads(capsys.readouterr().out)["exit_code"] == 4

        def answers_and_fails() -> None:
            with terminal(as_json=True) as speaker:
                speaker.answer({"up": 1}, lambda _value, _console: None, dict)
                raise EngineError("could not be taken down", "sweep")

        with pytest.raises(SystemExit) as stopped:
            answers_and_fails()
        assert stopped.value.code == 4
        assert json.loads(capsys.readouterr().out) == {"up": 1}

    def test_a_command_that_ends_well_ends_with_its_own_code(self) -> None:
        assert self.ended(None) == 0
        with pytest.raises(SystemExit) as stopped, terminal() as speaker:
            speaker.exit_code = ExitCode.UNKNOWN
        assert stopped.value.code == 3

    def test_every_way_out_of_main_has_an_exit_code_of_ours(self) -> None:
        """What no command caught, too: exit code 1 would say NOT_READY."""
        script = "import harness.cli as c, sys; c.app = lambda prog_name: 1 / 0; c.main()"
        done = in_a_process(script)
        assert (done.code, done.out) == (4, "")
        assert "this is a bug in pytest-readiness" in done.err

    def test_a_reader_who_has_gone_is_no_error(self) -> None:
        read, write = os.pipe()
        os.close(read)
        with os.fdopen(write, "w") as nobody:
            done = subprocess.run(
                [sys.executable, "-m", "harness.cli", "faults", "list", "--json"],
                stdout=nobody,
                stderr=subprocess.PIPE,
                text=True,
                cwd=ROOT,
                timeout=60,
            )
        assert (done.returncode, done.stderr) == (0, "")

    def test_a_full_disk_behind_stdout_is_no_success(self) -> None:
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "harness.cli", "faults", "list"],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                cwd=ROOT,
                timeout=60,
            )
        assert done.returncode != 0
        assert "no space is left to write to" in done.stderr


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


class TestProgress:
    LINE = re.compile(r"\[ *\d+\.\d s\] ")

    def test_plain_lines_each_with_the_seconds(self) -> None:
        stream = io.StringIO()
        progress = LineProgress(stream)
        progress.stage("3 arms up: baseline, control, candidate")
        progress.note("[bold]redis[/bold]\nis ready")
        lines = stream.getvalue().splitlines()
        stamp = self.LINE.match(lines[0])
        assert stamp is not None
        assert lines[0][stamp.end() :] == "3 arms up: baseline, control, candidate"
        assert lines[1][stamp.end() :] == "  [bold]redis[/bold]"
        assert lines[2] == " " * stamp.end() + "  is ready"

    def test_stages_stand_out_on_a_terminal_unless_no_color_is_set(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TERM", "xterm")
        stream = Screen()
        LineProgress(stream).stage("images")
        assert "\x1b[1mimages\x1b[0m" in stream.getvalue()
        monkeypatch.setenv("NO_COLOR", "1")
        stream = Screen()
        LineProgress(stream).stage("images")
        assert "\x1b" not in stream.getvalue()
        page = console(Screen())
        runs.print_skeleton((Path("a"),), page)
        assert "\x1b" not in page.file.getvalue()  # type: ignore[attr-defined]

    def test_lines_of_many_threads_stay_whole(self) -> None:
        stream = io.StringIO()
        progress = LineProgress(stream)
        threads = [
            threading.Thread(target=lambda: [progress.note("one two three") for _ in range(50)])
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        lines = stream.getvalue().splitlines()
        assert len(lines) == 400
        assert all(self.LINE.sub("", line) == "  one two three" for line in lines)
