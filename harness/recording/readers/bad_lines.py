"""What is wrong with lines of logs and traces, what to do about it, and how it is said.

Takes reasons by line or by row, gives messages with record numbers (a line is a record) and batches without those rows.
A reason names no part of the line. Whatever is right, and yet nothing that a replay could send, is only counted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import pyarrow as pa

from harness.recording.readers.base import RECORD_LIMIT_BYTES, Rejects

BROKE_OFF = "the last line does not end"
"""What a copy that broke off, or a log that is still written, leaves behind."""
NOT_UTF_8 = "not UTF-8"
NUL_BYTES = "holds NUL bytes"
TOO_LONG = f"longer than {RECORD_LIMIT_BYTES // 2**20} MiB"
NO_JSON = "no JSON object"
NO_UNIT = "the time is a number, and nothing says its unit"

TUNNEL = "CONNECT opens a tunnel, which cannot be sent again"
WHOLE_SERVER = "OPTIONS * asks a server as a whole, which names no path"
LEFT_OUT = frozenset({TUNNEL, WHOLE_SERVER})

SKIP = "leave it out with --skip-bad"
AGAIN = f"copy the file again, or {SKIP}"
_FIXES = {
    BROKE_OFF: f"the file was cut off: copy it again, or {SKIP} (end it with a line break when it is whole)",
    NOT_UTF_8: f"save the file as UTF-8, or {SKIP}",
    NUL_BYTES: f"such lines are what a crash leaves behind; {SKIP}",
    TOO_LONG: AGAIN,
    NO_UNIT: "give the option unit=s, ms, us or ns, or name the column so that its name ends in one",
    NO_JSON: f"let nginx write it with `log_format NAME escape=json`, or {SKIP}",
}


def reject(number: int, reason: str, rejects: Rejects) -> None:
    """Say what is wrong with the line of this number, from 1."""
    if reason in LEFT_OUT:
        rejects.left_out(reason)
    else:
        rejects.bad(number, reason, _FIXES.get(reason, SKIP), line=number)


def reject_all(first: int, wrong: Mapping[int, str], rejects: Rejects) -> None:
    """`wrong`: reasons by line of a block, from 0; `first`: the number of the block's first line."""
    for line, reason in sorted(wrong.items()):
        reject(first + line, reason, rejects)


def without(batch: pa.RecordBatch, rows: Collection[int]) -> pa.RecordBatch:
    """The batch without these rows."""
    if not rows:
        return batch
    kept = np.ones(batch.num_rows, bool)
    kept[list(rows)] = False
    return batch.filter(pa.array(kept))
