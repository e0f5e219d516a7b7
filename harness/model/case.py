"""The case: the definitions that a verdict rests on, beside the history. Written to the bundle as `case.json`."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from harness.model.base import Definition
from harness.model.change import Change
from harness.model.environment import Environment
from harness.model.plan import Plan
from harness.model.policy import Policy


class Case(Definition):
    """Everything that checks may know besides the History."""

    environment: Environment
    change: Change
    plan: Plan
    policy: Policy
    answers_schema: dict[str, Any] | None = Field(default=None, description="JSON Schema of a good answer.")
    images: dict[str, dict[str, str]] = Field(
        default_factory=dict, description="Per arm and service: image reference and id."
    )
