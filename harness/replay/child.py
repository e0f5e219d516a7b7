"""The load generator: a process of its own, the only place that knows Locust and gevent.

Run by `harness/replay/generator.py` as `python -m harness.replay.child PARENT_PID`. Takes orders (see `protocol`) on
standard input, gives replies on standard output and one line per request in the answers file. Importing Locust
patches the whole process, which is why the parent never does.

Open model: every request goes out at its own absolute time, whether or not earlier ones were answered, so that a
service that stalls is charged for all who had to wait. One pool of connections serves all clients, as a gateway's or
a load balancer's would; it starts empty with every unit, so that a unit meets the same state in every arm and turn.
Cookies are off (one client's answer must not change another's request), nothing is redirected, and no request is ever
sent twice.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import resource
import signal
import socket
import sys
import time
import zlib
from pathlib import Path
from typing import IO, Any, NoReturn
from urllib.parse import urlsplit

import gevent
from gevent.fileobject import FileObjectPosix
from gevent.monkey import get_original
from gevent.pool import Group
from gevent.server import StreamServer
from geventhttpclient.client import HTTPClient, HTTPClientPool
from geventhttpclient.connectionpool import ConnectionPool
from geventhttpclient.response import HTTPConnectionClosed, HTTPParseError
from locust.contrib.fasthttp import FastHttpUser
from locust.env import Environment
from locust.event import Events

from harness.replay.protocol import (
    BODY_LIMIT_BYTES,
    FLUSH_S,
    Answer,
    Order,
    Reply,
    Request,
    answer_line,
    decode_order,
    encode,
    read_requests,
    sent_line,
)

MOST_CONNECTIONS = 4096
"""Requests in flight at once. Locust's own 10 would turn the open model into a closed one behind a slow service."""

SPARE_FILES = 64
PARENT_CHECK_S = 0.5
YIELD_EVERY = 16
"""While behind schedule, let the requests that were started get to the network after this many."""


class AnswersFile:
    """Appends lines; a greenlet writes them out every `FLUSH_S`. The first failure to write is kept in `error`."""

    def __init__(self, path: str) -> None:
        self._file = Path(path).open("ab", buffering=0)  # noqa: SIM115 - closed by `close`
        self._lines: list[bytes] = []
        self.error: OSError | None = None
        self._flusher = gevent.spawn(self._flush_forever)

    def add(self, line: bytes) -> None:
        self._lines.append(line)

    def _flush(self) -> None:
        lines, self._lines = b"".join(self._lines), []
        try:
            while lines:
                lines = lines[self._file.write(lines) :]
        except OSError as error:
            self.error = self.error or error

    def _flush_forever(self) -> None:
        while True:
            gevent.sleep(FLUSH_S)
            self._flush()

    def close(self) -> None:
        """Raises OSError when anything could not be written."""
        self._flusher.kill()
        self._flush()
        self._file.close()
        if self.error is not None:
            raise self.error


class Sending(gevent.Greenlet):  # type: ignore[misc]
    """One request on its way; the connection pool and the listener find it as the current greenlet."""

    def __init__(self, replay: Replay, request: Request) -> None:
        super().__init__()
        self.replay = replay
        self.request = request
        self.sent_ns = -1
        self.connected = False
        self.over = False

    def mark_sent(self) -> None:
        """The request is handed to the network now: written to a live connection, or connecting begins."""
        if self.sent_ns < 0:
            self.sent_ns = time.monotonic_ns()
            self.replay.answers.add(sent_line(self.request.seq, self.sent_ns))

    def fail(self, error: BaseException) -> None:
        """Record that there was no answer, and why. One that never got a connection was not sent: our own shortage."""
        self.finish(0, error_class(error, self.connected) if self.sent_ns >= 0 else "not sent")

    def finish(self, status: int, error: str, body: str = "", answered_ns: int = -1) -> None:
        """Record the outcome; the first one counts."""
        if not self.over:
            self.over = True
            answer = Answer(self.request.seq, self.sent_ns, answered_ns, status, error, body)
            self.replay.answers.add(answer_line(answer))

    def _run(self) -> None:
        request = self.request
        try:
            with gevent.Timeout(self.replay.timeout_s):
                self.replay.user.client.request(
                    request.method,
                    request.path,
                    name=request.route,
                    data=request.body or None,  # type: ignore[arg-type]  # bytes are taken as well
                    headers=request.headers,
                    context={"sending": self},
                )
        except gevent.GreenletExit:
            self.fail(TimeoutError())
        except BaseException as error:  # noqa: BLE001 - gevent.Timeout is one; each is the outcome of this request
            self.fail(error)
        else:
            self.finish(
                0, "other: the client reported nothing"
            )  # unless the listener has heard of it, as it should


