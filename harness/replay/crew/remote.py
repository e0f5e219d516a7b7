"""A worker of another machine's crew: reads its share from its own copy of the recording.

Takes the recording as it lies here, and where the master is; blocks until the master dismisses it, and gives why it
ended otherwise. How the recording is laid on time, and by which rules sessions are kept up, the master says. It sends to
nothing but the target that the master's command line named, says which that is, and refuses any other than `targets`
where those are given. Never imports gevent or Locust.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from harness.model.pace import Pace
from harness.model.recording import Exchange, Traffic
from harness.recording.pace import lay
from harness.recording.sessions.planning import SessionPlanner
from harness.recording.sessions.rules import SessionRules
from harness.replay.crew.orders import Ended, Fed, Feeding, Line, Part, ShareOver, Unfed, Wanted, WorkerSetup
from harness.replay.crew.processes import LineProcess
from harness.replay.crew.sharding import share
from harness.replay.crew.shares import ShareDigest
from harness.replay.crew.staff import WORKER
from harness.replay.feeding import Feeder
from harness.replay.rendering import Rendering


@dataclass(frozen=True)
class RemoteSetup:
    """Where the master is and what this worker may do. `told` hears what somebody at a terminal wants to know."""

    host: str
    port: int
    token: str
    targets: tuple[str, ...] = ()
    ca_file: str = ""
    name: str = ""
    within_s: float = 300.0
    told: Callable[[str], None] = lambda _: None
    worker_module: str = WORKER


class _Copy:
    """The recording as it lies here, and as the master last had it laid on time."""

    def __init__(self, recording: Traffic) -> None:
        self.recording = recording
        self._pace = ""
        self._laid = recording

    def exchanges(self, part: Part, digest: str) -> Iterable[Exchange]:
        """Those of the part. Raises ValueError where they are not those of `digest`."""
        if part.recording != self.recording.digest:
            raise ValueError(
                f"it holds another recording, {self.recording.digest}; this run replays {part.recording}"
            )
        if part.pace != self._pace:
            self._laid = (
                lay(self.recording, Pace.model_validate_json(part.pace)) if part.pace else self.recording
            )
            self._pace = part.pace
        if self._laid.digest != digest:
            raise ValueError(f"it lays the recording on time as {self._laid.digest}, the master as {digest}")
        return self._laid.slice(part.first_seq, part.stop_seq)


def serve(recording: Traffic, work_dir: Path, setup: RemoteSetup) -> str:
    """Be a worker until dismissed; gives an empty text then, and otherwise why it ended. Raises OSError."""
    work_dir.mkdir(parents=True, exist_ok=True)
    heard: queue.SimpleQueue[Line | str] = queue.SimpleQueue()
    process = LineProcess(setup.worker_module, work_dir / "worker.log", heard.put, heard.put)
    copy, shares = _Copy(recording), dict[int, _Share]()
    name = setup.name or f"{socket.gethostname()}:{os.getpid()}"
    reason = ""
    try:
        process.say(WorkerSetup(setup.host, setup.port, setup.token, name, recording.digest, setup.within_s))
        while not isinstance(line := heard.get(), str):
            match line:
                case Wanted():
                    _begin(line, copy, work_dir, setup, process, shares)
                case ShareOver():
                    _end(line, setup, shares)
                case Ended():
                    return line.reason
        reason = f"the worker's process {line}: {process.last_words() or 'it left no message'}"
    finally:
        for under_way in shares.values():
            under_way.remove()
        process.close()
    return reason


class _Share:
    """One unit's share under way: its feeder and its files."""

    def __init__(self, wanted: Wanted, copy: _Copy, folder: Path, ca_file: str, process: LineProcess) -> None:
        """Raises OSError and ValueError."""
        self._requests, self._answers = (
            folder / f"{wanted.order.number:03}.{kind}" for kind in ("requests", "answers")
        )
        options, part = wanted.rendering, wanted.part
        if part is None:
            raise ValueError("the master does not say which part of the recording is meant")
        exchanges = copy.exchanges(part, options.recording_digest)
        plan = SessionPlanner(SessionRules.model_validate_json(part.sessions)).plan if part.sessions else None
        rendering = Rendering(
            wanted.order.base_url,
            options.seed,
            options.recording_digest,
            options.recording_from_ns,
            options.host_header,
            options.http1,
        )
        self._process = process
        self._number = wanted.order.number
        self.order = replace(
            wanted.order, requests_file=str(self._requests), answers_file=str(self._answers), ca_file=ca_file
        )
        self.feeder = Feeder(
            (self._requests,),
            self._counted(share(exchanges, wanted.worker, wanted.workers)),
            rendering.request
            if plan is None
            else lambda exchange: rendering.request(exchange, plan(exchange)),
        )

    def _counted(self, exchanges: Iterable[Exchange]) -> Iterator[Exchange]:
        """The same, and at their end the worker is told their digest."""
        digest = ShareDigest()
        for exchange in exchanges:
            digest.add(exchange)
            yield exchange
        with contextlib.suppress(OSError, ValueError):
            self._process.say(Fed(self._number, str(digest)))

    def remove(self) -> None:
        """Stop feeding, and take the files away: the master has what they held."""
        self.feeder.stop()
        for path in (self._requests, self._answers):
            with contextlib.suppress(OSError):
                path.unlink()


def _begin(
    wanted: Wanted,
    copy: _Copy,
    folder: Path,
    setup: RemoteSetup,
    process: LineProcess,
    shares: dict[int, _Share],
) -> None:
    """Feed a share, or say why not."""
    number, target = wanted.order.number, wanted.order.base_url
    if setup.targets and target not in setup.targets:
        why = f"it may send to {', '.join(setup.targets)} alone, not to {target}"
    else:
        try:
            shares[number] = _Share(wanted, copy, folder, setup.ca_file, process)
        except (OSError, ValueError) as error:
            why = str(error)
        else:
            setup.told(
                f"unit {number}: sending share {wanted.worker + 1} of {wanted.workers} to {target}, "
                f"which the master on {setup.host} port {setup.port} named"
            )
            process.say(Feeding(shares[number].order))
            shares[number].feeder.start()
            return
    setup.told(f"unit {number}: refused: {why}")
    process.say(Unfed(number, why))


def _end(over: ShareOver, setup: RemoteSetup, shares: dict[int, _Share]) -> None:
    under_way = shares.pop(over.number, None)
    if under_way is not None:
        under_way.remove()
    setup.told(f"unit {over.number}: {over.reason or 'done'}")
