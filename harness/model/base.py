"""What every definition shares: frozen, strict about unknown keys, names fit for containers and files."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
"""Lower-case letters, digits, dots, dashes and underscores; what a host name, a file and a label all accept."""


class Definition(BaseModel):
    """Base of all definition models: a typo is an error, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
