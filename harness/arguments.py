"""What can be given to the commands: each argument and option once, with the words that help shows for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def _file(metavar: str, words: str) -> typer.models.ArgumentInfo:
    info: typer.models.ArgumentInfo = typer.Argument(metavar=metavar, help=words, show_default=False)
    return info


def _option(name: str, metavar: str, words: str) -> typer.models.OptionInfo:
    info: typer.models.OptionInfo = typer.Option(name, metavar=metavar, help=words, show_default=False)
    return info


Directory = Annotated[Path, typer.Argument(metavar="DIR", help="Where to write; made if it is not there.")]
Change = Annotated[Path, _file("CHANGE", "A *.change.yaml file.")]
ChangeOrScenario = Annotated[Path, _file("CHANGE|SCENARIO", "A *.change.yaml or *.scenario.yaml file.")]
Dataset = Annotated[Path, _file("DATASET", "A *.dataset.yaml file.")]
Environment = Annotated[Path, _file("ENV", "An environment.yaml file.")]
Environments = Annotated[
    list[Path] | None,
    _file(
        "ENV",
        "environment.yaml files whose images to look at; without any, environments/*/environment.yaml.",
    ),
]
Report = Annotated[Path, _file("REPORT", "Folder of a report.")]

Scenarios = Annotated[
    list[Path] | None,
    _option(
        "--scenario",
        "SCENARIO",
        "A *.scenario.yaml file instead of those that the change names; may be repeated.",
    ),
]
SeedingDataset = Annotated[
    Path | None, _option("--dataset", "DATASET", "A *.dataset.yaml file to seed it with.")
]
RequestsDataset = Annotated[
    Path | None,
    _option(
        "--dataset", "DATASET", "A *.dataset.yaml file, which a NAME.recording.yaml draws its requests from."
    ),
]
Policy = Annotated[
    Path | None, _option("--policy", "POLICY", "A policy file; without one, the default policy.")
]
Out = Annotated[Path | None, _option("--out", "DIR", "Where reports go; without it, ./readiness-reports.")]
Seed = Annotated[
    int,
    typer.Option(
        "--seed", metavar="N", help="Decides the order of arms and which requests a percentage hits."
    ),
]
DrawnSeed = Annotated[
    int | None, _option("--seed", "N", "Repeats a run; without it, a seed is drawn and printed.")
]
SigningKey = Annotated[
    Path | None,
    _option(
        "--key",
        "KEY",
        "ed25519 private key (PEM) to sign with; without it, one of your own that is made once, "
        "and the report says that it is self-signed.",
    ),
]
PublicKey = Annotated[
    Path | None,
    _option(
        "--key",
        "PUBLIC",
        "The signer's ed25519 public key (PEM); without it, only reports signed by your own key hold.",
    ),
]
TrustKeyInside = Annotated[
    bool,
    typer.Option(
        "--trust-key-inside",
        help="Believe the key that lies in the report: shows that nothing was altered, not who signed.",
    ),
]
Sweep = Annotated[
    bool, typer.Option("--sweep", help="Remove what runs that are gone have left; live runs stay.")
]
ForceSweep = Annotated[bool, typer.Option("--force", help="With --sweep: end live runs, too.")]
ForceBuild = Annotated[
    bool, typer.Option("--force", help="Build anew, also where the bundle is there already.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout; all else goes to stderr.")]

Captures = Annotated[list[Path], _file("FILE", "Logs and captures, in any known format.")]
Recording = Annotated[Path, _file("RECORDING", "A folder NAME.recording.")]
Recordings = Annotated[list[Path], _file("RECORDING", "Folders NAME.recording.")]
RecordingOut = Annotated[
    Path, _option("--out", "RECORDING", "The new recording: a folder NAME.recording that is not there yet.")
]
ExportFile = Annotated[Path, _option("--out", "FILE", "The new file, NAME.ndjson.")]
RecordingName = Annotated[
    str | None, _option("--name", "NAME", "What it is called; without it, as the folder.")
]
Attribution = Annotated[
    str | None, _option("--attribution", "TEXT", "Whose traffic it is, and under which licence.")
]
Format = Annotated[
    str | None,
    _option(
        "--format", "FORMAT", "What the files are, where that is not recognised; any other word lists them."
    ),
]
ReaderOptions = Annotated[
    list[str] | None, _option("--option", "NAME=VALUE", "An option of the format; may be repeated.")
]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Leave out what cannot be used, and count it in the recording.")
]
Routes = Annotated[
    list[str] | None,
    _option(
        "--route",
        "PATTERN",
        "Name the paths that fit /orders/{order} or /static/* so; may be repeated, the first that fits counts.",
    ),
]
KeepHosts = Annotated[
    list[str] | None,
    _option("--keep-host", "HOST", "Keep only what was sent to this host (*.example.com); may be repeated."),
]
RedactionRules = Annotated[
    Path | None,
    _option("--redaction", "RULES", "A *.redaction.yaml file; without one, the built-in rules."),
]
RedactionKey = Annotated[
    Path | None,
    _option(
        "--redaction-key",
        "KEY",
        "File with the key of the pseudonyms; without it, one of your own, made once.",
    ),
]
AsHttp1 = Annotated[
    bool,
    typer.Option("--http1", help="Take what went over HTTP/2 or HTTP/3 for HTTP/1.1, which can be replayed."),
]
SkipSessions = Annotated[
    bool,
    typer.Option("--no-sessions", help="Do not look for values of answers that come back in later requests."),
]
Redacted = Annotated[
    bool,
    typer.Option(
        "--redacted", help="Nothing private is in it (any more): take it as it is, such as an export."
    ),
]
Unverified = Annotated[
    bool, typer.Option("--no-verify", help="Do not hold the files to their digests first.")
]
FromOffset = Annotated[
    str,
    typer.Option("--from", metavar="OFFSET", help="Since the recording's start, such as 90s or 10m."),
]
ToOffset = Annotated[
    str | None, _option("--to", "OFFSET", "Without it, to the end. What is sent then is not part of it.")
]
RoutePatterns = Annotated[
    list[str] | None, _option("--route", "PATTERN", "Such as '/api/*'; may be repeated.")
]
MethodPatterns = Annotated[list[str] | None, _option("--method", "METHOD", "Such as GET; may be repeated.")]
StatusPatterns = Annotated[
    list[str] | None,
    _option("--status", "STATUS", "404, 5xx, 400-499, or 0 for no answer; may be repeated."),
]
ClientPatterns = Annotated[
    list[str] | None, _option("--client", "PATTERN", "Clients as the recording names them; may be repeated.")
]
HostPatterns = Annotated[
    list[str] | None,
    _option("--host", "PATTERN", "Hosts as recorded, such as '*.example.com'; may be repeated."),
]
Drop = Annotated[bool, typer.Option("--drop", help="Leave out what fits, and keep the rest.")]
Share = Annotated[str, _option("--share", "SHARE", "Of the clients: 10% or 0.1.")]
SampleSeed = Annotated[int, typer.Option("--seed", metavar="N", help="Another one draws other clients.")]
Align = Annotated[
    Literal["start", "clock"],
    typer.Option(
        "--align",
        metavar="start|clock",
        help="start: all begin together; clock: each at the time at which it was recorded.",
    ),
]
Apart = Annotated[
    bool | None,
    typer.Option(
        "--apart/--same-clients",
        help="Whether clients of one name in two recordings are two clients; by default where all begin together.",
        show_default=False,
    ),
]

Replayed = Annotated[
    Path,
    _file(
        "RECORDING", "A folder NAME.recording, or a file NAME.ndjson or NAME.recording.yaml (with --dataset)."
    ),
]
Target = Annotated[
    str,
    typer.Option(
        "--target", metavar="URL", help="Where to send; replay sends nowhere else.", show_default=False
    ),
]
HostMap = Annotated[
    list[str] | None,
    _option(
        "--map", "HOST=URL", "Where to send what was recorded at that host; once for each of several hosts."
    ),
]
Speed = Annotated[float, typer.Option("--speed", metavar="X", help="2 is twice as fast as recorded.")]
Times = Annotated[
    int,
    typer.Option(
        "--times", metavar="N", help="So many times the clients, shifted in time, so that bursts stay bursts."
    ),
]
ReplayFrom = Annotated[
    str, typer.Option("--from", metavar="OFFSET", help="Where in the recording to begin, such as 90s or 10m.")
]
ReplayTo = Annotated[
    str | None,
    _option(
        "--to", "OFFSET", "Where to end; beyond the recording's end it is silent. Without it, at its end."
    ),
]
Loops = Annotated[
    int, typer.Option("--loops", metavar="N", help="How often, one after another, by new clients each time.")
]
Ramp = Annotated[
    str, typer.Option("--ramp", metavar="SPAN", help="Over this time more and more of the clients take part.")
]
ReplaySeed = Annotated[
    int,
    typer.Option(
        "--seed", metavar="N", help="Decides request ids, shifts of copies and the order of a ramp."
    ),
]
AnswerTimeout = Annotated[
    str,
    typer.Option("--timeout", metavar="SPAN", help="How long an answer may take before it counts as none."),
]
Workers = Annotated[
    int, typer.Option("--workers", metavar="N", help="How many processes of this machine send.")
]
ExpectWorkers = Annotated[
    int,
    typer.Option(
        "--expect-workers",
        metavar="N",
        help="How many of other machines do as well (`readiness worker`), with the same recording.",
    ),
]
Listen = Annotated[
    str, typer.Option("--listen", metavar="HOST:PORT", help="Where those find this one.", show_default=False)
]
Token = Annotated[
    str,
    typer.Option(
        "--token",
        metavar="TOKEN",
        envvar="READINESS_TOKEN",
        help="What those have to know; without it one is drawn and printed.",
        show_default=False,
    ),
]
NoSessions = Annotated[
    bool,
    typer.Option("--no-sessions", help="Send tokens and ids as recorded, and not those of live answers."),
]
KeepFields = Annotated[
    list[str] | None,
    _option("--keep-field", "A.B", "A field of JSON answers to keep in exchanges.parquet; may be repeated."),
]
Http1 = Annotated[
    bool, typer.Option("--http1", help="Send what was recorded over HTTP/2 or HTTP/3 over HTTP/1.1.")
]
Insecure = Annotated[bool, typer.Option("--insecure", help="Take any certificate.")]
CaFile = Annotated[
    Path | None,
    _option("--ca-file", "PEM", "Authorities whose certificates hold; without it, the machine's."),
]
FailIf = Annotated[
    list[str] | None,
    _option(
        "--fail-if",
        "THRESHOLD",
        "'p99 > 250ms', 'error_rate[/orders/{id}] > 1%', 'worse > 1%', 'rate < 100/s'; p50 to p99.9, max, mean; may be repeated.",
    ),
]
ReplayPolicy = Annotated[
    Path | None,
    _option("--policy", "POLICY", "How faithful a replay must be; without it, the default policy."),
]
ReplayOut = Annotated[
    Path | None,
    _option("--out", "DIR", "Write replay.json and exchanges.parquet there; without it, nothing."),
]
Copy = Annotated[
    Path, _file("RECORDING", "The same recording: a folder NAME.recording, or a file NAME.ndjson.")
]
Master = Annotated[str, typer.Option("--master", metavar="HOST:PORT", help="Where the replay listens.")]
OnlyTargets = Annotated[
    list[str] | None,
    _option(
        "--target", "URL", "Refuse to send anywhere else; may be repeated. Without it, where the master says."
    ),
]
MasterToken = Annotated[
    str, typer.Option("--token", metavar="TOKEN", envvar="READINESS_TOKEN", help="What the replay printed.")
]
