"""Collects what is wrong with a recording, so that one message names all of it, and stays readable.

Takes places, words and advice; gives one DefinitionError with the first `MOST_PROBLEMS` and the count of the rest.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from harness.errors import DefinitionError, Location, Problem

MOST_PROBLEMS = 20
SOURCE_CHARS = 110


class Problems:
    """What is wrong with one recording."""

    def __init__(self) -> None:
        self._found: list[Problem] = []
        self._more = 0

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, where: Location, what: str, fix: str) -> None:
        if len(self._found) < MOST_PROBLEMS:
            self._found.append(Problem(where, what, fix))
        else:
            self._more += 1

    def raise_if_any(self) -> None:
        """Raises DefinitionError."""
        if self._found:
            raise DefinitionError(self.found())

    def found(self) -> list[Problem]:
        """The first of them, and how many more there are."""
        found = list(self._found)
        if self._more:
            last = found[-1].where
            found.append(
                Problem(
                    Location(last.file),
                    f"{self._more} more problems like these",
                    "put these right and try again",
                )
            )
        return found


def in_line(path: Path, number: int, text: str, offending: str = "") -> Location:
    """A place in a line of a text file: at `offending` where the line holds it, else at the line's start."""
    found = text.find(offending) if offending else 0
    column, width = (found + 1, max(len(offending), 1)) if found >= 0 else (1, 1)
    if column + width > SOURCE_CHARS:
        return Location(str(path), number, column)  # beyond what is shown
    shown = text if len(text) <= SOURCE_CHARS else text[: SOURCE_CHARS - 1] + "…"
    return Location(str(path), number, column, shown, width)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Advice for a name that is not known."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}"
