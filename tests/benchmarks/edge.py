"""What the plane adds to an edge: the same requests to the same callee, direct and through the plane, taken in turns.

Takes a setting, gives one table. Direct and plane alternate within one run, so that the machine's drift falls on both.
Like is compared with like: both by container address from this machine (no docker-proxy on either way, as between
services), or both as ports published on 127.0.0.1 (docker-proxy on both ways, as the load generator meets an entry).
"""

from __future__ import annotations

import gc
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness.driver.base import Attachment, ContainerSpec
from harness.environment.services import ArmService
from harness.environment.stack import LABEL_RUN, LABEL_SERVICE, ArmStack
from harness.errors import EngineError
from harness.loading import load_environment
from harness.model.environment import CLIENT
from harness.model.quantities import Duration
from harness.model.recording import Exchange, Recording
from harness.replay.generator import LEAD_NS, ReplayChild, ReplayJob
from tests.benchmarks.arms import Bench, Graph, bench, ready_graph
from tests.benchmarks.setting import Setting
from tests.benchmarks.table import Table, median, quantile, spread

DEFINITION = Path(__file__).with_name("edge.environment.yaml")
RATE_PER_S = 500
WARMUP_S = 1
ROUNDS = 5
TIMEOUT_S = 5
HTTP_REQUEST = b"GET /applications HTTP/1.1\r\nhost: web\r\nx-request-id: benchmark\r\n\r\n"
REDIS_REQUEST = b"PING\r\n"

Place = tuple[str, int]


@dataclass(frozen=True)
class Pair:
    """One edge, reached in one way: where its callee answers, and where the plane answers for it."""

    protocol: str
    reached: str
    direct: Place
    plane: Place


@dataclass
class Latencies:
    """In ms, one list a round, of both routes."""

    direct: list[list[float]] = field(default_factory=list)
    plane: list[list[float]] = field(default_factory=list)
    late_ms: list[float] = field(default_factory=list)


def measure(setting: Setting) -> tuple[Table, ...]:
    """Half a minute of load on each way, one request at a time before it."""
    graph = ready_graph(load_environment(DEFINITION), setting)
    rows = []
    with bench() as found, tempfile.TemporaryDirectory(prefix="readiness-bench-") as work:
        stack = found.arm(graph)
        stack.up()
        by_address, published, redis = _pairs(stack, found, graph)
        with _generator(found, Path(work)) as generator:
            for pair in (by_address, published):
                setting.progress.note(f"{pair.protocol} {pair.reached}, idle")
                rows.append(_row(pair, "idle", _idle(pair, HTTP_REQUEST, _read_http, setting)))
                setting.progress.note(f"{pair.protocol} {pair.reached}, {RATE_PER_S} requests/s")
                rows.append(_row(pair, f"{RATE_PER_S}/s", _loaded(pair, generator, setting)))
        setting.progress.note(f"{redis.protocol} {redis.reached}, idle")
        rows.append(_row(redis, "idle", _idle(redis, REDIS_REQUEST, _read_line, setting)))
    return (_table(rows),)


def _pairs(stack: ArmStack, found: Bench, graph: Graph) -> tuple[Pair, Pair, Pair]:
    """Callees sit on internal networks and publish nothing, so the published callee is a twin of `web`."""
    http, redis = stack.layout.routes
    web = (http.callee_address, http.callee_port)
    twin = _publish_twin(stack, found, graph.services["web"])
    entry = found.driver.published(stack.container("plane"), http.listen_port)
    return (
        Pair("http", "by address", web, (http.listen_address, http.listen_port)),
        Pair("http", "published", twin, entry),
        Pair(
            "redis",
            "by address",
            (redis.callee_address, redis.callee_port),
            (redis.listen_address, redis.listen_port),
        ),
    )


