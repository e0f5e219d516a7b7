"""Which member of a JSON access log says what: by the conventions of the servers that write them, or by option.

Takes the first records of a file and the reader's options, gives a `Layout`. A member is named by its path, such as
`request.headers.User-Agent`; `a.b` is also found where a record has a member that is itself called `a.b`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from harness.model.arrivals import NS_PER_UNIT

Path = tuple[str, ...]
Written = Literal["start", "end"]
"""Whether the time in a record is when the request came, or when the answer had been sent."""

NUMBERS = ("status", "bytes", "request_bytes")
DURATION, TIME = "duration", "time"
ROLES = (
    *("time", "duration", "client", "request", "method", "target", "query", "protocol", "host", "scheme"),
    *("status", "bytes", "request_bytes"),
)


CADDY_HEADERS = (
    *(
        "Referer",
        "User-Agent",
        "Accept",
        "Accept-Encoding",
        "Accept-Language",
        "Content-Type",
        "Origin",
        "Range",
    ),
    *("If-None-Match", "If-Modified-Since", "X-Forwarded-For", "X-Requested-With"),
)
"""Of all that Caddy logs, those that change what is answered and name nobody (it logs credentials as REDACTED)."""

_UNIT_ENDS = (("s", 1e11), ("ms", 1e14), ("us", 1e17))
"""A number below this counts in this unit: the years 1973 to 5138 are told apart."""


@dataclass(frozen=True)
class Member:
    """A member of each record. `unit` of a number that is a time or a duration; `listed`: a list whose first item counts."""

    path: Path
    unit: str = ""
    listed: bool = False


@dataclass(frozen=True)
class Server:
    """How one server's logs are usually written: members by role, the likeliest first; a unit may follow a colon."""

    name: str
    written: Written
    members: Mapping[str, str]
    headers: Mapping[str, str] = field(default_factory=dict)


SERVERS = (
    Server(
        "nginx",
        "end",
        {
            "time": "msec time_iso8601 time_local timestamp @timestamp time ts",
            "duration": "request_time:s",
            "client": "remote_addr client_ip clientip client",
            "request": "request",
            "method": "request_method method",
            "target": "request_uri uri url",
            "protocol": "server_protocol protocol",
            "host": "host http_host server_name",
            "scheme": "scheme",
            "status": "status",
            "bytes": "body_bytes_sent bytes_sent bytes",
            "request_bytes": "request_length",
        },
        {
            "referer": "http_referer http_referrer referer referrer",
            "user-agent": "http_user_agent user_agent agent",
            "x-forwarded-for": "http_x_forwarded_for x_forwarded_for",
        },
    ),
    Server(
        "Envoy",
        "start",
        {
            "time": "start_time",
            "duration": "duration:ms",
            "client": "downstream_remote_address x_forwarded_for",
            "method": "method",
            "target": "path",
            "protocol": "protocol",
            "host": "authority",
            "status": "response_code",
            "bytes": "bytes_sent",
        },
        {"user-agent": "user_agent", "x-forwarded-for": "x_forwarded_for", "referer": "referer"},
    ),
    Server(
        "ECS",
        "start",
        {
            "time": "@timestamp",
            "duration": "event.duration:ns",
            "client": "client.address client.ip source.address source.ip",
            "method": "http.request.method",
            "target": "url.original url.path",
            "query": "url.query",
            "protocol": "http.version",
            "host": "url.domain",
            "scheme": "url.scheme",
            "status": "http.response.status_code",
            "bytes": "http.response.body.bytes http.response.bytes",
            "request_bytes": "http.request.bytes",
        },
        {"referer": "http.request.referrer", "user-agent": "user_agent.original"},
    ),
    Server(
        "HAProxy",
        "start",
        {
            "time": "time timestamp date_time accept_date request_date",
            "duration": "Ta:ms Tt:ms time_active:ms time_duration:ms total_time:ms session_duration:ms",
            "client": "client_ip clientip remote_addr src ci",
            "request": "http_request request",
            "method": "method http_method request_method",
            "target": "uri request_uri http_uri path http_path",
            "query": "query http_query",
            "protocol": "http_version version protocol",
            "host": "host http_host",
            "status": "status status_code http_status",
            "bytes": "bytes_read bytes",
        },
        {"referer": "referer", "user-agent": "user_agent", "x-forwarded-for": "x_forwarded_for"},
    ),
    Server(
        "Caddy",
        "end",
        {
            "time": "ts",
            "duration": "duration:s",
            "client": "request.client_ip request.remote_ip",
            "method": "request.method",
            "target": "request.uri",
            "protocol": "request.proto",
            "host": "request.host",
            "status": "status",
            "bytes": "size",
        },
        {name.lower(): f"request.headers.{name}" for name in CADDY_HEADERS},
    ),
    Server(
        "Traefik",
        "start",
        {
            "time": "StartUTC StartLocal time",
            "duration": "Duration:ns",
            "client": "ClientHost ClientAddr",
            "method": "RequestMethod",
            "target": "RequestPath",
            "protocol": "RequestProtocol",
            "host": "RequestHost RequestAddr",
            "scheme": "RequestScheme",
            "status": "DownstreamStatus OriginStatus",
            "bytes": "DownstreamContentSize OriginContentSize",
        },
        {"referer": "request_Referer", "user-agent": "request_User-Agent"},
    ),
)


