"""What can be given to the commands: each argument and option once, with the words that help shows for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
