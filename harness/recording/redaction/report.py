"""What a redaction did and what it could not decide: counts, and findings that name a value without telling it."""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import Location, Problem

MOST_FINDINGS = 1000
MOST_PLACES = 2000
MOST_SHOWN = 20
OTHER_PLACES = "other places"


@dataclass(frozen=True)
class Replaced:
    """`values` distinct values (of a batch) were changed at `place`, by `how`: an action, or what recognised them."""

    place: str
    how: str
    values: int


@dataclass(frozen=True)
class SecretFound:
    """What looks like a secret where no rule says what to do. `record`: the first exchange that holds it, from 1."""

    record: int
    place: str
    detector: str
    fingerprint: str

    def rule(self) -> str:
        """A line for the rules file that names this place, or the value where the place is too wide to be named."""
        kind, _, name = self.place.removeprefix("answer ").partition(" ")
        if kind in ("header", "cookie", "query", "form", "json") and name:
            return f"- {kind}: {_quoted(name)}"
        return f"- finding: {_quoted(self.fingerprint)}"

    def problem(self, file: str) -> Problem:
        """Where it stands and what to write; not the value."""
        what = (
            f"exchange {self.record}: {self.place} holds what looks like a secret ({self.detector}, "
            f"fingerprint {self.fingerprint}), and no rule names it"
        )
        if self.rule().startswith("- finding"):
            place = "path" if "path" in self.place else "text"
            fix = f"name it with a `{place}:` rule in the redaction file; if it is none: `{self.rule()}` with `action: keep`"
        else:
            fix = (
                f"add `{self.rule()}` to the rules of the redaction file; if it is none, with `action: keep`"
            )
        return Problem(Location(file), what, fix)


@dataclass(frozen=True)
class RedactionReport:
    """The sum over all batches so far."""

    rules: str
    records: int
    replaced: tuple[Replaced, ...]
    found: tuple[SecretFound, ...]
    found_more: int = 0
    """Findings beyond the first `MOST_FINDINGS`."""
    unreadable_bodies: int = 0
    """Compressed bodies that could not be opened: an empty one stands in their place."""
    known_dropped: int = 0
    """Secrets that were forgotten because there were too many to look for in texts."""

    @property
    def ok(self) -> bool:
        return not self.found

    def problems(self, file: str) -> list[Problem]:
        """One problem a finding, for a DefinitionError about the captured file; no value in it."""
        shown = [item.problem(file) for item in self.found[:MOST_SHOWN]]
        more = len(self.found) - len(shown) + self.found_more
        if more:
            what = f"{more} more values look like secrets"
            shown.append(Problem(Location(file), what, "name these places and import again"))
        return shown


def _quoted(text: str) -> str:
    return f'"{text}"' if not text.replace("-", "").replace("_", "").isalpha() else text


class Tally:
    """Counts while batches go by."""

    def __init__(self) -> None:
        self.records = 0
        self.unreadable_bodies = 0
        self.found: dict[tuple[str, str, str], SecretFound] = {}
        self.found_more = 0
        self.counted = 0
        """How many were replaced, wherever."""
        self._replaced: dict[tuple[str, str], int] = {}

    def replaced(self, place: str, how: str, values: int = 1) -> None:
        if not values:
            return
        self.counted += values
        key = (place, how)
        if key not in self._replaced and len(self._replaced) >= MOST_PLACES:
            key = (OTHER_PLACES, how)
        self._replaced[key] = self._replaced.get(key, 0) + values

    def secret(self, finding: SecretFound) -> None:
        key = (finding.place, finding.detector, finding.fingerprint)
        if key in self.found:
            return
        if len(self.found) >= MOST_FINDINGS:
            self.found_more += 1
            return
        self.found[key] = finding

    def report(self, rules: str, known_dropped: int) -> RedactionReport:
        return RedactionReport(
            rules=rules,
            records=self.records,
            replaced=tuple(
                Replaced(place, how, values) for (place, how), values in sorted(self._replaced.items())
            ),
            found=tuple(sorted(self.found.values(), key=lambda item: (item.record, item.place))),
            found_more=self.found_more,
            unreadable_bodies=self.unreadable_bodies,
            known_dropped=known_dropped,
        )