LOWER_CASE = "ECS"
"""Whose methods are written in small letters by some shippers."""


@dataclass(frozen=True)
class Layout:
    """Where everything stands in the records of one file. `server`: by whose conventions, or `options`."""

    server: str
    written: Written
    members: Mapping[str, Member]
    headers: tuple[tuple[str, Member], ...]


def layout_of(
    records: Sequence[Mapping[str, Any]], members: Mapping[str, str], headers: Mapping[str, str], written: str
) -> Layout:
    """The layout that fits these records best; `members`, `headers` and `written` are what the user named instead.

    Raises ValueError that says what is not to be found.
    """
    found = [_layout(server, records, members, headers) for server in SERVERS]
    layout = max(found, key=lambda item: (_is_enough(item), len(item.members), len(item.headers)))
    missing = _missing(layout)
    if missing:
        raise ValueError(f"no member says {missing}")
    kept: Written = "start" if written == "start" else "end" if written == "end" else layout.written
    return Layout(layout.server, kept, layout.members, layout.headers)


def value_at(record: object, path: Path) -> Any:
    """The member's value, or None."""
    for name in path:
        if not isinstance(record, dict):
            return None
        record = record.get(name)
    return record


def _layout(
    server: Server, records: Sequence[Mapping[str, Any]], named: Mapping[str, str], headers: Mapping[str, str]
) -> Layout:
    members = {role: _first(records, [text]) for role, text in named.items()}
    for role, candidates in server.members.items():
        if role not in named and not (named.keys() & {"request", "target"} and role in ("request", "query")):
            members[role] = _first(records, candidates.split())
    sent = {**server.headers, **headers}
    found = ((name, _first(records, text.split())) for name, text in sent.items())
    time = members.get(TIME)
    if time is not None and not time.unit:
        members[TIME] = replace(time, unit=_unit(records, time))
    return Layout(
        server.name,
        server.written,
        {role: member for role, member in members.items() if member is not None},
        tuple((name.lower(), member) for name, member in found if member is not None),
    )


def _first(records: Sequence[Mapping[str, Any]], candidates: Iterable[str]) -> Member | None:
    """The first candidate that any record has a value for."""
    for candidate in candidates:
        text, _, unit = candidate.partition(":")
        for path in ((text,), tuple(text.split("."))):
            values = (value_at(record, path) for record in records)
            value = next((value for value in values if value is not None), None)
            if value is not None and not isinstance(value, dict):
                return Member(path, unit, isinstance(value, list))
    return None


def _is_enough(layout: Layout) -> bool:
    return not _missing(layout)


def _missing(layout: Layout) -> str:
    if TIME not in layout.members:
        return "when the request came; name it: --option time=MEMBER"
    if "request" not in layout.members and not {"method", "target"} <= layout.members.keys():
        return "what was requested; name it: --option request=MEMBER, or --option method=MEMBER and --option target=MEMBER"
    return ""


def _unit(records: Sequence[Mapping[str, Any]], member: Member) -> str:
    """The unit of a number that counts from 1970, by its size; empty for a time that is no number."""
    value = next(value for record in records if (value := value_at(record, member.path)) is not None)
    try:
        number = float(value)
    except (ValueError, TypeError):
        return ""
    return next((unit for unit, most in _UNIT_ENDS if number < most), "ns")


def member_option(role: str) -> Callable[[str], str]:
    """Parses an option that names a member: `PATH` or, for times, `PATH:UNIT`. The parser raises ValueError."""

    def parse(text: str) -> str:
        path, colon, unit = text.partition(":")
        if not path.strip("."):
            raise ValueError("names no member")
        if colon and (role not in (TIME, DURATION) or unit not in NS_PER_UNIT):
            raise ValueError(
                f"{text!r}: after the colon of a time or duration stands {', '.join(NS_PER_UNIT)}"
            )
        if role == DURATION and not colon:
            raise ValueError(f"say the unit: {role}={text}:ms, for example")
        return text

    return parse
