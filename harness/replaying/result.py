"""What a replay found: how it stands, how faithful it was, what came back, and everything needed to repeat it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import ExitCode
from harness.model.fidelity import Fidelity
from harness.model.policy import Policy
from harness.replaying.figures import Figures
from harness.replaying.request import ReplayRequest
from harness.replaying.thresholds import Judged


class Standing(enum.StrEnum):
    """What follows for whoever asked."""

    WITHIN = "within"
    """Faithful, and no threshold was exceeded."""
    EXCEEDED = "exceeded"
    """Faithful, and a threshold was."""
    UNKNOWN = "unknown"
    """Not faithful, cut short, or nothing came back: its figures say little about the target."""


@dataclass(frozen=True)
class Played:
    """What was replayed: the recording, and what its pace made of it. Digests are `sha256:…`."""

    name: str
    digest: str
    attribution: str
    paced_digest: str
    count: int
    length_ns: int
    shifts_ns: tuple[int, ...]
    halved_clients: int
    sessions: bool


@dataclass(frozen=True)
class ReplayResult:
    """`reasons`: sentences, the first of which says how it stands. `generators`: the figures each left."""

    request: ReplayRequest
    played: Played
    targets: Mapping[str, str]
    standing: Standing
    reasons: tuple[str, ...]
    interrupted: bool
    fidelity: Fidelity
    figures: Figures
    thresholds: tuple[Judged, ...]
    policy: Policy
    generators: tuple[Mapping[str, Any], ...]
    started_at: str
    files: tuple[Path, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        if self.interrupted:
            return ExitCode.INTERRUPTED
        return {
            Standing.WITHIN: ExitCode.READY,
            Standing.EXCEEDED: ExitCode.NOT_READY,
            Standing.UNKNOWN: ExitCode.UNKNOWN,
        }[self.standing]

    def values(self) -> dict[str, Any]:
        """As JSON has it, in `replay.json` and with `--json`. Times in ms, shares from 0 to 1, nothing rounded."""
        played, figures, pace = self.played, self.figures, self.request.pace
        return {
            "standing": self.standing.value,
            "reasons": list(self.reasons),
            "exit_code": int(self.exit_code),
            "interrupted": self.interrupted,
            "recording": {
                "name": played.name,
                "digest": played.digest,
                "attribution": played.attribution,
                "paced_digest": played.paced_digest,
                "pace": pace.model_dump(mode="json", by_alias=True),
                "shifts_ns": list(played.shifts_ns),
                "halved_clients": played.halved_clients,
                "requests": played.count,
                "length_ms": played.length_ns / 1e6,
                "sessions": played.sessions,
            },
            "targets": dict(self.targets),
            "seed": self.request.seed,
            "started_at": self.started_at,
            "policy": self.policy.model_dump(mode="json"),
            "fidelity": {"score": self.fidelity.score, **self.fidelity.model_dump(mode="json")},
            "overall": figures.overall.values(),
            "routes": [route.values() for route in figures.routes],
            "statuses": {str(status): count for status, count in figures.statuses.items()},
            "errors": dict(figures.errors),
            "worse_than_recorded": figures.worse,
            "thresholds": [
                {
                    "text": item.threshold.text,
                    "value": item.value,
                    "limit": item.threshold.limit,
                    "exceeded": item.exceeded,
                }
                for item in self.thresholds
            ],
            "generators": [dict(item) for item in self.generators],
            "files": [str(path) for path in self.files],
        }
