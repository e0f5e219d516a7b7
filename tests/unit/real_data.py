"""Real traffic for tests, read from where it is kept and never copied. Where it is absent, tests skip and say so."""

from __future__ import annotations

from pathlib import Path

import pytest

TRAFFIC = Path(__file__).resolve().parents[3] / "shared" / "data" / "traffic"
APACHE = TRAFFIC / "apache_combined.log"
AZURE = TRAFFIC / "azure_llm_code.csv"


def needs(path: Path) -> pytest.MarkDecorator:
    """Skips where the file is not there."""
    return pytest.mark.skipif(
        not path.exists(), reason=f"{path.name} is not there (real data, not part of the project)"
    )
