"""The Change: what is proposed, by whom, why, and what would make it go back."""

from __future__ import annotations

import datetime as dt
from typing import Self

from pydantic import Field, model_validator

from harness.model.base import Definition, Name
from harness.model.environment import Build
from harness.model.scenario import CheckRequest


class Version(Definition):
    """One version of a service: whatever differs from what the environment says about it."""

    image: str | None = None
    build: Build | None = None
    command: tuple[str, ...] | None = None
    variables: dict[str, str] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not (self.image or self.command or self.variables or self.files):
            raise ValueError("says nothing: give an image, a command, variables or files")
        if self.build is not None and self.image is None:
            raise ValueError("has a `build` without a name for what it builds; add `image:`")
        return self


class ChangedService(Definition):
    """A service that the change touches. Without `baseline` the environment's own definition is the baseline."""

    baseline: Version | None = None
    candidate: Version


class Rollback(Definition):
    """When to go back, in words, and the check that would show it."""

    when: str
    check: str | None = None
    action: str


class Risk(Definition):
    risk: str
    likelihood: str
    impact: str
    mitigation: str


class Owners(Definition):
    """Who answers for what; the roles of a sign-off."""

    change_sponsor: str
    data_steward: str
    model_validator: str
    service_owner: str


class Stage(Definition):
    """One step of the rollout: share of traffic and how long to hold there."""

    name: str
    traffic_percent: float = Field(ge=0, le=100)
    hold: str


class Window(Definition):
    """When the change may be promoted; both ends carry a time zone."""

    opens: dt.datetime
    closes: dt.datetime

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.opens.tzinfo is None or self.closes.tzinfo is None:
            raise ValueError("times need a time zone, for example 2026-03-01T08:00:00Z")
        if self.closes <= self.opens:
            raise ValueError("closes before it opens")
        return self


class Change(Definition):
    """What is proposed: services with baseline and candidate, and everything a person needs to decide."""

    change: Name
    title: str
    why: str
    intended_outcome: str
    scenarios: tuple[str, ...] = Field(min_length=1, description="Scenario files, relative to this file.")
    services: dict[Name, ChangedService] = Field(min_length=1)
    objectives: tuple[CheckRequest, ...] = Field(
        default=(), description="Checks with this change's own bounds."
    )
    rollback: tuple[Rollback, ...] = ()
    risks: tuple[Risk, ...] = ()
    owners: Owners
    stages: tuple[Stage, ...] = ()
    window: Window | None = None
