"""Batches of captured exchanges, column by column: what every reader gives, and redaction, sessions and the store take.

One row an exchange. A text column may be dictionary-encoded, so that whoever changes values (redaction above all) need
look at each distinct one only once. Rows need not be in order of time; the store sorts them.
"""

from __future__ import annotations

import pyarrow as pa

UNKNOWN_NS = -1
"""In a column of times: the source did not say."""

CAPTURED = pa.schema(
    [
        (
            "at_ns",
            pa.int64(),
        ),  # when the request was sent: since the Unix epoch, or since the source's own start
        ("client", pa.string()),  # whose it is; "": not known
        ("key", pa.string()),  # joins it to its label; "": none
        ("method", pa.string()),  # in capitals
        ("scheme", pa.string()),  # http, https; "": not known
        ("host", pa.string()),  # HOST or HOST:PORT in lower case, IPv6 in brackets; "": not known
        ("path", pa.string()),  # as on the request line, query included: /a?b=c (RFC 9112, 3.2.1)
        ("route", pa.string()),  # its name in checks; "": the store derives it from the path
        ("http", pa.string()),  # 1.0, 1.1, 2, 3; "": not known
        ("connection", pa.string()),  # who share keep-alive connections; "": all whose source did not say
        (
            "headers",
            pa.string(),
        ),  # one "name: value" a line, names in lower case, as sent; no host, no framing
        ("body", pa.binary()),  # as sent, without transfer encoding; null: the source did not say; b"": none
        ("request_bytes", pa.int64()),  # head and body on the wire; -1: not known
        ("first_byte_ns", pa.int64()),  # of the answer, on the clock of at_ns; -1: not known
        ("answered_ns", pa.int64()),  # the whole answer was there; -1: not known
        ("status", pa.int32()),  # 0: there was no answer; -1: not known
        ("error", pa.string()),  # why there was no answer; "": there was one, or not known
        ("answer_headers", pa.string()),  # as `headers`
        ("answer_body", pa.binary()),  # without content and transfer encoding; null: not known
        (
            "answer_bytes",
            pa.int64(),
        ),  # head and body on the wire (of a log: what it calls bytes); -1: not known
    ]
)

TEXT_COLUMNS = tuple(field.name for field in CAPTURED if field.type == pa.string())
FRAMING_HEADERS = frozenset({"connection", "content-length", "host", "transfer-encoding", "x-request-id"})
"""Left out of `headers`: whoever sends the request again sets them. `connection: close` is told by `http` "1.0"."""


def header_lines(headers: list[tuple[str, str]]) -> str:
    """The `headers` column: one line a header, names in lower case."""
    return "\n".join(f"{name.lower()}: {value}" for name, value in headers)


def header_pairs(lines: str) -> list[tuple[str, str]]:
    """What `header_lines` wrote."""
    return [(name, value) for name, _, value in (line.partition(": ") for line in lines.split("\n") if line)]
