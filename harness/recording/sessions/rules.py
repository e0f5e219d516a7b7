"""Session rules: which value of which answer comes back where, written down for people to review.

Takes `sessions.yaml` (README.md of this folder shows one) or what was found in a recording, gives `SessionRules`. A rule
names places and counts, never a value.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import Field, StringConstraints, model_validator

from harness.errors import DefinitionError, Problem
from harness.loading import Loaded, load_definition
from harness.model.base import Definition, Name
from harness.recording.sessions.live import json_steps, split_path
from harness.recording.sessions.patterns import ANY

SESSIONS_FILE = "sessions.yaml"

LOOSE_COOKIES = (
    "AWSALB*",
    "AWSELB*",
    "ARRAffinity*",
    "BIGipServer*",
    "TS01*",
    "__cf*",
    "cf_*",
    "_ga*",
    "_gid",
    "_gcl_*",
    "_fbp",
    "incap_ses*",
    "visid_incap*",
    "nlbi_*",
    "ak_bmsc",
    "bm_*",
)
"""Cookies of load balancers, content networks and analytics: no session depends on them."""

HEAD = """\
# Values of recorded answers that come back in later requests of the same client; at replay they are taken from the
# live answer. Found in the recording; change it as you like: take a rule out with `enabled: false`, or add your own.
# What each key means: harness/recording/sessions/README.md.
"""

Route = Annotated[str, StringConstraints(pattern=r"^(\*|/.*)$")]
"""`/orders/{}/confirm`: `{}` (or `{id}`) is any one segment; `*` any route."""

MethodOrAny = Annotated[str, StringConstraints(pattern=r"^(\*|[A-Z]{1,16})$")]


class TakenFrom(Definition):
    """A place in the answers of one route."""

    method: MethodOrAny = ANY
    route: Route
    source: Literal["json", "header", "cookie", "html", "text"]
    path: str = Field(
        min_length=1,
        description="json: a.b[0].c, [*] for any item; header, cookie: its name; html: an input's name or meta:NAME; "
        "text: a regular expression with one group. |segment[N], |query[NAME] and so on name a part of the value.",
    )

    @model_validator(mode="after")
    def _readable(self) -> Self:
        if self.source == "text":
            try:
                groups = re.compile(self.path).groups
            except re.error as error:
                raise ValueError(f"path {self.path!r} is no regular expression: {error}") from error
            if groups != 1:
                raise ValueError(
                    f"path {self.path!r} has {groups} groups; put exactly one pair of brackets around the value"
                )
        if self.source == "json" and json_steps(split_path(self.path)[0].replace("[*]", "[0]")) is None:
            raise ValueError(
                f'path {self.path!r} is no path into JSON; write a.b[0].c, or ["a.b"] for odd keys'
            )
        return self


class Support(Definition):
    """How often the recording showed it: uses, differing values, clients."""

    uses: int = Field(ge=0)
    values: int = Field(ge=0)
    clients: int = Field(ge=0)


class UsedIn(Definition):
    """A place in the requests of one route."""

    method: MethodOrAny = ANY
    route: Route = ANY
    place: Literal["path", "query", "header", "cookie", "json", "form", "multipart"]
    name: str = Field(
        min_length=1,
        description="path: segment[N], counted from 0; json: a.b[0].c; else the name of field, header or cookie.",
    )
    support: Support | None = None

    @model_validator(mode="after")
    def _segment(self) -> Self:
        if self.place == "path" and not re.fullmatch(r"segment\[\d+\]", self.name):
            raise ValueError(
                f"name {self.name!r} is no place in a path; write segment[0] for the first segment"
            )
        return self


class SessionRule(Definition):
    """One value: where answers give it, and where requests carry it."""

    name: Name
    enabled: bool = True
    taken_from: TakenFrom
    used_in: tuple[UsedIn, ...] = Field(min_length=1)
    examples: tuple[str, ...] = Field(
        default=(), description="Digests of values that were seen, never a value."
    )


class CookieRule(Definition):
    """Cookies that answers set go into later requests of that client."""

    enabled: bool = True
    loose: tuple[str, ...] = Field(
        default=LOOSE_COOKIES,
        description="Names (* stands for any end) that nobody waits for and that nothing depends on.",
    )


class SessionRules(Definition):
    """What `sessions.yaml` says."""

    sessions: Literal[1] = 1
    cookies: CookieRule = CookieRule()
    searched: int | None = Field(
        default=None, ge=0, description="So many exchanges were searched, the first, where not all were."
    )
    rules: tuple[SessionRule, ...] = ()

    @property
    def enabled(self) -> tuple[SessionRule, ...]:
        return tuple(rule for rule in self.rules if rule.enabled)

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return self.cookies.enabled or bool(self.enabled)


def load_rules(path: Path) -> SessionRules:
    """Raises DefinitionError with every problem, each at its line."""
    loaded = load_definition(path, SessionRules)
    problems = list(_same_names(loaded))
    if problems:
        raise DefinitionError(problems)
    return loaded.value


def _same_names(loaded: Loaded[SessionRules]) -> list[Problem]:
    seen: set[str] = set()
    problems = []
    for number, rule in enumerate(loaded.value.rules):
        if rule.name in seen:
            where = loaded.locate(("rules", number, "name"))
            problems.append(
                Problem(where, f"there are two rules {rule.name!r}", "give each a name of its own")
            )
        seen.add(rule.name)
    return problems


def write_rules(rules: SessionRules, path: Path) -> None:
    """As `load_rules` reads it. Raises OSError."""
    path.write_text(rules_text(rules), encoding="utf-8")


def rules_text(rules: SessionRules) -> str:
    """The file's text; the same for the same rules."""
    document: dict[str, object] = {"sessions": 1, "cookies": {"enabled": rules.cookies.enabled}}
    if rules.cookies.loose != LOOSE_COOKIES:
        document["cookies"] = {"enabled": rules.cookies.enabled, "loose": list(rules.cookies.loose)}
    if rules.searched is not None:
        document["searched"] = rules.searched
    if rules.rules:
        document["rules"] = [_written(rule) for rule in rules.rules]
    return HEAD + yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=4096, allow_unicode=True)


def _written(rule: SessionRule) -> dict[str, object]:
    written = rule.model_dump(mode="json", exclude_defaults=True)
    first = {"name": rule.name, "enabled": rule.enabled}
    return first | {key: value for key, value in written.items() if key not in first}


class _Dumper(yaml.SafeDumper):
    """Places on one line each, lists indented."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        super().increase_indent(flow, False)


def _mapping(dumper: yaml.SafeDumper, value: dict[str, object]) -> yaml.Node:
    flat = bool({"source", "place", "uses"} & value.keys())
    return dumper.represent_mapping("tag:yaml.org,2002:map", value.items(), flow_style=flat)


_Dumper.add_representer(dict, _mapping)
