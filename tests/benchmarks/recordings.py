"""How fast captured traffic is read and imported, what redaction adds, and what it holds in memory.

Takes a setting, gives two tables. Each figure comes from a process of its own, whose peak of memory is the kernel's
(`ru_maxrss`); the ways that are compared take turns. `store.py` measures the store alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.benchmarks import recording_files as files
from tests.benchmarks.setting import ROOT, Setting
from tests.benchmarks.table import Table, median

MB = 1_000_000
MANY = 10_000_000
LIMIT_S = 1_800
MEMORY_LIMIT_MB = 1_000
REDACTION_LIMIT = 2.0
KEY = "7" * 64

READ, IMPORT, REDACT = "read", "import", "import, redacted"
WAYS = (READ, IMPORT, REDACT)

Measured = dict[str, float]


@dataclass(frozen=True)
class File:
    """One file to measure: how to write it (path, size in bytes), and the goal for reading it, if there is one."""

    name: str
    write: Callable[[Path, int], None]
    size_mb: int
    goal_mb_s: int | None = None


FILES = (
    File("access log", partial(files.write_lines, lines=files.combined_log), 200, 100),
    File("access log, all lines different", partial(files.write_lines, lines=files.different_log), 200, 100),
    File("JSON log (nginx)", partial(files.write_lines, lines=files.nginx_json_log), 100),
    File("HAR", files.write_har, 60, 30),
)


def measure(setting: Setting) -> tuple[Table, ...]:
    """One table of formats, one of very many exchanges."""
    with tempfile.TemporaryDirectory(prefix="readiness-bench-") as folder:
        rows = [_row(file, setting, Path(folder)) for file in FILES]
        many = _many(setting, Path(folder))
    return (
        Table(
            title="Reading and importing captured traffic (MB of file a second)",
            caption=(
                "One process a figure, medians of rounds in which the ways take turns. `read`: the reader alone, to record "
                "batches. `import`: until the recording stands, with routes, digests and sorting, nothing redacted; of a "
                "HAR, which has answers, also with its session rules found. "
                "`redacted`: the same with the built-in rules. `ratio`: redacted over not, of the same run; at most "
                f"{REDACTION_LIMIT:g} is the goal. `peak MB`: of the redacted import. Where `read` misses its goal, the goal "
                "stands behind it."
            ),
            columns=("file", "MB", "records", READ, IMPORT, "redacted", "ratio", "peak MB"),
            rows=tuple(rows),
        ),
        many,
    )


def _row(file: File, setting: Setting, folder: Path) -> tuple[str, ...]:
    path = folder / "traffic"
    setting.progress.note(f"{file.name}: writing it")
    file.write(path, setting.count(file.size_mb, 4) * MB)
    size_mb = path.stat().st_size / MB
    found: dict[str, list[Measured]] = {way: [] for way in WAYS}
    for number in range(setting.count(3, 1)):
        for way in WAYS:
            setting.progress.note(f"{file.name}: {way}, round {number + 1}")
            found[way].append(_apart(way, path, folder))
    seconds = {way: median([item["seconds"] for item in found[way]]) for way in WAYS}
    speed = {way: size_mb / seconds[way] for way in WAYS}
    missed = f" (goal {file.goal_mb_s})" if file.goal_mb_s and speed[READ] < file.goal_mb_s else ""
    ratio = seconds[REDACT] / seconds[IMPORT]
    return (
        file.name,
        f"{size_mb:.0f}",
        f"{found[READ][0]['records']:,.0f}",
        f"{speed[READ]:.0f}{missed}",
        f"{speed[IMPORT]:.0f}",
        f"{speed[REDACT]:.0f}",
        f"{ratio:.2f}{'' if ratio <= REDACTION_LIMIT else ' MISSED'}",
        f"{max(item['peak_mb'] for item in found[REDACT]):.0f}",
    )


def _many(setting: Setting, folder: Path) -> Table:
    """Very many exchanges from a file, once each way."""
    path = folder / "many"
    count = setting.count(MANY, 100_000)
    setting.progress.note(f"{count:,} lines: writing them")
    files.write_count(path, count, files.short_log)
    rows = []
    for way in WAYS:
        setting.progress.note(f"{count:,} lines: {way}")
        found = _apart(way, path, folder)
        missed = "" if found["peak_mb"] <= MEMORY_LIMIT_MB else " MISSED"
        rows.append(
            (
                way,
                f"{found['records']:,.0f}",
                f"{found['seconds']:.1f}",
                f"{found['records'] / found['seconds'] / 1_000:,.0f}",
                f"{found['peak_mb']:.0f}{missed}",
            )
        )
    return Table(
        title=f"{count:,} exchanges from a common access log of {path.stat().st_size / MB:,.0f} MB",
        caption=f"Once each. The limit of memory is {MEMORY_LIMIT_MB:,} MB.",
        columns=("what", "exchanges", "s", "thousand/s", "peak MB"),
        rows=tuple(rows),
    )


def _apart(way: str, path: Path, folder: Path) -> Measured:
    """One way in a process of its own."""
    with tempfile.TemporaryDirectory(dir=folder) as out:
        done = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.recordings", way, str(path), out],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=True,
        )
    found: Measured = json.loads(done.stdout)
    return found


def _main(way: str, path: Path, out: Path) -> Measured:
    import resource

    from harness.recording.importing import ImportRequest, import_files
    from harness.recording.readers.base import Rejects, Source
    from harness.recording.registry import reader_of

    key = out / "key"
    key.touch(0o600)
    key.write_text(KEY)
    started_s = time.monotonic()
    if way == READ:
        rejects = Rejects(path, skip=False)
        records = sum(batch.num_rows for batch in reader_of(path).read(Source(path), rejects))
        rejects.problems.raise_if_any()
    else:
        request = ImportRequest((path,), out / "made.recording", redacted=way == IMPORT, key=key)
        records = import_files(request).count
    seconds = time.monotonic() - started_s
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MB
    return {"seconds": seconds, "records": records, "peak_mb": peak_mb}


if __name__ == "__main__":
    print(json.dumps(_main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))))
