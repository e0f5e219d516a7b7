"""From a reader's batches to the store: private values out, routes named, and only what can be sent again.

Takes batches of `CAPTURED` of one source after another, gives them to a `RecordingWriter`. Nothing is written that the
redactor has not seen. What cannot be sent is a bad record; what the user did not want is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness.recording.naming import RoutePattern, name_routes
from harness.recording.readers.base import Rejects
from harness.recording.selecting import matches
from harness.recording.store_writer import RecordingWriter, clock_of

OTHER_HOST = "sent to a host that was not to be kept"

_SENDABLE = (
    ("method", r"^[A-Z]{1,16}$", "its method is none of HTTP"),
    ("path", r"^/[!-~]*$", "its path cannot be sent (it starts with / and holds printable ASCII alone)"),
    (
        "headers",
        r"^(?:LINE(?:\nLINE)*)?$".replace("LINE", r"[!#$%&'*+.^_`|~0-9a-z-]+: [\t\x20-\x7e\x{80}-\x{ff}]*"),
        "its headers cannot be sent (a control character, or more than one byte to a character)",
    ),
)
_NUMBERED_CLIENT = "^client-[0-9]+$"


class Redacts(Protocol):
    """What takes private values out of batches."""

    @property
    def refuses(self) -> bool:
        """Whether it found what looks like a secret and no rule names: nothing is written any more."""

    def redact(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """`CAPTURED` in, `CAPTURED` out, the same rows."""


@dataclass
class Tally:
    """What became of one source's records."""

    number: int
    """Of the source, from 0."""
    exchanges: int = 0
    records: int = 0
    steps_back: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    last_ns: int | None = None

    def count_steps_back(self, batch: pa.RecordBatch) -> None:
        at_ns = batch.column("at_ns").to_numpy(zero_copy_only=False)
        before = at_ns[0] if self.last_ns is None else self.last_ns
        self.steps_back += int(np.count_nonzero(np.diff(at_ns, prepend=before) < 0))
        self.last_ns = int(at_ns[-1])


class Intake:
    """See the module's head."""

    def __init__(
        self,
        writer: RecordingWriter,
        redactor: Redacts,
        routes: Sequence[RoutePattern] = (),
        hosts: Sequence[str] = (),
        http1: bool = False,
    ) -> None:
        self._writer = writer
        self._redactor = redactor
        self._routes = routes
        self._hosts = hosts
        self._http1 = http1

    def take(self, batch: pa.RecordBatch, tally: Tally, rejects: Rejects, writes: bool = True) -> None:
        """One batch. After a secret that no rule names, or a bad record that is not skipped, nothing is written."""
        if not batch.num_rows:
            return
        self._same_clock(batch, rejects)
        tally.count_steps_back(batch)
        first = tally.records + 1
        tally.records += batch.num_rows
        batch = self._wanted(batch, tally)
        batch = self._redactor.redact(batch)
        batch = _sendable(batch, first, rejects)
        if rejects.problems or self._redactor.refuses or not writes or not batch.num_rows:
            return
        batch = self._named(_as_http1(batch) if self._http1 else batch)
        self._writer.add(_apart(batch, tally.number) if tally.number else batch)
        tally.exchanges += batch.num_rows

    def _same_clock(self, batch: pa.RecordBatch, rejects: Rejects) -> None:
        clock = self._writer.clock
        if clock is not None and clock != clock_of(batch) and not rejects.problems:
            here, there = (
                ("dates", "offsets from a start") if clock == "own" else ("offsets from a start", "dates")
            )
            rejects.broken(
                f"its times are {here}, those before it {there}: there is no telling what came first",
                "import them apart, and join them with `readiness record merge --align start`",
            )

    def _wanted(self, batch: pa.RecordBatch, tally: Tally) -> pa.RecordBatch:
        if not self._hosts:
            return batch
        return _keep(batch, tally, OTHER_HOST, matches(batch.column("host"), self._hosts))

    def _named(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Routes for those that have none, and for those of which a pattern of the user's knows better."""
        given = _plain(batch.column("route"))
        derive = pc.equal(given, "")
        if not self._routes and not pc.any(derive).as_py():
            return batch
        named = name_routes(batch.column("path"), self._routes)
        if pc.all(derive).as_py():
            return _set(batch, "route", named)
        texts = _plain(named)
        if self._routes:
            own = pa.array([pattern.text for pattern in self._routes])
            derive = pc.or_(derive, pc.is_in(texts, own))
        return _set(batch, "route", pc.if_else(derive, texts, given))


def _sendable(batch: pa.RecordBatch, first: int, rejects: Rejects) -> pa.RecordBatch:
    """Without the rows of which a replay could make no request; each of them is a bad record."""
    good: Any = None
    bad: list[tuple[int, str]] = []
    for name, expression, what in _SENDABLE:
        column = batch.column(name)
        encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        fits = pc.match_substring_regex(encoded.dictionary, expression)
        if pc.all(fits).as_py() is not False:
            continue
        hits = fits.take(encoded.indices)
        bad += [(int(row), what) for row in np.flatnonzero(~hits.to_numpy(zero_copy_only=False))]
        good = hits if good is None else pc.and_(good, hits)
    told: set[int] = set()
    for row, what in sorted(bad):
        if row not in told:
            rejects.bad(first + row, what, "leave such records out with --skip-bad")
            told.add(row)
    return batch if good is None else batch.filter(good)


def _as_http1(batch: pa.RecordBatch) -> pa.RecordBatch:
    """What went over HTTP/2 or 3 as if it had gone over HTTP/1.1."""
    http = _plain(batch.column("http"))
    newer = pc.is_in(http, pa.array(["2", "3"]))
    return _set(batch, "http", pc.if_else(newer, "1.1", http)) if pc.any(newer).as_py() else batch


def _apart(batch: pa.RecordBatch, number: int) -> pa.RecordBatch:
    """Clients that a capture has numbered are not those that another capture has numbered alike."""
    clients, connections = _plain(batch.column("client")), _plain(batch.column("connection"))
    for name, column in (("client", clients), ("connection", connections)):
        numbered = pc.and_(pc.match_substring_regex(column, _NUMBERED_CLIENT), pc.not_equal(connections, ""))
        if pc.any(numbered).as_py():
            other = pc.binary_join_element_wise(f"file-{number + 1}", column, "-")
            batch = _set(batch, name, pc.if_else(numbered, other, column))
    return batch


def _keep(batch: pa.RecordBatch, tally: Tally, reason: str, mask: Any) -> pa.RecordBatch:
    kept = batch.filter(mask)
    if kept.num_rows < batch.num_rows:
        tally.left_out[reason] = tally.left_out.get(reason, 0) + batch.num_rows - kept.num_rows
    return kept


def _plain(column: Any) -> Any:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _set(batch: pa.RecordBatch, name: str, column: Any) -> pa.RecordBatch:
    names = batch.schema.names
    arrays = [column if item == name else batch.column(item) for item in names]
    return pa.RecordBatch.from_arrays(arrays, names=names)
