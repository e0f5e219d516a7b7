"""What this machine, its kernel and its Docker engine can do, probed rather than assumed."""

from __future__ import annotations

import os
from pathlib import Path


def state_dir() -> Path:
    """Where journals, keys and locks are kept: `$READINESS_STATE_DIR`, else `~/.local/state/pytest-readiness`."""
    named = os.environ.get("READINESS_STATE_DIR")
    return Path(named) if named else Path.home() / ".local" / "state" / "pytest-readiness"
