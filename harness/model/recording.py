"""Recordings: captured traffic, one `Exchange` a request, and the two ways in which people write it down.

Takes what definition files say, gives frozen values; `harness/recording/load.py` reads the files. Offsets are whole
nanoseconds from the recording's start. Nothing here does I/O.

* A *married* recording (`NAME.recording.yaml`, `RecordingDefinition`) takes its arrival times from a trace and its
  requests from a dataset: arrival k makes the request that row k of a table describes.
* A *plain* recording (`NAME.ndjson`) has one `RecordingHeader` line and then one `ExchangeLine` a line.
"""

from __future__ import annotations

import base64
import binascii
import bisect
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, JsonValue, StringConstraints, Tag, field_validator, model_validator

from harness.model.base import Definition, Name
from harness.model.quantities import Duration

FORMAT = 1
"""Version of the plain format; its first line names it."""

RESERVED_HEADERS = frozenset({"connection", "content-length", "transfer-encoding", "x-request-id"})
"""Headers that the generator sets for each request, so that a recording may not."""

NS_PER_UNIT = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
"""Units that the name of a column of arrival times may end in, after an underscore."""

_HEADER_NAME = re.compile(r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$")
_HEADER_VALUE = re.compile(r"^[\t\x20-\x7e\x80-\xff]*$")
_PATH = re.compile(r"^/(?!/)[\x21-\x7e]*$")

Method = Annotated[str, StringConstraints(pattern=r"^[A-Z]{1,16}$")]
"""An HTTP method, in capitals."""

Headers = tuple[tuple[str, str], ...]


def check_path(path: str) -> str:
    """The path as sent. Raises ValueError when it names a host or holds what a request line cannot."""
    if not _PATH.match(path):
        raise ValueError(
            f"{path!r} is no path; it starts with one / and holds printable ASCII (percent-encode the rest)"
        )
    return path


def check_headers(headers: Iterable[tuple[str, str]]) -> Headers:
    """The headers, names in lower case. Raises ValueError for one that cannot be sent or that the generator sets."""
    checked = []
    for name, value in headers:
        if not _HEADER_NAME.match(name) or not _HEADER_VALUE.match(value):
            raise ValueError(
                f"{name!r}: {value!r} is no header (control characters and line breaks are not allowed)"
            )
        if name.lower() in RESERVED_HEADERS:
            raise ValueError(f"{name!r} is set by the generator for each request; leave it out")
        checked.append((name.lower(), value))
    return tuple(checked)


@dataclass(frozen=True)
class RecordedAnswer:
    """What came back when the exchange was recorded. Times are offsets as `Exchange.at_ns`; -1, None: not known."""

    status: int = -1
    first_byte_ns: int = -1
    answered_ns: int = -1
    headers: Headers = ()
    body: bytes | None = None
    error: str = ""


@dataclass(frozen=True)
class Exchange:
    """One request: when it was sent, by whom, and what it said. `key` joins it to its label (empty: none).

    `connection` names those who share keep-alive connections (empty: everybody whose source did not say); `http` is
    "1.0", "1.1", "2" or "3", `scheme` and `host` where it was sent when recorded (empty: not known).
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

    def line(self) -> str:
        """The exchange as one line of the plain format, without the line's end; canonical, so digests rest on it."""
        fields: dict[str, object] = {
            "at_ns": self.at_ns,
            "client": self.client,
            "key": self.key,
            "method": self.method,
            "path": self.path,
            "route": self.route,
            "headers": [list(pair) for pair in self.headers],
        }
        if self.body:
            try:
                fields["body"] = self.body.decode("utf-8")
            except UnicodeDecodeError:
                fields["body_base64"] = base64.b64encode(self.body).decode("ascii")
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True)
class Recording:
    """Captured traffic. `exchanges[k].seq == k`, in order of time; all of it lies in `0 <= at_ns < length_ns`."""

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
        return cls(name, recording_digest(numbered, length_ns), attribution, numbered, length_ns)

    def between(self, from_ns: int, to_ns: int) -> tuple[int, int]:
        """`(first_seq, stop_seq)` of the exchanges with `from_ns <= at_ns < to_ns`."""
        times = [exchange.at_ns for exchange in self.exchanges]
        return bisect.bisect_left(times, from_ns), bisect.bisect_left(times, to_ns)

    def slice(self, first_seq: int, stop_seq: int) -> tuple[Exchange, ...]:
        """The exchanges `first_seq <= seq < stop_seq`."""
        return self.exchanges[first_seq:stop_seq]


