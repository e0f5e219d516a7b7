"""Text of unknown form: a broken JSON body, HTML, a log line in a field. Nothing private may slip through in it.

Takes a text and its place, gives the text with replaced: what the rules' regular expressions find, what stands behind a
name that the rules know (`password=…`, `"token": "…"`, `<secret>…</secret>`, an HTML input of that name), and values that
their own format gives away (e-mail, card, IBAN, phone, JWT, credentials in a URL, the address of a client). What else
looks like a secret is reported.
"""

from __future__ import annotations

import base64
import bisect
import html
import re
from collections.abc import Callable
from functools import lru_cache

from harness.recording.redaction import addresses, detectors, formats
from harness.recording.redaction.core import Core, Look, Place
from harness.recording.redaction.names import secret_parameter
from harness.recording.redaction.rules import Decision

AT = r"%(?:25)*40|\\+u0040|&#(?:0*64|[xX]0*40);|&commat;"
"""The mark of an e-mail address as URLs, JSON and HTML may spell it, RE2's too."""
_SPELLED_EMAIL = (
    r"(?:(?<![A-Za-z0-9._%+'-])|(?<=%[0-9a-fA-F]{2})|(?<=\\u[0-9a-fA-F]{4}))"
    r"(?P<local>(?:[A-Za-z0-9._+'-]|%(?:25)*2[bB]){1,64})"
    rf"(?P<at>{AT})(?P<domain>(?:[A-Za-z0-9](?:[A-Za-z0-9-]{{0,61}}[A-Za-z0-9])?\.){{1,8}}[A-Za-z]{{2,24}})"
)
VALUES = re.compile(
    "|".join(
        (
            f"(?P<jwt>(?<![A-Za-z0-9_-]){formats.JWT})",
            r"(?P<userinfo>(?<=://)[^/\s:@\"'<>?#]{0,256}:[^/\s@\"'<>]{1,256}(?=@))",
            f"(?P<email>(?<![A-Za-z0-9._%+'-]){formats.EMAIL})",
            f"(?P<spelled>{_SPELLED_EMAIL})",
            f"(?P<iban>(?<![A-Za-z0-9]){formats.IBAN}(?![A-Za-z0-9]))",
            f"(?P<phone>(?<![A-Za-z0-9+]){formats.PHONE}(?![0-9]))",
            f"(?P<card>(?<![A-Za-z0-9.%_-]){formats.CARD}(?![A-Za-z0-9]|[.-][0-9]))",
            r"(?P<bearer>(?<=Bearer )[A-Za-z0-9._~+/-]{8,}=*)",
            r"(?P<ipv4>(?<![0-9A-Za-z.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9A-Za-z]|\.[0-9]))",
            r"(?P<ipv6>(?<![0-9A-Za-z:.])[0-9a-fA-F]{0,4}:[0-9a-fA-F:]{2,36}(?:\.[0-9.]{3,11})?(?![0-9A-Za-z:]))",
        )
    )
)
VALUE_HINTS = (
    r"@|%(?:25)*40|&commat;|eyJ|\+[0-9]|%2[bB][0-9]|[0-9](?:[ +-]?[0-9]|%20[0-9]){12}"
    r"|[A-Z]{2}[0-9]{2}(?:[ +]|%20)?[A-Z0-9]{4}(?:[ +]|%20)?[A-Z0-9]{4}"
    r"|://[^/\s?#]*:[^/\s]*@|Bearer(?: |\+|%20)"
)
"""RE2: every text in which one of the values stands that are replaced wherever they stand."""

_CHECKS: dict[str, Callable[[str], bool]] = {
    "jwt": formats.is_jwt,
    "email": formats.is_email,
    "iban": formats.is_iban,
    "phone": formats.is_phone,
    "card": formats.is_card,
    "bearer": bool,
}

