"""A worker's side of a replay that another machine leads: `readiness worker`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from harness.errors import EngineError
from harness.progress import Progress
from harness.recording.load import load_recording
from harness.replay.crew.remote import RemoteSetup, serve
from harness.replaying.request import Share, address


def send_share(share: Share, progress: Progress) -> None:
    """Blocks until the master dismisses it. Raises DefinitionError, and EngineError where it ended otherwise."""
    host, port = address("--master", share.master)
    recording = load_recording(share.recording)
    progress.stage(f"worker for {host} port {port}, with {recording.name} {recording.digest}")
    setup = RemoteSetup(
        host=host,
        port=port,
        token=share.token,
        targets=share.targets,
        ca_file=str(share.ca_file or ""),
        told=progress.note,
    )
    with tempfile.TemporaryDirectory(prefix="readiness-worker-") as folder:
        ended = serve(recording, Path(folder), setup)
    if ended:
        raise EngineError(f"this worker ended: {ended}", "see what the machine that leads the replay says")
