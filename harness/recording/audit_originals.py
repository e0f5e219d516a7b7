"""The private values that an audit looks for: from a list, or from a captured file.

Takes paths, gives pairs of a word (which value it is) and the value.
"""

from __future__ import annotations

import os
from pathlib import Path

from harness.errors import DefinitionError
from harness.recording.readers.base import Rejects, Source
from harness.recording.redaction import Redactor, default_rules, load_rules
from harness.recording.redaction.formats import kind_of
from harness.recording.redaction.keys import KEY_BYTES
from harness.recording.redaction.known import is_telling
from harness.recording.registry import reader_of

MOST_VALUES = 200_000


def read_originals(path: Path) -> list[tuple[str, str]]:
    """One value a line; empty lines and those that begin with `#` are left out. Raises DefinitionError."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DefinitionError.at(
            path,
            f"the originals cannot be read: {error.strerror or error}",
            "give a text file, one value a line",
        ) from None
    except UnicodeDecodeError as error:
        raise DefinitionError.at(path, f"not UTF-8: {error.reason}", "save the file as UTF-8") from None
    found = [
        (f"in line {number} of {path.name}", line.strip())
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.startswith("#")
    ]
    if not found:
        raise DefinitionError.at(path, "there is no value in it", "write one private value a line")
    return found


def values_of_capture(path: Path, rules: Path | None) -> list[tuple[str, str]]:
    """What the rules replace in a captured file, where it can be told from chance. Raises DefinitionError."""
    redactor = Redactor(load_rules(rules) if rules is not None else default_rules(), os.urandom(KEY_BYTES))
    originals = redactor.collect_originals()
    rejects = Rejects(path, skip=True)
    for batch in reader_of(path).read(Source(path), rejects):
        redactor.redact(batch)
    telling = [
        value for value in originals if is_telling(value) or (kind_of(value) != "text" and len(value) >= 8)
    ]
    if len(telling) > MOST_VALUES:
        raise DefinitionError.at(
            path,
            f"{len(telling):,} private values are more than an audit can look for",
            f"cut the file: {MOST_VALUES:,} values are the most",
        )
    return [(f"{number} of {path.name}", value) for number, value in enumerate(telling, start=1)]
