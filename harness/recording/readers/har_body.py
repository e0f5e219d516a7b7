"""Bodies and headers of a HAR entry's two messages, as bytes and pairs.

Takes `request` and `response` of an entry, gives what went over the wire as far as the exporter kept it. Texts become
bytes by the charset that their type names, else UTF-8 (mitmproxy: Latin-1, which is what it shows such bodies in).
Exporters show bodies without their content encoding and leave the header standing; so a request's `content-encoding`
stays only where its body really has it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from harness.recording.readers.codings import codings_of, decoded, still_encoded
from harness.recording.readers.har_values import mapping, number, pairs_in, text
from harness.recording.readers.http_values import Pairs, first_of, header_pairs_of
from harness.recording.readers.rows import LEAVE_OUT, UnusableError

REQUEST = "the request's body"
ANSWER = "the answer's body"
FIX = f"export it again, or {LEAVE_OUT}"

_CHARSET = re.compile(r"charset\s*=\s*[\"']?([A-Za-z0-9_.:-]+)", re.IGNORECASE)
_META = re.compile(r"<meta[^>]+charset=['\"]?([^'\">]+)", re.IGNORECASE)
_CSS = re.compile(r'@charset "([^"]+)";', re.IGNORECASE)
_BOUNDARY = re.compile(r"boundary=(?:\"([^\"]{1,70})\"|([^\s;,]{1,70}))", re.IGNORECASE)
_SPACE = re.compile(r"\s+")
_AS_TEXT = frozenset({"", "utf-8", "utf8", "text", "plain", "identity"})
_NO_BODY_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


def request_headers(request: Mapping[str, Any]) -> list[tuple[str, str]]:
    """All of them; cookies from their own list where no header shows them. Raises UnusableError."""
    headers = pairs_in(request.get("headers"))
    cookies = pairs_in(request.get("cookies"))
    if cookies and not any(name.lower() == "cookie" for name, _ in headers):
        headers.append(("cookie", "; ".join(f"{name}={value}" for name, value in cookies)))
    return header_pairs_of(headers)


def response_headers(response: Mapping[str, Any]) -> list[tuple[str, str]]:
    """All of them; cookies from their own list where no header shows them. Raises UnusableError."""
    headers = pairs_in(response.get("headers"))
    cookies = response.get("cookies")
    if cookies and isinstance(cookies, list) and not any(name.lower() == "set-cookie" for name, _ in headers):
        headers.extend(("set-cookie", _set_cookie(mapping(cookie))) for cookie in cookies)
    return header_pairs_of(headers)


def request_body(
    request: Mapping[str, Any], headers: Sequence[tuple[str, str]], method: str, mitmproxy: bool
) -> tuple[bytes | None, Pairs]:
    """What was sent and the headers that describe it; None: the exporter did not say. Raises UnusableError."""
    post = mapping(request.get("postData"))
    kind = first_of(headers, "content-type") or text(post.get("mimeType"))
    body: bytes | None
    if text(post.get("text")):
        body = _content(text(post.get("text")), post.get("encoding"), kind, mitmproxy, REQUEST)
    elif post.get("params"):
        body = _form(post.get("params"), kind)
    elif isinstance(post.get("text"), str) or not _promised(request, headers, method):
        body = b""
    else:
        body = None
    if not body:
        return body, headers
    if kind and not first_of(headers, "content-type"):
        headers = [*headers, *header_pairs_of([("content-type", kind)])]
    encoding = first_of(headers, "content-encoding")
    if codings_of(encoding) and not still_encoded(body, encoding):
        headers = [pair for pair in headers if pair[0] != "content-encoding"]
    return body, headers


def answer_body(response: Mapping[str, Any], headers: Pairs, mitmproxy: bool) -> bytes | None:
    """Without content encoding; None: the exporter left it out. Raises UnusableError."""
    content = mapping(response.get("content"))
    shown = content.get("text")
    if not isinstance(shown, str):
        empty = number(content.get("size")) == 0 or number(response.get("bodySize")) == 0
        return b"" if empty else None
    if not shown and number(content.get("size")):
        return None
    kind = first_of(headers, "content-type") or text(content.get("mimeType"))
    body = _content(shown, content.get("encoding"), kind, mitmproxy, ANSWER)
    encoding = first_of(headers, "content-encoding")
    return decoded(body, encoding) if still_encoded(body, encoding) else body


def form_of(pairs: Sequence[tuple[str, str]]) -> str:
    """As a browser sends a form. Raises UnusableError."""
    try:
        return urlencode(pairs, encoding="utf-8", errors="surrogateescape")
    except UnicodeEncodeError:
        raise UnusableError("a parameter holds half a character", FIX) from None


def _content(shown: str, encoding: Any, kind: str, mitmproxy: bool, whose: str) -> bytes:
    named = text(encoding).strip().lower()
    if named == "base64":
        try:
            return base64.b64decode(_SPACE.sub("", shown), validate=True)
        except (binascii.Error, ValueError):
            raise UnusableError(f"{whose} says base64 and is none", FIX) from None
    if named not in _AS_TEXT:
        raise UnusableError(f"{whose} has an encoding that is not base64", FIX)
    if shown.isascii():
        return shown.encode("ascii")
    try:
        return shown.encode(_charset(kind, shown, mitmproxy))
    except (LookupError, UnicodeError):  # an unknown charset, or one that cannot have been it
        pass
    try:
        return shown.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise UnusableError(f"{whose} holds half a character", FIX) from None


def _charset(kind: str, shown: str, mitmproxy: bool) -> str:
    named = _CHARSET.search(kind)
    if named is None and mitmproxy and "json" not in kind:
        named = _META.search(shown) if "html" in kind else _CSS.match(shown) if "text/css" in kind else None
        return named[1] if named is not None else "latin-1"
    return named[1] if named is not None else "utf-8"


def _promised(request: Mapping[str, Any], headers: Pairs, method: str) -> bool:
    """Whether there was a body, although none is shown."""
    if number(request.get("bodySize")):
        return True
    length = number(first_of(headers, "content-length"))
    if length is not None:
        return length > 0
    if number(request.get("bodySize")) == 0 or method in _NO_BODY_METHODS:
        return False
    return bool(first_of(headers, "transfer-encoding") or first_of(headers, "content-type"))


def _form(params: Any, kind: str) -> bytes | None:
    """A form's body from its fields; None where it cannot be told how it was written, or what a file held."""
    if not kind.lower().startswith("multipart/"):
        return form_of(pairs_in(params)).encode("ascii")
    found = _BOUNDARY.search(kind)
    if found is None or not isinstance(params, list):
        return None
    parts: list[str] = []
    for field in map(mapping, params):
        if "fileName" in field and not isinstance(field.get("value"), str):
            return None
        parts.append(f"--{found[1] or found[2]}\r\n{_part_head(field)}\r\n\r\n{text(field.get('value'))}\r\n")
    try:
        return "".join((*parts, f"--{found[1] or found[2]}--\r\n")).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise UnusableError("a parameter holds half a character", FIX) from None


def _part_head(field: Mapping[str, Any]) -> str:
    head = f'Content-Disposition: form-data; name="{text(field.get("name"))}"'
    if field.get("fileName"):
        head += f'; filename="{text(field.get("fileName"))}"'
    return head + (f"\r\nContent-Type: {field['contentType']}" if text(field.get("contentType")) else "")


def _set_cookie(cookie: Mapping[str, Any]) -> str:
    parts = [f"{text(cookie.get('name'))}={text(cookie.get('value'))}"]
    parts += [
        f"{name}={cookie[key]}"
        for name, key in (("Path", "path"), ("Domain", "domain"))
        if text(cookie.get(key))
    ]
    parts += [
        name for name, key in (("HttpOnly", "httpOnly"), ("Secure", "secure")) if cookie.get(key) is True
    ]
    return "; ".join(parts)
