"""One connection to the target: how it comes about, what goes out on it, and how it ends.

Driven by watchers of the event loop. Its `Wire` starts a request on it and hears when that is over; what becomes of a
connection becomes of the request on it.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gevent.hub import get_hub
from gevent.monkey import get_original
from geventhttpclient.response import HTTPParseError

from harness.replay.child.parser import AnswerParser
from harness.replay.child.sending import ConnectionClosed, Sending

if TYPE_CHECKING:
    from harness.replay.child.wire import Wire

READ_BYTES = 64 * 1024
PEEK = socket.MSG_PEEK | socket.MSG_DONTWAIT
_READ, _WRITE = 1, 2
_SWITCHING = 101
_socket = get_original("socket", "socket")
_now_ns = time.monotonic_ns


class Connection:
    """One connection: connecting, then idle or with one request on it, then closed."""

    __slots__ = (
        "_address",
        "_closed",
        "_connected",
        "_parser",
        "_reader",
        "_rest",
        "_sock",
        "_wire",
        "_writer",
        "key",
        "sending",
    )

    def __init__(self, wire: Wire, key: bytes) -> None:
        """Raises OSError when there is no descriptor left."""
        self._wire = wire
        self.key = key
        self.sending: Sending | None = None
        self._parser = AnswerParser()
        self._address = 0
        self._connected = self._closed = False
        self._rest = b""
        self._writer: Any = None
        self._open_socket()

    def _open_socket(self) -> None:
        family, kind, protocol, _, _ = self._wire.target.addresses[self._address]
        self._sock = _socket(family, kind, protocol)
        self._sock.setblocking(False)
        self._reader = get_hub().loop.io(self._sock.fileno(), _READ)

    # -- a request

    def start(self, sending: Sending) -> None:
        """This request goes out on this connection now."""
        self.sending = sending
        sending.connection = self
        self._parser.begin(sending.request.method == "HEAD", sending.keep_bytes)
        if self._connected:
            sending.connected_ns = sending.sent_ns
            self._send_request()
        else:
            self._connect()

    def is_alive(self) -> bool:
        """Nothing to read and not closed, as of now: the event loop may not have come to look yet."""
        try:
            self._sock.recv(1, PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def _send_request(self) -> None:
        assert self.sending is not None
        self._write(self.sending.payload)

    def _finish(self, now_ns: int) -> None:
        """The whole answer is here."""
        sending, parser = self.sending, self._parser
        assert sending is not None
        self.sending = None
        sending.answered_ns = now_ns
        sending.status_code = parser.status
        sending.headers = parser.headers
        sending.body = body = parser.body()
        sending.body_bytes = parser.body_bytes
        sending.digest = parser.digest(body)
        if (
            parser.keep_alive
            and not parser.trailing
            and not sending.request.close
            and not self._rest
            and parser.status != _SWITCHING
        ):
            self._wire.keep(self)
        else:
            self.close()
        self._wire.over(sending, None)

    def broke(self, error: BaseException) -> None:
        """It is of no use any more, and what is on it has no answer."""
        sending, self.sending = self.sending, None
        self.close()
        if sending is not None:
            self._wire.over(sending, error)

    def close(self) -> None:
        """Without a word to the request on it. May be called again."""
        if not self._closed:
            self._closed = True
            self._wire.forget(self)
            self._shut()

    def _shut(self) -> None:
        for watcher in (self._reader, self._writer):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        self._reader = self._writer = None
        self._sock.close()

    # -- connecting

    def _connect(self) -> None:
        wire = self._wire
        wire.connections_opened += 1
        code = self._sock.connect_ex(wire.target.addresses[self._address][4])
        if code == 0:
            self._is_connected()
        elif code == errno.EINPROGRESS:
            self._await_writable(self._connecting)
        else:
            self._not_connected(code)

    def _connecting(self) -> None:
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._not_connected(code)
        else:
            self._is_connected()

    def _not_connected(self, code: int) -> None:
        """The next address of the target's name, if there is one."""
        if self._address + 1 < len(self._wire.target.addresses):
            self._address += 1
            self._shut()
            try:
                self._open_socket()
            except OSError as error:
                self.broke(error)
            else:
                self._connect()
        else:
            self.broke(OSError(code, os.strerror(code)))

    def _is_connected(self) -> None:
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stop_writer()
        self._reader.start(self._readable)
        self._ready()

    def _ready(self) -> None:
        """The connection stands: the request that it was made for goes out."""
        self._connected = True
        assert self.sending is not None
        self.sending.connected_ns = _now_ns()
        self._send_request()

    # -- bytes

    def _write(self, data: bytes) -> None:
        if self._rest:
            self._rest += data
            return
        try:
            written = self._sock.send(data)
        except BlockingIOError:
            written = 0
        except OSError as error:
            self._write_failed(error)
            return
        self._wrote(written)
        if written < len(data):
            self._rest = data[written:]
            self._await_writable(self._write_rest)

    def _write_rest(self) -> None:
        try:
            written = self._sock.send(self._rest)
        except BlockingIOError:
            return
        except OSError as error:
            self._write_failed(error)
            return
        self._wrote(written)
        self._rest = self._rest[written:]
        if not self._rest:
            self._stop_writer()

    def _wrote(self, count: int) -> None:
        if self.sending is not None:
            self.sending.sent_bytes += count

    def _write_failed(self, error: OSError) -> None:
        """The other side hung up; the answer that it may have given before that is still to be read."""
        self._rest = b""
        self._stop_writer()
        if self._reader is None or not self._reader.active:
            self.broke(error)
            return
        self._readable()
        if self.sending is not None:
            self.broke(error)

    def _await_writable(self, then: Callable[[], None]) -> None:
        if self._writer is None:
            self._writer = get_hub().loop.io(self._sock.fileno(), _WRITE)
        self._writer.start(then)

    def _stop_writer(self) -> None:
        if self._writer is not None:
            self._writer.stop()
            self._writer.close()
            self._writer = None

    def _readable(self) -> None:
        try:
            data = self._sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._read_failed(error)
            return
        self._received(data)

    def _read_failed(self, error: OSError) -> None:
        sending = self.sending
        if sending is not None and sending.first_byte_ns < 0 and isinstance(error, ConnectionResetError):
            self.broke(ConnectionClosed(*error.args))
        else:
            self.broke(error)

    def _received(self, data: bytes) -> None:
        """Bytes of an answer; none: the other side has closed."""
        sending = self.sending
        if sending is None:
            self.close()  # idle: closed, or speaking unasked
            return
        now_ns = _now_ns()
        if data and sending.first_byte_ns < 0:
            sending.first_byte_ns = now_ns
        elif not data and sending.first_byte_ns < 0:
            self.broke(ConnectionClosed("closed before an answer"))
            return
        sending.received_bytes += len(data)
        parser = self._parser
        try:
            parser.feed(data)
        except Exception as error:  # noqa: BLE001 - not HTTP, or not what its content encoding says
            if not parser.complete:
                self.broke(error)
                return
            parser.trailing = True
        if parser.complete:
            self._finish(now_ns)
        elif not data:
            self.broke(HTTPParseError("the answer was cut off"))
