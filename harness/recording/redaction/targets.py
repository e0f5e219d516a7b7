"""Request targets and URLs: path, matrix parameters, query and fragment.

Takes a target as on the request line, or a URL of a header, gives it with replaced values; everything else, its spelling
included, stays as it was.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.recording.redaction.core import MOST_DULL, Core, Place
from harness.recording.redaction.encodings import decoded
from harness.recording.redaction.free_text import FreeText
from harness.recording.redaction.rules import REPLACE, Decision, PathRule, Side

_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,20}://|//(?=[^/?#\s]*:[^/?#\s]*@))(?P<authority>[^/?#\s]*)(?P<rest>.*)",
    re.DOTALL,
)
MOST_NAMED = 10_000
OF_A_REFERER = "of a referer"
_PHONE_UNENCODED = re.compile(r"\+[1-9][0-9]")
_ASSET = re.compile(
    r"\.(?:js|mjs|css|map|png|jpe?g|gif|svg|webp|avif|ico|woff2?|ttf|eot|mp4|webm|mp3|pdf)\Z", re.IGNORECASE
)
"""Names of files that are built: random-looking, and public."""


class Targets:
    """Looks at targets."""

    def __init__(self, core: Core, texts: FreeText) -> None:
        self._core = core
        self._texts = texts
        self._named: dict[tuple[str, str, str], _Named] = {}
        self.dull: set[str] = set()
        """Parts of paths in which there was nothing to change and nothing to report."""

    def redact(self, target: str, side: Side = "request", all_queries: bool = False) -> str:
        """`all_queries`: every value of the query is replaced, known name or not."""
        url = None if target[:1] == "/" and target[1:2] != "/" else _URL.match(target)
        if url is None:
            return self._relative(target, side, all_queries)
        authority = self._authority(url.group("authority"), side)
        return f"{url.group('scheme')}{authority}{self._relative(url.group('rest'), side, all_queries)}"

    def _authority(self, authority: str, side: Side) -> str:
        userinfo, at, host = authority.rpartition("@")
        if not at or not self._core.decisions.defaults:
            return authority
        place = Place(side, "url credentials")
        parts = [self._replaced(part, place) for part in userinfo.split(":", 1)]
        return ":".join(parts) + at + host

    def _replaced(self, raw: str, place: Place) -> str:
        value, encode = decoded(raw)
        return encode(self._core.apply(value, place, REPLACE) or "") if raw else raw

    def _relative(self, target: str, side: Side, all_queries: bool) -> str:
        target, hash_mark, fragment = target.partition("#")
        path, question_mark, query = target.partition("?")
        new_query = self.pairs(query, side, "query", all_queries) if query else ""
        if query and not new_query:
            question_mark = ""
        if "=" in fragment:  # OAuth hands tokens over in it
            fragment = self.pairs(fragment, side, "query", all_queries)
        elif fragment:
            fragment = self._free(fragment, Place(side, "fragment"))
        return f"{self._path(path, side)}{question_mark}{new_query}{hash_mark}{fragment}"

    def pairs(self, text: str, side: Side, kind: str, replace_all: bool = False) -> str:
        """`name=value&…` of a query or a form."""
        if kind != "query" or ";" not in text:  # most texts
            pairs = [self._pair(piece, side, kind, replace_all) for piece in text.split("&")]
            return "&".join([pair for pair in pairs if pair is not None])
        pieces = re.split("([&;])", text)
        changed = [self._pair(piece, side, kind, replace_all) for piece in pieces[::2]]
        if None not in changed:
            return "".join(
                part or "" for pair in zip(changed, [*pieces[1::2], ""], strict=True) for part in pair
            )
        kept = [
            (pair, mark) for pair, mark in zip(changed, [*pieces[1::2], "&"], strict=True) if pair is not None
        ]
        return "".join(pair + mark for pair, mark in kept)[:-1] if kept else ""

    def _pair(self, pair: str, side: Side, kind: str, replace_all: bool) -> str | None:
        raw_name, equals, raw = pair.partition("=")
        if not equals:  # a value alone: nobody can say what it is
            return self._free(pair, Place(side, kind), plus=True)
        named = self._named.get((kind, side, raw_name)) or self._name(kind, side, raw_name)
        place, decision = named.place, named.decision
        if decision is None and replace_all:
            decision, place = REPLACE, Place(side, "query", OF_A_REFERER)
        if decision is None:
            new_name = self._free(raw_name, place, plus=True) if len(raw_name) > 6 else raw_name
            return f"{new_name}={self._free(raw, place, plus=True)}"
        if decision.action == "keep" or (not raw and decision.action != "remove"):
            return pair
        value, encode = decoded(raw, plus=True)
        # Words that somebody searched for elsewhere are no secrets of this service.
        new = self._core.apply(value, place, decision, learn=place.name != OF_A_REFERER)
        return None if new is None else f"{raw_name}={encode(new)}"

    def _name(self, kind: str, side: Side, raw_name: str) -> _Named:
        """What is to be done with the values of that name."""
        name, _ = decoded(raw_name, plus=True)
        if len(self._named) >= MOST_NAMED:
            self._named.clear()
        named = _Named(Place(side, kind, name), self._core.decisions.of(kind, side, name))
        self._named[kind, side, raw_name] = named
        return named

    def _free(self, raw: str, place: Place, plus: bool = False) -> str:
        """A value of no known name: only what its format gives away."""
        if not raw or self._texts.is_plain(raw):
            return raw
        if plus and _PHONE_UNENCODED.match(raw):  # a plus sign that was to be one, and is a space
            value, encode = decoded(raw[1:], plus)
            new = self._texts.value(f"+{value}", place)
            return f"+{encode(new[1:])}" if new[:1] == "+" else encode(new)
        value, encode = decoded(raw, plus)
        new = self._texts.value(value, place)
        return raw if new == value else encode(new)

    def _path(self, path: str, side: Side) -> str:
        segments = path.split("/")
        if not self._core.decisions.paths:
            return "/".join([self._segment(segment, side) for segment in segments])
        by_rule = self._by_rule(segments)
        return "/".join(
            self._by_path_rule(segment, by_rule[number], side)
            if number in by_rule
            else self._segment(segment, side)
            for number, segment in enumerate(segments)
        )

    def _by_path_rule(self, segment: str, rule: PathRule, side: Side) -> str:
        value, encode = decoded(segment)
        return (
            encode(self._core.apply(value, Place(side, "path"), rule.decision) or "") if segment else segment
        )

    def _by_rule(self, segments: list[str]) -> dict[int, PathRule]:
        """Number of a segment -> the rule that replaces it."""
        found: dict[int, PathRule] = {}
        for rule in self._core.decisions.paths:
            numbers = _matching(rule, segments)
            for number in numbers:
                found.setdefault(number, rule)
        return found

    def _segment(self, segment: str, side: Side) -> str:
        """One part of the path, with its matrix parameters (`;jsessionid=…`)."""
        if len(segment) < 6 or self._texts.is_plain(segment) or segment in self.dull:
            return segment
        core = self._core
        before = core.suspects, core.tally.counted
        new = self._segment_parts(segment, side)
        nothing = new == segment and before == (core.suspects, core.tally.counted)
        if nothing and core.stays_dull(segment):
            if len(self.dull) >= MOST_DULL:
                self.dull.clear()
            self.dull.add(segment)
        return new

    def _segment_parts(self, segment: str, side: Side) -> str:
        head, *parameters = segment.split(";")
        place = Place(side, "path")
        value, encode = decoded(head)
        new = self._texts.redact(value, place, named=False, entropy=not _ASSET.search(value))
        changed = [head if new == value else encode(new)]
        for parameter in parameters:
            pair = self._pair(parameter, side, "query", replace_all=False)
            changed += [pair] if pair is not None else []
        return ";".join(changed)


@dataclass(frozen=True)
class _Named:
    """A parameter, and what the rules say of it."""

    place: Place
    decision: Decision | None


def _matching(rule: PathRule, segments: list[str]) -> list[int]:
    """Numbers of the segments that the rule replaces; none where the path is another one."""
    offset = 1 if segments and segments[0] == "" else 0
    given = segments[offset:]
    if len(given) < len(rule.segments) or (len(given) > len(rule.segments) and not rule.open_ended):
        return []
    numbers = []
    for number, (wanted, segment) in enumerate(zip(rule.segments, given, strict=False)):
        if wanted is True or (wanted is None and rule.decision.action == "keep"):
            numbers.append(number + offset)
        elif wanted is not None and wanted != segment:
            return []
    return numbers if rule.decision.action != "keep" else [n + offset for n in range(len(given))]
