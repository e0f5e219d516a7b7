"""Which exchanges a user means: patterns for routes, methods, statuses, clients and hosts.

Takes the patterns, gives masks of batches. An exchange is meant when it fits one pattern of every kind that was given.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from harness.errors import DefinitionError

_STATUS = re.compile(
    r"(?P<whole>[0-9]{1,3})|(?P<first>[1-9])xx|(?P<low>[0-9]{3})-(?P<high>[0-9]{3})", re.IGNORECASE
)

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Selection:
    """Patterns by kind. `*`, `?` and `[…]` mean what they mean in file names; a status is 404, 5xx, 400-499, or 0."""

    route: tuple[str, ...] = ()
    method: tuple[str, ...] = ()
    status: tuple[str, ...] = ()
    client: tuple[str, ...] = ()
    host: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises DefinitionError."""
        for text in self.status:
            status_range(text)
        if not any(getattr(self, item.name) for item in fields(self)):
            names = ", ".join(f"--{item.name}" for item in fields(self))
            raise DefinitionError.at(
                "filter", "nothing says which exchanges are meant", f"give one of {names}"
            )

    def __str__(self) -> str:
        given = ((item.name, getattr(self, item.name)) for item in fields(self))
        return ", ".join(f"{name} {' or '.join(patterns)}" for name, patterns in given if patterns)

    def mask(self, batch: pa.RecordBatch) -> Mask:
        """True for the rows that are meant."""
        found: Mask = np.ones(batch.num_rows, bool)
        for name in ("route", "method", "client", "host"):
            patterns = getattr(self, name)
            if patterns:
                found &= matches(batch.column(name), patterns).to_numpy(zero_copy_only=False)
        if self.status:
            status = batch.column("status").to_numpy()
            ranges = [status_range(text) for text in self.status]
            found &= np.logical_or.reduce([(status >= low) & (status <= high) for low, high in ranges])
        return found


def matches(column: Any, patterns: Sequence[str]) -> Any:
    """An array of booleans: which texts fit one of the patterns. Case does not matter."""
    fits = re.compile("|".join(f"(?:{fnmatch.translate(pattern)})" for pattern in patterns), re.IGNORECASE)
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    hits = pa.array([fits.match(text) is not None for text in encoded.dictionary.to_pylist()], pa.bool_())
    return hits.take(encoded.indices)


def status_range(text: str) -> tuple[int, int]:
    """The first and the last status that are meant. Raises DefinitionError."""
    found = _STATUS.fullmatch(text)
    if found is None:
        fix = "write 404, 5xx or 400-499, or 0 where no answer came"
        raise DefinitionError.at("--status", f"{text!r} is no status", fix)
    if found["whole"] is not None:
        return int(found["whole"]), int(found["whole"])
    if found["first"] is not None:
        return int(found["first"]) * 100, int(found["first"]) * 100 + 99
    return int(found["low"]), int(found["high"])
