"""When an answer was there for its client: the one rule by which finding and planning order answers and requests."""

from __future__ import annotations

from harness.model.recording import Exchange

CLOCK_NS = 2_000_000
"""What clocks of captures may be wrong by: HAR files count whole milliseconds, twice."""


def arrived_ns(exchange: Exchange) -> int:
    """When the whole answer was there; when that is not known its first byte, else the request itself."""
    answer = exchange.answer
    if answer.answered_ns >= 0:
        return answer.answered_ns
    return answer.first_byte_ns if answer.first_byte_ns >= 0 else exchange.at_ns


def has_arrived(answer_ns: int, at_ns: int) -> bool:
    """Whether a request sent at `at_ns` could carry what an answer of then gave."""
    return answer_ns <= at_ns + CLOCK_NS
