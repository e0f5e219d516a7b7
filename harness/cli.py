"""The command `readiness`: parses, calls the engine, prints. Every command's help says what for, and its exit codes.

Takes the command line, gives an exit code. Only the command that is run imports what it needs, so that help is quick and
`verify` and `show` work where no engine, no load generator and no synthesizer is installed.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from harness.arguments import (
    Change,
    ChangeOrScenario,
    Dataset,
    Directory,
    DrawnSeed,
    Environment,
    Environments,
    ForceBuild,
    ForceSweep,
    Json,
    Out,
    Policy,
    PublicKey,
    Report,
    Scenarios,
    Seed,
    SeedingDataset,
    SigningKey,
    Sweep,
    TrustKeyInside,
)
from harness.cli_audit import add_audit
from harness.cli_live import add_live
from harness.cli_record import record
from harness.cli_replay import add_commands
from harness.console import Terminal, terminal, tolerant_streams
from harness.errors import ExitCode

# Plain help: no frames that break where a log has 80 columns, and no markup in what users wrote.
app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
faults = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data, name="data", help="Synthetic datasets: build one, check one.")
add_live(record)
add_audit(record)
app.add_typer(record, name="record", help="Recordings: make one of logs and captures, look at it, change it.")
app.add_typer(faults, name="faults", help="Faults: which there are, and when a run applies them.")


def main() -> None:
    """Entry point of the command."""
    tolerant_streams()
    with terminal():
        app(prog_name="readiness")


def _version(wanted: bool) -> None:
    if wanted:
        from harness import __version__

        typer.echo(f"pytest-readiness {__version__}")
        raise typer.Exit


@app.callback()
def readiness(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Is this change ready, and who can check that answer?

    Stands a service graph up in containers, replays recorded traffic against baseline and candidate, breaks one
    thing at a time, and writes a signed report whose verdict anyone can compute again.

    \b
    A first run:
      readiness init
      readiness doctor
      readiness run CHANGE
      readiness verify REPORT

    \b
    Exit codes: 0 READY or done, 1 NOT_READY, 2 bad usage or bad definition,
    3 UNKNOWN, 4 the harness failed, 130 interrupted.
    """


@app.command(short_help="Write a skeleton that runs.")
def init(folder: Directory = Path(), as_json: Json = False) -> None:
    """Write a commented skeleton that runs: an environment, a scenario, a recording, a change.

    \b
    Example:
      readiness init my-platform

    \b
    Exit codes: 0 written, 2 a file is there already (then nothing is written).
    """
    with terminal(as_json) as speaker:
        from harness.printing import runs
        from harness.scaffold import write_skeleton

        speaker.answer(write_skeleton(folder), runs.print_skeleton, runs.skeleton_values)


@app.command(short_help="Can a run start here? Sweep up what runs left.")
def doctor(
    environments: Environments = None, sweep: Sweep = False, force: ForceSweep = False, as_json: Json = False
) -> None:
    """Say what this machine can do, how each image will come, and what earlier runs left; or remove that.

    Only looks: without --sweep nothing is pulled, built or removed.

    \b
    Examples:
      readiness doctor environments/lending/environment.yaml
      readiness doctor --sweep

    \b
    Exit codes: 0 a run can start, 2 bad definition, 4 a problem would stop it.
    With --sweep: 0 nothing of runs that are gone is left, 4 something is.
    """
    if force and not sweep:
        raise typer.BadParameter("--force goes with --sweep")
    with terminal(as_json) as speaker:
        if sweep:
            _sweep(force, speaker)
        else:
            _inspect(environments or sorted(Path().glob("environments/*/environment.yaml")), speaker)


def _inspect(environments: list[Path], speaker: Terminal) -> None:
    from harness.doctor import inspect
    from harness.printing import machine

    found = machine.Examination(tuple(environments), inspect(environments))
    speaker.answer(found, machine.print_doctor, machine.doctor_values)
    speaker.exit_code = ExitCode.READY if found.report.healthy else ExitCode.ENGINE_FAILED


def _sweep(force: bool, speaker: Terminal) -> None:
    from harness.doctor import sweep
    from harness.printing import machine

    report = sweep(force=force)
    speaker.answer(report, machine.print_sweep, machine.sweep_values)
    speaker.exit_code = ExitCode.READY if report.clean else ExitCode.ENGINE_FAILED


@app.command(short_help="Stand an environment up until Ctrl-C.")
def up(
    environment: Environment, dataset: SeedingDataset = None, seed: Seed = 0, as_json: Json = False
) -> None:
    """Stand an environment up, healthy and seeded, until Ctrl-C; then everything is removed.

    \b
    Example:
      readiness up environments/lending/environment.yaml \\
        --dataset scenarios/lending.dataset.yaml

    \b
    Exit codes: 0 ended by Ctrl-C, 2 bad definition, 4 it did not come up,
    130 interrupted before it was up.
    """
    with terminal(as_json) as speaker:
        import signal

        from harness.errors import Interrupted
        from harness.printing import runs
        from harness.standing import standing

        stood = False
        try:
            with standing(environment, speaker.progress, dataset, seed) as arm:
                stood = True
                speaker.answer(arm, runs.print_standing, runs.standing_values)
                while True:
                    signal.pause()
        except Interrupted:
            if not stood:
                raise
            speaker.progress.stage("down; everything was removed")


