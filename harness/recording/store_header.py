"""`recording.json`: what a stored recording is, where it comes from, and what is not known about it.

Takes and gives models; `store.py` and `store_writer.py` read and write the file. README.md of this folder documents it.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import Field

from harness.model.base import Definition, Name

VERSION = 1
HEADER = "recording.json"
EXCHANGES = "exchanges.parquet"
BODIES = "bodies.sqlite"
SESSIONS = "sessions.yaml"
SUFFIX = ".recording"
"""A stored recording is a folder called NAME.recording."""

Clock = Literal["epoch", "own"]
"""What `start_ns` counts from: the Unix epoch, or the source's own start."""


class SourceFile(Definition):
    """One file that was imported. Its name without its folder, and nothing of what it says."""

    file: str
    sha256: str
    size_bytes: int = Field(ge=0)
    reader: str
    unknown: str = Field(description="What this format cannot say.")
    exchanges: int = Field(ge=0, description="Taken from it.")
    steps_back: int = Field(default=0, ge=0, description="Exchanges earlier than the one before them.")
    skipped: dict[str, int] = Field(default_factory=dict, description="Bad records left out, by reason.")
    left_out: dict[str, int] = Field(default_factory=dict, description="Good records not wanted, by reason.")


class Parent(Definition):
    """A recording that this one was made from."""

    recording: str
    digest: str


class Counts(Definition):
    """How much there is of what."""

    exchanges: int = Field(ge=0)
    bodies: int = Field(ge=0, description="Different ones, the empty one not counted.")
    bodies_bytes: int = Field(ge=0, description="Of these, uncompressed.")


class StoredHeader(Definition):
    """The whole of `recording.json`."""

    version: Literal[1]
    recording: Name
    attribution: str
    digest: str = Field(description="Of the exchanges and the length; see README.md.")
    length_ns: int = Field(ge=0)
    clock: Clock = "own"
    start_ns: int = Field(default=0, description="When it starts, on that clock.")
    counts: Counts
    sources: tuple[SourceFile, ...] = ()
    parents: tuple[Parent, ...] = ()
    done: tuple[str, ...] = Field(default=(), description="What was done to the parents, in words.")
    redaction: dict[str, Any] | None = Field(
        default=None, description="What was replaced; null: nothing was redacted."
    )
    files: dict[str, str] = Field(description="SHA-256 of each file but this one and sessions.yaml.")
    seal: str = Field(default="", description="SHA-256 of all of the above: an altered byte shows.")

    def sealed(self) -> str:
        """What `seal` has to be."""
        text = json.dumps(self.model_dump(mode="json", exclude={"seal"}), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()
