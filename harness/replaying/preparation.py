"""Everything that a replay needs, looked at before anything is sent: recording, pace, targets, thresholds, policy, rules.

Takes a `ReplayRequest`, gives `Prepared`, or one DefinitionError with all that is wrong.
"""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from harness.errors import DefinitionError, Location, Problem
from harness.loading import load_dataset, load_policy
from harness.model.policy import Policy
from harness.model.quantities import Duration
from harness.model.recording import Exchange, Traffic
from harness.progress import Progress
from harness.recording.captured import header_lines
from harness.recording.load import MARRIED, load_recording, session_rules
from harness.recording.pace import PacedRecording, PaceError, lay
from harness.recording.sessions.live import json_steps
from harness.recording.sessions.planning import SessionPlanner
from harness.recording.sessions.rules import SessionRules
from harness.recording.sessions.steps import Steps
from harness.recording.store import StoredRecording
from harness.replay.rendering import NEWER, unsendable
from harness.replaying.output import Output
from harness.replaying.request import ReplayRequest, address
from harness.replaying.targets import Targets, reach, targets
from harness.replaying.thresholds import Threshold, parse

T = TypeVar("T")


@dataclass(frozen=True)
class Prepared:
    """`recording` as it lies there, `traffic` at the pace asked for. `rules` None: sessions are not kept up."""

    request: ReplayRequest
    recording: Traffic
    traffic: Traffic
    rules: SessionRules | None
    targets: Targets
    thresholds: tuple[Threshold, ...]
    policy: Policy

    @cached_property
    def offsets_ns(self) -> npt.NDArray[np.int64]:
        return self.traffic.offsets_ns()

    @property
    def shifts_ns(self) -> tuple[int, ...]:
        return self.traffic.shifts_ns if isinstance(self.traffic, PacedRecording) else ()

    @property
    def halved_clients(self) -> int:
        return self.traffic.halved_clients if isinstance(self.traffic, PacedRecording) else 0

    @property
    def who(self) -> str:
        """The target, as sentences name it."""
        urls = self.targets.urls
        return urls[0].partition("://")[2].rstrip("/") if len(urls) == 1 else f"the {len(urls)} targets"

    def exchanges(self, url: str) -> Iterator[Exchange]:
        """Those that go to this target, in order of time."""
        hosts = self.targets.hosts_of(url)
        everything = self.traffic.slice(0, self.traffic.count)
        return (exchange for exchange in everything if exchange.host in hosts)

    def planner(self) -> Callable[[Exchange], Steps] | None:
        """What gives the steps of one target's exchanges, in order."""
        return None if self.rules is None else SessionPlanner(self.rules).plan


class _Problems:
    def __init__(self) -> None:
        self.found: list[Problem] = []

    def collected(self, make: Callable[[], T]) -> T | None:
        try:
            return make()
        except DefinitionError as error:
            self.found += error.problems
            return None

    def raise_if_any(self) -> None:
        if self.found:
            raise DefinitionError(self.found)


def prepare(request: ReplayRequest, progress: Progress) -> Prepared:
    """Raises DefinitionError; the targets have been reached when it returns."""
    problems = _Problems()
    problems.found += request.problems
    problems.found += _option_problems(request)
    thresholds = problems.collected(lambda: parse(request.thresholds))
    policy = problems.collected(lambda: load_policy(request.policy))
    problems.collected(lambda: Output.at(request.out))
    recording = problems.collected(lambda: _recording(request, progress))
    hosts: Mapping[str, int] = {}
    if recording is not None:
        survey = _Survey.of(recording, request.http1)
        problems.found += survey.problems(request.recording)
        hosts = survey.hosts
    found = (
        problems.collected(lambda: targets(request.target, request.hosts, hosts))
        if recording is not None
        else None
    )
    traffic = problems.collected(lambda: _paced(recording, request)) if recording is not None else None
    rules = problems.collected(lambda: _rules(recording, request)) if recording is not None else None
    problems.found += _crew_problems(request, found)
    problems.found += _never_seen(thresholds or (), request.timeout)
    problems.raise_if_any()
    if recording is None or traffic is None or found is None or thresholds is None or policy is None:
        raise AssertionError("what could not be looked at has left a problem")
    for url in found.urls:
        reach(url, request.insecure, request.ca_file)
    return Prepared(request, recording, traffic, rules, found, thresholds, policy.value)


