"""What a fault is: harm of one kind that can be applied to one target, read back, counted and healed.

A fault is a class with a few facts and one method, `apply`. What it applied is an `Applied`, which belongs to one
window. Writers of faults: see README.md beside this file.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, TypeVar

from harness.driver.base import Driver
from harness.errors import EngineError
from harness.model.base import Definition
from harness.model.plan import FaultWindow, Level
from harness.plane.client import Plane
from harness.plane.routes import EdgeRoute

P = TypeVar("P", bound=Definition)


class FaultError(EngineError):
    """A fault could not be applied, or not be healed; says which and on what."""


class NoParameters(Definition):
    """A fault that is fully described by its name and target."""


@dataclass(frozen=True)
class FaultContext:
    """Where and on what a window's fault is applied. `container` is the target service's, None for an edge."""

    plane: Plane
    driver: Driver
    container: str | None
    window: FaultWindow
    seed: int

    @property
    def route(self) -> EdgeRoute:
        """The target edge's route. Raises FaultError when the window is not aimed at an edge."""
        if self.window.edge is None:
            raise self._aimed_wrong("edge")
        return self.plane.route(self.window.edge)

    @property
    def target_container(self) -> str:
        """The target service's container. Raises FaultError when the window is not aimed at a service."""
        if self.container is None:
            raise self._aimed_wrong("service")
        return self.container

    def parameters(self, model: type[P]) -> P:
        """The window's parameters, as the fault's own model."""
        return model.model_validate_json(self.window.parameters)

    def _aimed_wrong(self, wanted: str) -> FaultError:
        what = f"window {self.window.name}: fault {self.window.fault} needs a target {wanted}"
        return FaultError(what, f"give it `{wanted}:`")


class Applied(Protocol):
    """Harm that was done, until it is undone. Every method is bounded in time and raises EngineError."""

    def hits(self) -> Mapping[str, int]:
        """What was hit since the fault was applied; counters of the world, never of our intentions."""

    def heal(self) -> None:
        """Undo. Idempotent: healing twice, or healing what is gone already, is no error."""

    def is_healed(self) -> bool:
        """Read back from the world."""


class Fault(ABC):
    """One kind of harm. Subclasses set the facts and write `apply`; instances carry no state."""

    name: ClassVar[str]
    summary: ClassVar[str]
    level: ClassVar[Level]
    targets: ClassVar[Literal["edge", "service"]]
    cuts: ClassVar[bool]
    """True when nothing gets through to the target while the fault is on."""
    protocols: ClassVar[tuple[str, ...]] = ("http", "postgres", "redis", "tcp")
    """Protocols of the edges that it can be aimed at."""
    parameters: ClassVar[type[Definition]] = NoParameters

    @abstractmethod
    def apply(self, context: FaultContext) -> Applied:
        """In force for new and live connections when this returns. Leaves nothing behind when it raises."""


@contextlib.contextmanager
def healed_on_failure(applied: Applied) -> Iterator[None]:
    """For `apply`: when what follows fails, undo what was done so far and let the failure through."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(EngineError):
            applied.heal()
        raise
