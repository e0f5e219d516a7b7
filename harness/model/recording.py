"""Recordings: captured traffic, one `Exchange` a request, and the two ways in which people write it down.

Takes what definition files say, gives frozen values; `harness/recording/load.py` reads the files. Offsets are whole
nanoseconds from the recording's start. Nothing here does I/O.

* A *married* recording (`NAME.recording.yaml`, `RecordingDefinition`) takes its arrival times from a trace and its
  requests from a dataset: arrival k makes the request that row k of a table describes.
* A *plain* recording (`NAME.ndjson`) has a line about itself and then a line an exchange: `recording_lines.py`.

A *stored* recording (a folder NAME.recording) is nothing that people write: `harness/recording/store.py`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Protocol, Self

import numpy as np
import numpy.typing as npt
from pydantic import Discriminator, Field, JsonValue, StringConstraints, Tag, field_validator, model_validator

from harness.model.arrivals import Arrivals
from harness.model.base import Definition, Name
from harness.model.quantities import Duration
from harness.model.recording_columns import content_digest

RESERVED_HEADERS = frozenset({"connection", "content-length", "transfer-encoding", "x-request-id"})
"""Headers that the generator sets for each request, so that a recording may not."""

_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_PATH = re.compile(r"/[\x21-\x7e]*")

Method = Annotated[str, StringConstraints(pattern=r"^[A-Z]{1,16}$")]
"""An HTTP method, in capitals."""

Headers = tuple[tuple[str, str], ...]


def check_path(path: str, double_slash: bool = False) -> str:
    """The path as sent. Raises ValueError when it names a host or holds what a request line cannot.

    Clients do send paths that begin with `//`, so captured traffic may (`double_slash`); in a template it is a mistake.
    """
    if not _PATH.fullmatch(path) or (path.startswith("//") and not double_slash):
        raise ValueError(
            f"{path!r} is no path; it starts with one / and holds printable ASCII (percent-encode the rest)"
        )
    return path


def check_headers(headers: Iterable[tuple[str, str]]) -> Headers:
    """The headers, names in lower case. Raises ValueError for one that cannot be sent or that the generator sets."""
    checked = []
    for name, value in headers:
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise ValueError(
                f"{name!r}: {value!r} is no header (control characters and line breaks are not allowed)"
            )
        if name.lower() in RESERVED_HEADERS:
            raise ValueError(f"{name!r} is set by the generator for each request; leave it out")
        checked.append((name.lower(), value))
    return tuple(checked)


def check_answer_headers(headers: Iterable[tuple[str, str]]) -> Headers:
    """The headers of a recorded answer, names in lower case. Raises ValueError for what would not fit on a line."""
    checked = []
    for name, value in headers:
        if not _HEADER_NAME.fullmatch(name) or "\n" in value or "\r" in value:
            raise ValueError(f"{name!r}: {value!r} is no header (line breaks are not allowed)")
        checked.append((name.lower(), value))
    return tuple(checked)


@dataclass(frozen=True)
class RecordedAnswer:
    """What came back when the exchange was recorded. Times are offsets as `Exchange.at_ns`; -1, None: not known.

    Status 0: no answer came, and `error` says why. `size_bytes`: head and body on the wire.
    """

    status: int = -1
    first_byte_ns: int = -1
    answered_ns: int = -1
    headers: Headers = ()
    body: bytes | None = None
    error: str = ""
    size_bytes: int = -1

    def fields(self) -> dict[str, object]:
        """As under `answer` in a line of the plain format."""
        fields: dict[str, object] = {}
        for name, unknown in (
            ("status", -1),
            ("first_byte_ns", -1),
            ("answered_ns", -1),
            ("size_bytes", -1),
            ("error", ""),
        ):
            if getattr(self, name) != unknown:
                fields[name] = getattr(self, name)
        if self.headers:
            fields["headers"] = [list(pair) for pair in self.headers]
        if self.body is not None:
            fields.update(_body_fields(self.body) or {"body": ""})
        return fields


def _body_fields(body: bytes) -> dict[str, object]:
    """A body as a line of the plain format has it: text where it is text, nothing where it is empty."""
    if not body:
        return {}
    try:
        return {"body": body.decode("utf-8")}
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(body).decode("ascii")}


@dataclass(frozen=True)
class Exchange:
    """One request: when it was sent, by whom, and what it said. `key` joins it to its label (empty: none).

    `connection` names those who share keep-alive connections (empty: everybody whose source did not say); `http` is
    "1.0", "1.1", "2" or "3", `scheme` and `host` where it was sent when recorded (empty: not known), `size_bytes` the
    request's head and body on the wire (-1: not known).
    """

    seq: int
    at_ns: int
    client: str
    key: str
    method: str
    path: str
    route: str
    headers: Headers
    body: bytes
    scheme: str = ""
    host: str = ""
    http: str = ""
    connection: str = ""
    answer: RecordedAnswer = RecordedAnswer()
    size_bytes: int = -1

    def line(self, body_known: bool = True) -> str:
        """The exchange as one line of the plain format, without the line's end. What is not known is left out."""
        fields: dict[str, object] = {
            "at_ns": self.at_ns,
            "client": self.client,
            "key": self.key,
            "method": self.method,
            "path": self.path,
            "route": self.route,
            "headers": [list(pair) for pair in self.headers],
        }
        for name in ("scheme", "host", "http", "connection"):
            if getattr(self, name):
                fields[name] = getattr(self, name)
        if self.size_bytes >= 0:
            fields["size_bytes"] = self.size_bytes
        fields.update(_body_fields(self.body) if body_known else {"body": None})
        if self.answer != RecordedAnswer():
            fields["answer"] = self.answer.fields()
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


