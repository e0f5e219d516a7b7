"""Header lines: credentials, cookies, URLs, addresses, and everything else by its format.

Takes the lines of `captured.header_lines`, gives them with replaced values. What a value is made of stays: the scheme of
an Authorization, the names of cookies, the attributes of a Set-Cookie.
"""

from __future__ import annotations

import base64
import binascii
import re

from harness.recording.redaction.core import Core, Place
from harness.recording.redaction.encodings import decoded
from harness.recording.redaction.free_text import FreeText, address_edits
from harness.recording.redaction.names import ADDRESS_HEADERS
from harness.recording.redaction.rules import Decision, Side, is_cookie_header, is_set_cookie_header
from harness.recording.redaction.targets import Targets

URL_HEADERS = frozenset(
    {
        "location",
        "content-location",
        "referer",
        "origin",
        "x-original-url",
        "x-rewrite-url",
        "x-forwarded-uri",
    }
)
NO_SECRETS = frozenset(
    [
        "user-agent",
        "accept",
        "accept-encoding",
        "accept-language",
        "accept-charset",
        "content-type",
        "content-length",
        "content-encoding",
        "cache-control",
        "date",
        "expires",
        "last-modified",
        "server",
        "vary",
        "via",
        "age",
        "allow",
        "etag",
        "if-match",
        "if-none-match",
        "if-modified-since",
        "if-unmodified-since",
        "if-range",
        "range",
        "accept-ranges",
        "content-range",
        "alt-svc",
        "content-security-policy",
        "content-security-policy-report-only",
        "permissions-policy",
        "feature-policy",
        "report-to",
        "reporting-endpoints",
        "nel",
        "strict-transport-security",
        "x-request-id",
        "x-correlation-id",
        "request-id",
        "x-trace-id",
        "traceparent",
        "tracestate",
        "x-b3-traceid",
        "x-b3-spanid",
        "x-b3-parentspanid",
        "b3",
        "x-amzn-trace-id",
        "x-amz-cf-id",
        "x-amz-cf-pop",
        "x-amz-request-id",
        "x-amz-id-2",
        "x-amz-version-id",
        "x-amz-meta-digest",
        "x-cloud-trace-context",
        "cf-ray",
        "x-served-by",
        "x-fastly-request-id",
        "x-github-request-id",
        "x-guploader-uploadid",
        "x-goog-hash",
        "x-goog-generation",
        "x-ms-request-id",
        "x-vercel-id",
        "x-vercel-cache",
        "fly-request-id",
        "digest",
        "content-digest",
        "repr-digest",
        "content-md5",
        "x-content-type-options",
        "sec-websocket-key",
        "sec-websocket-accept",
        "sec-ch-ua",
        "server-timing",
        "timing-allow-origin",
        "source-map",
        "sourcemap",
        "x-runtime",
        "x-cache",
        "x-cache-key",
        "x-timer",
        "x-varnish",
        "expect-ct",
        "public-key-pins",
        "cross-origin-opener-policy-report-only",
        "idempotency-key",
        "x-nf-request-id",
        "x-shopify-stage",
        "x-datadog-trace-id",
        "sentry-trace",
        "baggage",
        "x-envoy-upstream-service-time",
    ]
)
"""Random-looking by their nature: validators, digests, ids of requests and traces. Formats are still looked for."""

_DIGEST_KEPT = frozenset(["realm", "qop", "algorithm", "nc", "uri", "stale", "charset"])
_AUTH_PARAMETER = re.compile(r"(?P<name>[A-Za-z][\w-]*)=(?:\"(?P<quoted>[^\"]*)\"|(?P<plain>[^\s,\"]+))")
_SCHEME = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*(?:-[A-Z0-9-]+)?)(?P<space>[ \t]+)(?P<rest>.+)\Z", re.DOTALL
)
_NEXT_COOKIE = re.compile(r",\s*(?=[!#$%&'*+.^_`|~0-9A-Za-z-]+=)")