def _publish_twin(stack: ArmStack, found: Bench, web: ArmService) -> Place:
    """A second `web` on the plane's access network, published on loopback as the plane's entry is."""
    name = stack.container("twin")
    limits = web.definition.limits
    found.journal.starting("container", name)
    found.driver.start(
        ContainerSpec(
            name=name,
            image=web.image.reference,
            networks=(Attachment(stack.container(CLIENT), stack.layout.access.service_address),),
            files=web.files,
            labels={LABEL_RUN: found.run_id, LABEL_SERVICE: "twin"},
            publish=(8080,),
            cpus=limits.cpus,
            memory_bytes=limits.memory.bytes,
        )
    )
    place = found.driver.published(name, 8080)
    deadline = time.monotonic() + 20
    while True:
        try:
            with _connected(place) as connection:
                connection.sendall(HTTP_REQUEST)
                _read_http(connection)
            return place
        except OSError:  # docker-proxy listens before nginx does
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@contextmanager
def _connected(place: Place) -> Iterator[socket.socket]:
    with socket.create_connection(place, TIMEOUT_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


def _read_http(connection: socket.socket) -> None:
    """One answer with a content-length. Raises ConnectionError for anything but a whole 200."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += _receive(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    status, *headers = head.lower().split(b"\r\n")
    length = next(int(line[15:]) for line in headers if line.startswith(b"content-length:"))
    while len(body) < length:
        body += _receive(connection)
    if b" 200 " not in status:
        raise ConnectionError(f"answered {status!r}")


def _read_line(connection: socket.socket) -> None:
    received = b""
    while not received.endswith(b"\r\n"):
        received += _receive(connection)
    if received != b"+PONG\r\n":
        raise ConnectionError(f"answered {received!r}")


def _receive(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionError("the connection was closed")
    return data


def _idle(pair: Pair, request: bytes, read: Callable[[socket.socket], None], setting: Setting) -> Latencies:
    """One request at a time on one kept-alive connection a route, in alternating rounds."""
    each = setting.count(200, 40)
    found = Latencies()

    def ask(connection: socket.socket, count: int) -> list[float]:
        times_ms = []
        for _ in range(count):
            started_ns = time.perf_counter_ns()
            connection.sendall(request)
            read(connection)
            times_ms.append((time.perf_counter_ns() - started_ns) / 1e6)
        return times_ms

    with _connected(pair.direct) as direct, _connected(pair.plane) as plane:
        ask(direct, each // 2)
        ask(plane, each // 2)
        gc.disable()
        try:
            for _ in range(ROUNDS):
                found.direct.append(ask(direct, each))
                found.plane.append(ask(plane, each))
        finally:
            gc.enable()
    return found


@contextmanager
def _generator(found: Bench, work: Path) -> Iterator[ReplayChild]:
    child = ReplayChild("benchmark", work)
    try:
        child.start()
        found.journal.process("generator benchmark", child.pid)
        yield child
    finally:
        child.close()


def _loaded(pair: Pair, generator: ReplayChild, setting: Setting) -> Latencies:
    """The project's own generator: open model, evenly spaced, the same schedule on both routes in alternating rounds."""
    length_s = WARMUP_S + setting.count(3, 1)
    gap_ns = 1_000_000_000 // RATE_PER_S
    exchanges = [
        Exchange(number, number * gap_ns, "benchmark", "", "GET", "/applications", "/applications", (), b"")
        for number in range(length_s * RATE_PER_S)
    ]
    recording = Recording.of("edge", "", exchanges, length_s * 1_000_000_000)
    found = Latencies()
    for _ in range(setting.count(ROUNDS, 2)):
        for place, into in ((pair.direct, found.direct), (pair.plane, found.plane)):
            latencies_ms, late_ms = _replay(generator, recording, place)
            into.append(latencies_ms)
            found.late_ms.append(late_ms)
    return found


def _replay(generator: ReplayChild, recording: Recording, place: Place) -> tuple[list[float], float]:
    """Latencies after the warm-up, and how late requests went out (p99), in ms. Raises EngineError for a bad answer."""
    start_ns = time.monotonic_ns() + LEAD_NS
    job = ReplayJob(
        unit="edge",
        turn=0,
        exchanges=recording.exchanges,
        base_url=f"http://{place[0]}:{place[1]}",
        seed=0,
        recording_digest=recording.digest,
        recording_from_ns=0,
        length_ns=recording.length_ns,
        start_ns=start_ns,
        origin_ns=start_ns,
        timeout=Duration.of_s(TIMEOUT_S),
    )
    outcome = generator.replay(job)
    rows = outcome.exchanges(lambda _: "steady")
    bad = [row for row in rows.rows() if row["status"] != 200]
    if bad:
        raise EngineError(
            f"{len(bad)} of {outcome.planned} requests to {job.base_url} failed: {bad[0]['error'] or bad[0]['status']}",
            "see whether this machine has room for this load",
        )
    warm = rows.column("scheduled_ns") >= WARMUP_S * 1_000_000_000
    latencies_ms = (rows.column("answered_ns") - rows.column("sent_ns"))[warm] / 1e6
    return latencies_ms.tolist(), float(outcome.detail()["lag_p99_ms"])


def _row(pair: Pair, load: str, found: Latencies) -> tuple[str, ...]:
    direct, plane = _flat(found.direct), _flat(found.plane)
    d50, d99, p50, p99 = (quantile(values, q) for values in (direct, plane) for q in (0.5, 0.99))
    by_round = [
        quantile(through, 0.5) / quantile(past, 0.5)
        for past, through in zip(found.direct, found.plane, strict=True)
    ]
    return (
        pair.protocol,
        pair.reached,
        load,
        str(len(direct)),
        *(f"{value:.3f}" for value in (d50, d99, p50, p99, p50 - d50, p99 - d99)),
        f"{median(by_round):.1f} ({spread(by_round, 1)})",
        f"{p99 / d99:.1f}",
        f"{max(found.late_ms):.1f}" if found.late_ms else "",
    )


def _flat(rounds: Sequence[Sequence[float]]) -> list[float]:
    return [value for one in rounds for value in one]


def _table(rows: Sequence[tuple[str, ...]]) -> Table:
    return Table(
        title="Overhead of an edge (ms)",
        caption=(
            "Direct and plane took turns, round by round, to callees of one kind. `by address`: both by container address "
            "from this machine, without docker-proxy, as between services. `published`: both as ports on 127.0.0.1 through "
            "docker-proxy, as the load generator meets an entry. `idle`: one request at a time on a kept-alive connection. "
            f"`{RATE_PER_S}/s`: the project's own generator (harness.replay), open model, evenly spaced, from sent to "
            "answered; `late`: how late it sent, in the worst round. `each`: requests counted on each way."
        ),
        columns=(
            *("edge", "reached", "load", "each", "direct p50", "p99", "plane p50", "p99"),
            *("added p50", "p99", "ratio p50 (rounds)", "p99", "late p99"),
        ),
        rows=tuple(rows),
        left=3,
    )
