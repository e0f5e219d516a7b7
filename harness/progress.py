"""How a run tells what it is doing: stages and notes, printed by whichever front end started it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told what happens; a front end prints it."""

    def stage(self, text: str) -> None:
        """A new stage begins."""

    def note(self, text: str) -> None:
        """Something within the stage."""


class Silent:
    """Says nothing."""

    def stage(self, text: str) -> None:
        pass

    def note(self, text: str) -> None:
        pass
