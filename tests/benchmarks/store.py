"""What ten million exchanges cost: stored in order and in any order, opened, read one by one; seconds and memory.

Takes a setting, gives one table. Each figure comes from a process of its own, whose peak of memory is the kernel's
(`ru_maxrss`). The exchanges are made up while they are written, so nothing but the store is measured; `recordings.py`
measures the whole way from a file.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks.setting import ROOT, Setting
from tests.benchmarks.table import Table

EXCHANGES = 10_000_000
ORDERS = ("in order", "steps back", "any order")
LIMIT_MB = 1_000
LIMIT_S = 1_800
BATCH_ROWS = 32_768
CLIENTS = 1_000_000


def measure(setting: Setting) -> tuple[Table, ...]:
    """One process an order."""
    count = setting.count(EXCHANGES, 500_000)
    rows = []
    for order in ORDERS:
        setting.progress.note(f"{count:,} exchanges {order}")
        rows.append(_row(order, store_and_read(count, order)))
    return (
        Table(
            title=f"A recording of {count:,} exchanges",
            caption=(
                "Made up exchanges of a million clients. `steps back`: each up to 50 ms out of its place, as logs are; `any "
                "order`: none in its place, so that sorted runs are written and merged. `written` is until the recording "
                "stands, `opened` with every digest checked, `read` all exchanges one by one as a replay reads them. The "
                f"limit of memory is {LIMIT_MB:,} MB."
            ),
            columns=("order", "written s", "opened s", "read s", "peak MB", "file MB"),
            rows=tuple(rows),
        ),
    )


def _row(order: str, found: dict[str, float]) -> tuple[str, ...]:
    kept = "" if found["peak_mb"] <= LIMIT_MB else " MISSED"
    seconds = (f"{found[name]:.1f}" for name in ("written_s", "opened_s", "read_s"))
    return (order, *seconds, f"{found['peak_mb']:.0f}{kept}", f"{found['file_mb']:.0f}")


def store_and_read(count: int, order: str) -> dict[str, float]:
    """Seconds and megabytes, of a process of its own."""
    with tempfile.TemporaryDirectory(prefix="readiness-bench-") as folder:
        done = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.store", str(count), order, folder],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=True,
        )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def captured(count: int, order: str) -> Iterator[Any]:
    """Batches of made up exchanges, about 250 bytes each, the same every time."""
    import numpy as np
    import pyarrow as pa

    from harness.recording.readers.columns import captured_batch, constant

    random = np.random.default_rng(1)
    agents = pa.array(
        [f"user-agent: Mozilla/5.0 (X11; Linux x86_64; rv:{k}.0) Gecko/20100101" for k in range(500)]
    )
    start_ns = 1_700_000_000 * 10**9
    for first in range(0, count, BATCH_ROWS):
        rows = min(BATCH_ROWS, count - first)
        at_ns = start_ns + (first + np.arange(rows, dtype=np.int64)) * 1_000_000
        if order == "steps back":
            at_ns += random.integers(-50, 50, rows) * 1_000_000
        elif order == "any order":
            at_ns = start_ns + random.integers(0, count * 1_000_000, rows)
        numbers = random.integers(0, CLIENTS, rows)
        columns = {
            "at_ns": at_ns,
            "client": pa.array([f"10.{n // 65536}.{n // 256 % 256}.{n % 256}" for n in numbers.tolist()]),
            "method": constant("GET", rows),
            "path": pa.array([f"/api/orders/{n}/items?page={n % 7}" for n in numbers.tolist()]),
            "route": constant("/api/orders/{id}/items", rows),
            "headers": pa.DictionaryArray.from_arrays(pa.array(numbers % 500, pa.int32()), agents),
            "status": np.full(rows, 200, np.int32),
            "answered_ns": at_ns + random.integers(1, 50_000_000, rows),
        }
        yield captured_batch(rows, columns)


def _main(count: int, order: str, folder: Path) -> dict[str, float]:
    import resource

    from harness.recording.store import open_recording
    from harness.recording.store_writer import RecordingWriter, Said

    started_s = time.monotonic()
    with RecordingWriter(folder / "made.recording") as writer:
        for batch in captured(count, order):
            writer.add(batch)
        writer.finish_traffic()
        made = writer.finish("made", Said("made up"))
    written_s = time.monotonic()
    opened = open_recording(made.folder)
    opened_s = time.monotonic()
    offsets_ns = opened.offsets_ns()
    read = 0
    for exchange in opened.slice(0, opened.count):
        assert exchange.at_ns == offsets_ns[exchange.seq]
        read += 1
    assert read == count
    return {
        "written_s": written_s - started_s,
        "opened_s": opened_s - written_s,
        "read_s": time.monotonic() - opened_s,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        "file_mb": sum(path.stat().st_size for path in made.folder.iterdir()) / 1e6,
    }


if __name__ == "__main__":
    print(json.dumps(_main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))))
