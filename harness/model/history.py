"""The History: the append-only record of a run, and the only thing that checks may read.

Three columnar tables (pyarrow, written as Parquet), a list of events (written as JSON lines) and the labels that
were kept outside the graph. All `*_ns` are nanoseconds since the run's origin on one monotonic clock, unless a
column says otherwise. Nothing here reads or writes files; `harness/report/bundle.py` does.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Array = npt.NDArray[Any]

GENERATOR_DIED = "generator died"
"""Error of a request that was under way when its load generator ended: nobody waited for the answer."""

FAILED_STATUS = 400
"""Answers with this status or more turn a request away."""


class Columns:
    """An immutable table with a fixed schema; rows are selected with `where`, columns read as numpy arrays."""

    schema: ClassVar[pa.Schema]

    def __init__(self, table: pa.Table) -> None:
        """Raises ValueError (KeyError for a missing column) when the table does not fit the schema."""
        self.table = table.select(self.schema.names).cast(self.schema)

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]]) -> Self:
        return cls(pa.Table.from_pylist(list(rows), schema=cls.schema))

    @classmethod
    def empty(cls) -> Self:
        return cls(cls.schema.empty_table())

    def column(self, name: str) -> Array:
        """One column; strings as an object array."""
        array: Array = self.table.column(name).to_numpy()
        return array

    def where(self, **wanted: str | int | bool | tuple[str, ...]) -> Self:
        """Rows in which each named column equals the value, or is one of the values of a tuple."""
        mask: Any = None
        for name, value in wanted.items():
            column = self.table.column(name)
            hit = (
                pc.is_in(column, pa.array(value, column.type))
                if isinstance(value, tuple)
                else pc.equal(column, value)
            )
            mask = hit if mask is None else pc.and_(mask, hit)
        return self if mask is None else type(self)(self.table.filter(mask))

    def rows(self) -> list[dict[str, Any]]:
        """All rows as plain dicts; for small selections."""
        rows: list[dict[str, Any]] = self.table.to_pylist()
        return rows

    def __len__(self) -> int:
        return int(self.table.num_rows)


class Exchanges(Columns):
    """Every request that was to be sent, one row per arm: when it was due, sent and answered, and with what.

    | column | meaning |
    |---|---|
    | `scheduled_ns` | when the recording says that it is to be sent |
    | `due_ns` | the same; later where it had to wait for an earlier answer of its client (that answer plus think time) |
    | `sent_ns` | handed to the network (written to a live connection, or connecting began); -1: never sent |
    | `connected_ns` | its connection stood (for a kept-alive one: when it was taken); -1: never |
    | `first_byte_ns` | the first byte of the answer came; -1: none came |
    | `answered_ns` | the whole answer was there; -1: it never was |
    | `status`, `error` | the answer's status, or 0 and why there was none |
    | `recorded_status` | the same when it was recorded; -1: not known |
    | `sent_bytes`, `received_bytes` | head and body as on the wire; -1: not known |
    | `body` | the answer's text, cut where it is very long, or a JSON object of the fields that were asked for |
    | `body_digest` | SHA-256 of the whole body as hex digits, "" where none came |
    | `key` | joins the exchange to its label |
    """

    schema = pa.schema(
        [
            ("arm", pa.string()),
            ("unit", pa.string()),
            ("turn", pa.int32()),
            ("phase", pa.string()),
            ("seq", pa.int64()),
            ("request_id", pa.string()),
            ("client", pa.string()),
            ("key", pa.string()),
            ("route", pa.string()),
            ("scheduled_ns", pa.int64()),
            ("due_ns", pa.int64()),
            ("sent_ns", pa.int64()),
            ("connected_ns", pa.int64()),
            ("first_byte_ns", pa.int64()),
            ("answered_ns", pa.int64()),
            ("status", pa.int32()),
            ("recorded_status", pa.int32()),
            ("error", pa.string()),
            ("sent_bytes", pa.int64()),
            ("received_bytes", pa.int64()),
            ("body", pa.string()),
            ("body_digest", pa.string()),
        ]
    )

    def latency_ms(self) -> Array:
        """Answered minus *due*, so that a stalled service is charged for the requests that had to wait.

        NaN where there was no answer. (Coordinated omission: Tene, "How NOT to Measure Latency".)
        """
        answered = self.column("answered_ns").astype(float)
        latency = (answered - self.column("due_ns")) / 1e6
        return np.where(answered < 0, np.nan, latency)

    def lag_ms(self) -> Array:
        """Sent minus due: the generator's own lateness. NaN where it was never sent."""
        sent = self.column("sent_ns").astype(float)
        return np.where(sent < 0, np.nan, (sent - self.column("due_ns")) / 1e6)

    def worse(self) -> tuple[Array, Array]:
        """Of each request, whether it was sent and had succeeded when recorded; and whether it did not now."""
        recorded, status = self.column("recorded_status"), self.column("status")
        good = (self.column("sent_ns") >= 0) & (recorded >= 100) & (recorded < FAILED_STATUS)
        return good, good & ~((status >= 100) & (status < FAILED_STATUS))

    def attempted(self) -> Self:
        """Without requests that were never sent, or whose generator died: they say nothing about the service."""
        sent = pc.greater_equal(self.table.column("sent_ns"), 0)
        died = pc.equal(self.table.column("error"), GENERATOR_DIED)
        return type(self)(self.table.filter(pc.and_(sent, pc.invert(died))))

    def ok(self) -> npt.NDArray[np.bool_]:
        """Answered with a status below 500 and no transport error."""
        status = self.column("status")
        good: npt.NDArray[np.bool_] = (status >= 100) & (status < 500)
        return good


