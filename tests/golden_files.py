"""Texts that tests compare byte for byte with a file below `tests/golden`. `READINESS_GOLDEN=write` writes them anew.

Takes the file's path in that folder and the text, fails where they differ. Holds no test.
"""

from __future__ import annotations

import os
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"


def golden(name: str, text: str) -> None:
    """Compare with `tests/golden/NAME`, or write it where the user asked for that."""
    path = GOLDEN / name
    if os.environ.get("READINESS_GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    assert path.exists(), f"there is no {path}; READINESS_GOLDEN=write makes it"
    assert text == path.read_bytes().decode()
