"""The answers of one order as the child appends them to a file: blocks of fixed records and the texts that they name.

A block stands alone: its head says how long it is, so that a reader notices one that a kill cut off, and blocks of
several files may be put one after another. A record's layout is `FIELDS`; numpy reads a block's records at once
(`answer_table.py`). Writing stands on the standard library alone.
"""

from __future__ import annotations

import struct

BLOCK = struct.Struct("<4sII")
"""`MAGIC`, how many records, and how many bytes of text follow them."""

MAGIC = b"RdA1"

FIELDS = (
    ("seq", "i8", "q"),
    ("due_ns", "i8", "q"),
    ("sent_ns", "i8", "q"),
    ("connected_ns", "i8", "q"),
    ("first_byte_ns", "i8", "q"),
    ("answered_ns", "i8", "q"),
    ("sent_bytes", "i8", "q"),
    ("received_bytes", "i8", "q"),
    ("body_bytes", "i8", "q"),
    ("status", "i4", "i"),
    ("over", "u1", "B"),
    ("has_digest", "u1", "B"),
    ("error_bytes", "u2", "H"),
    ("text_at", "u4", "I"),
    ("text_bytes", "u4", "I"),
    ("digest", "V32", "32s"),
)
"""Name, numpy's and struct's form. Times -1: did not happen. `over` 0: the request went out, no more is known yet.
`text_at` counts from the start of the block's texts: first the error (`error_bytes`), then the body as far as it is
kept (`text_bytes`); the whole body had `body_bytes`."""

RECORD = struct.Struct("<" + "".join(form for _, _, form in FIELDS))


class BlockWriter:
    """Collects records, gives them as one block. `record` takes the fields of `FIELDS` but those of the text."""

    def __init__(self) -> None:
        self._records: list[bytes] = []
        self._texts: list[bytes] = []
        self._text_at = 0

    def add(
        self,
        seq: int,
        due_ns: int,
        sent_ns: int,
        connected_ns: int = -1,
        first_byte_ns: int = -1,
        answered_ns: int = -1,
        sent_bytes: int = -1,
        received_bytes: int = -1,
        status: int = 0,
        error: str = "",
        body: bytes = b"",
        body_bytes: int = 0,
        digest: bytes = b"",
        over: bool = True,
    ) -> None:
        """One record; `digest` is SHA-256, or empty where no answer came."""
        said = error.encode("utf-8", errors="replace")[:1000] if error else b""
        self._records.append(
            RECORD.pack(
                seq,
                due_ns,
                sent_ns,
                connected_ns,
                first_byte_ns,
                answered_ns,
                sent_bytes,
                received_bytes,
                body_bytes,
                status,
                over,
                bool(digest),
                len(said),
                self._text_at,
                len(body),
                digest,
            )
        )
        if said:
            self._texts.append(said)
        if body:
            self._texts.append(body)
        self._text_at += len(said) + len(body)

    @property
    def text_bytes(self) -> int:
        """Bytes of text collected so far."""
        return self._text_at

    def block(self) -> bytes:
        """What was collected since the last call; nothing where that was nothing."""
        if not self._records:
            return b""
        block = b"".join((BLOCK.pack(MAGIC, len(self._records), self._text_at), *self._records, *self._texts))
        self._records, self._texts, self._text_at = [], [], 0
        return block