_SCHEME = r"(?:(?:Bearer|Basic|Token|ApiKey|Negotiate)\s+)?"
_NAMED = re.compile(
    r"(?<![A-Za-z0-9_.\-\[\]%])(?P<name>[A-Za-z_][A-Za-z0-9_.\-]{0,63}(?:\[[A-Za-z0-9_.\-]{0,63}\]){0,4})(?P<end>\\*[\"']?\s{0,8}(?::|=(?!=)>?)\s{0,8})"
)
_NAMED_VALUE = re.compile(
    rf"(?P<value>{_SCHEME}(?:\\+\"[^\"\\]*(?:\\[^\"][^\"\\]*)*|\"(?:[^\"\\]|\\.)*\"?|'(?:[^'\\\n]|\\.)*'?"
    r"|[^\s&;,\"'<>{}()\\\[\]\x00-\x1f\x7f-\x9f][^\s&;,\"'<>{}()\\\x00-\x1f\x7f-\x9f]*))",
    re.DOTALL,
)
_ELEMENT = re.compile(
    r"<(?P<name>[A-Za-z_][\w.:-]{0,63})(?:\s[^<>]{0,1000})?>"
    r"(?:\s{0,100}<!\[CDATA\[)?(?P<value>[^<>]+?)(?:\]\]>\s{0,100})?</"
)
_TAG = re.compile(r"<(?:input|meta|param|data)\b[^<>]{0,4000}>", re.IGNORECASE)
_ATTRIBUTE = re.compile(
    r"\b(?P<name>name|id|property|value|content)\s*=\s*(?:\"(?P<double>[^\"]*)\"|'(?P<single>[^']*)'|(?P<bare>[^\s\"'<>=]+))",
    re.IGNORECASE,
)
_MULTIPART_FIELD = re.compile(
    r"name=\"(?P<name>[^\"\r\n]{1,128})\"[^\r\n]*(?:\r?\n[^\r\n]{1,1000}){0,8}\r?\n\r?\n(?P<value>[^\r\n]+)"
)
_WORDS = re.compile(r"(?!.*(?:eyJ|Bearer ))[A-Za-z ,.;!?'()_/-]*\Z")
"""No digit and none of the marks that every name, value or random run needs."""
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]+|[A-Za-z0-9_-]+)\Z")
BASE64_CHARS = 16
PLAIN_CHARS = 11
"""So few letters and digits, and nothing else, are no value of any format, no secret of any provider and not random."""
_VALUE_HINT = (
    rf"@|{AT}|eyJ|Bearer |\+[0-9]|[0-9](?:[ -]?[0-9]){{12}}"
    r"|[A-Z]{2}[0-9]{2} ?[A-Z0-9]{4}|[0-9]{1,3}\.[0-9]{1,3}\.[0-9]"
)
_IPV6_HINT = "[0-9a-fA-F]{0,4}:[0-9a-fA-F]{0,4}:"
_MAY_HOLD_VALUE = re.compile(f"{_VALUE_HINT}|{_IPV6_HINT}")
"""Quicker than looking for each of them."""
PLAIN_WORDS = frozenset(["true", "false", "null", "none", "undefined", "nil", "yes", "no", "on", "off"])

Edit = tuple[int, int, str]


