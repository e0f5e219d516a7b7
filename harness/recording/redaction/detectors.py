"""Detectors of secrets that no rule names: formats of well-known providers, private keys, and what looks drawn by lot.

Takes one value or text, gives what was found in it. The formats are detect-secrets' (its plugins, without its files and
filters) and the few below that it lacks; its entropy plugins look for quoted strings in source code, so that the test
for random-looking values is this file's own.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

PLUGINS = (
    "AWS Access Key",
    "Azure Storage Account access key",
    "Discord Bot Token",
    "GitHub Token",
    "GitLab Token",
    "Mailchimp Access Key",
    "OpenAI Token",
    "Private Key",
    "PyPI Token",
    "SendGrid API Key",
    "Slack Token",
    "Square OAuth Secret",
    "Stripe Access Key",
    "Telegram Bot Token",
    "Twilio API Key",
)
"""Those whose format nothing else has; its Artifactory, Cloudant, IBM and SoftLayer plugins find ordinary words, and
its npm plugin takes hours for a line of a megabyte with many URLs."""
OWN_FORMATS = (
    ("GitHub Token", r"github_pat_[A-Za-z0-9_]{22,}"),
    ("Google API Key", r"AIza[0-9A-Za-z_-]{35}"),
    ("Google OAuth Token", r"ya29\.[0-9A-Za-z_-]{20,}"),
    ("Stripe Access Key", r"(?:sk|rk)_(?:live|test)_[0-9a-zA-Z]{16,}|whsec_[A-Za-z0-9+/]{24,}"),
    ("Slack Token", r"xapp-[0-9]-[A-Z0-9]+-[0-9]+-[a-z0-9]+"),
    ("API Key", r"sk-(?:ant|proj|or)-[A-Za-z0-9_-]{20,}"),
    ("NPM Token", r"npm_[A-Za-z0-9]{36}|:_authToken=\s{0,8}[A-Za-z0-9_-]{16,}"),
    ("Private Key", r"-----BEGIN [A-Z ]*PRIVATE KEY"),
)
HIGH_ENTROPY = "high entropy"

TOKEN_CHARS = 20
HEX_CHARS = 32
LEAST_TURNS = 0.25
"""Share of neighbours of different kinds (letter, capital, digit): 0.5 by lot, below 0.2 in words with numbers."""
LEAST_BITS_SHARE = 0.8
"""Of the entropy that a text of that length can have at most."""
FEW_REPEATS = 6
CANDIDATE = (
    "[A-Za-z0-9]{14,}|(?:[0-9]+[_-]?[A-Za-z][A-Za-z_-]{0,11}){3}|(?:[A-Z]+[0-9]*[a-z][a-z0-9_-]{0,2}){3}"
)
"""RE2: what a random-looking value holds."""
MOST_CHARS = 4096
"""A longer run is data (an image in base64), not a secret."""

_TOKEN = re.compile(r"[A-Za-z0-9+/_=-]{20,}")
_UUIDS = re.compile(r"(?:[^0-9a-zA-Z]?[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})+[^0-9a-zA-Z]?")
_LOOKAHEAD = re.compile(r"\(\?!\\w\)")
_REPEAT = re.compile(r"\{([0-9]+)(?:,[0-9]*)?\}")
_KIND_OF = {
    **dict.fromkeys(map(ord, "+/=_-"), "-"),
    **dict.fromkeys(map(ord, "0123456789"), "d"),
    **dict.fromkeys(map(ord, "abcdefghijklmnopqrstuvwxyz"), "l"),
    **dict.fromkeys(map(ord, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"), "u"),
}
_WORD_START = re.compile("(?<!u)u(?=l)")
_HEX = re.compile(r"[0-9a-fA-F]+\Z")


@dataclass(frozen=True)
class Found:
    """`text[start:stop]` looks like a secret to `detector`."""

    detector: str
    start: int
    stop: int


@dataclass(frozen=True)
class _Format:
    detector: str
    regex: re.Pattern[str]


@lru_cache(maxsize=1)
def _formats() -> tuple[_Format, ...]:
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
    from detect_secrets.plugins.base import RegexBasedDetector

    plugins: Mapping[str, Any] = get_mapping_from_secret_type_to_class()
    found = [_Format(name, re.compile(pattern)) for name, pattern in OWN_FORMATS]
    for name in PLUGINS:
        plugin = plugins[name]
        assert issubclass(plugin, RegexBasedDetector)
        found += [_Format(name, regex) for regex in plugin().denylist]
    return tuple(found)


@lru_cache(maxsize=1)
def format_pattern() -> str:
    """RE2: every text in which a format can be found matches."""
    patterns = []
    for item in _formats():
        flags = "(?i)" if item.regex.flags & re.IGNORECASE else ""
        wider = _LOOKAHEAD.sub("", _REPEAT.sub(_fewer, item.regex.pattern))
        patterns.append(f"(?:{flags}{wider})")
    return "|".join(patterns)


def _fewer(repeat: re.Match[str]) -> str:
    """The same or more: RE2 copies what is repeated, and would be slow with hundreds of copies."""
    return f"{{{min(int(repeat.group(1)), FEW_REPEATS)},}}"


def formats_in(text: str) -> Iterator[Found]:
    """Secrets of well-known formats."""
    for item in _formats():
        for match in item.regex.finditer(text):
            yield Found(item.detector, match.start(), match.end())


def random_in(text: str) -> Iterator[Found]:
    """Runs that look drawn by lot: keys, hashes, session ids. UUIDs are ids, not secrets."""
    for match in _TOKEN.finditer(text):
        token = match.group()
        if not _UUIDS.fullmatch(token) and looks_random(token):
            yield Found(HIGH_ENTROPY, match.start(), match.end())


@lru_cache(maxsize=16_384)
def looks_random(token: str) -> bool:
    """Letters and digits in turn as only chance puts them, and few of them twice."""
    if len(token) > MOST_CHARS:
        return False
    if "/" in token:  # a path of words, or standard base64: its longest part decides
        parts = [part for part in token.split("/") if len(part) >= TOKEN_CHARS]
        return len(token) <= 128 and (
            any(_random(part) for part in parts) or (_random(token.replace("/", "")) and _like_base64(token))
        )
    return _random(token)


def _random(token: str) -> bool:
    plain = token.strip("=-_")
    if _HEX.match(plain):
        letters = sum(char.isalpha() for char in plain)
        return len(plain) >= HEX_CHARS and 0 < letters < len(plain) and turns(plain) >= LEAST_TURNS
    if len(plain) < TOKEN_CHARS or not any(char.isdigit() for char in plain):
        return False
    most = math.log2(min(len(plain), 62))
    return turns(plain) >= LEAST_TURNS and bits(plain) >= LEAST_BITS_SHARE * most


def _like_base64(token: str) -> bool:
    """No words between the slashes: runs of small letters stay short."""
    return max((len(run) for run in re.findall(r"[a-z]+", token)), default=0) <= 6


def turns(token: str) -> float:
    """Share of neighbours that are of different kinds. A capital that begins a word is one turn, a mark none."""
    kinds = _WORD_START.sub("w", token.translate(_KIND_OF))
    pairs = [first + second for first, second in pairwise(kinds) if first != "-" and second != "-"]
    return sum(pair[0] != pair[1] and pair != "wl" for pair in pairs) / len(pairs) if pairs else 0.0


def bits(token: str) -> float:
    """Shannon entropy of its characters."""
    length = len(token)
    return -sum(n / length * math.log2(n / length) for n in Counter(token).values())