class Traffic(Protocol):
    """A recording as a run uses it, whether it lies in memory (`Recording`) or in a folder (`StoredRecording`)."""

    @property
    def name(self) -> str: ...

    @property
    def digest(self) -> str:
        """Names the content: `sha256:` and 64 hex digits."""

    @property
    def attribution(self) -> str: ...

    @property
    def length_ns(self) -> int: ...

    @property
    def count(self) -> int:
        """How many exchanges there are."""

    def offsets_ns(self) -> npt.NDArray[np.int64]:
        """When each was sent, since the start, ascending."""

    def slice(self, first_seq: int, stop_seq: int) -> Iterable[Exchange]:
        """The exchanges `first_seq <= seq < stop_seq`, in order; all of them need not be in memory at once."""


@dataclass(frozen=True)
class Recording:
    """Captured traffic in memory. `exchanges[k].seq == k`, in order of time; all of it lies in `0 <= at_ns < length_ns`."""

    name: str
    digest: str
    attribution: str
    exchanges: tuple[Exchange, ...]
    length_ns: int

    @classmethod
    def of(cls, name: str, attribution: str, exchanges: Sequence[Exchange], length_ns: int = 0) -> Recording:
        """Sort by time (order kept among equals), number, digest. A shorter `length_ns` is stretched to hold all."""
        ordered = sorted(exchanges, key=lambda exchange: exchange.at_ns)
        numbered = tuple(replace(exchange, seq=seq) for seq, exchange in enumerate(ordered))
        length_ns = max(length_ns, numbered[-1].at_ns + 1 if numbered else 0)
        return cls(name, content_digest(numbered, length_ns), attribution, numbered, length_ns)

    @property
    def count(self) -> int:
        return len(self.exchanges)

    def offsets_ns(self) -> npt.NDArray[np.int64]:
        return np.array([exchange.at_ns for exchange in self.exchanges], np.int64)

    def between(self, from_ns: int, to_ns: int) -> tuple[int, int]:
        """`(first_seq, stop_seq)` of the exchanges with `from_ns <= at_ns < to_ns`."""
        first, stop = np.searchsorted(self.offsets_ns(), [from_ns, to_ns])
        return int(first), int(stop)

    def slice(self, first_seq: int, stop_seq: int) -> tuple[Exchange, ...]:
        """The exchanges `first_seq <= seq < stop_seq`."""
        return self.exchanges[first_seq:stop_seq]


def request_id(seed: int, digest: str, seq: int) -> str:
    """32 hex digits, a function of seed, recording and place in it: the same in every arm and in every repetition."""
    return hashlib.sha256(f"{seed} {digest} {seq}".encode()).hexdigest()[:32]


class RequestTemplate(Definition):
    """The request that a row of the dataset's table makes; `{column}` stands for the row's value."""

    table: Name
    method: Method = "GET"
    path: str = Field(description="Template; values are percent-encoded.")
    route: str | None = Field(
        default=None, description="The request's name in checks; `path` as written by default."
    )
    headers: dict[str, str] = Field(default_factory=dict, description="Templates.")
    client: str = Field(default="", description="Template: whose request it is.")
    key: str | None = Field(default=None, description="Column whose value joins the exchange to its label.")
    after: Duration = Field(
        default=Duration(0), description="Sent this long after the arrival; not touched by `speed`."
    )
    body: JsonValue = Field(
        default=None, description="JSON; a string that is one `{column}` keeps the value's type."
    )

    @field_validator("path")
    @classmethod
    def _is_path(cls, path: str) -> str:
        return check_path(path)

    @field_validator("headers")
    @classmethod
    def _are_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        check_headers(headers.items())
        return headers


def _request_count(value: object) -> str:
    return "several" if isinstance(value, list | tuple) else "one"


OneOrSeveral = Annotated[
    Annotated[RequestTemplate, Tag("one")] | Annotated[tuple[RequestTemplate, ...], Tag("several")],
    Discriminator(_request_count),
]


class RecordingDefinition(Definition):
    """A married recording: arrival times from a trace, requests from a dataset."""

    recording: Name
    attribution: str = Field(
        min_length=1, description="Whose arrival times these are, and under which licence."
    )
    arrivals: Arrivals
    requests: OneOrSeveral = Field(
        description="One request a row, or several: each row then makes all of them."
    )

    @property
    def templates(self) -> tuple[RequestTemplate, ...]:
        """The requests that each row makes, also where there is one."""
        return self.requests if isinstance(self.requests, tuple) else (self.requests,)

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.templates:
            raise ValueError("no requests; describe at least one under `requests:`")
        return self


def json_bytes(value: JsonValue) -> bytes:
    """Compact JSON in UTF-8. Raises ValueError for NaN and infinity, which JSON has not."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")


def with_content_type(headers: Headers, json_body: bool) -> Headers:
    """`content-type: application/json` added where there is a JSON body and no content type."""
    if not json_body or any(name == "content-type" for name, _ in headers):
        return headers
    return (*headers, ("content-type", "application/json"))