def _option_problems(request: ReplayRequest) -> Iterator[Problem]:
    """What no request could be sent with."""
    if not request.timeout.ns:
        yield Problem(Location("--timeout"), "no answer takes no time at all", "write for example 30s")
    yield from (
        Problem(
            Location("--keep-field"),
            f"{path!r} leads to no JSON field",
            "write for example decision.items[0].score",
        )
        for path in request.fields
        if not path or json_steps(path) is None
    )
    if request.ca_file is not None:
        try:
            ssl.create_default_context(cafile=str(request.ca_file))
        except ssl.SSLError:
            yield Problem(
                Location(str(request.ca_file)), "no certificates in PEM form", "give --ca-file a PEM file"
            )
        except OSError as error:
            why = f"the certificates cannot be read: {error.strerror}"
            yield Problem(Location(str(request.ca_file)), why, "give --ca-file a PEM file")


def _never_seen(thresholds: Iterable[Threshold], timeout: Duration) -> list[Problem]:
    """Latencies that nobody waits for: what got no answer counts with the time limit, and would stay below them."""
    return [
        Problem(
            Location("--fail-if"),
            f"{threshold.text!r} can never be exceeded: a request is given up after {timeout}",
            "name a shorter time, or a longer one with --timeout",
        )
        for threshold in thresholds
        if threshold.kind == "latency"
        and threshold.comparison in (">", ">=")
        and not threshold.holds(timeout.ms)
    ]


def _crew_problems(request: ReplayRequest, found: Targets | None) -> list[Problem]:
    """What is wrong with who is to send."""
    wrong: list[tuple[str, str, str]] = []
    if request.workers < (0 if request.expect_workers else 1) or request.expect_workers < 0:
        wrong.append(("--workers", f"{request.workers} is no number of processes", "let at least one send"))
    if request.expect_workers and not request.listen:
        wrong.append(("--expect-workers", "they would not know where to come", "add --listen HOST:PORT"))
    if request.expect_workers and found is not None and len(found.urls) > 1:
        what = f"workers of other machines send to one target, and this replay has {len(found.urls)}"
        wrong.append(
            ("--expect-workers", what, "use --workers, or replay each host's exchanges by themselves")
        )
    if request.listen:
        try:
            address("--listen", request.listen)
        except DefinitionError as error:
            return [Problem(Location(option), what, fix) for option, what, fix in wrong] + list(
                error.problems
            )
    return [Problem(Location(option), what, fix) for option, what, fix in wrong]


def _recording(request: ReplayRequest, progress: Progress) -> Traffic:
    table = None
    if request.dataset is not None:
        import synthetic

        definition = load_dataset(request.dataset).value
        table = synthetic.find_or_build(request.dataset, definition, progress.note).table
    elif request.recording.name.endswith(MARRIED) and request.recording.exists():
        what, fix = "this recording draws its requests from a dataset", "add --dataset NAME.dataset.yaml"
        raise DefinitionError.at(request.recording, what, fix)
    recording = load_recording(request.recording, table)
    if not recording.count:
        raise DefinitionError.at(request.recording, "the recording holds no exchanges", "name one that does")
    return recording


def _paced(recording: Traffic, request: ReplayRequest) -> Traffic:
    try:
        traffic = lay(recording, request.pace)
    except PaceError as error:
        raise DefinitionError.at("--from", str(error), "begin sooner") from error
    if not traffic.count:
        raise DefinitionError.at("--from, --to", "there is no exchange in this slice", "choose another")
    return traffic


def _rules(recording: Traffic, request: ReplayRequest) -> SessionRules | None:
    """Of a recording that has some."""
    return (session_rules(recording) or None) if request.sessions else None


@dataclass(frozen=True)
class _Survey:
    """One pass over the whole recording: its hosts, and what of it cannot be sent."""

    hosts: Mapping[str, int]
    unsendable: str
    unsendable_count: int

    @classmethod
    def of(cls, recording: Traffic, http1: bool) -> _Survey:
        hosts: Counter[str] = Counter()
        first, count = "", 0
        for seq, (host, http, headers) in enumerate(_heads(recording)):
            hosts[host] += 1
            if not http1 and (http in NEWER or "application/grpc" in headers):
                why = unsendable(next(iter(recording.slice(seq, seq + 1))), http1)
                first, count = first or why, count + bool(why)
        return cls(hosts, first, count)

    def problems(self, path: Path) -> list[Problem]:
        if not self.unsendable:
            return []
        more = f" (and {self.unsendable_count - 1} more)" if self.unsendable_count > 1 else ""
        fix = "send all of it as HTTP/1.1 with --http1"
        return [Problem(Location(str(path)), self.unsendable.partition(";")[0] + more, fix)]


def _heads(recording: Traffic) -> Iterator[tuple[str, str, str]]:
    """Host, HTTP version and headers of each exchange; of a stored recording read from those columns alone."""
    if isinstance(recording, StoredRecording):
        for batch in recording.batches(("host", "http", "headers")):
            yield from zip(
                *(batch.column(name).to_pylist() for name in ("host", "http", "headers")), strict=True
            )
        return
    for exchange in recording.slice(0, recording.count):
        yield exchange.host, exchange.http, header_lines(list(exchange.headers))
