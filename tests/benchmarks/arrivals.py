"""A server that says when each request reached it: the other end of a generator whose lateness is measured.

`python -m tests.benchmarks.arrivals CORE` pins itself to a core, prints its port, and answers every request with a few
bytes of JSON. A request for `/END` is answered with all arrivals so far and forgets them: one line `PATH NS` each,
where NS is the kernel's time of receipt (wall clock), which no delay of this server's own can change.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import socket
import struct
import sys
import time

SO_TIMESTAMPNS = 35
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 41\r\n\r\n"
    b'{"decision": "approve", "score": 0.71234}'
)
_TIMESPEC = struct.Struct("=qq")


class Server:
    """Level-triggered epoll over plain sockets; requests have no bodies, and arrive whole."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._listening.setblocking(False)
        self._epoll = select.epoll()
        self._epoll.register(self._listening, select.EPOLLIN)
        self._sockets: dict[int, socket.socket] = {}
        self._arrivals: list[tuple[bytes, int]] = []

    @property
    def port(self) -> int:
        port: int = self._listening.getsockname()[1]
        return port

    def serve(self) -> None:
        listening = self._listening.fileno()
        while True:
            for number, _ in self._epoll.poll():
                if number == listening:
                    self._accept()
                else:
                    self._readable(self._sockets[number])

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                accepted, _ = self._listening.accept()
                accepted.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sockets[accepted.fileno()] = accepted
                self._epoll.register(accepted, select.EPOLLIN)

    def _readable(self, connection: socket.socket) -> None:
        try:
            data, extra, _, _ = connection.recvmsg(65536, 64)
        except OSError:
            data, extra = b"", []
        if not data:
            self._epoll.unregister(connection)
            del self._sockets[connection.fileno()]
            connection.close()
            return
        at_ns = time.time_ns()
        for _, kind, value in extra:
            if kind == SO_TIMESTAMPNS:
                seconds, ns = _TIMESPEC.unpack(value[: _TIMESPEC.size])
                at_ns = seconds * 1_000_000_000 + ns
        path = data.split(b" ", 2)[1]
        if path == b"/END":
            self._tell(connection)
            return
        self._arrivals.append((path, at_ns))
        with contextlib.suppress(OSError):
            connection.send(ANSWER)

    def _tell(self, connection: socket.socket) -> None:
        body = b"".join(b"%b %d\n" % arrival for arrival in self._arrivals)
        self._arrivals.clear()
        connection.setblocking(True)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


def main() -> None:
    """Serves until it is killed."""
    os.sched_setaffinity(0, {int(sys.argv[1])})
    with contextlib.suppress(OSError):
        os.nice(-5)
    gc.disable()
    server = Server()
    print(server.port, flush=True)
    server.serve()


if __name__ == "__main__":
    main()
