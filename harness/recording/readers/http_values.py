"""What HTTP's parts look like in captured batches, whoever captured them: header lines, hosts, versions, errors.

Takes the texts that exporters write, gives the texts of `CAPTURED`. Two captures of the same traffic must come out the
same here, so every reader of captures with bodies goes through this module:

* a header's value stands for its bytes, one character a byte (Latin-1); where an exporter shows text, its UTF-8 is meant;
* a value with line breaks is several headers of that name (browsers join repeated ones so);
* several `cookie` headers become one, as HTTP/2 asks of whoever passes them on as HTTP/1.1 (RFC 9113, 8.2.3);
* `host`, framing and the names that begin with a colon (HTTP/2) go into columns of their own;
* a host is in lower case and without the port that its scheme has anyway.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from harness.recording.captured import FRAMING_HEADERS
from harness.recording.readers.request_line import sendable
from harness.recording.readers.rows import LeftOutError, UnusableError

Pairs = Sequence[tuple[str, str]]

WEB_SOCKET = "a WebSocket, which cannot be sent again"
TUNNEL = "CONNECT opens a tunnel, which cannot be sent again"
NO_HOST = "the URL names no host that one could send to"
NO_HEADER = "a header's name or value is none that HTTP could carry"
NO_METHOD = "the method is none of HTTP"
NO_URL = "the URL is missing"
HALF_PATH = "the URL holds half a character"

_METHOD = re.compile(r"[A-Z]{1,16}")
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_BREAK = re.compile(r"\r\n?|\n")
_HOST = re.compile(r"(?:\[[0-9a-f:.]+(?:%25[^\]]+)?\]|[^\[\]:/@?#\s]+)(?::[0-9]{1,5})?")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_VERSION = re.compile(r"(?:HTTP/|H|QUIC/?)?([0-9](?:\.[0-9])?).*", re.IGNORECASE | re.DOTALL)

_VERSIONS = {"1.0": "1.0", "1.1": "1.1", "2": "2", "2.0": "2", "3": "3", "3.0": "3"}
_PORTS = {"http": ":80", "https": ":443"}
_OTHER_SCHEMES = frozenset(
    {"about", "blob", "chrome", "chrome-extension", "data", "edge", "file", "ftp", "javascript"}
    | {"moz-extension", "resource", "safari-extension", "safari-web-extension", "view-source"}
)

_ERRORS = (
    ("connect timeout", ("connection_timed_out", "connect timeout")),
    ("timeout", ("timed out", "timed_out", "timeout")),
    ("refused", ("refused", "connect call failed")),
    ("reset", ("reset",)),
    ("unreachable", ("unreachable", "no route")),
    ("closed", ("closed", "disconnect", "empty_response", "killed", "eof")),
    ("bad answer", ("invalid http", "invalid_http", "protocol_error", "content_length_mismatch")),
    ("other: name not resolved", ("name_not_resolved", "getaddrinfo", "name resolution", "name or service")),
    ("other: TLS", ("certificate", "err_cert", "err_ssl", "tls", "ssl")),
    ("other: aborted", ("abort", "cancel", "ns_binding")),
    ("other: blocked", ("blocked", "forbidden")),
)


def method_of(text: str) -> str:
    """In capitals. Raises UnusableError, and LeftOutError for CONNECT."""
    method = text.upper()
    if method == "CONNECT":
        raise LeftOutError(TUNNEL)
    if not _METHOD.fullmatch(method):
        raise UnusableError(NO_METHOD)
    return method


def target_of(url: str, host_header: str) -> tuple[str, str, str]:
    """`(scheme, host, path)` of an absolute URL. Credentials and fragment, which are never sent, are left out.

    mitmproxy writes IPv6 hosts without brackets; then the `host` header tells. Raises UnusableError, and LeftOutError for
    what is not HTTP.
    """
    found = _SCHEME.match(url)
    if found is None:
        raise UnusableError(NO_HOST if url else NO_URL)
    scheme = found[1].lower()
    if scheme in ("ws", "wss"):
        raise LeftOutError(WEB_SOCKET)
    rest = url[found.end() :]
    if scheme not in _PORTS:
        raise LeftOutError(
            f"a {scheme}: URL" if scheme in _OTHER_SCHEMES else "a URL that is not http or https"
        )
    if not rest.startswith("//"):
        raise UnusableError(NO_HOST)
    end = len(rest)
    for mark in "/?#\\":
        place = rest.find(mark, 2, end)
        end = place if place >= 0 else end
    path = rest[end:].partition("#")[0]
    if not path.startswith("/"):
        path = "/" + path.removeprefix("\\")
    authority = rest[2:end].rpartition("@")[2]
    if authority.count(":") > 1 and "[" not in authority:
        authority = host_header
    return scheme, host_of(scheme, authority), path_of(path)


def path_of(path: str) -> str:
    """As on the request line: what it cannot carry is percent-encoded, as UTF-8. Raises UnusableError."""
    if path.isascii() and path.isprintable() and " " not in path:
        return path
    try:
        return sendable(as_bytes(path))
    except UnicodeEncodeError:
        raise UnusableError(HALF_PATH) from None


def host_of(scheme: str, authority: str) -> str:
    """In lower case, without the scheme's own port; IPv6 in brackets. Raises UnusableError."""
    host = authority.lower()
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            raise UnusableError(NO_HOST) from None
    host = host.removesuffix(_PORTS.get(scheme, ":"))
    if not _HOST.fullmatch(host):
        raise UnusableError(NO_HOST)
    return host