class EdgeRequests(Columns):
    """Every HTTP request that left an edge towards its callee, from the plane's own log.

    `fault` names the window whose request fault hit it (empty: none); such a request may not have reached the callee.
    `status` is what the caller was answered (-1 when the connection ended first), `duration_ms` the whole exchange.
    """

    schema = pa.schema(
        [
            ("arm", pa.string()),
            ("unit", pa.string()),
            ("turn", pa.int32()),
            ("phase", pa.string()),
            ("edge", pa.string()),
            ("at_ns", pa.int64()),
            ("request_id", pa.string()),
            ("method", pa.string()),
            ("path", pa.string()),
            ("status", pa.int32()),
            ("duration_ms", pa.float64()),
            ("bytes_to_caller", pa.int64()),
            ("termination", pa.string()),
            ("fault", pa.string()),
        ]
    )


class WitnessSamples(Columns):
    """Counters of one edge at one moment. All counts are totals since the plane started, so spans are differences.

    "in" is the caller's side, "out" the callee's side of the sandwich; `rule_packets` is what the packet rule of the
    fault at hand has counted. `moment` says why the sample was taken.
    """

    schema = pa.schema(
        [
            ("arm", pa.string()),
            ("unit", pa.string()),
            ("turn", pa.int32()),
            ("at_ns", pa.int64()),
            ("moment", pa.string()),
            ("edge", pa.string()),
            ("in_packets", pa.int64()),
            ("in_connections", pa.int64()),
            ("in_bytes_from_caller", pa.int64()),
            ("in_bytes_to_caller", pa.int64()),
            ("out_connections", pa.int64()),
            ("out_requests", pa.int64()),
            ("out_bytes_to_callee", pa.int64()),
            ("out_bytes_from_callee", pa.int64()),
            ("rule_packets", pa.int64()),
        ]
    )


class Moment(enum.StrEnum):
    """Why a witness sample was taken."""

    UNIT_STARTED = "unit_started"
    BEFORE_FAULT = "before_fault"
    FAULT_APPLIED = "fault_applied"
    TICK = "tick"
    BEFORE_HEAL = "before_heal"
    HEALED = "healed"
    UNIT_FINISHED = "unit_finished"


class EventKind(enum.StrEnum):
    """What can happen in a run besides traffic."""

    ARM_UP = "arm_up"
    UNIT_STARTED = "unit_started"
    UNIT_FINISHED = "unit_finished"
    FAULT_APPLYING = "fault_applying"
    FAULT_APPLIED = "fault_applied"
    FAULT_HEALING = "fault_healing"
    FAULT_HEALED = "fault_healed"
    FAULT_FAILED = "fault_failed"
    PROBE = "probe"
    CONTAINER = "container"
    ISOLATION = "isolation"
    REPLAY = "replay"
    REPLAY_FAILED = "replay_failed"
    LOG_DROPPED = "log_dropped"
    WORLD = "world"
    HARNESS = "harness"


@dataclass(frozen=True)
class Event:
    """Something that happened. `subject` is the edge, service, window or container; `detail` depends on the kind."""

    at_ns: int
    kind: EventKind
    arm: str = ""
    unit: str = ""
    turn: int = -1
    subject: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


class Labels(Columns):
    """The truth kept outside the graph: one row per key. `groups` is a JSON object of protected attributes."""

    schema = pa.schema([("key", pa.string()), ("label", pa.int8()), ("groups", pa.string())])


@dataclass(frozen=True)
class History:
    """Everything a verdict may rest on."""

    exchanges: Exchanges
    edge_requests: EdgeRequests
    witness: WitnessSamples
    events: tuple[Event, ...]
    labels: Labels

    def events_of(self, *kinds: EventKind, **wanted: str | int) -> tuple[Event, ...]:
        """Events of these kinds whose fields equal the wanted values, in order of time."""
        return tuple(
            event
            for event in self.events
            if event.kind in kinds and all(getattr(event, name) == value for name, value in wanted.items())
        )

    def attempted(self) -> History:
        """What may be held against a service: without exchanges that never reached it, through no fault of its own."""
        return replace(self, exchanges=self.exchanges.attempted())

    @classmethod
    def empty(cls) -> History:
        return cls(Exchanges.empty(), EdgeRequests.empty(), WitnessSamples.empty(), (), Labels.empty())