class Headers:
    """Looks at header lines."""

    def __init__(self, core: Core, texts: FreeText, targets: Targets) -> None:
        self._core = core
        self._texts = texts
        self._targets = targets

    def line(self, line: str, side: Side) -> str | None:
        """One `name: value`; None: it is left out."""
        name, colon, value = line.partition(":")
        name = name.strip().lower()
        text = value.removeprefix(" ")
        if not text:
            return line
        new = self._value(name, text, side)
        return None if new is None else f"{line[: len(line) - len(text)]}{new}" if colon else new

    def _value(self, name: str, value: str, side: Side) -> str | None:
        if is_cookie_header(name) or is_set_cookie_header(name):
            own = self._core.decisions.of("header", side, name)
            if own is not None and own.action != "pseudonym":
                return self._core.apply(value, Place(side, "header", name), own)
            return self._cookies(value, side) if is_cookie_header(name) else self._set_cookie(value, side)
        place = Place(side, "header", name)
        decision = self._core.decisions.of("header", side, name)
        if decision is not None:
            return value if decision.action == "keep" else self._decided(value, place, decision)
        if name in ADDRESS_HEADERS and self._core.decisions.defaults:
            new = address_edits(self._core, value)
            if new != value:
                self._core.tally.replaced(str(place), "address")
            return new
        if name in URL_HEADERS:
            everything = name == "referer" and self._core.decisions.defaults
            return self._targets.redact(value, side, all_queries=everything)
        return self._texts.redact(value, place, entropy=name not in NO_SECRETS)

    def _decided(self, value: str, place: Place, decision: Decision) -> str | None:
        if decision.action == "pseudonym" and place.name in (
            "authorization",
            "proxy-authorization",
            "x-authorization",
        ):
            self._core.tally.replaced(str(place), "pseudonym")
            return self.credentials(value, decision)
        scheme = re.match(r"(?:Bearer|Basic|Token)\s+", value)
        if decision.action == "pseudonym" and scheme:
            self._core.tally.replaced(str(place), "pseudonym")
            return self.credentials(value, decision)
        quotes = '"' if len(value) > 2 and value[0] == value[-1] == '"' else ""
        inner = value[1:-1] if quotes else value
        new = self._core.apply(inner, place, decision)
        return None if new is None else f"{quotes}{new}{quotes}"

    def credentials(self, value: str, decision: Decision) -> str:
        """Scheme and parameters' names stay; user, password and token are replaced inside."""
        found = _SCHEME.match(value)
        if found is None:
            return self._core.pseudonym(value, decision)
        scheme, rest = found.group("scheme"), found.group("rest")
        head = scheme + found.group("space")
        if scheme.lower() == "basic":
            return head + self._basic(rest, decision)
        if not _AUTH_PARAMETER.sub("", rest).strip(", \t") and not re.match(r"[A-Za-z0-9._~+/-]+=*\Z", rest):
            return head + _AUTH_PARAMETER.sub(lambda match: self._parameter(match, decision), rest)
        return head + self._core.pseudonym(rest, decision)

    def _basic(self, text: str, decision: Decision) -> str:
        try:
            user, colon, password = base64.b64decode(text.strip(), validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            return self._core.pseudonym(text, decision)
        parts = [self._core.pseudonym(part, decision) if part else "" for part in (user, password)]
        new = base64.b64encode(f"{parts[0]}{colon}{parts[1]}".encode()).decode()
        self._core.known.add(text.strip(), new)
        return new

    def _parameter(self, match: re.Match[str], decision: Decision) -> str:
        name = match.group("name")
        if name == "uri" and match.group("quoted"):
            return f'uri="{self._targets.redact(match.group("quoted"))}"'
        if name.lower() in _DIGEST_KEPT or name == "SignedHeaders":
            return match.group()
        group = "quoted" if match.group("quoted") is not None else "plain"
        start, stop = match.start(group) - match.start(), match.end(group) - match.start()
        value = match.group(group)
        first, slash, rest = value.partition("/") if name == "Credential" else (value, "", "")
        new = (self._core.pseudonym(first, decision) if first else "") + slash + rest
        return match.group()[:start] + new + match.group()[stop:]

    def _cookies(self, value: str, side: Side) -> str | None:
        pieces = re.split(r"(;\s*)", value)
        changed = [self._cookie(piece, side) for piece in pieces[::2]]
        if None not in changed:
            return "".join(
                part or "" for pair in zip(changed, [*pieces[1::2], ""], strict=True) for part in pair
            )
        kept = [piece for piece in changed if piece]
        return "; ".join(kept) if kept else None

    def _cookie(self, pair: str, side: Side) -> str | None:
        name, equals, raw = pair.partition("=")
        if not equals:
            return self._core.pseudonym(pair) if pair.strip() and self._core.decisions.defaults else pair
        place = Place(side, "cookie", name.strip())
        decision = self._core.decisions.of("cookie", side, name.strip())
        name = self._texts.redact(name, Place(side, "cookie"), named=False, entropy=False)
        if decision is None:
            return f"{name}={self._texts.redact(raw, place)}"
        if decision.action == "keep":
            return f"{name}={raw}"
        inner = raw.strip().strip('"')
        if not inner:
            return f"{name}={raw}"
        start = raw.index(inner)
        new = self._cookie_value(inner, place, decision)
        return None if new is None else f"{name}={raw[:start]}{new}{raw[start + len(inner) :]}"

    def _cookie_value(self, raw: str, place: Place, decision: Decision) -> str | None:
        value, encode = decoded(raw)
        new = self._core.apply(value, place, decision)
        if new is None:
            return None
        written = encode(new)
        self._core.known.add(raw, written)
        return written

    def _set_cookie(self, value: str, side: Side) -> str | None:
        """Path, Expires and the other attributes stay. Some captures put several cookies in a line, with commas."""
        first, semicolon, rest = value.partition(";")
        attributes, *others = _NEXT_COOKIE.split(rest)
        cookies = [f"{first}{semicolon}{attributes}", *others]
        changed = [new for cookie in cookies if (new := self._one_set_cookie(cookie, side)) is not None]
        return ", ".join(changed) if changed else None

    def _one_set_cookie(self, cookie: str, side: Side) -> str | None:
        pair, semicolon, attributes = cookie.partition(";")
        new = self._cookie(pair, side)
        if new is None:
            return None
        place = Place(side, "header", "set-cookie")
        return f"{new}{semicolon}{self._texts.redact(attributes, place, entropy=False)}"