def version_of(*texts: str) -> str:
    """1.0, 1.1, 2 or 3, of the first text that says so: HTTP/2.0, h2, http/1.1, h3-29; else ""."""
    for text in texts:
        found = _VERSION.fullmatch(text.strip())
        if found is not None and found[1] in _VERSIONS:
            return _VERSIONS[found[1]]
    return ""


def as_bytes(text: str) -> str:
    """A text as one character a byte of its UTF-8. Raises UnicodeEncodeError for half a character."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("latin-1")


def header_pairs_of(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Headers that an exporter shows as text, as they went over the wire: one a value, names in lower case.

    Raises UnusableError.
    """
    try:
        return wire_pairs_of((name, as_bytes(value)) for name, value in headers)
    except UnicodeEncodeError:
        raise UnusableError(NO_HEADER) from None


def wire_pairs_of(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Headers whose characters stand for bytes already (Latin-1): one a value, names in lower case.

    Raises UnusableError.
    """
    pairs: list[tuple[str, str]] = []
    for name, value in headers:
        if name.startswith(":"):
            continue
        if _CONTROL.search(value):
            lines = _BREAK.sub("\n", value).replace("\n ", " ").replace("\n\t", " ").split("\n")
            pairs.extend((name.lower(), line.strip()) for line in lines if line.strip())
        else:
            pairs.append((name.lower(), value.strip()))
    for name, value in pairs:
        if not _NAME.fullmatch(name) or _CONTROL.search(value):
            raise UnusableError(NO_HEADER)
    return pairs


def lines_of(pairs: Iterable[tuple[str, str]]) -> str:
    """The column of `pairs` (from `header_pairs_of`): without host and framing, and with one cookie header."""
    kept: list[str] = []
    cookies: list[str] = []
    place = -1
    for name, value in pairs:
        if name in FRAMING_HEADERS:
            continue
        if name == "cookie":
            place = len(kept) if place < 0 else place
            cookies.append(value)
        else:
            kept.append(f"{name}: {value}")
    if cookies:
        kept.insert(place, "cookie: " + "; ".join(cookies))
    return "\n".join(kept)


def first_of(pairs: Iterable[tuple[str, str]], name: str) -> str:
    """The value of the first header of this name; "" where there is none."""
    return next((value for given, value in pairs if given == name), "")


def has_no_body(method: str, status: int) -> bool:
    """Whether an answer has none by rule (RFC 9110, 6.4.1), whatever a browser shows from its cache."""
    return method == "HEAD" or status in (204, 205, 304) or 100 <= status < 200


def error_of(message: str) -> str:
    """Why there was no answer, in the words of recordings; never the exporter's own, which may name hosts."""
    said = message.lower()
    for error, signs in _ERRORS:
        if any(sign in said for sign in signs):
            return error
    return "other: no answer"


def head_bytes(start: str, pairs: Iterable[tuple[str, str]]) -> int:
    """What an HTTP/1 head with this first line takes on the wire."""
    return len(start) + 4 + sum(len(name) + len(value) + 4 for name, value in pairs)


def microseconds(value: float) -> int:
    """To whole ones. Halves go up even where they come out a little short, as different sums of the same times do."""
    return math.floor(value + 0.500001)