def error_class(error: BaseException, connected: bool) -> str:
    """Why there was no answer, in one or two words."""
    cause = getattr(error, "original", None) or error
    if isinstance(cause, gevent.Timeout | TimeoutError):
        return "timeout" if connected else "connect timeout"
    if isinstance(cause, ConnectionRefusedError):
        return "refused"
    if isinstance(cause, ConnectionResetError | BrokenPipeError):
        return "reset"
    if isinstance(cause, HTTPConnectionClosed):
        return "closed"
    if isinstance(cause, OSError) and cause.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return "unreachable"
    if isinstance(cause, HTTPParseError | zlib.error):
        return "bad answer"
    return f"other: {type(cause).__name__}: {cause}"[:200]


class WatchedPool(ConnectionPool):
    """Marks when a request reaches the network, and refuses to send one twice.

    geventhttpclient repeats idempotent requests on a closed connection as often as the pool is large; a service that
    hangs up would then see thousands of requests that nobody recorded.
    """

    def get_socket(self) -> Any:
        sending = gevent.getcurrent()
        if sending.sent_ns >= 0:
            raise HTTPConnectionClosed("the connection was closed before an answer")
        sock = super().get_socket()
        sending.connected = True
        return sock

    def _create_socket(self) -> Any:
        gevent.getcurrent().mark_sent()
        return super()._create_socket()

    def _is_socket_alive(self, sock: Any) -> bool:
        """Nothing to read and not closed. (The original's select() fails for descriptors above 1,023.)"""
        try:
            sock._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            gevent.getcurrent().mark_sent()
            return True
        except OSError:
            pass
        return False

    def after_connect(self, sock: Any) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class OneTargetPool(HTTPClientPool):
    """Hands out one client, whatever host a URL names: a replay cannot leave its target."""

    def __init__(self, base_url: str, size: int, timeout_s: float) -> None:
        super().__init__()
        target = urlsplit(base_url)
        host, port = target.hostname or "", target.port or 80
        self._client = HTTPClient(host, port=port, concurrency=size)
        self._client._connection_pool = WatchedPool(
            host, port, host, port, size=size, connection_timeout=timeout_s, network_timeout=timeout_s
        )

    def get_client(self, url: Any) -> HTTPClient:  # noqa: ARG002 - any URL means the target
        return self._client

    def close(self) -> None:
        self._client.close()


class ReplayUser(FastHttpUser):
    """Locust's fast client, told to do nothing of its own accord."""

    abstract = True
    # Not `allow_redirects=False` on each request: that changes the shared session back and forth under its users.
    max_redirects = 0
    max_retries = 0

    def __init__(self, environment: Environment, order: Order, connections: int) -> None:
        self.host = order.base_url
        self.connections = OneTargetPool(order.base_url, connections, order.timeout_ns / 1e9)
        self.client_pool = self.connections
        # Identity unless recorded otherwise: Locust would ask for compressed answers that no client asked for.
        self.default_headers = {"Accept-Encoding": "identity"}
        super().__init__(environment)
        agent = self.client.client
        agent.cookiejar = None
        # Every status is an answer; the default builds a transcript of each answer above 399 and fails on binary ones.
        agent.valid_response_codes = frozenset(range(100, 1000))  # type: ignore[misc]


class Replay:
    """One unit: sends every request of an order at its time and waits for what comes back."""

    def __init__(
        self, environment: Environment, order: Order, connections: int, requests: list[Request]
    ) -> None:
        self.order = order
        self.timeout_s = order.timeout_ns / 1e9
        self.requests = requests
        self.user = ReplayUser(environment, order, connections)
        self.answers = AnswersFile(order.answers_file)
        self.most_in_flight = 0

    def run(self) -> Reply:
        """Blocks until every request is answered or has timed out. Raises OSError when answers could not be kept."""
        cpu_ns, wall_ns = time.process_time_ns(), time.monotonic_ns()
        sendings = Group()
        try:
            self._send_all(sendings)
            sendings.join(timeout=self.timeout_s + FLUSH_S)
        finally:
            sendings.kill(timeout=FLUSH_S)
            self.user.connections.close()
            self.answers.close()
        return Reply(
            self.order.number,
            "done",
            cpu_ns=time.process_time_ns() - cpu_ns,
            wall_ns=time.monotonic_ns() - wall_ns,
            most_in_flight=self.most_in_flight,
        )

    def _send_all(self, sendings: Group) -> None:
        for index, request in enumerate(self.requests):
            waited = wait_until(self.order.start_ns + request.offset_ns)
            if not waited and index % YIELD_EVERY == 0:
                gevent.sleep(0)
            if self.answers.error is not None:
                return
            sendings.start(Sending(self, request))
            self.most_in_flight = max(self.most_in_flight, len(sendings))


