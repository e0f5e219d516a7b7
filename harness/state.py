"""Where the user's state lives: keys, dataset bundles, journals of runs. One folder, movable by one variable."""

from __future__ import annotations

import os
from pathlib import Path


def state_directory() -> Path:
    """`$READINESS_STATE_DIR`, else `~/.local/state/pytest-readiness` (XDG base directories). Not created here."""
    chosen = os.environ.get("READINESS_STATE_DIR")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "pytest-readiness"
