"""Who sends: one process, or a crew of several here and on other machines.

Takes what is prepared, gives a `Generator`. Workers of other machines have the recording themselves, by its digest.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Protocol

from harness.progress import Progress
from harness.replay.crew.crew import ReplayCrew
from harness.replay.crew.orders import Part
from harness.replay.crew.staff import CrewSetup
from harness.replay.generator import ReplayChild, ReplayJob, ReplayOutcome, Watch
from harness.replaying.preparation import Prepared
from harness.replaying.request import address

ANY_PORT = "127.0.0.1:0"


class Generator(Protocol):
    """What `ReplayChild` and a crew have in common."""

    def start(self) -> None: ...

    def replay(self, job: ReplayJob, watch: Watch | None = None) -> ReplayOutcome: ...

    def abort(self) -> None: ...

    def close(self) -> None: ...


class _Crew:
    """A crew with the surface of a lone child: it tells workers of other machines what to read of their copy."""

    def __init__(self, prepared: Prepared, crew: ReplayCrew) -> None:
        self._crew = crew
        self.abort, self.close = crew.abort, crew.close
        pace, rules = prepared.request.pace, prepared.rules
        self._part = Part(
            recording=prepared.recording.digest,
            first_seq=0,
            stop_seq=prepared.traffic.count,
            pace="" if pace.changes_nothing else pace.model_dump_json(by_alias=True),
            sessions="" if rules is None else rules.model_dump_json(by_alias=True),
        )

    def start(self) -> None:
        self._crew.start()

    def replay(self, job: ReplayJob, watch: Watch | None = None) -> ReplayOutcome:
        return self._crew.replay(job, watch, self._part)


def generator_of(prepared: Prepared, folder: Path, progress: Progress) -> Generator:
    """Not started yet."""
    request = prepared.request
    if request.workers == 1 and not request.expect_workers:
        return ReplayChild("replay", folder)
    host, port = address("--listen", request.listen or ANY_PORT)
    setup = CrewSetup(
        workers=request.workers,
        expect_workers=request.expect_workers,
        bind=host,
        port=port,
        told=progress.note,
    )
    if request.token:
        setup = replace(setup, token=request.token)
    elif request.expect_workers:
        progress.note(
            f"on each of the other machines: READINESS_TOKEN={setup.token} readiness worker RECORDING \\"
        )
        progress.note(f"  --master {request.listen} --target {prepared.targets.urls[0]}")
    return _Crew(prepared, ReplayCrew("replay", folder, setup))
