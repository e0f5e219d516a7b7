"""The facts that figures from this machine depend on: cores, memory, kernel, engine, and how busy it is.

Takes nothing, gives lines of Markdown. A machine that is busy before the first measurement is said so: its figures
are not worth quoting.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from harness.environment.host import EngineFacts, engine_facts, host_facts
from harness.environment.image_engine import connect

QUIET_LOAD = 0.5
"""Load average of the last minute, in all, up to which a machine counts as quiet."""


def _processor() -> str:
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else "unknown processor"


def _engine(engine: EngineFacts) -> str:
    return f"Docker {engine.version}, cgroup version {engine.cgroup_version}, storage {engine.storage_driver}"


def machine_head(needs_engine: bool) -> str:
    """A short list, and a warning where the machine is not quiet. Raises EngineError when no engine answers."""
    host = host_facts()
    loads = os.getloadavg()
    lines = [
        f"- {host.cpus} cores ({_processor()}), {host.memory_bytes / 2**30:.1f} GiB memory, {host.architecture}",
        f"- kernel {host.kernel}, Python {host.python}",
    ]
    if needs_engine:
        lines.append(f"- {_engine(engine_facts(connect()))}")
    lines.append(f"- load average before starting: {' '.join(f'{load:.2f}' for load in loads)}")
    if loads[0] > QUIET_LOAD:
        lines += [
            "",
            f"**This machine is not quiet (load above {QUIET_LOAD:g}): do not quote these figures.**",
        ]
    return "\n".join(["# Benchmarks", "", *lines, ""])
