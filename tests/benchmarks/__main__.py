"""`make bench`: overhead, start-up, memory and time per stage, measured here and now and printed as Markdown tables.

Takes `--only`, `--quick` and `--compose`; gives tables on standard output, progress on standard error, and the exit
code: 0 all measured, 4 something could not be, 130 interrupted. README.md says what each table means.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from harness.console import LineProgress
from harness.errors import ExitCode, Interrupted, ReadinessError
from harness.locks import one_at_a_time
from tests.benchmarks import edge, imports, memory, recordings, replay, stages, startup, store
from tests.benchmarks.machine import machine_head
from tests.benchmarks.setting import Setting
from tests.benchmarks.table import Table

QUEUE_LIMIT_S = 3600


@dataclass(frozen=True)
class Benchmark:
    """`alone`: holds the lock that a run holds, so that neither measures the other. A run takes it itself.

    `usual`: measured where no names are given (`make bench`).
    """

    measure: Callable[[Setting], tuple[Table, ...]]
    doing: str
    alone: bool = True
    engine: bool = True
    usual: bool = True


BENCHMARKS = {
    "edge": Benchmark(edge.measure, "overhead of an edge"),
    "startup": Benchmark(startup.measure, "start-up of one arm"),
    "memory": Benchmark(memory.measure, "memory of one arm"),
    "stages": Benchmark(stages.measure, "time per stage of a run", alone=False),
    "imports": Benchmark(imports.measure, "imports", engine=False),
    "recordings": Benchmark(
        recordings.measure, "reading and importing captured traffic", engine=False, usual=False
    ),
    "store": Benchmark(store.measure, "a recording of ten million exchanges", engine=False, usual=False),
    "replay": Benchmark(replay.measure, "replay: lateness and throughput", engine=False, usual=False),
}


def main() -> int:
    arguments = _arguments()
    progress = LineProgress()
    setting = Setting(progress, arguments.quick, arguments.compose)
    started_s = time.monotonic()
    failed: list[str] = []
    try:
        print(machine_head(any(BENCHMARKS[name].engine for name in arguments.only)), flush=True)
        for name in arguments.only:
            progress.stage(BENCHMARKS[name].doing)
            failed += _run(name, setting)
    except (Interrupted, KeyboardInterrupt) as error:
        print(str(error) or "interrupted", file=sys.stderr)
        return ExitCode.INTERRUPTED
    except ReadinessError as error:
        print(error, file=sys.stderr)
        return ExitCode.ENGINE_FAILED
    note = (
        " `--quick`: just enough to see that it works; do not quote these figures." if setting.quick else ""
    )
    print(f"Measured in {time.monotonic() - started_s:.0f} s.{note}")
    if failed:
        print(f"not measured: {', '.join(failed)}", file=sys.stderr)
    return ExitCode.ENGINE_FAILED if failed else ExitCode.READY


def _run(name: str, setting: Setting) -> list[str]:
    """Measure and print one; its name when that was impossible, so that the others still get their turn."""
    benchmark = BENCHMARKS[name]
    lock: AbstractContextManager[None] = nullcontext()
    if benchmark.alone:
        lock = one_at_a_time("run", "measuring on this machine", QUEUE_LIMIT_S, setting.progress.note)
    try:
        with lock:
            tables = benchmark.measure(setting)
    except Interrupted:
        raise
    except (ReadinessError, OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None)
        print(f"{name}: {error}\n{said or ''}".rstrip(), file=sys.stderr, flush=True)
        return [name]
    for table in tables:
        print(table.markdown(), flush=True)
    return []


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument(
        "--only",
        type=_names,
        default=[name for name, benchmark in BENCHMARKS.items() if benchmark.usual],
        metavar="NAME[,NAME...]",
        help=f"among {', '.join(BENCHMARKS)}; by default those of `make bench`",
    )
    parser.add_argument("--quick", action="store_true", help="small counts, to see that it works")
    parser.add_argument(
        "--compose",
        metavar="COMMAND",
        help="the compose to compare with, such as 'docker-compose'; by default every one that answers; 'none'",
    )
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"no benchmark {', '.join(map(repr, unknown))}; there are {', '.join(BENCHMARKS)}"
        )
    return names


if __name__ == "__main__":
    sys.exit(main())
