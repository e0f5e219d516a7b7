"""One value at one place: what the rules say is done, counted and remembered, whatever text it stands in.

Takes a value, its place and a decision, gives what goes there. The walkers of headers, targets and bodies share one
`Core`; it knows the pseudonyms, the rules, the secrets seen so far and what there is to report.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from harness.recording.redaction.detectors import TOKEN_CHARS, Found
from harness.recording.redaction.known import KnownSecrets
from harness.recording.redaction.pseudonyms import Pseudonyms
from harness.recording.redaction.report import SecretFound, Tally
from harness.recording.redaction.rules import Decision, Decisions, RedactionRules, Side

DULL_CHARS = 64
MOST_DULL = 200_000
_ADDRESS = re.compile(r"[0-9]\.[0-9]|[0-9a-fA-F]:[0-9a-fA-F:]|[%\\]")
"""Or what may be one that is spelled otherwise."""


class Place:
    """Where a text stands: `kind` is a word of the rules, `name` the header, parameter or JSONPath.

    A name may be a function that is asked only when somebody wants to read it: most places are never named.
    """

    __slots__ = ("_name", "_text", "kind", "side")

    def __init__(self, side: Side, kind: str, name: str | Callable[[], str] = "") -> None:
        self.side: Side = side
        self.kind = kind
        self._name = name
        self._text = ""

    @property
    def name(self) -> str:
        return self._name if isinstance(self._name, str) else self._name()

    def __str__(self) -> str:
        if not self._text:
            side = "answer " if self.side == "answer" else ""
            self._text = f"{side}{self.kind} {self.name}".rstrip()
        return self._text


@dataclass(frozen=True)
class Look:
    """What a quick first look says may stand in a text; what cannot, is not searched for."""

    names: bool = True
    values: bool = True
    formats: bool = True
    random: bool = True

    @property
    def free(self) -> bool:
        """Whether a value of no known name may be of interest."""
        return self.values or self.formats or self.random or self.names


class Core:
    """What is shared by everything that looks at one import."""

    def __init__(self, rules: RedactionRules, key: bytes) -> None:
        self.decisions = Decisions(rules)
        self.pseudonyms = Pseudonyms(key)
        self.known = KnownSecrets()
        self.tally = Tally()
        self.addresses: set[str] = set()
        self.colons = False
        """Whether one of them has colons."""
        self.dull: set[str] = set()
        """Short texts in which there was nothing to change and nothing to report."""
        self.dull_names: set[str] = set()
        """Short names of JSON members of which that holds: less is looked for in names than in values."""
        self.record = 0
        """The exchange that is looked at, from 1."""
        self.look = Look()
        self.originals: dict[str, None] | None = None
        """Values that were replaced, where somebody asked for them."""
        self._suspects: list[tuple[str, SecretFound]] = []

    def apply(self, value: str, place: Place, decision: Decision, learn: bool = True) -> str | None:
        """What goes where `value` stood; None: nothing, and its name goes too."""
        if decision.action == "keep":
            return value
        self.tally.replaced(str(place), decision.action)
        if decision.action == "remove":
            self._learn(value, "removed", learn)
            return None
        if decision.action == "fixed":
            self._learn(value, decision.value, learn)
            return decision.value
        return self.pseudonym(value, decision, learn)

    def pseudonym(self, value: str, decision: Decision | None = None, learn: bool = True) -> str:
        """Without counting."""
        if decision is not None and decision.kind == "hash":
            new = (
                self.pseudonyms.fingerprint("hash" + value) + self.pseudonyms.fingerprint("more" + value)[:4]
            )
        else:
            new = self.pseudonyms.of(value)
        self._learn(value, new, learn)
        return new

    def recognised(self, value: str, place: Place, how: str) -> str:
        """The pseudonym of a value that its own format gave away."""
        self.tally.replaced(str(place), how)
        return self.pseudonym(value, learn=how == "bearer")

    def found(self, text: str, found: Found, place: Place) -> None:
        """Something that looks like a secret and stays where it is, so that the import is refused."""
        value = text[found.start : found.stop]
        fingerprint = self.pseudonyms.fingerprint(value)
        if fingerprint not in self.decisions.kept_findings:
            self._suspects.append((value, SecretFound(self.record, str(place), found.detector, fingerprint)))

    def is_dull(self, text: str, name: bool = False) -> None:
        """Not to be looked at again. `name`: as a member's name."""
        dull = self.dull_names if name else self.dull
        if self.stays_dull(text):
            if len(dull) >= MOST_DULL:
                dull.clear()
            dull.add(text)

    def stays_dull(self, text: str) -> bool:
        """Whether a short text holds no address, which may turn out to be a client's."""
        return len(text) <= DULL_CHARS and not _ADDRESS.search(text)

    @property
    def suspects(self) -> int:
        """How many findings of this batch are not settled."""
        return len(self._suspects)

    def forget_suspects(self, kept: int) -> None:
        """Those that came after the first `kept`: they are found again, with their places."""
        del self._suspects[kept:]

    def settle(self) -> None:
        """At the end of a batch: what turned out to be a known secret was replaced, and is no finding."""
        for value, finding in self._suspects:
            data = value.encode("utf-8", "surrogatepass")
            known = sum(stop - start for start, stop, _ in self.known.spans(data))
            if not known or len(data) - known >= TOKEN_CHARS:
                self.tally.secret(finding)
        self._suspects.clear()

    def _learn(self, value: str, new: str, learn: bool) -> None:
        if self.originals is not None and value != new:
            self.originals[value] = None
        if learn:
            self.known.add(value, new)
