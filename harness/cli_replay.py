"""The commands `readiness replay` and `readiness worker`: a recording sent to a target that the command line names.

Takes the command line, gives an exit code, as `cli.py` does; only the command that is run imports what it needs.
"""

from __future__ import annotations

import typer

from harness.arguments import (
    AnswerTimeout,
    CaFile,
    Copy,
    ExpectWorkers,
    FailIf,
    HostMap,
    Http1,
    Insecure,
    Json,
    KeepFields,
    Listen,
    Loops,
    Master,
    MasterToken,
    NoSessions,
    OnlyTargets,
    Ramp,
    Replayed,
    ReplayFrom,
    ReplayOut,
    ReplayPolicy,
    ReplaySeed,
    ReplayTo,
    RequestsDataset,
    Speed,
    Target,
    Times,
    Token,
    Workers,
)
from harness.console import terminal


def add_commands(app: typer.Typer) -> None:
    """Both, to the command line."""
    app.command("replay", short_help="Send a recording to a target, and say how faithfully.")(replay)
    app.command("worker", short_help="Send a share of another machine's replay.")(worker)


def replay(
    recording: Replayed,
    target: Target = "",
    map_: HostMap = None,
    speed: Speed = 1.0,
    times: Times = 1,
    from_: ReplayFrom = "0s",
    to: ReplayTo = None,
    loops: Loops = 1,
    ramp: Ramp = "0s",
    seed: ReplaySeed = 0,
    timeout: AnswerTimeout = "30s",
    workers: Workers = 1,
    expect_workers: ExpectWorkers = 0,
    listen: Listen = "",
    token: Token = "",
    no_sessions: NoSessions = False,
    keep_field: KeepFields = None,
    http1: Http1 = False,
    insecure: Insecure = False,
    ca_file: CaFile = None,
    fail_if: FailIf = None,
    policy: ReplayPolicy = None,
    dataset: RequestsDataset = None,
    out: ReplayOut = None,
    as_json: Json = False,
) -> None:
    """Send a recording to a target at its own times, and say how faithfully it was sent and what came back.

    Requests go out when they are due, whether or not earlier ones were answered; latency counts from then. It sends
    nowhere but to the URLs of --target and --map.

    \b
    Examples:
      readiness replay shop.recording --target http://127.0.0.1:8080
      readiness replay shop.recording --target http://127.0.0.1:8080 --times 3 \\
        --from 10m --to 15m --fail-if 'p99 > 250ms' --fail-if 'error_rate > 1%'

    \b
    Exit codes: 0 sent as recorded, and within the thresholds, 1 a threshold is exceeded,
    2 bad usage, or nothing answers at the target (nothing was sent), 3 UNKNOWN: not sent as
    faithfully as the policy asks, or nothing came back, 4 the generator could not start,
    130 interrupted.
    """
    with terminal(as_json) as speaker:
        from harness.model.pace import Pace
        from harness.printing import live_replay, replays
        from harness.replaying import ReplayRequest
        from harness.replaying import replay as carry_out
        from harness.replaying.request import TIMEOUT, Options, pace_of, span

        options = Options()
        request = ReplayRequest(
            recording=recording,
            target=target,
            hosts=tuple(map_ or ()),
            pace=options.read(lambda: pace_of(speed, times, from_, to, loops, ramp, seed), Pace()),
            seed=seed,
            timeout=options.read(lambda: span("--timeout", timeout), TIMEOUT),
            workers=workers,
            expect_workers=expect_workers,
            listen=listen,
            token=token,
            sessions=not no_sessions,
            fields=tuple(keep_field or ()),
            http1=http1,
            insecure=insecure,
            ca_file=ca_file,
            thresholds=tuple(fail_if or ()),
            policy=policy,
            dataset=dataset,
            out=out,
            problems=options.problems,
        )
        title = f"{recording.name} → {target or ', '.join(request.hosts)}"
        with live_replay.watching(speaker.progress.note, title) as watch:
            result = carry_out(request, speaker.progress, watch)
        speaker.answer(result, replays.print_replay, replays.replay_values)
        speaker.exit_code = result.exit_code


def worker(
    recording: Copy,
    master: Master,
    token: MasterToken,
    target: OnlyTargets = None,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Send a share of a replay that another machine leads, from a copy of the same recording, until it is over.

    The other machine says where to send; --target holds it to that.

    \b
    Example:
      readiness worker shop.recording --master 192.0.2.7:5557 \\
        --target http://192.0.2.9:8080

    \b
    Exit codes: 0 dismissed when the replay was over, 2 bad usage, 4 it ended otherwise.
    """
    with terminal(as_json) as speaker:
        from harness.printing import replays
        from harness.replaying.request import Share
        from harness.replaying.share import send_share

        share = Share(recording, master, token, tuple(target or ()), ca_file)
        send_share(share, speaker.progress)
        speaker.answer(share, replays.print_share, replays.share_values)
