"""Names routes: the paths of one route get one name, in which ids are `{id}`.

Takes a column of paths and the patterns that a user gave, gives a column of routes. A pattern is a path in which `{name}`
stands for one segment and a last `*` for everything after it; the first that fits names the route. Other paths lose their
query, and each segment that looks like an id becomes `{id}`: numbers, UUIDs, hashes, keys (`A-17`, `ord_9f3b…`), e-mail
addresses, and whatever is too long to be a word. Each distinct path, and of it each distinct segment, is looked at once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from harness.errors import DefinitionError
from harness.model.recording import check_path

ID = "{id}"
MOST_WORD_CHARS = 64
"""A longer segment is no word."""

_ENDING = r"(\.[a-z][a-z0-9]{1,4})?"
"""A file's ending, which stays: `17.json` is `{id}.json`."""
_PLAIN_IDS = (
    r"[0-9]+(?:[.,:_-][0-9]+)*",  # 17, 3.5, 2026-03-01
    r"\{?[0-9A-Fa-f]{8}-?(?:[0-9A-Fa-f]{4}-?){3}[0-9A-Fa-f]{12}\}?",  # a UUID
    r"(?:[A-Z]{1,6}|[A-Za-z]{1,5}[-_:])[0-9]+",  # A17, P-1, ord_17
    r"[^@]+(?:@|%40)[^@]+\.[A-Za-z]{2,}",  # an e-mail address
    r"[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",  # a JWT
    rf".{{{MOST_WORD_CHARS + 1},}}",
)
_PLAIN = rf"^(?:{'|'.join(_PLAIN_IDS)}){_ENDING}$"
"""Ids that Arrow can tell, whose expressions cannot look ahead."""
_SUSPECT = r"^[^{]*[0-9]"
"""What may be one of the others: it has a digit, and is no `{id}` yet."""
_MIXED = re.compile(
    r"(?:(?=[A-Fa-f]*[0-9])[0-9A-Fa-f]{8,}"  # a hash, or the start of one
    r"|(?:[A-Za-z]{1,8}[-_:])?(?=(?:[A-Za-z]*[0-9]){3})(?=[0-9]*[A-Za-z])[0-9A-Za-z]{12,}"  # a key, a token
    r"|[a-z]{2,8}_(?=[A-Za-z]*[0-9])(?=[0-9A-Z]*[a-z])(?=[0-9a-z]*[A-Z])[0-9A-Za-z]{10,})"  # cus_NffrFeUfNV2Hib
    + _ENDING
)
_PLACE = re.compile(r"\\\{[A-Za-z_][A-Za-z0-9_-]*\\\}")


@dataclass(frozen=True)
class RoutePattern:
    """One pattern of the user's, which is the route's name too."""

    text: str
    expression: str

    @classmethod
    def parse(cls, text: str) -> RoutePattern:
        """Raises DefinitionError for what is no path or has a `*` before its end."""
        try:
            check_path(text)
            if "*" in text[:-1]:
                raise ValueError(f"{text!r} has a * before its end; {{name}} stands for one segment")
            if "?" in text:
                raise ValueError(f"{text!r} has a query; a route has none")
        except ValueError as error:
            what, _, fix = str(error).partition("; ")
            raise DefinitionError.at("--route", what, fix or "write for example /orders/{order}") from error
        whole = _PLACE.sub("[^/?#]+", re.escape(text.removesuffix("*")))
        rest = ".*" if text.endswith("*") else ""
        return cls(text, f"^{whole}{rest}$")


def name_routes(paths: Any, patterns: Sequence[RoutePattern] = ()) -> pa.DictionaryArray:
    """The route of each path, dictionary-encoded. `paths` may be; it holds no null."""
    encoded = paths if pa.types.is_dictionary(paths.type) else paths.dictionary_encode()
    bare = pc.replace_substring_regex(encoded.dictionary, r"[?#].*$", "")
    distinct = bare.dictionary_encode()
    routes = _routes(distinct.dictionary, patterns)
    named = routes.dictionary_encode()
    indices = named.indices.take(distinct.indices).take(encoded.indices)
    return pa.DictionaryArray.from_arrays(indices, named.dictionary)


def _routes(paths: pa.StringArray, patterns: Sequence[RoutePattern]) -> pa.StringArray:
    """The route of each of these distinct paths without queries."""
    if not len(paths):
        return paths
    routes = _without_ids(paths)
    for pattern in reversed(patterns):
        routes = pc.if_else(pc.match_substring_regex(paths, pattern.expression), pattern.text, routes)
    return routes


def _without_ids(paths: pa.StringArray) -> pa.StringArray:
    split = pc.split_pattern(paths, "/")
    segments = split.flatten().dictionary_encode()
    words = segments.dictionary
    named = pc.replace_substring_regex(words, _PLAIN, ID + r"\1")
    suspect = pc.match_substring_regex(named, _SUSPECT)
    shown = [_shown(word) for word in named.filter(suspect).to_pylist()]
    named = pc.replace_with_mask(named, suspect, pa.array(shown, pa.string()))
    renamed = pa.ListArray.from_arrays(split.offsets, named.take(segments.indices))
    return pc.binary_join(renamed, "/")


def _shown(segment: str) -> str:
    """`{id}` in place of an id, with its file ending where it has one."""
    found = _MIXED.fullmatch(segment)
    return segment if found is None else ID + (found[1] or "")
