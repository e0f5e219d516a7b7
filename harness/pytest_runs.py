"""What the fixtures do: start a run, stand an environment up, and say meanwhile what happens.

Takes pytest's config and paths as a test gives them; gives what `harness.run` and `harness.standing` give, and keeps the
results until they are reported. The engine is imported when the first run starts.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TextIO, cast

import pytest

from harness.errors import Interrupted, ReadinessError
from harness.progress import Progress, Silent

if TYPE_CHECKING:
    from harness.run import RunResult
    from harness.standing import StandingEnvironment


class StartRun(Protocol):
    """The fixture `readiness_run`."""

    def __call__(
        self,
        change: str | os.PathLike[str],
        *,
        scenario: str | os.PathLike[str] | None = None,
        seed: int | None = None,
        policy: str | os.PathLike[str] | None = None,
    ) -> tuple[RunResult, ...]:
        """One result a scenario. Raises DefinitionError and EngineError."""


class StandEnvironment(Protocol):
    """The fixture `readiness_environment`."""

    def __call__(
        self, environment: str | os.PathLike[str], dataset: str | os.PathLike[str] | None = None
    ) -> StandingEnvironment:
        """Healthy and seeded until the session ends. Raises DefinitionError and EngineError."""


class Runs:
    """The runs of one pytest session. `now` gives the test that runs, if any."""

    def __init__(self, config: pytest.Config, now: Callable[[], pytest.Item | None]) -> None:
        self._config = config
        self._now = now
        self._finished: list[RunResult] = []

    def take_finished(self) -> tuple[RunResult, ...]:
        """Results that nobody has taken yet."""
        taken = tuple(self._finished)
        self._finished.clear()
        return taken

    def start(
        self,
        change: str | os.PathLike[str],
        *,
        scenario: str | os.PathLike[str] | None = None,
        seed: int | None = None,
        policy: str | os.PathLike[str] | None = None,
    ) -> tuple[RunResult, ...]:
        """See `StartRun`. What the call does not say, the options say."""
        __tracebackhide__ = True
        from harness import run

        option = self._config.getoption
        request = run.RunRequest(
            change=self._path(change),
            scenarios=() if scenario is None else (self._path(scenario),),
            policy=self._path(policy) if policy is not None else self._typed(option("readiness_policy")),
            seed=seed if seed is not None else option("readiness_seed"),
            out=self._typed(option("readiness_out")),
            key=self._typed(option("readiness_key")),
        )
        progress = progress_of(self._config)
        progress.stage(str(request.change))
        with ToldPlainly():
            results = run.run_change(request, progress)
        self._finished += results
        return results

    @contextlib.contextmanager
    def environments(self) -> Iterator[StandEnvironment]:
        """Within: a function that stands environments up, each once; all of them go when the context ends."""
        known: dict[tuple[Path, Path | None], StandingEnvironment | ReadinessError] = {}
        with ToldPlainly(), contextlib.ExitStack() as stack:

            def stand(
                environment: str | os.PathLike[str], dataset: str | os.PathLike[str] | None = None
            ) -> StandingEnvironment:
                __tracebackhide__ = True
                key = self._path(environment), self._path(dataset) if dataset is not None else None
                if key not in known:
                    try:
                        with ToldPlainly():
                            known[key] = stack.enter_context(stands(*key, progress_of(self._config)))
                    except ReadinessError as error:
                        known[key] = error  # what did not come up is not tried again for every test
                found = known[key]
                if isinstance(found, ReadinessError):
                    raise found.with_traceback(None)
                return found

            yield stand

    def _path(self, given: str | os.PathLike[str]) -> Path:
        """Beside the test that runs, else below the root folder; as a user would type it from here."""
        item = self._now()
        folders = [item.path.parent] if item is not None else []
        folders.append(self._config.rootpath)
        found = [folder / given for folder in folders]
        return as_typed(next((path for path in found if path.exists()), found[-1]))

    def _typed(self, option: str | None) -> Path | None:
        """A path from the command line is relative to where pytest was started, wherever a test has gone since."""
        return as_typed(self._config.invocation_params.dir / option) if option is not None else None


def as_typed(path: Path) -> Path:
    """The path without detours, relative to the current folder where it lies below it."""
    plain = Path(os.path.normpath(path.absolute()))
    return plain.relative_to(Path.cwd()) if plain.is_relative_to(Path.cwd()) else plain


class ToldPlainly:
    """Within: an interruption is pytest's own, and an error of the engine comes without the engine's frames."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        if isinstance(error, Interrupted):
            raise KeyboardInterrupt(str(error)) from None
        if isinstance(error, ReadinessError):
            raise error.with_traceback(None) from None


@contextlib.contextmanager
def stands(environment: Path, dataset: Path | None, progress: Progress) -> Iterator[StandingEnvironment]:
    """An environment between tests: Ctrl-C and SIGTERM end the session as ever, and cannot stop the taking down.

    `standing` handles both itself for as long as it lasts, which suits a command but not a session whose tests go on.
    """
    from harness.standing import standing

    in_main = threading.current_thread() is threading.main_thread()
    between = {signal.SIGINT: signal.getsignal(signal.SIGINT), signal.SIGTERM: signal.default_int_handler}
    with standing(environment, progress, dataset) as arm:
        inside = {number: signal.getsignal(number) for number in between}
        if in_main:
            _handle(between)
        try:
            yield arm
        finally:
            if in_main:
                _handle(inside)


def _handle(handlers: Mapping[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


# progress -------------------------------------------------------------------------------------------------------------


def progress_of(config: pytest.Config) -> Progress:
    """Lines as they happen, past pytest's capturing; with -q stages alone, with -qq nothing."""
    verbosity = config.get_verbosity()
    if verbosity < -1:
        return Silent()
    from harness.console import LineProgress

    lines = LineProgress(cast("TextIO", PastCapture(config)))
    return lines if verbosity >= 0 else StagesAlone(lines)


class StagesAlone:
    """Passes stages on and drops notes."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def stage(self, text: str) -> None:
        self._progress.stage(text)

    def note(self, text: str) -> None:
        pass


class PastCapture(io.TextIOBase):
    """Writes to pytest's terminal while pytest captures; in a worker of xdist, whose terminal nobody sees, to stderr."""

    def __init__(self, config: pytest.Config) -> None:
        plugins = config.pluginmanager
        worker = getattr(config, "workerinput", None)
        self._capture = plugins.getplugin("capturemanager")
        self._reporter = plugins.getplugin("terminalreporter") if worker is None else None
        self._prefix = f"[{worker['workerid']}] " if worker is not None else ""
        self._start = "\n"  # the controller's own line may be unfinished

    def isatty(self) -> bool:
        return self._reporter is not None and self._reporter.hasmarkup

    def write(self, text: str) -> int:
        with (
            self._capture.global_and_fixture_disabled()
            if self._capture is not None
            else contextlib.nullcontext()
        ):
            if self._reporter is not None:
                self._reporter.ensure_newline()
                self._reporter.write(text, flush=True)
            else:
                lines = (self._prefix + line for line in text.splitlines(keepends=True))
                sys.stderr.write(self._start + "".join(lines))
                sys.stderr.flush()
                self._start = ""
        return len(text)
