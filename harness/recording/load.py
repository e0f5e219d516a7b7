"""Reads recordings of either form (`harness/model/recording.py` defines them; README.md shows how to write one).

Takes the path that a scenario names and the dataset's tables, gives a `Recording`, or one DefinitionError with
everything that is wrong in the definition, in the arrival times and in how they fit the dataset.
"""

from __future__ import annotations

from pathlib import Path

from harness.errors import DefinitionError, Problem
from harness.loading import load_definition, resolve
from harness.model.recording import Recording, RecordingDefinition
from harness.recording.arrivals import read_arrivals
from harness.recording.married import Table, marry
from harness.recording.plain import read_plain, write_plain
from harness.recording.problems import Problems

MARRIED = ".recording.yaml"
PLAIN = ".ndjson"


def load_recording(path: Path, table: Table | None = None) -> Recording:
    """The recording at `path`: a file, or a folder that holds exactly one.

    `table` gives the dataset bundle's tables by name (KeyError for an unknown one); None where the scenario has no
    dataset. Raises DefinitionError with every problem found.
    """
    path = find_recording(path)
    return _load_married(path, table) if path.name.endswith(MARRIED) else read_plain(path)


def write_exchanges(recording: Recording, path: Path, source: str = "resolved by readiness") -> None:
    """The recording as a plain one; read again it has the same digest. Raises OSError."""
    write_plain(recording, path, source)


def recording_files(path: Path) -> tuple[Path, ...]:
    """Every file that the recording consists of, the one that names the others first. Raises DefinitionError."""
    path = find_recording(path)
    if not path.name.endswith(MARRIED):
        return (path,)
    definition = load_definition(path, RecordingDefinition)
    return path, path.parent / definition.value.arrivals.file


def find_recording(path: Path) -> Path:
    """The file itself, or the only recording in a folder. Raises DefinitionError."""
    if not path.is_dir():
        if path.name.endswith((MARRIED, PLAIN)):
            return path
        raise DefinitionError.at(
            path, "not the name of a recording", f"a recording is called NAME{MARRIED} or NAME{PLAIN}"
        )
    found = sorted(item for item in path.iterdir() if item.name.endswith((MARRIED, PLAIN)))
    if len(found) == 1:
        return found[0]
    what = f"the folder holds {len(found)} recordings" if found else "the folder holds no recording"
    names = ", ".join(item.name for item in found)
    raise DefinitionError.at(
        path, what, f"name one of {names}" if found else f"put a NAME{MARRIED} or NAME{PLAIN} in it"
    )


def _load_married(path: Path, table: Table | None) -> Recording:
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
