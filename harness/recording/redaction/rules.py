"""Rules of redaction as written in a file, and what they say of one place.

Takes `NAME.redaction.yaml` (README.md has an example), gives a `RedactionRules`; `Decisions` answers for a header, a cookie,
a parameter, a field: replace, remove, keep or nothing. The file's rules come before the built-in ones, and the first that
fits decides.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from harness.loading import load_definition
from harness.model.base import Definition, Name
from harness.recording.redaction.names import (
    COOKIE_HEADERS,
    SECRET_HEADERS,
    SET_COOKIE_HEADERS,
    secret_name,
    secret_parameter,
)

Side = Literal["request", "answer"]
Action = Literal["pseudonym", "remove", "keep", "fixed"]
PseudonymKind = Literal["auto", "hash"]
PLACES = ("name", "header", "cookie", "query", "form", "json", "path", "text", "finding")
MOST_DECISIONS = 50_000


class RedactionRule(Definition):
    """One place and what happens to values there. Exactly one of the places is given."""

    name: str | None = Field(
        default=None,
        min_length=1,
        description="A header, cookie, query parameter, form field or JSON member of this name.",
    )
    header: str | None = Field(default=None, min_length=1, description="A header's name.")
    cookie: str | None = Field(default=None, min_length=1, description="A cookie's name.")
    query: str | None = Field(default=None, min_length=1, description="A query parameter's name.")
    form: str | None = Field(
        default=None, min_length=1, description="A form field's name, in either form's encoding."
    )
    json_path: str | None = Field(default=None, min_length=1, alias="json", description="A JSONPath.")
    path: str | None = Field(
        default=None,
        description="/users/{id}/*: what stands for {id} is replaced, * is any segment.",
    )
    text: str | None = Field(
        default=None,
        min_length=1,
        description="A regular expression; its first group is replaced, or all that it found.",
    )
    finding: str | None = Field(default=None, description="The fingerprint of a finding that is no secret.")
    within: Literal["request", "answer", "both"] = "both"
    action: Action = "pseudonym"
    kind: PseudonymKind = Field(
        default="auto",
        description="auto: the value's own format; hash: 16 characters that tell nothing of it.",
    )
    value: str | None = Field(default=None, description="What `fixed` puts there.")
    reason: str = Field(default="", description="Why a value may stay.")

    @property
    def place(self) -> str:
        """The place's key in the file."""
        return next((place for place in PLACES if self.pattern_of(place) is not None), "")

    def pattern_of(self, place: str) -> str | None:
        found: str | None = getattr(self, "json_path" if place == "json" else place)
        return found

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        given = [place for place in PLACES if self.pattern_of(place) is not None]
        if len(given) != 1:
            said = (
                f"a rule names {len(given)} places ({', '.join(given)})" if given else "a rule names no place"
            )
            raise ValueError(f"{said}; give exactly one of: {', '.join(PLACES)}")
        if (self.value is None) == (self.action == "fixed"):
            word = "needs a `value:`" if self.action == "fixed" else "takes no `value:`"
            raise ValueError(f"action {self.action!r} {word}; `value:` is what `action: fixed` puts there")
        return self

    @model_validator(mode="after")
    def _readable(self) -> Self:
        if self.text is not None:
            _check_regex(self.text)
        if self.json_path is not None:
            json_path(self.json_path)
        if self.path is not None and not self.path.startswith("/"):
            raise ValueError(f"path {self.path!r} does not start with /; write /{self.path}")
        if self.path is not None and self.action == "remove":
            raise ValueError("a segment of a path cannot be removed; use `action: fixed` or `pseudonym`")
        if self.path is not None and "{" not in self.path and self.action != "keep":
            raise ValueError(
                f"path {self.path!r} replaces nothing; write what is private in braces: /users/{{id}}"
            )
        if self.finding is not None and not re.fullmatch("[0-9a-f]{12}", self.finding):
            raise ValueError(
                f"{self.finding!r} is no fingerprint; copy its 12 characters from the message, in quotes"
            )
        if self.finding is not None and self.action != "keep":
            raise ValueError("a finding can only be kept; write `action: keep`, or name its place instead")
        return self


class RedactionRules(Definition):
    """What happens to which values of a recording."""

    redaction: Name = "default"
    defaults: bool = Field(default=True, description="Whether the built-in rules hold after these.")
    rules: tuple[RedactionRule, ...] = ()


def load_rules(path: Path) -> RedactionRules:
    """Raises DefinitionError with everything that is wrong in the file."""
    return load_definition(path, RedactionRules).value


def default_rules() -> RedactionRules:
    """The built-in rules alone."""
    return RedactionRules()


