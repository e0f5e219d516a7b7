"""Blocks of the answers file (`harness/replay/answers.py`) on their way from a worker to its master.

Takes and gives bytes: which of them are whole blocks, and the same blocks with every time moved from one monotonic
clock to another. Stands on the standard library alone.
"""

from __future__ import annotations

import struct

from harness.replay.answers import BLOCK, FIELDS, MAGIC, RECORD

_TIMES = struct.Struct("<5q")
_TIME_NAMES = ("due_ns", "sent_ns", "connected_ns", "first_byte_ns", "answered_ns")
_NAMES = [name for name, _, _ in FIELDS]
_FIRST_TIME = _NAMES.index(_TIME_NAMES[0])
_TIMES_AT = struct.calcsize("<" + "".join(form for _, _, form in FIELDS[:_FIRST_TIME]))
assert tuple(_NAMES[_FIRST_TIME : _FIRST_TIME + len(_TIME_NAMES)]) == _TIME_NAMES


def whole(data: bytes) -> int:
    """How many of the bytes are whole blocks. Raises ValueError for bytes that are no block."""
    at = 0
    while (after := _end(data, at)) is not None:
        at = after
    return at


def shifted(blocks: bytes, by_ns: int) -> bytes:
    """Whole blocks with `by_ns` taken from every time that is known. Raises ValueError for anything else."""
    if by_ns == 0:
        return blocks
    moved = bytearray(blocks)
    at = 0
    while at < len(blocks):
        after = _end(blocks, at)
        if after is None:
            raise ValueError("the last block is cut off")
        _, records, _ = BLOCK.unpack_from(blocks, at)
        first = at + BLOCK.size + _TIMES_AT
        for place in range(first, first + records * RECORD.size, RECORD.size):
            times = _TIMES.unpack_from(moved, place)
            _TIMES.pack_into(moved, place, *(time - by_ns if time != -1 else -1 for time in times))
        at = after
    return bytes(moved)


def _end(data: bytes, at: int) -> int | None:
    """Where the block that begins at `at` ends; None where it is not whole."""
    if len(data) - at < BLOCK.size:
        return None
    magic, records, text_bytes = BLOCK.unpack_from(data, at)
    if magic != MAGIC:
        raise ValueError(f"{magic!r} begins no block of answers")
    end = at + BLOCK.size + records * RECORD.size + text_bytes
    return int(end) if end <= len(data) else None
