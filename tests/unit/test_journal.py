"""The journal is on disk before the thing happens, and goes only when nothing is left to undo."""

import json
import os

import pytest

from harness.environment.journal import Journal, process_start_ticks
from harness.errors import EngineError


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("READINESS_STATE_DIR", str(tmp_path))
    return tmp_path


def _lines(journal):
    return [json.loads(line) for line in journal.path.read_text().splitlines()]


def test_what_is_about_to_start_is_readable_by_another_process_at_once():
    journal = Journal("run-1")
    journal.starting("container", "rdy-a")
    assert _lines(journal)[-1] == {"action": "start", "kind": "container", "name": "rdy-a"}
    own = _lines(journal)[0]
    assert (own["pid"], own["pid_start_ticks"]) == (os.getpid(), process_start_ticks(os.getpid()))


def test_a_journal_with_something_open_stays_for_the_sweep():
    journal = Journal("run-2")
    journal.starting("network", "n")
    journal.starting("fault", "f")
    journal.undone("fault", "f")
    assert journal.still_open() == ("network n",)
    journal.close()
    assert journal.path.exists()


def test_a_journal_with_everything_undone_is_removed():
    journal = Journal("run-3")
    journal.starting("network", "n")
    journal.undone("network", "n")
    journal.close()
    assert not journal.path.parent.exists()


def test_a_state_folder_that_cannot_be_written_says_which_and_what_to_do(monkeypatch):
    monkeypatch.setenv("READINESS_STATE_DIR", "/proc/nowhere")
    with pytest.raises(EngineError, match="READINESS_STATE_DIR"):
        Journal("run-4")