@dataclass(frozen=True)
class Decision:
    """What happens to a value."""

    action: Action
    kind: PseudonymKind = "auto"
    value: str = ""


REPLACE = Decision("pseudonym")


@dataclass(frozen=True)
class JsonRule:
    """A JSONPath and what happens to what it finds. `word`: a name that must stand in the text (empty: none must)."""

    find: Callable[[Any], Any]
    within: str
    decision: Decision
    word: str


@dataclass(frozen=True)
class PathRule:
    """Segments of a path: None for any, True for one that is replaced, else the text itself."""

    segments: tuple[str | bool | None, ...]
    open_ended: bool
    decision: Decision


@dataclass(frozen=True)
class TextRule:
    """A regular expression anywhere in a text."""

    regex: re.Pattern[str]
    within: str
    decision: Decision


class Decisions:
    """What the rules say of one place."""

    def __init__(self, rules: RedactionRules) -> None:
        self._rules = rules
        self._memory: dict[tuple[str, Side, str], Decision | None] = {}
        self.json = tuple(_json_rule(rule) for rule in rules.rules if rule.json_path)
        self.paths = tuple(_path_rule(rule) for rule in rules.rules if rule.path)
        self.texts = tuple(
            TextRule(re.compile(rule.text, re.ASCII), rule.within, _decision(rule))
            for rule in rules.rules
            if rule.text
        )
        self.kept_findings = frozenset(rule.finding for rule in rules.rules if rule.finding)
        self.own_names = tuple(
            pattern
            for rule in rules.rules
            for place in ("name", "header", "cookie", "query", "form")
            if (pattern := rule.pattern_of(place)) is not None
        )
        self.defaults = rules.defaults

    def of(self, place: str, side: Side, name: str) -> Decision | None:
        """Of a header, cookie, query, form or json member; None: no rule."""
        key = (place, side, name)
        try:
            return self._memory[key]
        except KeyError:
            pass
        if len(self._memory) >= MOST_DECISIONS:
            self._memory.clear()
        found = self._memory[key] = self._find(place, side, name)
        return found

    def _find(self, place: str, side: Side, name: str) -> Decision | None:
        for rule in self._rules.rules:
            pattern = rule.pattern_of("name") or (rule.pattern_of(place) if place != "json" else None)
            if pattern is not None and rule.within in ("both", side) and _fits(pattern, name):
                return _decision(rule)
        return REPLACE if self.defaults and _by_default(place, name) else None


def _by_default(place: str, name: str) -> bool:
    if place == "header":
        return name in SECRET_HEADERS or secret_name(name)
    if place == "cookie":
        return True
    return secret_parameter(name) if place in ("query", "form") else secret_name(name)


def is_cookie_header(name: str) -> bool:
    return name in COOKIE_HEADERS


def is_set_cookie_header(name: str) -> bool:
    return name in SET_COOKIE_HEADERS


def _fits(pattern: str, name: str) -> bool:
    if "*" in pattern or "?" in pattern:
        return fnmatch.fnmatchcase(name.lower(), pattern.lower())
    return name.lower() == pattern.lower()


def _decision(rule: RedactionRule) -> Decision:
    return Decision(rule.action, rule.kind, rule.value or "")


def _check_regex(text: str) -> None:
    try:
        found = re.compile(text, re.ASCII)
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}; correct it") from None
    if found.match(""):
        raise ValueError(f"{text!r} also finds nothing at all; write what must be there")


def json_path(text: str) -> Callable[[Any], Any]:
    """A function from a document to its matches. Raises ValueError."""
    from jsonpath_ng.exceptions import JSONPathError
    from jsonpath_ng.ext import parse

    try:
        found: Callable[[Any], Any] = parse(text).find
    except (JSONPathError, ValueError, TypeError, AttributeError) as error:
        said = str(error).splitlines()[0]
        raise ValueError(f"{text!r} is no JSONPath: {said}; an example: $.user.emails[*]") from None
    return found


def _json_rule(rule: RedactionRule) -> JsonRule:
    path = rule.json_path or ""
    words = re.findall(r"[A-Za-z_][A-Za-z0-9_-]*", re.sub(r"\[\?.*?\]", "", path))
    return JsonRule(json_path(path), rule.within, _decision(rule), words[-1] if words else "")


def _path_rule(rule: RedactionRule) -> PathRule:
    parts = (rule.path or "").strip("/").split("/")
    open_ended = parts[-1] == "**"
    segments = tuple(
        True if part.startswith("{") and part.endswith("}") else None if part == "*" else part
        for part in (parts[:-1] if open_ended else parts)
    )
    return PathRule(segments, open_ended, _decision(rule))
