"""What `readiness doctor` found on this machine, and what a sweep removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from harness.printing.base import line, section, values
from harness.report import numbers
from harness.visible import visible

if TYPE_CHECKING:
    from harness.doctor import DoctorReport, SweepReport
    from harness.sweep import LeftOver, LiveRun


_SUPPORTED = {True: Text("yes", "green"), False: Text("no", "yellow"), None: Text("?", "yellow")}
_HOW_STYLE = {"present": "green", "missing": "bold red"}


@dataclass(frozen=True)
class Examination:
    """A doctor's report and the environments whose images it is about."""

    environments: tuple[Path, ...]
    report: DoctorReport


def print_doctor(found: Examination, console: Console) -> None:
    """Machine, what engine and kernel can do, programs, images, what runs left; problems last."""
    report = found.report
    section(console, "Machine", _machine(report))
    section(
        console,
        "Engine and kernel",
        (
            (item.name, _SUPPORTED[item.supported], f"{item.needed_for} ({item.how})")
            for item in report.capabilities
        ),
    )
    section(
        console,
        "Programs",
        (
            (tool.name, _SUPPORTED[True], tool.path)
            if tool.path is not None
            else (tool.name, _SUPPORTED[False], f"needed only for {tool.needed_for}")
            for tool in report.tools
        ),
    )
    if report.engine is not None:
        _images(found, console)
        section(console, "Left over from runs that are gone", _left_overs(report.left_over))
        if report.left_over:
            line(console, "  remove it with: readiness doctor --sweep")
        section(console, "Runs alive", _live(report.live))
    for problem in report.problems:
        console.print(Text.assemble(("problem: ", "bold red"), visible(problem, keep="\n")))
    if report.healthy:
        line(console, ("healthy: a run can start", "bold green"))


def _machine(report: DoctorReport) -> list[tuple[str, str]]:
    host, engine = report.host, report.engine
    rows = [
        (
            "host",
            f"{_cpus(host.cpus)}, {_gib(host.memory_bytes)} of memory ({_gib(host.memory_available_bytes)} free)",
        ),
        ("disk", f"{_gib(host.free_disk_bytes)} free in {host.state_folder}"),
        ("system", f"Linux {host.kernel}, {host.architecture}, Python {host.python}"),
    ]
    if engine is None:
        return [*rows, ("engine", "no Docker engine answers")]
    rows.append(
        (
            "engine",
            (
                f"Docker {engine.version} (API {engine.api_version}), {engine.operating_system}, "
                f"{_cpus(engine.cpus)}, {_gib(engine.memory_bytes)} of memory, storage {engine.storage_driver}"
            ),
        )
    )
    return rows + [("", warning) for warning in engine.warnings]


def _images(found: Examination, console: Console) -> None:
    named = ", ".join(map(str, found.environments))
    section(
        console,
        f"Images for {named}"
        if named
        else "Images of the harness (no environment was named or found below ./environments)",
        (
            (
                Text(image.how, _HOW_STYLE.get(image.how, "yellow")),
                image.reference,
                "" if image.how == "present" else f"{image.reason}{_about(image.expected_s)}",
            )
            for image in found.report.images
        ),
    )
    if found.report.images_expected_s:
        line(
            console,
            f"  what is not present takes about {found.report.images_expected_s:.0f} s, one after another",
        )


def _left_overs(items: Sequence[LeftOver]) -> list[tuple[str, str, str]]:
    rows = [(str(item.kind), item.name, f"{item.detail}, run {item.run_id}") for item in items]
    return rows or [("nothing", "", "")]


def _live(runs: Sequence[LiveRun]) -> list[tuple[str, str]]:
    return [(run.run_id, f"process {run.pid}") for run in runs] or [("none", "")]


def doctor_values(found: Examination) -> dict[str, Any]:
    """Everything found; `healthy` says whether a run can start."""
    report = found.report
    return {
        "healthy": report.healthy,
        "environments": list(map(str, found.environments)),
        "images_expected_s": report.images_expected_s,
        **values(report),
    }


def print_sweep(report: SweepReport, console: Console) -> None:
    """What was removed, what resisted, and which live runs were left alone."""
    section(console, "Removed", ((item.kind, item.name, f"run {item.run_id}") for item in report.removed))
    section(
        console,
        "Could not be removed",
        ((item.left_over.kind, item.left_over.name, item.why) for item in report.stubborn),
    )
    for run in report.live:
        line(console, f"run {run.run_id} is alive (process {run.pid}) and was left alone; --force ends it")
    if not report.clean:
        line(
            console,
            ("not clean", "bold red"),
            f": {numbers.count(len(report.stubborn), 'thing')} could not be removed",
        )
    elif report.removed:
        line(
            console,
            ("clean", "bold green"),
            f": {numbers.count(len(report.removed), 'thing')} removed, nothing is left",
        )
    else:
        line(console, ("clean", "bold green"), ": nothing was left")


def sweep_values(report: SweepReport) -> dict[str, Any]:
    """`clean`, and what was removed, resisted or is alive."""
    return {"clean": report.clean, **values(report)}


def _cpus(number: int) -> str:
    return f"{number} CPU{'' if number == 1 else 's'}"


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.1f} GiB"


def _about(expected_s: float) -> str:
    return f"; about {expected_s:.0f} s" if expected_s else ""
