"""All connections of one order: who sends a request on which one.

Event-driven, in the event loop's own greenlet: a request costs no greenlet of its own. `Wire.send` writes at once, to a
kept-alive connection or to a new one; `on_over` hears once of each request, with its answer or with the reason why there
is none. Nothing is ever sent twice.

Requests of one `connection` key share keep-alive connections, one request at a time on each, as browsers do.
"""

from __future__ import annotations

import errno
import time
from collections import OrderedDict
from collections.abc import Callable

from harness.replay.child.connection import Connection
from harness.replay.child.sending import NOT_SENT, InFlightLimit, Sending, error_class
from harness.replay.child.target import Target
from harness.replay.child.tls_connection import TlsConnection

_now_ns = time.monotonic_ns


class Wire:
    """All connections of one order. `limit` requests may be under way, on as many connections at most."""

    def __init__(
        self, target: Target, timeout_ns: int, limit: int, on_over: Callable[[Sending], None]
    ) -> None:
        self.target = target
        self.timeout_ns = timeout_ns
        self.limit = limit
        self.on_over = on_over
        self.in_flight: OrderedDict[Sending, None] = OrderedDict()
        self.connections_opened = self.sent_bytes = self.received_bytes = 0
        self.most_in_flight = 0
        self.limit_hits: list[int] = [0, -1, -1]
        self._open = 0
        self._idle: OrderedDict[Connection, None] = OrderedDict()
        self._pools: dict[bytes, OrderedDict[Connection, None]] = {}

    def send(self, sending: Sending) -> None:
        """Hand it to the network now. `on_over` may be called before this returns."""
        if len(self.in_flight) >= self.limit:
            self._shortage(sending, InFlightLimit(f"{self.limit} requests are under way"))
            return
        connection = self._take(sending.request.connection)
        if connection is None:
            try:
                connection = self._new(sending.request.connection)
            except OSError as error:  # no descriptor, no memory: our own shortage
                self._shortage(sending, error)
                return
        sending.sent_ns = _now_ns()
        sending.deadline_ns = sending.sent_ns + self.timeout_ns
        self.in_flight[sending] = None
        self.most_in_flight = max(self.most_in_flight, len(self.in_flight))
        connection.start(sending)

    @property
    def next_deadline_ns(self) -> int:
        """When `expire` should be called next; 0 while nothing is under way."""
        for sending in self.in_flight:
            return sending.deadline_ns
        return 0

    def expire(self, now_ns: int) -> None:
        """Give up requests that have waited too long. All wait equally long, so the first one sent is the first one."""
        while self.in_flight:
            sending = next(iter(self.in_flight))
            if sending.deadline_ns > now_ns:
                return
            assert sending.connection is not None
            sending.connection.broke(TimeoutError())

    def close(self) -> None:
        """Close every connection; what is under way counts as timed out."""
        while self.in_flight:
            self.expire(next(iter(self.in_flight)).deadline_ns)
        while self._idle:
            next(iter(self._idle)).close()

    def over(self, sending: Sending, error: BaseException | None) -> None:
        """For connections: this request is over."""
        del self.in_flight[sending]
        sending.connection = None
        sending.payload = b""
        if isinstance(error, OSError) and error.errno == errno.EADDRNOTAVAIL:  # no local port is left
            sending.sent_ns = -1
            self._shortage(sending, error)
            return
        self.sent_bytes += sending.sent_bytes
        self.received_bytes += sending.received_bytes
        if error is not None:
            # Its traceback would hold the request itself, in a ring that nobody collects while requests are sent.
            sending.exception = error.with_traceback(None)
            sending.error = error_class(error, sending.connected_ns >= 0)
        self.on_over(sending)

    def keep(self, connection: Connection) -> None:
        """For connections: free for the next request of its key."""
        self._idle[connection] = None
        pool = self._pools.get(connection.key)
        if pool is None:
            pool = self._pools[connection.key] = OrderedDict()
        pool[connection] = None

    def forget(self, connection: Connection) -> None:
        """For connections: closed."""
        self._open -= 1
        if connection in self._idle:
            del self._idle[connection]
            pool = self._pools[connection.key]
            del pool[connection]
            if not pool:
                del self._pools[connection.key]

    def _take(self, key: bytes) -> Connection | None:
        """The kept connection that was used last and is still open."""
        pool = self._pools.get(key)
        while pool:
            connection = next(reversed(pool))
            if connection.is_alive():
                del pool[connection], self._idle[connection]
                if not pool:
                    del self._pools[key]
                return connection
            connection.close()
        return None

    def _new(self, key: bytes) -> Connection:
        """Raises OSError when the process may open no more. Makes room by closing the one idle for longest."""
        while self._open >= self.limit and self._idle:
            next(iter(self._idle)).close()
        kind = Connection if self.target.tls is None else TlsConnection
        connection = kind(self, key)
        self._open += 1
        return connection

    def _shortage(self, sending: Sending, error: Exception) -> None:
        now_ns = _now_ns()
        count, first_ns, _ = self.limit_hits
        self.limit_hits = [count + 1, first_ns if count else now_ns, now_ns]
        sending.exception = error.with_traceback(None)
        sending.error = NOT_SENT
        sending.payload = b""
        self.on_over(sending)