class FreeText:
    """Looks at texts of unknown form."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def redact(self, text: str, place: Place, named: bool = True, entropy: bool = True) -> str:
        """`named`: also look for names with values behind them; `entropy`: report what looks drawn by lot."""
        look = self._core.look
        if not look.formats and not self._core.decisions.texts and _WORDS.match(text):
            return text
        edits = self._by_rule(text, place) if self._core.decisions.texts else []
        if named and look.names and (":" in text or "=" in text or "<" in text):
            edits += self._named(text, place)
        if look.values and self._core.decisions.defaults and _MAY_HOLD_VALUE.search(text):
            edits += self._values(text, place, edits)
        if edits:
            edits = without_overlaps(edits)
        if look.formats or (look.random and entropy and len(text) >= detectors.TOKEN_CHARS):
            self._report(text, place, [(start, stop) for start, stop, _ in edits], entropy)
        return edited(text, edits)

    def is_plain(self, text: str) -> bool:
        """Quick, and true of most texts: nothing could be replaced in this one and nothing reported."""
        return (
            len(text) <= PLAIN_CHARS and text.isalnum() and text.isascii() and not self._core.decisions.texts
        )

    def value(self, text: str, place: Place, entropy: bool = True) -> str:
        """The whole value of a parameter or a field: where it is readable text in base64, that text is looked at."""
        inner = readable(text) if len(text) >= BASE64_CHARS and self._core.look.random else None
        if inner is None:
            return self.redact(text, place, entropy=entropy)
        look, self._core.look = self._core.look, Look()
        new = self.redact(inner, place, entropy=entropy)
        self._core.look = look
        return text if new == inner else rewritten(new, text)

    def _by_rule(self, text: str, place: Place) -> list[Edit]:
        edits: list[Edit] = []
        for rule in self._core.decisions.texts:
            if rule.within not in ("both", place.side):
                continue
            for match in rule.regex.finditer(text):
                group = 1 if rule.regex.groups and match.group(1) is not None else 0
                new = self._core.apply(match.group(group), Place(place.side, "text"), rule.decision)
                edits.append((match.start(group), match.end(group), new or ""))
        return without_overlaps(edits)

    def _named(self, text: str, place: Place) -> list[Edit]:
        edits: list[Edit] = []
        if "<" in text:
            edits += self._tags(text, place)
            edits += self._elements(text, place)
        if 'name="' in text and "\n" in text:
            edits += self._fields(text, place)
        end = 0
        for match in _NAMED.finditer(
            text
        ):  # also within the value of another name: url=https://shop/?token=…
            name = match.group("name")
            decision = self._decide(place, name, "=" in match.group("end")) if match.start() >= end else None
            found = _NAMED_VALUE.match(text, match.end()) if decision is not None else None
            if decision is not None and found is not None:
                end = found.end()
                start, value = _inner(found.group(), found.start())
                edits += self._edit(start, value, Place(place.side, f"{place.kind} value of", name), decision)
        return edits

    def _decide(self, place: Place, name: str, assigned: bool) -> Decision | None:
        """`code` and the like count behind an equals sign alone."""
        decisions = self._core.decisions
        found = (
            decisions.of("header", place.side, name.lower())
            or decisions.of("form", place.side, name)
            or decisions.of("json", place.side, name)
        )
        last = re.split(r"[.\[\]]+", name.rstrip("]"))[-1]
        if found is None and last != name:
            found = decisions.of("json", place.side, last)
        only_parameter = (
            found is not None
            and not assigned
            and secret_parameter(name)
            and not decisions.of("json", place.side, name)
        )
        return None if only_parameter else found

    def _tags(self, text: str, place: Place) -> list[Edit]:
        """`<input name="csrf" value="…">`, whichever of them stands first."""
        edits: list[Edit] = []
        for tag in _TAG.finditer(text):
            names, values = [], []
            for attribute in _ATTRIBUTE.finditer(tag.group()):
                group = next(kind for kind in ("double", "single", "bare") if attribute[kind] is not None)
                if attribute.group("name").lower() in ("value", "content"):
                    values.append((tag.start() + attribute.start(group), attribute.group(group)))
                else:
                    names.append(attribute.group(group))
            for name in names:
                decision = self._core.decisions.of("form", place.side, name)
                if decision is not None:
                    for start, value in values:
                        edits += self._edit(
                            start, value, Place(place.side, "html", name), decision, in_html=True
                        )
                    break
        return edits

    def _elements(self, text: str, place: Place) -> list[Edit]:
        edits: list[Edit] = []
        for match in _ELEMENT.finditer(text):
            name = match.group("name").rpartition(":")[2]
            decision = self._core.decisions.of("json", place.side, name)
            if decision is not None:
                where = Place(place.side, "xml", name)
                edits += self._edit(match.start("value"), match.group("value"), where, decision, in_html=True)
        return edits

    def _fields(self, text: str, place: Place) -> list[Edit]:
        """Fields of a multipart body that is broken."""
        edits: list[Edit] = []
        for match in _MULTIPART_FIELD.finditer(text):
            decision = self._core.decisions.of("form", place.side, match.group("name"))
            if decision is not None:
                where = Place(place.side, "form", match.group("name"))
                edits += self._edit(match.start("value"), match.group("value"), where, decision)
        return edits

    def _edit(
        self, start: int, value: str, place: Place, decision: Decision, in_html: bool = False
    ) -> list[Edit]:
        """One edit, or none where there is nothing to hide."""
        if not value or value.lower() in PLAIN_WORDS:
            return []
        plain = html.unescape(value) if in_html and "&" in value else value
        new = self._core.apply(plain, place, decision) or ""
        return [(start, start + len(value), html.escape(new) if plain != value else new)]

    def _values(self, text: str, place: Place, before: list[Edit]) -> list[Edit]:
        taken = sorted((start, stop) for start, stop, _ in before)
        edits: list[Edit] = []
        for match in VALUES.finditer(text):
            if any(start < match.end() and match.start() < stop for start, stop in taken):
                continue
            if match["at"] is not None:
                new = self._spelled_email(match, place)
            else:
                new = self._value(match.lastgroup or "", match.group(), place)
            if new is not None:
                edits.append((match.start(), match.end(), new))
        return edits

    def _spelled_email(self, match: re.Match[str], place: Place) -> str | None:
        """The same pseudonym as that of the address as it is, and spelled the same way."""
        plus = re.search("%(?:25)*2[bB]", match["local"])
        local = match["local"].replace(plus.group(), "+") if plus else match["local"]
        new = self._value("email", f"{local}@{match['domain']}", place)
        if new is None:
            return None
        new_local, _, domain = new.rpartition("@")
        return f"{new_local.replace('+', plus.group()) if plus else new_local}{match['at']}{domain}"

    def _value(self, kind: str, value: str, place: Place) -> str | None:
        """Its pseudonym; None: it only looks like one."""
        if kind in ("ipv4", "ipv6"):
            client = value in self._core.addresses
            return self._core.recognised(value, place, "address of a client") if client else None
        if kind == "userinfo":
            user, _, password = value.partition(":")
            self._core.tally.replaced(str(place), "credentials in a URL")
            return f"{self._core.pseudonym(user)}:{self._core.pseudonym(password)}"
        if not _CHECKS[kind](value):
            return None
        return self._core.recognised(value, place, kind)

    def _report(self, text: str, place: Place, taken: list[tuple[int, int]], entropy: bool) -> None:
        found = list(detectors.formats_in(text)) if self._core.look.formats else []
        if entropy and self._core.look.random:
            found += detectors.random_in(text)
        for item in found:
            if not any(start < item.stop and item.start < stop for start, stop in taken):
                self._core.found(text, item, place)
                taken.append((item.start, item.stop))  # one finding a value


@lru_cache(maxsize=64)
def may_hold_pattern(look: Look, own: bool, colons: bool) -> re.Pattern[str]:
    """What finds something in every text in which `redact` might, and in few others.

    `own`: rules have regular expressions; `colons`: an address with colons is known.
    """
    if look.formats or own:
        return re.compile("")
    parts = [_IPV6_HINT] if colons else []
    parts += ["[:=<]"] if look.names else []
    parts += [_VALUE_HINT] if look.values else []
    parts += [f"[A-Za-z0-9+/_=-]{{{BASE64_CHARS}}}"] if look.random else []
    return re.compile("|".join(parts) or "(?!)")


def readable(text: str) -> str | None:
    """The text that stands in `text` as base64; None: it is no base64, or holds more than text."""
    plain = text.rstrip("=")
    if not _BASE64.match(plain) or len(plain) % 4 == 1:
        return None
    data = base64.b64decode(plain.replace("-", "+").replace("_", "/") + "=" * (-len(plain) % 4))
    try:
        inner = data.decode()
    except UnicodeDecodeError:
        return None
    return inner if all(char.isprintable() or char in "\r\n\t" for char in inner) else None


def rewritten(inner: str, like: str) -> str:
    """Base64 in the alphabet and with the padding of `like`."""
    url = "-" in like or "_" in like
    data = (base64.urlsafe_b64encode if url else base64.b64encode)(inner.encode()).decode()
    return data if like.endswith("=") or len(like) % 4 == 0 else data.rstrip("=")


def address_edits(core: Core, text: str) -> str:
    """A header that holds nothing but addresses of clients and proxies: every one of them is replaced."""
    text = re.sub(
        r"(?<![0-9A-Za-z.:])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9.])",
        lambda m: _address(core, m.group()),
        text,
    )
    return re.sub(
        r"(?<![0-9A-Za-z:.])[0-9a-fA-F]{0,4}:[0-9a-fA-F:.]{2,43}(?![0-9A-Za-z:])",
        lambda m: _address(core, m.group()),
        text,
    )


def _address(core: Core, value: str) -> str:
    if not addresses.is_v4(value) and not addresses.is_v6(value):
        return value
    return core.pseudonym(value)


def _inner(value: str, start: int) -> tuple[int, str]:
    """A value without an authorization scheme in front and without its quotes."""
    scheme = re.match(_SCHEME, value)
    if scheme:
        start, value = start + scheme.end(), value[scheme.end() :]
    opening = re.match(r"\\*[\"']", value)
    if not opening:
        return start, value
    quotes = opening.group()
    start, value = start + len(quotes), value[len(quotes) :]
    scheme = re.match(_SCHEME, value)
    if scheme:
        start, value = start + scheme.end(), value[scheme.end() :]
    return start, value.removesuffix(quotes)


def without_overlaps(edits: list[Edit]) -> list[Edit]:
    """In order; of two that overlap, the earlier in the list stays."""
    kept: list[Edit] = []
    for edit in edits:
        place = bisect.bisect_left(kept, edit)
        before = kept[place - 1][1] if place else 0
        after = kept[place][0] if place < len(kept) else edit[1]
        if before <= edit[0] and edit[1] <= after:
            kept.insert(place, edit)
    return kept


def edited(text: str, edits: list[Edit]) -> str:
    if not edits:
        return text
    pieces, end = [], 0
    for start, stop, new in edits:
        pieces += [text[end:start], new]
        end = stop
    return "".join([*pieces, text[end:]])