def recording_digest(exchanges: Iterable[Exchange], length_ns: int) -> str:
    """`sha256:` over the exchanges and the length: equal for equal traffic, whatever its name, file or attribution."""
    content = hashlib.sha256(f"recording {FORMAT} {length_ns}\n".encode())
    for exchange in exchanges:
        content.update(exchange.line().encode("utf-8"))
        content.update(b"\n")
    return f"sha256:{content.hexdigest()}"


def request_id(seed: int, digest: str, seq: int) -> str:
    """32 hex digits, a function of seed, recording and place in it: the same in every arm and in every repetition."""
    return hashlib.sha256(f"{seed} {digest} {seq}".encode()).hexdigest()[:32]


class Arrivals(Definition):
    """When requests arrive: one column of offsets in a CSV file with a header line."""

    file: str = Field(
        description="CSV file, relative to the file that names it; lines starting with # are skipped."
    )
    column: str = Field(description="Column of offsets; its name ends in the unit: _ns, _us, _ms or _s.")
    speed: float = Field(
        default=1.0, gt=0, le=1000, allow_inf_nan=False, description="2 is twice as fast as recorded."
    )

    @field_validator("column")
    @classmethod
    def _unit_in_name(cls, column: str) -> str:
        if column.rpartition("_")[2] not in NS_PER_UNIT or "_" not in column:
            raise ValueError(
                f"the name of column {column!r} does not say its unit; end it in _ns, _us, _ms or _s"
            )
        return column

    @property
    def column_unit_ns(self) -> int:
        """Nanoseconds in one unit of the column."""
        return NS_PER_UNIT[self.column.rpartition("_")[2]]


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


class RecordingHeader(Definition):
    """First line of a plain recording. `exchanges` and `length_ns` may be left out when written by hand."""

    format: Literal[1]
    recording: Name
    source: str = Field(description="Where the traffic was recorded, or how it was made.")
    attribution: str = Field(description="Whose it is, and under which licence.")
    exchanges: int | None = Field(
        default=None, ge=0, description="Count; fewer lines mean a file that was cut off."
    )
    length_ns: int | None = Field(
        default=None, ge=0, description="Length, when it ends after its last exchange."
    )


class ExchangeLine(Definition):
    """One exchange of a plain recording, as written. At most one of `json`, `body`, `body_base64`."""

    at_ns: int = Field(ge=0, strict=True)
    client: str = ""
    key: str = ""
    method: Method = "GET"
    path: str
    route: str | None = Field(default=None, description="The path without its query by default.")
    headers: tuple[tuple[str, str], ...] | dict[str, str] = ()
    json_body: JsonValue = Field(default=None, alias="json")
    body: str | None = None
    body_base64: str | None = None

    @field_validator("path")
    @classmethod
    def _is_path(cls, path: str) -> str:
        return check_path(path)

    @field_validator("headers")
    @classmethod
    def _are_headers(cls, headers: Headers | dict[str, str]) -> Headers:
        return check_headers(headers.items() if isinstance(headers, dict) else headers)

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        given = [name for name in ("json_body", "body", "body_base64") if name in self.model_fields_set]
        if len(given) > 1:
            raise ValueError("more than one body; give one of json, body, body_base64")
        try:
            self.body_bytes()
        except binascii.Error as error:
            raise ValueError(f"body_base64 is no base64: {str(error).lower()}") from error
        except UnicodeEncodeError as error:
            raise ValueError(f"the body holds half a character, {error.object[error.start]!r}") from error
        return self

    def body_bytes(self) -> bytes:
        """What is sent. Raises ValueError (binascii.Error, UnicodeEncodeError) for what no bytes stand for."""
        if "json_body" in self.model_fields_set:
            return json_bytes(self.json_body)
        if self.body_base64 is not None:
            return base64.b64decode(self.body_base64, validate=True)
        return (self.body or "").encode("utf-8")

    def exchange(self) -> Exchange:
        """The exchange, numbered 0 until `Recording.of` numbers it."""
        headers = self.headers if isinstance(self.headers, tuple) else tuple(self.headers.items())
        headers = with_content_type(headers, json_body="json_body" in self.model_fields_set)
        route = self.route if self.route is not None else self.path.partition("?")[0]
        return Exchange(
            0, self.at_ns, self.client, self.key, self.method, self.path, route, headers, self.body_bytes()
        )


def json_bytes(value: JsonValue) -> bytes:
    """Compact JSON in UTF-8. Raises ValueError for NaN and infinity, which JSON has not."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")


def with_content_type(headers: Headers, json_body: bool) -> Headers:
    """`content-type: application/json` added where there is a JSON body and no content type."""
    if not json_body or any(name == "content-type" for name, _ in headers):
        return headers
    return (*headers, ("content-type", "application/json"))
