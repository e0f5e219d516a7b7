"""Opens the recording that a scenario names, whatever its form (README.md of this folder shows all three).

Takes the path and the dataset's tables, gives a `Recording` in memory or a `StoredRecording`, which a run uses alike, or
one DefinitionError with everything that is wrong in it and in how it fits the dataset.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pyarrow.compute as pc

from harness.errors import DefinitionError, Problem
from harness.loading import load_definition, resolve
from harness.model.recording import Recording, RecordingDefinition, Traffic
from harness.recording.arrivals import read_arrivals
from harness.recording.married import Table, marry
from harness.recording.plain import read_plain, write_plain
from harness.recording.problems import Problems
from harness.recording.sessions.rules import SessionRules, load_rules
from harness.recording.store import StoredRecording, open_recording
from harness.recording.store_header import HEADER, SESSIONS, SUFFIX

MARRIED = ".recording.yaml"
PLAIN = ".ndjson"


def load_recording(path: Path, table: Table | None = None) -> Traffic:
    """The recording at `path`: a file, a folder NAME.recording, or a folder that holds exactly one of these.

    `table` gives the dataset bundle's tables by name (KeyError for an unknown one); None where the scenario has no
    dataset. Raises DefinitionError with every problem found.
    """
    path = find_recording(path)
    if is_stored(path):
        return open_recording(path)
    return load_married(path, table) if path.name.endswith(MARRIED) else read_plain(path)


def texts_of(recording: Traffic, column: Literal["host", "http"]) -> frozenset[str]:
    """The different values of a column, the empty one left out."""
    if isinstance(recording, StoredRecording):
        found = {
            text
            for batch in recording.batches((column,))
            for text in pc.unique(batch.column(column)).to_pylist()
        }
    else:
        found = {getattr(exchange, column) for exchange in recording.slice(0, recording.count)}
    return frozenset(found - {""})


def session_rules(recording: Traffic) -> SessionRules | None:
    """How sessions are kept up: by the rules of a stored recording. Raises DefinitionError for ones that are wrong."""
    if isinstance(recording, StoredRecording) and recording.sessions_path is not None:
        return load_rules(recording.sessions_path)
    return None


def write_exchanges(recording: Recording, path: Path, source: str = "resolved by readiness") -> None:
    """The recording as a plain one; read again it has the same digest. Raises OSError."""
    write_plain(recording, path, source)


def recording_files(path: Path) -> tuple[Path, ...]:
    """The files that say what the recording is, the one that names the others first. Raises DefinitionError.

    Of a stored recording these are not the exchanges themselves: `recording.json` names them by digest.
    """
    path = find_recording(path)
    if is_stored(path):
        return tuple(path / name for name in (HEADER, SESSIONS) if (path / name).exists())
    if not path.name.endswith(MARRIED):
        return (path,)
    definition = load_definition(path, RecordingDefinition)
    return path, path.parent / definition.value.arrivals.file


def find_recording(path: Path) -> Path:
    """The file or stored recording itself, or the only one in a folder. Raises DefinitionError."""
    if is_stored(path):
        return path
    if not path.is_dir():
        if path.name.endswith((MARRIED, PLAIN)):
            return path
        what = "not the name of a recording"
        raise DefinitionError.at(path, what, f"a recording is called {_names('or')}")
    # Dots in front: what is still being written.
    found = sorted(
        item
        for item in path.iterdir()
        if item.name.endswith((MARRIED, PLAIN, SUFFIX)) and not item.name.startswith(".")
    )
    if len(found) == 1:
        return found[0]
    what = f"the folder holds {len(found)} recordings" if found else "the folder holds no recording"
    names = ", ".join(item.name for item in found)
    raise DefinitionError.at(path, what, f"name one of {names}" if found else f"put a {_names('or')} in it")


def is_stored(path: Path) -> bool:
    """Whether this is, or should be, a stored recording."""
    return path.name.endswith(SUFFIX) or (path / HEADER).exists()


def _names(word: str) -> str:
    return f"NAME{MARRIED}, NAME{PLAIN} {word} NAME{SUFFIX}"


def load_married(path: Path, table: Table | None) -> Recording:
    """The recording that a definition makes of arrival times and a dataset. Raises DefinitionError."""
    loaded = load_definition(path, RecordingDefinition)
    definition, problems = loaded.value, Problems()
    if table is None:
        what, fix = "this recording draws its requests from a dataset", "give the scenario a `dataset:`"
        raise DefinitionError([Problem(loaded.locate(("requests",)), what, fix)])
    file = resolve(loaded, ("arrivals", "file"), definition.arrivals.file)
    offsets_ns = read_arrivals(file, definition.arrivals, loaded.locate(("arrivals", "column")), problems)
    exchanges = marry(definition, loaded.locate, offsets_ns, table, problems)
    problems.raise_if_any()
    return Recording.of(definition.recording, definition.attribution, exchanges)
