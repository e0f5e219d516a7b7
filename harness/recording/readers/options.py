"""The options of a reader: texts from the command line, parsed, and everything that is wrong with them said at once.

Takes a source and what each option's text means, gives values by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harness.recording.problems import did_you_mean
from harness.recording.readers.base import Rejects, Source

Parse = Callable[[str], Any]
"""The value of an option's text. Raises ValueError with what is wrong."""


def options_of(source: Source, rejects: Rejects, known: Mapping[str, Parse]) -> dict[str, Any] | None:
    """The options that were given, or None when something is wrong with one."""
    values: dict[str, Any] = {}
    right = True
    for name, text in source.options.items():
        if name not in known:
            rejects.broken(f"this format has no option {name!r}", did_you_mean(name, known))
            right = False
            continue
        try:
            values[name] = known[name](text)
        except ValueError as error:
            rejects.broken(f"option {name}: {error}", "correct the option")
            right = False
    return values if right else None