@app.command(short_help="Is this change ready? Run it and write a signed report.")
def run(
    change: Change,
    scenario: Scenarios = None,
    policy: Policy = None,
    seed: DrawnSeed = None,
    out: Out = None,
    key: SigningKey = None,
    as_json: Json = False,
) -> None:
    """Say whether a change is ready: run it through its scenarios and write a signed report for each.

    \b
    Example:
      readiness run scenarios/changes/rate-model-v2.change.yaml --seed 7

    \b
    Exit codes: 0 READY, 1 NOT_READY, 2 bad definition (nothing was started),
    3 UNKNOWN, 4 the harness failed, 130 interrupted.
    Of several reports the worst: NOT_READY over UNKNOWN over READY.
    """
    with terminal(as_json) as speaker:
        from harness.printing import runs
        from harness.run import RunRequest, run_change

        request = RunRequest(change, tuple(scenario or ()), policy, seed, out, key)
        verdicts = runs.Verdicts(run_change(request, speaker.progress), key)
        speaker.answer(verdicts, runs.print_verdicts, runs.verdicts_values)
        speaker.exit_code = worst(result.verdict.verdict for result in verdicts.results)


@app.command(short_help="Does a report hold? Needs no engine and no network.")
def verify(
    folder: Report, key: PublicKey = None, trust_key_inside: TrustKeyInside = False, as_json: Json = False
) -> None:
    """Check that a report holds: its signature, every file, and its verdict computed again from the evidence.

    Needs no engine and no network. The exit code says whether the report holds, not what its verdict is: a report
    that says NOT READY and holds is 0.

    \b
    Example:
      readiness verify readiness-reports/REPORT --key signer-public.pem

    \b
    Exit codes: 0 it holds, 1 it does not (each file that is wrong is named),
    2 there is no such report or key.
    """
    with terminal(as_json) as speaker:
        from harness import report

        found = report.verify(folder, key, trust_key_inside=trust_key_inside)
        speaker.answer(found, report.print_verification, report.verification_as_dict)
        speaker.exit_code = ExitCode.READY if found.ok else ExitCode.NOT_READY


@app.command(short_help="Print a report.")
def show(folder: Report, as_json: Json = False) -> None:
    """Print a report as it lies there: verdict, reasons, findings. Checks nothing; `readiness verify` does.

    \b
    Example:
      readiness show readiness-reports/REPORT

    \b
    Exit codes: 0 shown, 2 no report that can be read.
    """
    with terminal(as_json) as speaker:
        from harness import report

        speaker.answer(report.read_bundle(folder), report.print_report, report.report_as_dict)


add_commands(app)


@data.command("build", short_help="Make a dataset bundle, or find it.")
def data_build(definition: Dataset, force: ForceBuild = False, as_json: Json = False) -> None:
    """Make a dataset bundle: synthetic rows with privacy evidence, named by its digest and kept for runs.

    \b
    Example:
      readiness data build scenarios/lending.dataset.yaml

    \b
    Exit codes: 0 it is there, 2 bad definition or source, or a privacy or quality
    limit is exceeded, 4 it could not be written.
    """
    with terminal(as_json) as speaker:
        import synthetic
        from harness.loading import load_dataset
        from harness.printing import datasets

        make = synthetic.build if force else synthetic.find_or_build
        bundle = make(definition, load_dataset(definition).value, speaker.progress.note)
        speaker.answer(bundle, datasets.print_dataset, datasets.dataset_values)


@data.command("check", short_help="Does the dataset bundle still hold?")
def data_check(definition: Dataset, as_json: Json = False) -> None:
    """Check the dataset bundle that is kept for a definition: unaltered, consistent, within its limits.

    \b
    Example:
      readiness data check scenarios/lending.dataset.yaml

    \b
    Exit codes: 0 nothing is wrong (what could not be checked is listed),
    1 something is, 2 bad definition, or no bundle was built yet.
    """
    with terminal(as_json) as speaker:
        import synthetic
        from harness.loading import load_dataset
        from harness.printing import datasets

        found = synthetic.check(definition, load_dataset(definition).value, speaker.progress.note)
        speaker.answer(found, datasets.print_check, datasets.check_values)
        speaker.exit_code = ExitCode.READY if found.ok else ExitCode.NOT_READY


@faults.command("list", short_help="Every fault and the keys that it takes.")
def faults_list(as_json: Json = False) -> None:
    """List every fault: what it does, to what, and the keys that it takes in a scenario.

    \b
    Example:
      readiness faults list

    \b
    Exit codes: 0 listed, 4 a fault of another package cannot be used.
    """
    with terminal(as_json) as speaker:
        from harness.faults import fault_names, make_fault
        from harness.printing import faults as printing

        known = [make_fault(name) for name in fault_names()]
        speaker.answer(known, printing.print_faults, printing.faults_values)


@faults.command("plan", short_help="What a run would do, and when.")
def faults_plan(
    definition: ChangeOrScenario, scenario: Scenarios = None, seed: Seed = 0, as_json: Json = False
) -> None:
    """Show what a run would do and when: units, faults, targets, load, and the order of the arms.

    Starts no container. A change is prepared as for a run, which builds its dataset where that is not there yet; a
    scenario alone is laid out without data, so the number of its requests is left out.

    \b
    Example:
      readiness faults plan scenarios/lending.scenario.yaml

    \b
    Exit codes: 0 shown, 2 bad definition.
    """
    with terminal(as_json) as speaker:
        from harness.outline import outlines
        from harness.printing import faults as printing

        found = outlines(definition, tuple(scenario or ()), seed, speaker.progress.note)
        speaker.answer(found, printing.print_outlines, printing.outlines_values)


def worst(verdicts: Iterable[str]) -> ExitCode:
    """The exit code of several verdicts: NOT_READY over UNKNOWN over READY; no verdict at all is UNKNOWN."""
    words = set(verdicts)
    for code in (ExitCode.NOT_READY, ExitCode.UNKNOWN):
        if code.name in words:
            return code
    return ExitCode.READY if words else ExitCode.UNKNOWN


if __name__ == "__main__":
    main()
