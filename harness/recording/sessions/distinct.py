"""How much it means that one value stands in an answer and again in a request.

Takes a value's text, gives its `Strength`: a random token can hardly stand twice by chance, a small number often does,
and words, dates, versions and media types say nothing.
"""

from __future__ import annotations

import enum
import functools
import itertools
import math
import re

MOST_TOKEN_CHARS = 16_384
MOST_REMEMBERED_CHARS = 80
STRONG_BITS = 32.0
"""So much chance in a value that a meeting by accident is out of the question in any recording."""

NAMED_BITS = 20.0
"""Enough in a place that is called an id."""

_UNSAYING = re.compile(
    r"""
      -?\d+\.\d+ (?:[eE][+-]?\d+)?                               # numbers with a fraction
    | \d{4}-\d\d-\d\d (?:[T\ ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?)?   # dates and times
    | (?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),\ .*
    | \d\d?:\d\d(?::\d\d)?
    | v?\d+(?:\.\d+)+ (?:[-+.][a-z0-9.]+)?                       # versions, addresses of four numbers
    | v\d+
    | [a-z]{2,3}[-_][A-Za-z]{2,4}                                # languages
    | (?:text|image|audio|video|font|application|multipart)/[a-z0-9.+*-]+ (?:;.*)?
    | \#[0-9a-fA-F]{3,8}                                         # colours
    | \d+(?:px|em|rem|ms|s|kb|mb|gb|%)
    """,
    re.VERBOSE | re.DOTALL,
)
_WHITE = re.compile(r"\s")
_ID_NAME = re.compile(r"(?:^|[^a-zA-Z])(?i:id|uuid|guid|key|ref)$|[a-z](?:Id|ID|Key|Ref)$")
_TOKEN_NAME = re.compile(
    r"token|csrf|xsrf|nonce|secret|ticket|verifier|(?:session|auth|api)[-_]?(?:id|key)", re.IGNORECASE
)
_CHUNK = re.compile(r"[A-Za-z]+|\d+")
_SYLLABLE = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
_RUN = re.compile(r"[A-Za-z0-9]+")
_HEX = re.compile(r"[0-9a-f]+|[0-9A-F]+")
_NO_SIGNS = str.maketrans("", "", "-_+/=")
_FREQUENT = (
    "th he in er an re on at en nd ti es or te of ed is it al ar st to nt ng se ha as ou io le ve co me de hi ri ro "
    "ic ne ea ra ce li ch ll be ma si om ur ca el ta la ns di fo ho pe ec pr no ct us ac ot il tr ly nc et ut ss so "
    "rs un lo wa ge ie wh ee wi em ad ol rt po we na ul ni ts mo ow pa im mi ai sh"
)
"""The most frequent pairs of letters in English."""

_EPOCH = re.compile(r"0*[12]\d{9}(?:\d{3}){0,3}", re.ASCII)
"""Seconds, ms, us and ns since 1970 begin with 1 or 2 for a long time to come."""


class Strength(enum.IntEnum):
    """What it means that a value comes back."""

    NONE = 0
    WEAK = 1
    """Something once it has happened with several differing values: `7`, `o-12`."""
    STRONG = 2
    """The value was taken from the answer: a token, a UUID."""


def strength(value: str, name: str = "") -> Strength:
    """Of a value as text, in a place of that name: what is called a token needs no chance in it, only length.

    Values with white space in them are prose, and URLs are judged by their parts.
    """
    return (
        _remembered(value, name)
        if len(value) + len(name) <= MOST_REMEMBERED_CHARS
        else _strength(value, name)
    )


def _strength(value: str, name: str) -> Strength:
    if not value or len(value) > MOST_TOKEN_CHARS * 16 or (len(value) < 8 and value.isalpha()):
        return Strength.NONE
    if len(value) > MOST_TOKEN_CHARS:  # no prose is sent back in one field: a view state
        return Strength.STRONG if not _WHITE.search(value) else Strength.NONE
    if _WHITE.search(value) or "://" in value or _UNSAYING.fullmatch(value):
        return Strength.NONE
    if _EPOCH.fullmatch(value):
        return Strength.WEAK
    bits = chance_bits(value)
    if bits >= (NAMED_BITS if _ID_NAME.search(name) else STRONG_BITS):
        return Strength.STRONG
    if len(value) >= 8 and _TOKEN_NAME.search(name):
        return Strength.STRONG
    if value.startswith("/"):  # a path, not base64 that happens to begin so
        return Strength.NONE
    return Strength.WEAK if any(character.isdigit() for character in value) else Strength.NONE


_remembered = functools.lru_cache(maxsize=65_536)(_strength)
"""The same states, names and numbers stand in answer after answer."""


@functools.lru_cache(maxsize=16_384)
def is_variable(segment: str) -> bool:
    """Whether a path segment looks like an id, so that routes leave it open."""
    if _UNSAYING.fullmatch(segment):
        return not re.fullmatch(r"v\d+(?:\.\d+)*", segment)
    return segment.isdigit() or strength(segment) is Strength.STRONG or bool(re.search(r"\d{2}", segment))


def chance_bits(value: str) -> float:
    """How many bits of chance are in it, at a guess: letters that make words have none, digits and jumbles have."""
    joined = value.translate(_NO_SIGNS)
    if joined.isalnum() and joined.isascii() and joined != joined.lower() and _is_jumble(joined):
        return _bits_of_jumble(joined)  # base64, in which the signs are letters like others
    return sum(_bits_of_run(run) for run in _RUN.findall(value))


def _bits_of_run(run: str) -> float:
    if _is_jumble(run):
        return _bits_of_jumble(run)
    digits = (chunk for chunk in _CHUNK.findall(run) if chunk.isdigit())
    return sum(min(len(chunk), 24) * math.log2(10) * 0.9 for chunk in digits)


def _is_jumble(run: str) -> bool:
    """Whether cases, digits and letters follow each other as they do in no word."""
    if run.isdigit():
        return False
    syllables = _SYLLABLE.findall(run)
    if len(run) >= 16 and run != run.lower() and len(run) / len(syllables) < (3 if run.isalpha() else 4):
        return True  # long names in CamelCase have longer syllables
    if run.isalpha():
        is_mixed = run not in (run.lower(), run.upper(), run.capitalize())
        if is_mixed and len(run) >= 10:
            return _familiar(run) < (0.5 if len(run) / len(syllables) < 3 else 0.25)
        return len(run) >= 16 and _familiar(run) < 0.3
    if len(run) >= 8 and _HEX.fullmatch(run) and len(syllables) >= 2:
        return True
    return len(run) / len(syllables) < 2.3 or (len(run) >= 10 and _familiar(run) < 0.35)


def _familiar(run: str) -> float:
    """The share of its pairs of letters that are frequent in words; 1 where there are too few to say."""
    lower = run.lower()
    pairs = [a + b for a, b in itertools.pairwise(lower) if a.isalpha() and b.isalpha()]
    return sum(1 for pair in pairs if pair in _FREQUENT) / len(pairs) if len(pairs) >= 4 else 1.0


def _bits_of_jumble(run: str) -> float:
    if _HEX.fullmatch(run):
        return len(run) * 4.0 if len(set(run)) >= 4 else 0.0
    return len(run) * min(math.log2(36 if run in (run.lower(), run.upper()) else 62), _variety(run) + 1.5)


def _variety(text: str) -> float:
    """Shannon entropy of its characters, in bits a character."""
    total = len(text)
    counts = (text.count(character) for character in set(text))
    return -sum(count / total * math.log2(count / total) for count in counts)
