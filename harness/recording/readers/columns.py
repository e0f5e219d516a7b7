"""Columns of captured batches: texts cut out of a block at known places, and dictionaries that are built once.

Takes positions in bytes and Arrow arrays, gives arrays and batches of `CAPTURED`. Text columns are dictionary-encoded:
logs repeat themselves, and whoever changes values later looks at each distinct one only once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from harness.recording.captured import CAPTURED

Positions = npt.NDArray[np.int64]

_UNKNOWN = {"body": None, "answer_body": None, "status": -1}


def texts(data: bytes | pa.Buffer, starts: Positions, ends: Positions) -> pa.StringArray:
    """`data[start:end]` for each pair; they must lie in ascending order and not overlap. The bytes must be UTF-8."""
    count = len(starts)
    if count == 0:
        return pa.array([], pa.string())
    # Arrow's texts lie end to end. So the pieces between the wanted ones become texts too, and are then left out.
    offsets = np.empty(2 * count, np.int32)
    offsets[0::2] = starts
    offsets[1::2] = ends
    buffer = data if isinstance(data, pa.Buffer) else pa.py_buffer(data)
    pieces = pa.Array.from_buffers(pa.string(), 2 * count - 1, [None, pa.py_buffer(offsets), buffer])
    return pieces.take(pa.array(np.arange(0, 2 * count - 1, 2, dtype=np.int32)))


def constant(text: str, count: int) -> pa.DictionaryArray:
    """The same text `count` times."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([text], pa.string()))


def encoded(values: pa.Array) -> pa.DictionaryArray:
    """The column with each distinct text once; no nulls allowed."""
    return values if isinstance(values, pa.DictionaryArray) else values.dictionary_encode()


def codes(column: pa.DictionaryArray) -> npt.NDArray[np.int32]:
    """The place of each row's text in the dictionary."""
    found: npt.NDArray[np.int32] = column.indices.to_numpy()
    return found


def through(column: pa.DictionaryArray, values: pa.Array) -> pa.DictionaryArray:
    """The column that has `values[k]` wherever `column` has the k-th text of its dictionary."""
    return placed(values, column.indices)


def placed(values: pa.Array, places: pa.Array) -> pa.DictionaryArray:
    """`values[place]` for each place; equal values become one."""
    distinct = encoded(values)
    return pa.DictionaryArray.from_arrays(distinct.indices.take(places), distinct.dictionary)


def header_column(headers: Sequence[tuple[str, pa.DictionaryArray]], absent: str = "-") -> pa.DictionaryArray:
    """The `headers` column of captured batches from one column a header; `absent` and empty: it was not sent."""
    lines: pa.DictionaryArray | None = None
    for name, values in headers:
        texts_ = values.dictionary
        none = pc.or_(pc.equal(texts_, absent), pc.equal(texts_, ""))
        line = pc.if_else(none, "", pc.binary_join_element_wise(f"{name}: ", texts_, ""))
        column = through(values, line)
        lines = column if lines is None else _joined(lines, column)
    if lines is None:
        raise ValueError("no header at all")
    return lines


def _joined(left: pa.DictionaryArray, right: pa.DictionaryArray) -> pa.DictionaryArray:
    """Both texts of each row, with a line break between those that are not empty; each distinct pair made once."""
    pairs = codes(left).astype(np.int64) * len(right.dictionary) + codes(right)
    distinct, places = np.unique(pairs, return_inverse=True)
    lefts = left.dictionary.take(pa.array(distinct // max(len(right.dictionary), 1)))
    rights = right.dictionary.take(pa.array(distinct % max(len(right.dictionary), 1)))
    both = pc.and_(pc.not_equal(lefts, ""), pc.not_equal(rights, ""))
    joined = pc.binary_join_element_wise(lefts, pc.if_else(both, "\n", ""), rights, "")
    return placed(joined, pa.array(places))


def captured_batch(count: int, columns: Mapping[str, pa.Array | npt.NDArray[np.generic]]) -> pa.RecordBatch:
    """A batch with these columns; the others say that the source did not know them."""
    arrays = []
    for field in CAPTURED:
        given = columns.get(field.name)
        if given is None:
            arrays.append(_unknown(field, count))
        elif isinstance(given, np.ndarray):
            arrays.append(pa.array(given, field.type))
        else:
            arrays.append(given)
    return pa.RecordBatch.from_arrays(arrays, names=CAPTURED.names)


def _unknown(field: pa.Field, count: int) -> pa.Array:
    if field.type == pa.string():
        return constant("", count)
    return pa.repeat(pa.scalar(_UNKNOWN.get(field.name, -1), field.type), count)


def in_order(parts: Sequence[pa.Array], order: npt.NDArray[np.int64]) -> pa.Array:
    """The rows of all parts, one after another, brought into this order."""
    whole = pa.concat_arrays([part for part in parts if len(part)] or [parts[0]])
    return whole.take(pa.array(order))