def wait_until(due_ns: int) -> bool:
    """Sleep until an absolute time, so that no lateness adds up. False when it had passed already."""
    waited = False
    while (remaining_ns := due_ns - time.monotonic_ns()) > 0:
        waited = True
        gevent.sleep(remaining_ns / 1e9)
    return waited


def on_request(context: dict[str, Any], response: Any, exception: BaseException | None, **_: Any) -> None:
    """Locust's report of one request, the earliest moment at which the whole answer is here."""
    answered_ns = time.monotonic_ns()
    sending: Sending = context["sending"]
    if exception is not None:
        sending.fail(exception)
    else:
        sending.finish(response.status_code, "", body_text(response.content or b""), answered_ns)


def body_text(body: bytes) -> str:
    """The answer as text; cut where it is too long, and saying so, which no schema will take for a whole answer."""
    text = body[:BODY_LIMIT_BYTES].decode("utf-8", errors="replace")
    return text if len(body) <= BODY_LIMIT_BYTES else f"{text}…[cut: {len(body)} bytes]"


def make_environment() -> Environment:
    """Without a runner: its statistics would cost time per request and round what they keep."""
    environment = Environment(user_classes=[ReplayUser], events=Events())  # type: ignore[no-untyped-call]
    environment.events.request.add_listener(on_request)  # type: ignore[no-untyped-call]
    return environment


def heat(environment: Environment) -> None:
    """Send a few requests to a server of our own, so that no first request pays for late imports."""

    def answer(connection: Any, _: object) -> None:
        while connection.recv(65536):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    server = StreamServer(("127.0.0.1", 0), answer)
    server.start()
    try:
        base_url = f"http://127.0.0.1:{server.server_port}"
        order = Order(0, os.devnull, os.devnull, base_url, time.monotonic_ns(), 0, 2_000_000_000)
        headers = {"x-request-id": "-"}
        requests = [Request(k, k * 1_000_000, "POST", "/", "/", headers, b"{}") for k in range(20)]
        Replay(environment, order, 4, requests).run()
    finally:
        server.stop(timeout=1)


def settle_in(parent: int) -> int:
    """Process set-up; gives how many connections the limit on open files allows."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when Ctrl-C ends a unit
    with contextlib.suppress(OSError):
        os.nice(-5)  # where permitted: the generator must not wait for the services that it puts under load
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    get_original("_thread", "start_new_thread")(end_with_parent, (parent,))
    return MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else min(MOST_CONNECTIONS, soft - SPARE_FILES)


def end_with_parent(parent: int) -> NoReturn:
    """In a thread of its own that gevent does not know, so that it works even while the loop is busy.

    Not PR_SET_PDEATHSIG: that fires when the *thread* that started the child ends, and the parent may use several.
    """
    sleep = get_original("time", "sleep")
    while os.getppid() == parent:
        sleep(PARENT_CHECK_S)
    os._exit(1)


class Orders:
    """Takes orders as they come and runs each in a greenlet: a unit's tail and the next one's head may overlap."""

    def __init__(self, environment: Environment, connections: int, replies: IO[str]) -> None:
        self._environment = environment
        self._connections = connections
        self._replies = replies
        self._running = Group()

    def say(self, reply: Reply) -> None:
        self._replies.write(encode(reply))
        self._replies.flush()

    def take(self, line: str) -> None:
        """Start one order. Raises ValueError or TypeError for a line that is none."""
        order = decode_order(line)
        if not len(self._running):
            tidy_memory()
        self._running.spawn(self._carry_out, order)

    def _carry_out(self, order: Order) -> None:
        try:
            reply = Replay(
                self._environment, order, self._connections, load_requests(order.requests_file)
            ).run()
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent must hear of it
            reply = Reply(order.number, "failed", reason=f"{type(error).__name__}: {error}")
        self.say(reply)


def load_requests(path: str) -> list[Request]:
    """All requests in order of time, giving way to whatever else is being sent."""
    requests = []
    for request in read_requests(Path(path)):
        requests.append(request)
        if len(requests) % YIELD_EVERY == 0:
            gevent.sleep(0)
    return sorted(requests, key=lambda item: (item.offset_ns, item.seq))


def tidy_memory() -> None:
    """Collect while nothing is being sent, and never else: a collection in the middle made requests 24-30 ms late."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.disable()


def main() -> None:
    """Orders in, replies out, until standard input ends."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not look like a reply
    connections = settle_in(int(sys.argv[1]))
    environment = make_environment()
    heat(environment)
    orders = Orders(environment, connections, replies)
    orders.say(Reply(0, "ready"))
    for line in FileObjectPosix(os.dup(0), "rb"):
        orders.take(line.decode("utf-8"))


if __name__ == "__main__":
    main()
