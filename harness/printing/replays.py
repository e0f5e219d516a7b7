"""What a replay found: how it stands and why, latencies overall and by route, answers, thresholds, fidelity."""

from __future__ import annotations

import shlex
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.model.pace import Pace
from harness.printing.base import line, section
from harness.replaying.figures import RouteFigures
from harness.replaying.request import TIMEOUT, ReplayRequest, Share
from harness.replaying.result import ReplayResult, Standing
from harness.replaying.thresholds import Judged
from harness.report.numbers import count, percent, plain
from harness.report.summary import policy_words
from harness.visible import visible

STYLE = {Standing.WITHIN: "bold green", Standing.EXCEEDED: "bold red", Standing.UNKNOWN: "bold yellow"}
ROUTES_SHOWN = 20
REASONS_SHOWN = 8
MEASURES = ("p50", "p90", "p95", "p99", "p99.9", "max", "mean")


def print_replay(result: ReplayResult, console: Console) -> None:
    """The whole answer."""
    played = result.played
    head = f"  {played.name}, {count(played.count, 'request')} over {played.length_ns / 1e9:.1f} s"
    line(console, (result.standing.value.upper(), STYLE[result.standing]), head)
    for reason in result.reasons[:REASONS_SHOWN]:
        section(console, "", [("•", reason)])
    if len(result.reasons) > REASONS_SHOWN:
        line(console, f"  and {len(result.reasons) - REASONS_SHOWN} more with --json")
    console.print()
    console.print(_latencies(result))
    hidden = len(result.figures.routes) - ROUTES_SHOWN
    if hidden > 0:
        line(console, f"and {hidden} more routes with --json")
    section(console, "Answers", _answers(result))
    section(console, "Thresholds", [_threshold(item) for item in result.thresholds])
    console.print()
    _print_fidelity(result, console)
    console.print()
    line(console, f"recording  {played.name} {played.digest}")
    if played.halved_clients:
        many = count(played.halved_clients, "copy of a client", "copies of clients")
        line(console, f"           {many} cut in two, as they last longer than half of it; --to makes room")
    for host, url in result.targets.items():
        line(console, f"target     {url}" + (f" for {host}" if host else ""))
    line(console, f"policy     {policy_words(result.policy)}")
    for path in result.files:
        line(console, f"written    {path}")
    line(console, f"repeat     {repeat_command(result.request)}")


def replay_values(result: ReplayResult) -> dict[str, Any]:
    """Everything, nothing rounded."""
    return {**result.values(), "repeat_command": repeat_command(result.request)}


def print_share(share: Share, console: Console) -> None:
    """What a worker did is in the answer of the machine that led the replay."""
    line(console, f"dismissed by {share.master}; the replay is over")


def share_values(share: Share) -> dict[str, Any]:
    """Whose worker it was."""
    return {"recording": str(share.recording), "master": share.master, "dismissed": True}


def _latencies(result: ReplayResult) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim")
    table.add_column("Latency, ms", overflow="fold")
    for name in ("requests", "sent/s", "errors", *MEASURES):
        table.add_column(name, justify="right", no_wrap=True)
    figures = result.figures
    table.add_row(*_row(figures.overall, "all"), style="bold")
    for route in figures.routes[:ROUTES_SHOWN] if len(figures.routes) > 1 else ():
        table.add_row(*_row(route, route.route or "(no route)"))
    return table


def _row(row: RouteFigures, name: str) -> tuple[Text, ...]:
    rate, errors = row.value("rate"), row.value("error_rate")
    times = (row.value(measure) for measure in MEASURES)
    return (
        Text(visible(name)),
        Text(f"{row.requests:,}"),
        Text("—" if rate is None else plain(rate)),
        Text("—" if errors is None else f"{percent(errors)} %", style="red" if row.errors else ""),
        *(Text("—" if value is None else plain(value)) for value in times),
    )


def _answers(result: ReplayResult) -> list[tuple[str, str]]:
    figures = result.figures
    rows = [(str(status), f"{many:,}") for status, many in figures.statuses.items()]
    rows += [(error, f"{many:,}") for error, many in figures.errors.items()]
    if figures.worse:
        rows.append(("worse", f"{figures.worse:,} succeeded when recorded and did not now"))
    return rows


def _threshold(item: Judged) -> tuple[str | Text, ...]:
    words = {True: ("exceeded", "red"), False: ("not exceeded", "green"), None: ("unknown", "yellow")}
    word, style = words[item.exceeded]
    return Text(word, style=style), item.threshold.text, f"it is {item.said}"


def _print_fidelity(result: ReplayResult, console: Console) -> None:
    from harness.report.fidelity_view import Column, table
    from harness.report.show import fidelity_grid

    fidelity = result.fidelity
    console.print(fidelity_grid(table([Column("measured", fidelity.score, fidelity.parts)])))


def repeat_command(request: ReplayRequest) -> str:
    """What does the same again. Neither token nor place of the results is in it."""
    words = ["readiness", "replay", str(request.recording)]
    words += ["--target", request.target] if request.target else []
    words += [word for text in request.hosts for word in ("--map", text)]
    pace, plain = request.pace, Pace()
    for name in ("speed", "times", "loops"):
        value = getattr(pace, name)
        words += [f"--{name}", f"{value:g}"] if value != getattr(plain, name) else []
    words += ["--from", str(pace.from_)] if pace.from_.ns else []
    words += ["--to", str(pace.to)] if pace.to is not None else []
    words += ["--ramp", str(pace.ramp)] if pace.ramp.ns else []
    words += ["--seed", str(request.seed)]
    words += ["--timeout", str(request.timeout)] if request.timeout != TIMEOUT else []
    words += ["--workers", str(request.workers)] if request.workers != 1 else []
    words += ["--expect-workers", str(request.expect_workers)] if request.expect_workers else []
    words += ["--listen", request.listen] if request.listen else []
    words += ["--no-sessions"] if not request.sessions else []
    words += [word for path in request.fields for word in ("--keep-field", path)]
    words += ["--http1"] if request.http1 else []
    words += ["--insecure"] if request.insecure else []
    words += [word for text in request.thresholds for word in ("--fail-if", text)]
    for option, path in (
        ("--ca-file", request.ca_file),
        ("--policy", request.policy),
        ("--dataset", request.dataset),
    ):
        words += [option, str(path)] if path is not None else []
    return shlex.join(words)
