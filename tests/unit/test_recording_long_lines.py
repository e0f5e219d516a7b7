"""A line of 2 GB costs no memory, is one bad record, and does not disturb the lines around it."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

LENGTH = 2 * 2**30
MOST_MIB = 400
"""Most that the process may have held, of which 150 MiB are Python and Arrow themselves."""

GOOD = {
    "access_log.AccessLogReader": b'192.0.2.7 - - [01/Mar/2026:10:05:03 +0000] "GET / HTTP/1.1" 200 512\n',
    "json_log.JsonLogReader": b'{"msec":"1772359503.250","request":"GET / HTTP/1.1"}\n',
    "csv_trace.CsvTraceReader": b"offset_s\n1\n",
}

READ = """
import importlib, json, re, sys
from pathlib import Path
from harness.recording.readers.base import Rejects, Source
module, _, name = sys.argv[1].partition(".")
reader = getattr(importlib.import_module(f"harness.recording.readers.{module}"), name)()
path = Path(sys.argv[2])
rejects = Rejects(path, skip=len(sys.argv) > 3)
rows = sum(batch.num_rows for batch in reader.read(Source(path), rejects))
held = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
said = [str(problem) for problem in rejects.problems.found()]
print(json.dumps({"rows": rows, "said": said, "skipped": rejects.skipped, "held_mib": held // 1024}))
"""


def read_apart(reader: str, path: Path, *more: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", READ, reader, str(path), *more],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("reader", list(GOOD))
def test_a_line_of_two_gigabytes(tmp_path: Path, reader: str) -> None:
    good, path = GOOD[reader], tmp_path / "long"
    with path.open("wb") as file:
        file.write(good)
        file.seek(LENGTH, 1)  # a hole: it takes no room on the disk
        file.write(b"\n" + good.splitlines(keepends=True)[-1] + b"rubbish\n")
    found = read_apart(reader, path)
    number = good.count(b"\n") + 1
    assert found["rows"] == 2
    said, after = found["said"]
    assert said.startswith(f"{path}:{number}: error: record {number}: longer than 64 MiB\n")
    assert after.startswith(f"{path}:{number + 2}: error: record {number + 2}: ")
    assert found["held_mib"] < MOST_MIB, found


def test_a_line_of_two_gigabytes_in_a_packed_file(tmp_path: Path) -> None:
    reader, path = "access_log.AccessLogReader", tmp_path / "long.gz"
    good, piece = gzip.compress(GOOD[reader]), gzip.compress(bytes(64 * 2**20), 1)
    with path.open("wb") as file:
        file.write(good)
        for _ in range(LENGTH // (64 * 2**20)):
            file.write(piece)
        file.write(gzip.compress(b"\n") + good)
    found = read_apart(reader, path, "skip")
    assert (found["rows"], found["said"], found["skipped"]) == (2, [], {"longer than 64 MiB": 1})
    assert found["held_mib"] < MOST_MIB, found
