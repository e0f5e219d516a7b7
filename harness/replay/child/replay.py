"""Carries out one order: sends every request at its time and records what comes back.

Open model: a request goes out when it is due, whether or not earlier ones were answered, so that a service that stalls
is charged for all who had to wait. One alarm wakes the event loop when the next request is due; requests are complete
bytes by then. A unit starts with no connection, so that it meets the same state in every arm and turn; nothing is
redirected and nothing is sent twice.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

import gevent
from gevent.event import Event
from gevent.server import StreamServer
from locust.env import Environment

from harness.recording.sessions.live import json_at, json_steps
from harness.replay.child.alarm import Alarm
from harness.replay.child.answers_file import AnswersFile
from harness.replay.child.requests import Requests
from harness.replay.child.resources import memory_limit_bytes, most_memory_bytes, usage
from harness.replay.child.sending import MOST_PARSED_BYTES, Sending
from harness.replay.child.sessions import Memory, Schedule
from harness.replay.child.target import find_target
from harness.replay.child.user import ReplayUser, make_environment
from harness.replay.frames import Request, pack, pack_end
from harness.replay.protocol import BODY_LIMIT_BYTES, FLUSH_S, Order, Reply

__all__ = ["Replay", "heat", "make_environment"]

CLIENT_FELL_OUT = "client fell out"
NEVER_NS = 2**63
BURST = 16
"""While behind schedule, look at the network after this many requests."""


class Replay:
    """One order in this process. `most_in_flight`: how many requests may be under way at once."""

    def __init__(
        self, environment: Environment, order: Order, most_in_flight: int, memory: Memory | None = None
    ) -> None:
        """`memory` is the process's; an order that keeps no sessions has one of its own.

        Raises OSError and ValueError for files and URLs that cannot be used.
        """
        self._order = order
        self._fields = [(path, json_steps(path)) for path in order.fields]
        self._keep_bytes = MOST_PARSED_BYTES if order.fields else BODY_LIMIT_BYTES
        target = find_target(order.base_url, order.insecure, order.ca_file)
        self._client = ReplayUser(environment, target, order.timeout_ns, most_in_flight, self._over).client
        self._answers = AnswersFile(order.answers_file)
        self._done = Event()
        self._pumping = False
        self._stopped = False
        self._wake_ns = NEVER_NS
        self._waited_for = 0
        self._busiest_share = 0.0
        self._alarm = Alarm(self._pump)
        self._requests = Requests(order.requests_file, self._more_requests)
        last_ns = order.start_ns + order.length_ns + order.timeout_ns
        own = memory if memory is not None and order.keeps_sessions else Memory()
        self._schedule = Schedule(self._requests, order.start_ns, last_ns, own)

    def run(self) -> Reply:
        """Blocks until every request is answered or has timed out.

        Raises OSError when answers could not be kept, ValueError when the requests were not handed over whole.
        """
        before = usage()
        flusher = gevent.spawn(self._flush_forever)
        try:
            self._alarm.set(self._order.start_ns)
            self._done.wait()
        finally:
            self._stopped = True
            flusher.kill()
            self._client.close()
            self._alarm.close()
            self._requests.close()
            self._answers.close()
        if self._requests.error is not None:
            raise self._requests.error
        return Reply(self._order.number, "done", resources=usage().since(before) | self._figures())

    def stop(self) -> None:
        """Send no more; `run` returns when what is under way is over."""
        self._stopped = True
        self._pump()

    def _pump(self) -> None:
        """Give up what has waited too long, send what is due, and set the alarm for what comes next."""
        if self._pumping or self._done.is_set():
            return
        self._pumping = True
        try:
            deadline_ns = self._client.next_deadline_ns
            if deadline_ns and deadline_ns <= time.monotonic_ns():
                self._client.expire(time.monotonic_ns())
            next_ns = self._send_due()
        finally:
            self._pumping = False
        deadline_ns = self._client.next_deadline_ns
        if not deadline_ns and (self._stopped or self._schedule.finished):
            self._alarm.clear()
            self._done.set()
            return
        self._wake_ns = min(next_ns or NEVER_NS, deadline_ns or NEVER_NS)
        if self._wake_ns < NEVER_NS:
            self._alarm.set(self._wake_ns)
        else:
            self._alarm.clear()  # until requests come

    def _more_requests(self) -> None:
        """There were none, now there are; the first of them may be late already."""
        head = self._requests.head
        if head is not None and self._order.start_ns + head.offset_ns < time.monotonic_ns():
            self._waited_for += 1
        self._pump()

    def _send_due(self) -> int:
        """Gives when the next request is due; 0: not known, or there is none."""
        schedule = self._schedule
        for _ in range(BURST):
            due_ns = 0 if self._stopped else schedule.next_due_ns()
            if not due_ns or due_ns > time.monotonic_ns():
                return due_ns
            popped = schedule.pop()
            if popped is not None:
                self._send(*popped)
        return 1

    def _send(self, request: Request, due_ns: int) -> None:
        steps = request.steps
        if steps is None:
            self._client.send(Sending(request, due_ns, request.payload, self._keep_bytes))
            return
        keep_bytes = MOST_PARSED_BYTES if steps.takes else self._keep_bytes
        try:
            payload = self._schedule.payload(request)
        except KeyError as error:
            self._client.leave_out(Sending(request, due_ns, b"", 0), CLIENT_FELL_OUT, error)
            return
        sending = Sending(request, due_ns, payload, keep_bytes)
        if self._schedule.too_late(due_ns):
            self._client.leave_out(sending, CLIENT_FELL_OUT, TimeoutError("the unit has long been over"))
        else:
            self._client.send(sending)

    def _over(self, sending: Sending) -> None:
        """Called once for each request, from within the event loop."""
        self._answers.add(sending, self._kept(sending))
        if self._answers.error is not None:
            self._stopped = True
        now_ns = time.monotonic_ns()
        news = self._schedule.over(sending, now_ns)
        if news or now_ns >= self._wake_ns or not self._client.in_flight:
            self._pump()

    def _kept(self, sending: Sending) -> bytes:
        """What the record keeps of an answer's body: all, or a JSON object of the fields that were asked for."""
        if not self._fields or not sending.status_code:
            return sending.body
        try:
            document = json.loads(sending.body)
        except (ValueError, RecursionError):
            return b"{}"
        found = {path: json_at(document, steps) for path, steps in self._fields}
        return json.dumps({path: value for path, value in found.items() if value is not None}).encode("ascii")

    def _flush_forever(self) -> None:
        cpu_ns, wall_ns = time.process_time_ns(), time.monotonic_ns()
        while True:
            gevent.sleep(FLUSH_S)
            self._answers.flush(reversed(self._client.in_flight))
            cpu_before_ns, wall_before_ns = cpu_ns, wall_ns
            cpu_ns, wall_ns = time.process_time_ns(), time.monotonic_ns()
            share = (cpu_ns - cpu_before_ns) / (wall_ns - wall_before_ns)
            self._busiest_share = max(self._busiest_share, share)

    def _figures(self) -> dict[str, float]:
        client = self._client
        hits, first_ns, last_ns = client.limit_hits
        return {
            "busiest_cpu_share": self._busiest_share,
            "max_rss_bytes": most_memory_bytes(),
            "memory_limit_bytes": memory_limit_bytes(),
            "most_in_flight": client.most_in_flight,
            "in_flight_limit": client.limit,
            "in_flight_limit_hits": hits,
            "in_flight_limit_first_ns": first_ns,
            "in_flight_limit_last_ns": last_ns,
            "connections_opened": client.connections_opened,
            "sent_bytes": client.sent_bytes,
            "received_bytes": client.received_bytes,
            "requests_waited_for": self._waited_for,
        }


def heat(environment: Environment) -> None:
    """Send a few requests to a server of our own, so that no first request pays for late imports."""

    def answer(connection: Any, _: object) -> None:
        while connection.recv(65536):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    server = StreamServer(("127.0.0.1", 0), answer)
    server.start()
    payload = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{}"
    requests = [Request(k, k * 1_000_000, "POST", b"", b"", b"/", payload) for k in range(20)]
    held = os.memfd_create("requests")
    try:
        os.write(held, b"".join([*map(pack, requests), pack_end()]))
        base_url, source = f"http://127.0.0.1:{server.server_port}", f"/proc/self/fd/{held}"
        start_ns = time.monotonic_ns()
        Replay(environment, Order(0, source, os.devnull, base_url, start_ns, 0, 2_000_000_000), 4).run()
    finally:
        os.close(held)
        server.stop(timeout=1)
