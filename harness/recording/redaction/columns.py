"""Columns of a record batch as distinct values and a code a row, and a bounded memory of what values became.

Takes an array (dictionary-encoded or not), gives its distinct values, those that a first look flags, and an array of the
same kind with other values in their places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness.recording.redaction import hints
from harness.recording.redaction.encodings import PACKED, wide_charset
from harness.recording.redaction.hints import Hints

Text = TypeVar("Text", str, bytes)
MEMORY_BYTES = 32 * 2**20
MEMORY_CELL_BYTES = 16 * 1024


class Memory(Generic[Text]):
    """What texts became; bounded, forgotten all at once."""

    def __init__(self) -> None:
        self._cells: dict[Text, Text] = {}
        self._bytes = 0

    def get(self, text: Text) -> Text | None:
        return self._cells.get(text)

    def put(self, text: Text, new: Text) -> None:
        if len(text) > MEMORY_CELL_BYTES:
            return
        self._bytes += len(text) + len(new) + 200
        if self._bytes > MEMORY_BYTES:
            self._cells.clear()
            self._bytes = 0
        self._cells[text] = new

    def clear(self) -> None:
        self._cells.clear()
        self._bytes = 0


class Column:
    """One column as distinct values and a code a row."""

    def __init__(self, array: pa.Array) -> None:
        self._original = array
        self._changed = False
        kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
        self.binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
        self.text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        self.distinct: pa.Array
        self.codes: np.ndarray
        self._first: np.ndarray | None = None
        if self.binary or self.text:
            encoded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
            self.distinct = encoded.dictionary
            self._nulls = (
                encoded.indices.is_null().to_numpy(zero_copy_only=False)
                if encoded.indices.null_count
                else None
            )
            self.codes = encoded.indices.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
            if not len(self.distinct):
                self.distinct = pa.array([b"" if self.binary else ""], kind)

    def texts(self) -> list[str]:
        values: list[str] = self.distinct.to_pylist()
        return values

    @property
    def empty(self) -> bool:
        """Nothing stands in it."""
        return len(self.distinct) == 1 and not len(self.distinct[0].as_py() or "")

    def places(
        self, look_for: Hints, also: Mapping[int, str] | None = None, learning: bool = False
    ) -> np.ndarray:
        """Numbers of the distinct values that must be looked at."""
        if self.empty:
            return np.empty(0, np.int64)
        if look_for.everything:
            return np.arange(len(self.distinct))
        pattern = look_for.to_learn if learning else look_for.any_of
        flags = hints.matching(self.distinct, pattern).to_numpy(zero_copy_only=False)
        if also:
            flags = flags.copy()
            flags[list(also)] = True
        return np.flatnonzero(flags)

    def first_rows(self, places: np.ndarray) -> list[int]:
        """The first row of each of those distinct values."""
        if self._first is None or len(self._first) != len(self.distinct):
            self._first = np.zeros(len(self.distinct), np.int64)
            rows = np.arange(len(self.codes))[::-1]
            if self._nulls is not None:
                rows = rows[~self._nulls[rows]]
            self._first[self.codes[rows]] = rows
        found: list[int] = self._first[places].tolist()
        return found

    def code(self, row: int) -> int:
        return int(self.codes[row])

    def make_distinct(self, rows: list[int]) -> None:
        """Each of those rows gets a distinct value of its own."""
        extra = self.distinct.take(pa.array(self.codes[rows]))
        self.codes = self.codes.copy()
        self.codes[rows] = np.arange(len(self.distinct), len(self.distinct) + len(rows))
        self.distinct = pa.concat_arrays([self.distinct, extra])
        self._changed = True

    def replace(self, changed: Mapping[int, str | bytes]) -> None:
        """Other values at those places."""
        if not changed:
            return
        places = np.fromiter(changed, np.int64, len(changed))
        mask = np.zeros(len(self.distinct), bool)
        mask[places] = True
        new = pa.array([changed[place] for place in np.sort(places).tolist()], self.distinct.type)
        self.distinct = pc.replace_with_mask(self.distinct, pa.array(mask), new)
        self._changed = True

    def replace_all(self, old: list[str], new: Sequence[str | None]) -> None:
        """Other values for all distinct ones, in their order. `old`: what `texts` gave."""
        if new != old:
            self.distinct = pa.array(new, self.distinct.type)
            self._changed = True

    def bytes(self) -> tuple[bytes, list[int]]:
        """All distinct values one behind the other, and where each begins, with the end of the last."""
        kind = (
            np.int64
            if pa.types.is_large_string(self.distinct.type) or pa.types.is_large_binary(self.distinct.type)
            else np.int32
        )
        buffers = self.distinct.buffers()
        offsets = np.frombuffer(buffers[1], kind)[
            self.distinct.offset : self.distinct.offset + len(self.distinct) + 1
        ]
        if buffers[2] is None:
            return b"", [0]
        first, last = int(offsets[0]), int(offsets[-1])
        return buffers[2].slice(first, last - first).to_pybytes(), (offsets - first).tolist()

    def array(self, kind: pa.DataType) -> pa.Array:
        """As it came, with other values."""
        if not self._changed:
            return self._original
        codes = pa.array(self.codes, mask=self._nulls)
        if pa.types.is_dictionary(kind):
            return pa.DictionaryArray.from_arrays(codes.cast(kind.index_type), self.distinct)
        return self.distinct.take(codes)


def is_packed(body: bytes) -> bool:
    """Whether secrets that it repeats cannot be found by their own bytes."""
    return body.startswith(tuple(PACKED)) or bool(wide_charset(body))
