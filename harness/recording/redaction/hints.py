"""A first look at whole columns: which texts hold anything that redaction could change, in one pass of RE2.

Takes the decisions, gives patterns for pyarrow. What does not match cannot hold a secret that redaction would find; what
does is looked at in Python, and a second look says for what. Characters that an encoding hides (`%74oken`, `\\u0074oken`)
count as a match of everything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness.recording.redaction import detectors
from harness.recording.redaction.core import Look
from harness.recording.redaction.encodings import PACKED, WIDE
from harness.recording.redaction.free_text import VALUE_HINTS
from harness.recording.redaction.names import ADDRESS_HEADERS, SECRET_HEADERS, STEMS
from harness.recording.redaction.rules import Decisions

HIDDEN = r"%(?:3[0-9]|[46][1-9a-fA-F]|[57][0-9aA])|\\u00[2-7]|&#"
"""A letter or a digit that is written as something else."""
TOLD_BY_PLACE = r"://[^/\s?#]*:[^/\s]*@|Bearer(?: |\+|%20)"
"""Credentials of a URL, and what stands behind the word."""
ADDRESSES = (
    r"(?:[0-9]{1,3}(?:\.|%2[eE])){3}[0-9]{1,3}"
    "|[0-9a-fA-F]{1,4}(?::|%3[aA])[0-9a-fA-F]{0,4}(?::|%3[aA])"
)


@dataclass(frozen=True)
class Hints:
    """Patterns of one kind of column. `any_of` matches where one of the others does, or what belongs to the column."""

    any_of: str
    to_learn: str
    """Matches where a secret may stand that names or a place give away, and that other texts may repeat."""
    names: str
    values: str
    everything: bool = False
    """Every text must be looked at: a rule's pattern is beyond RE2."""

    def looks(self, texts: pa.Array, learning: bool = False) -> list[Look]:
        """What each text may hold; of that, only what is to be learnt."""
        if self.everything and not learning:
            return [Look()] * len(texts)
        hidden = _matches(texts, HIDDEN)
        if learning:
            names, values = _matches(texts, self.names), _matches(texts, TOLD_BY_PLACE)
            return _looks(hidden | names, hidden | values)
        patterns = (self.names, self.values, detectors.format_pattern(), detectors.CANDIDATE)
        return _looks(*(hidden | _matches(texts, pattern) for pattern in patterns))


_ALL_LOOKS = tuple(Look(*(bool(number >> bit & 1) for bit in range(4))) for number in range(16))


def _looks(*flags: np.ndarray) -> list[Look]:
    """From one array for each of a look's flags, those that are left out false."""
    numbers = sum(item.astype(np.int64) << bit for bit, item in enumerate(flags))
    return [_ALL_LOOKS[number] for number in np.asarray(numbers).tolist()]


def header_hints(decisions: Decisions) -> Hints:
    special = "|".join(sorted(re.escape(name) for name in SECRET_HEADERS | ADDRESS_HEADERS))
    own = f"(?:^|\\n)(?:set-cookie2?|cookie2?|{special}):"
    targets = r"(?:^|\n)(?:referer|location|content-location|x-original-url|x-rewrite-url|x-forwarded-uri):[^\n]*[?#;@]"
    named = f"(?:^|\\n)[a-z0-9_.-]*(?:{STEMS})[a-z0-9_.-]*:"
    return _hints(decisions, f"(?i:{own}|{targets}|{named})")


def target_hints(decisions: Decisions) -> Hints:
    paths = [
        "^(?:[A-Za-z+]+://[^/]*)?/"
        + "/".join("[^/?]*" if not isinstance(part, str) else re.escape(part) for part in rule.segments)
        for rule in decisions.paths
    ]
    return _hints(decisions, "|".join([r"//[^/?#]*@", *paths]))


def body_hints(decisions: Decisions) -> Hints:
    words = [re.escape(rule.word) for rule in decisions.json if rule.word]
    packed = ("".join(rf"\x{byte:02x}" for byte in magic) for magic in PACKED)
    begins = "|".join((*packed, *(pattern.decode() for pattern, _ in WIDE)))
    hints = _hints(decisions, "|".join([*words, f"^(?:{begins})"]))
    if any(not rule.word for rule in decisions.json):
        return replace(hints, everything=True)
    return hints


def _hints(decisions: Decisions, column: str) -> Hints:
    names = "|".join([f"(?:{STEMS})", *(_glob(name) for name in decisions.own_names)])
    behind = "[^\"'=:<>&;\\n]*(?:\\\\*[\"'])?\\s*(?:[=:>;]|%3[aAdD])"
    names = f"(?i:(?:{names}){behind}|(?:name|id|property)\\s*=[^>]*(?:{names}))"
    values = f"{VALUE_HINTS}|{ADDRESSES}"
    own_texts = [rule.regex.pattern for rule in decisions.texts]
    everything = not all(_is_re2(pattern) for pattern in own_texts)
    own_texts = [] if everything else [f"(?:{pattern})" for pattern in own_texts]
    parts = [names, VALUE_HINTS, ADDRESSES, detectors.format_pattern(), detectors.CANDIDATE, HIDDEN, column]
    parts += own_texts
    to_learn = [names, TOLD_BY_PLACE, HIDDEN, column, *own_texts]
    return Hints(
        "|".join(part for part in parts if part),
        "|".join(part for part in to_learn if part),
        names,
        values,
        everything,
    )


def _glob(name: str) -> str:
    return "[^=]*".join(".".join(re.escape(piece) for piece in part.split("?")) for part in name.split("*"))


def _is_re2(pattern: str) -> bool:
    try:
        pc.match_substring_regex(pa.array(["x"]), pattern)
    except pa.ArrowInvalid:
        return False
    return True


def matching(texts: pa.Array, pattern: str) -> pa.Array:
    """Booleans; false for null."""
    return pc.fill_null(pc.match_substring_regex(texts, pattern), False)


def _matches(texts: pa.Array, pattern: str) -> np.ndarray:
    found: np.ndarray = matching(texts, pattern).to_numpy(zero_copy_only=False)
    return found
