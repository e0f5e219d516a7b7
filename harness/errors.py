"""What can go wrong, in the words of the person who has to act on it.

Takes nothing from the rest of the project (the lowest layer); gives the exception types that the two front ends
turn into exit codes:

* `DefinitionError`: the user's input is wrong (exit 2). It carries *every* problem found, each with where, what
  and what to do.
* `EngineError`: the machinery failed (exit 4): Docker went away, a disk filled up, a container never became healthy.
* `Interrupted`: Ctrl-C or SIGTERM (exit 130), raised so that everything applied is healed on the way out.

A change that is not ready is not an error: it is a `Verdict`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class ExitCode(enum.IntEnum):
    """Exit codes of the `readiness` command; under pytest both 1 and 3 are plain failures."""

    READY = 0
    NOT_READY = 1
    BAD_DEFINITION = 2
    UNKNOWN = 3
    ENGINE_FAILED = 4
    INTERRUPTED = 130


@dataclass(frozen=True)
class Location:
    """A place in a user's file: 1-based line and column, and the source line with the width to underline."""

    file: str
    line: int | None = None
    column: int | None = None
    source: str | None = None
    width: int = 1

    def __str__(self) -> str:
        parts = [self.file, *(str(n) for n in (self.line, self.column) if n is not None)]
        return ":".join(parts)


@dataclass(frozen=True)
class Problem:
    """One thing wrong with the user's input: where it stands, what is wrong in the user's words, what to do."""

    where: Location
    what: str
    fix: str

    def __str__(self) -> str:
        lines = [f"{self.where}: error: {self.what}"]
        if self.where.source is not None and self.where.line is not None:
            gutter = f"{self.where.line} | "
            caret_column = max((self.where.column or 1) - 1, 0)
            lines.append(f"{gutter}{self.where.source}")
            lines.append(
                f"{' ' * (len(gutter) - 2)}| {' ' * caret_column}{'^' * max(self.where.width, 1)} {self.fix}"
            )
        else:
            lines.append(f"  {self.fix}")
        return "\n".join(lines)


class ReadinessError(Exception):
    """Base of all errors that a front end shows as a message rather than a traceback."""

    exit_code: ExitCode = ExitCode.ENGINE_FAILED


class DefinitionError(ReadinessError):
    """The user's input is wrong; `problems` lists everything found, not only the first."""

    exit_code = ExitCode.BAD_DEFINITION

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    @classmethod
    def at(cls, file: object, what: str, fix: str) -> DefinitionError:
        """One problem with a whole file."""
        return cls([Problem(Location(str(file)), what, fix)])


class EngineError(ReadinessError):
    """The machinery failed. `what` says what was being done and what happened, `fix` what to do about it."""

    exit_code = ExitCode.ENGINE_FAILED

    def __init__(self, what: str, fix: str) -> None:
        self.what = what
        self.fix = fix
        super().__init__(f"error: {what}\n  {fix}")


class Interrupted(ReadinessError):
    """The user or the machine asked the run to stop; whatever was started is being taken down."""

    exit_code = ExitCode.INTERRUPTED
