"""Routes as rules write them: `/orders/{}/confirm`, where `{}` is any one segment, and `*` any route at all.

Takes an exchange's path and its route's name, gives the pattern; decides which segments are ids.
"""

from __future__ import annotations

import functools
from collections.abc import Collection

from harness.recording.sessions.distinct import is_variable

ANY = "*"
OPEN = "{}"
MOST_SEGMENTS = 32


def path_segments(path: str) -> list[str]:
    """Of the path without its query; `/a/b` has two."""
    return path.partition("?")[0].lstrip("/").split("/")


def pattern_of(path: str, route: str, known: Collection[int] = ()) -> str:
    """The pattern of a request: open where the route's own name is (`/orders/{id}`), where a segment looks like an id,
    and at the places in `known`."""
    if known:
        return _pattern(path.partition("?")[0], route, tuple(sorted(known)))
    return _pattern(path.partition("?")[0], route, ())


@functools.lru_cache(maxsize=65_536)
def _pattern(path: str, route: str, known: tuple[int, ...]) -> str:
    segments = path_segments(path)[:MOST_SEGMENTS]
    named = path_segments(route)
    if len(named) != len(segments) or not all(
        own == segment or _is_open(own) for own, segment in zip(named, segments, strict=True)
    ):
        named = segments
    return "/" + "/".join(
        OPEN if number in known or _is_open(own) or is_variable(segment) else segment
        for number, (own, segment) in enumerate(zip(named, segments, strict=True))
    )


def _is_open(segment: str) -> bool:
    return segment.startswith("{") and segment.endswith("}")


@functools.lru_cache(maxsize=65_536)
def matches(pattern: str, path: str) -> bool:
    """Whether a path (its query is not looked at) is of that pattern."""
    if pattern == ANY:
        return True
    wanted, segments = path_segments(pattern), path_segments(path)
    return len(wanted) == len(segments) and all(
        own == segment or (_is_open(own) and segment) for own, segment in zip(wanted, segments, strict=True)
    )
