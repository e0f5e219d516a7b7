"""`readiness record audit`: is anything private in what an import and a replay leave behind?

Takes an `AuditRequest`, gives an `AuditResult`. Canaries, a value of its own for each place of a recording, are captured,
imported and replayed in processes of their own; then everything that these wrote or printed is searched for them, in every
way in which a value can be written. Artefacts that the user names (recordings, reports, state folders, logs) are searched
for the user's own originals as well. Values stand in no result and no message: places and line numbers do.

The captures themselves lie in one folder that nobody else can read, which is not searched and is removed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from harness.errors import DefinitionError, EngineError, ExitCode, Location, Problem
from harness.progress import Progress
from harness.recording.audit_canaries import Canary, Captures, plant, plant_unlisted
from harness.recording.audit_originals import read_originals, values_of_capture
from harness.recording.audit_search import LEAST_CHARS, Hit, Needles, Search, Searched
from harness.recording.audit_target import RecordingTarget
from harness.recording.redaction import load_or_make_key
from harness.recording.redaction.keys import KEY_BYTES
from harness.recording.redaction.pseudonyms import Pseudonyms
from harness.recording.store import open_recording

LIMIT_S = 300
COMMAND = (sys.executable, "-c", "from harness.cli import main; main()")


@dataclass(frozen=True)
class AuditRequest:
    """What to audit.

    `artefacts`: recordings, reports, state folders, log files. `originals`: a file with one private value a line.
    `sources`: captured files whose private values (what `rules` replace in them) must not be found. `plant`: also import
    and replay canaries (`replay`: the latter).
    """

    artefacts: tuple[Path, ...] = ()
    originals: Path | None = None
    sources: tuple[Path, ...] = ()
    rules: Path | None = None
    key: Path | None = None
    plant: bool = True
    replay: bool = True


@dataclass(frozen=True)
class AuditResult:
    """What was found where, by words and never by values.

    `faults`: what else is wrong: a pseudonym that differs, an import that should have stopped. `unread`: what could not be
    searched, so that nobody knows; `not_done`: what was left out, and why.
    """

    canaries: tuple[str, ...]
    originals: int
    hits: tuple[Hit, ...]
    faults: tuple[str, ...]
    unread: tuple[str, ...]
    not_done: tuple[str, ...]
    files: int
    bytes: int

    @property
    def ok(self) -> bool:
        """Nothing private was found, in all there is."""
        return self.exit_code is ExitCode.READY

    @property
    def exit_code(self) -> ExitCode:
        """0: nothing was found; 1: something was; 3: something could not be searched."""
        if self.hits or self.faults:
            return ExitCode.NOT_READY
        return ExitCode.UNKNOWN if self.unread else ExitCode.READY


def audit(request: AuditRequest, progress: Progress) -> AuditResult:
    """Raises DefinitionError for files that cannot be used, EngineError where the canaries cannot be imported at all."""
    _check(request)
    originals = _originals(request)
    needles = Needles([(f"original {word}", value) for word, value in originals])
    search = Search(needles)
    for artefact in request.artefacts:
        progress.stage(f"search {artefact}")
        search.path(artefact)
    found = search.result()
    not_done = [f"{place}: too short to be told from chance" for place in needles.too_short]
    planted = _Planted((), (), (), (), (), 0, 0)
    if request.plant:
        planted = _audit_canaries(request, progress)
    return AuditResult(
        canaries=planted.canaries,
        originals=len(originals),
        hits=(*found.hits, *planted.hits),
        faults=planted.faults,
        unread=(*found.unread, *planted.unread),
        not_done=(*not_done, *planted.not_done),
        files=found.files + planted.files,
        bytes=found.bytes + planted.bytes,
    )


@dataclass(frozen=True)
class _Planted:
    """What came of the canaries."""

    canaries: tuple[str, ...]
    hits: tuple[Hit, ...]
    faults: tuple[str, ...]
    unread: tuple[str, ...]
    not_done: tuple[str, ...]
    files: int
    bytes: int


def _check(request: AuditRequest) -> None:
    problems = [
        Problem(Location(str(path)), "there is no such file or folder", "name what a run or an import wrote")
        for path in request.artefacts
        if not path.exists()
    ]
    if request.artefacts and not (request.originals or request.sources):
        problems.append(
            Problem(
                Location(str(request.artefacts[0])),
                "nobody knows what must not be in it",
                "give private values with --originals FILE (one a line), or the captured file with --source FILE",
            )
        )
    asked = [("--originals", request.originals), *(("--source", source) for source in request.sources)]
    problems += [
        Problem(
            Location(option),
            f"there is nothing in which to look for what {path} holds",
            "name a PATH to search",
        )
        for option, path in asked
        if path is not None and not request.artefacts
    ]
    if not request.plant and not request.artefacts:
        fix = "name a PATH to search, or leave the option out"
        problems.append(Problem(Location("--no-canaries"), "there is nothing to do", fix))
    if problems:
        raise DefinitionError(problems)


def _originals(request: AuditRequest) -> list[tuple[str, str]]:
    """Words and values."""
    found: list[tuple[str, str]] = []
    if request.originals is not None:
        found += read_originals(request.originals)
    for source in request.sources:
        found += values_of_capture(source, request.rules)
    if found and all(len(value) < LEAST_CHARS for _, value in found):
        files = ", ".join(str(path) for path in (request.originals, *request.sources) if path is not None)
        what = f"no value in it is long enough to be told from chance ({LEAST_CHARS} characters)"
        raise DefinitionError.at(files, what, "add longer ones, or search for these with other means")
    return found


def _audit_canaries(request: AuditRequest, progress: Progress) -> _Planted:
    """Import and replay them, search what that left, and see that unlisted ones stop an import."""
    load_or_make_key(request.key)  # wrong keys are told before anything starts
    hidden = Path(
        tempfile.mkdtemp(prefix="readiness-canaries-")
    )  # mode 0700: the only place with canaries in clear
    open_ = Path(tempfile.mkdtemp(prefix="readiness-audit-"))
    try:
        world = _World(request, hidden, open_)
        progress.stage("import canaries")
        captures = plant()
        found, faults, not_done = world.import_and_search(captures, progress)
        progress.stage("import unlisted secrets, each of which must be refused")
        for unlisted in plant_unlisted():
            faults += world.must_refuse(unlisted)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
        shutil.rmtree(open_, ignore_errors=True)
    if hidden.exists():
        faults.append(f"{hidden} could not be removed; it holds made-up secrets only")
    places = tuple(dict.fromkeys(canary.place for canary in captures.canaries))
    return _Planted(
        places, found.hits, tuple(faults), found.unread, tuple(not_done), found.files, found.bytes
    )


class _World:
    """Folders in which the project's own commands run, with everything that they could write to under one roof."""

    def __init__(self, request: AuditRequest, hidden: Path, open_: Path) -> None:
        self._request = request
        self._hidden = hidden
        self._open = open_
        self._said = 0
        self._key = hidden / "redaction.key"
        descriptor = os.open(self._key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(load_or_make_key(request.key).hex())
        for name in ("state", "tmp", "home", "work"):
            (open_ / name).mkdir()

    def import_and_search(
        self, captures: Captures, progress: Progress
    ) -> tuple[Searched, list[str], list[str]]:
        """Raises EngineError where the import fails."""
        har, log = self._hidden / "canaries.har", self._hidden / "canaries.log"
        har.write_bytes(captures.har)
        log.write_bytes(captures.log)
        recording = self._open / "work" / "canaries.recording"
        done = self._run("record", "import", str(har), str(log), *self._options(), "--out", str(recording))
        if done.returncode:
            raise EngineError(
                f"the canaries could not be imported (exit code {done.returncode}): {done.stderr.strip()[-2000:]}",
                "with rules of your own, see that none of them refuses what the built-in ones replace",
            )
        faults = self._same_everywhere(captures, recording)
        not_done = self._replay(recording, progress) if self._request.replay else ["replay: not asked for"]
        search = Search(Needles((canary.place, canary.value) for canary in captures.canaries))
        search.path(self._open, "canaries' world")
        return search.result(), faults, not_done

    def must_refuse(self, captures: Captures) -> list[str]:
        """An import of something that looks like a secret in a place that no rule names."""
        (canary,) = captures.canaries
        capture = self._hidden / "unlisted.har"
        capture.write_bytes(captures.har)
        out = self._open / "work" / "unlisted.recording"
        done = self._run("record", "import", str(capture), *self._options(), "--out", str(out))
        fault = ""
        if done.returncode == 0:
            if self._holds(canary, out):
                fault = "what looks like a secret was imported in clear, and nothing was said"
        elif out.exists():
            fault = "the import was refused and left something behind"
        elif self._holds(canary, self._open):
            fault = "the import was refused, and the value stands in what it said or left"
        shutil.rmtree(out, ignore_errors=True)
        return [f"{canary.place}: {fault}"] if fault else []

    def _holds(self, canary: Canary, path: Path) -> bool:
        search = Search(Needles([(canary.place, canary.value)]))
        if path.exists():
            search.path(path, "x")
        return bool(search.result().hits)

    def _options(self) -> list[str]:
        rules = (
            ["--redaction", str(self._request.rules.absolute())] if self._request.rules is not None else []
        )
        return [*rules, "--redaction-key", str(self._key)]

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One of the project's commands; what it prints becomes a file that is searched."""
        environment = os.environ | {
            "READINESS_STATE_DIR": str(self._open / "state"),
            "TMPDIR": str(self._open / "tmp"),
            "HOME": str(self._open / "home"),
            "READINESS_DEBUG": "1",
        }
        try:
            done = subprocess.run(
                [*COMMAND, *arguments],
                cwd=self._open / "work",
                env=environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
                capture_output=True,
                text=True,
                errors="backslashreplace",
                timeout=LIMIT_S,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            raise EngineError(
                f"`readiness {' '.join(arguments[:2])}` of the canaries took longer than {LIMIT_S} s",
                "try again on a machine with less to do",
            ) from None
        self._said += 1
        (self._open / f"stdout-{self._said}.txt").write_text(done.stdout)
        (self._open / f"stderr-{self._said}.txt").write_text(done.stderr)
        return done

    def _same_everywhere(self, captures: Captures, recording: Path) -> list[str]:
        """The value that stands in every place must have one pseudonym in all of them."""
        key = bytes.fromhex(self._key.read_text())
        assert len(key) == KEY_BYTES
        wanted = Needles([("pseudonym", Pseudonyms(key).of(captures.everywhere))])
        stored = open_recording(recording)
        faults = []
        for number, exchange in enumerate(stored.slice(0, stored.count)):
            place = captures.places[number] if number < len(captures.places) else ""
            if place != "everywhere":
                continue
            parts = [exchange.path.encode(), exchange.body, exchange.answer.body or b""]
            parts += [
                f"{name}: {value}".encode() for name, value in (*exchange.headers, *exchange.answer.headers)
            ]
            if not wanted.find(b"\n".join(parts)):
                faults.append(
                    f"exchange {number + 1}: one value does not have the same pseudonym here as elsewhere"
                )
        return faults

    def _replay(self, recording: Path, progress: Progress) -> list[str]:
        """Send it to a server of our own, and keep what that got. Gives what could not be done."""
        if self._run("replay", "--help").returncode:
            return ["replay: this version has no such command"]
        progress.stage("replay the canaries' recording")
        with RecordingTarget() as target:
            out = self._open / "replay"
            done = self._run(
                "replay",
                str(recording),
                "--target",
                target.url,
                "--speed",
                "5",
                "--out",
                str(out),
            )
            (self._open / "target.txt").write_bytes(target.received())
            got = target.requests
        if not got:
            return [f"replay: nothing was sent (exit code {done.returncode}): {_last_line(done.stderr)}"]
        return []


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "nothing was said"
