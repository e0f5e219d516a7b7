"""What a user asks `readiness replay` for, as given on the command line; nothing is looked at yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from harness.errors import DefinitionError, Location, Problem
from harness.model.pace import Pace
from harness.model.quantities import Duration

TIMEOUT = Duration.of_s(30)


@dataclass(frozen=True)
class ReplayRequest:
    """`hosts`: texts HOST=URL; `thresholds`: texts such as `p99 > 250ms`; `fields`: dotted paths of JSON fields to keep.

    `workers` processes here, and `expect_workers` on other machines, which come to `listen` (HOST:PORT) and know `token`.
    """

    recording: Path
    target: str = ""
    hosts: tuple[str, ...] = ()
    pace: Pace = field(default_factory=Pace)
    seed: int = 0
    timeout: Duration = TIMEOUT
    workers: int = 1
    expect_workers: int = 0
    listen: str = ""
    token: str = ""
    sessions: bool = True
    fields: tuple[str, ...] = ()
    http1: bool = False
    insecure: bool = False
    ca_file: Path | None = None
    thresholds: tuple[str, ...] = ()
    policy: Path | None = None
    dataset: Path | None = None
    out: Path | None = None
    problems: tuple[Problem, ...] = ()
    """What is wrong with options that could not be read; said with all else that is."""


@dataclass(frozen=True)
class Share:
    """What `readiness worker` is asked for. `targets`: where it may send; none: where its master says."""

    recording: Path
    master: str
    token: str
    targets: tuple[str, ...] = ()
    ca_file: Path | None = None


T = TypeVar("T")


class Options:
    """Collects what is wrong with options while they are read."""

    def __init__(self) -> None:
        self.problems: tuple[Problem, ...] = ()

    def read(self, make: Callable[[], T], otherwise: T) -> T:
        try:
            return make()
        except DefinitionError as error:
            self.problems += error.problems
            return otherwise


def span(option: str, text: str) -> Duration:
    """A span of time. Raises DefinitionError."""
    try:
        return Duration.parse("0s" if text == "0" else text)
    except ValueError as error:
        raise DefinitionError.at(option, str(error), "write a number and its unit") from None


def address(option: str, text: str) -> tuple[str, int]:
    """HOST:PORT, an IPv6 host in brackets. Raises DefinitionError."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise DefinitionError.at(option, f"{text!r} is not HOST:PORT", "write for example 192.0.2.7:5557")
    return host.strip("[]"), int(port)


def pace_of(speed: float, times: int, from_: str, to: str | None, loops: int, ramp: str, seed: int) -> Pace:
    """From options as written. Raises DefinitionError with all that are wrong."""
    said = {
        "speed": speed,
        "times": times,
        "from": from_,
        "to": to,
        "loops": loops,
        "ramp": ramp,
        "seed": seed,
    }
    try:
        return Pace.model_validate(said)
    except ValidationError as error:
        problems = []
        for found in error.errors():
            option = f"--{found['loc'][0]}" if found["loc"] else "--from, --to"
            what = str(found["msg"]).removeprefix("Value error, ")
            problems.append(Problem(Location(option), f"{what[:1].lower()}{what[1:]}", _fix(option)))
        raise DefinitionError(problems) from None


def _fix(option: str) -> str:
    fixes = {"--speed": "give a factor, such as 2", "--times": "give a count", "--loops": "give a count"}
    return fixes.get(option, "write spans such as 90s or 10m")
