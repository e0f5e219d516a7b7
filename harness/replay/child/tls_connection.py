"""A connection under TLS, by Python's `ssl` on buffers of memory: the event loop sees a plain connection."""

from __future__ import annotations

import ssl

from harness.replay.child.connection import PEEK, READ_BYTES, Connection
from harness.replay.child.sending import ConnectionClosed


class TlsConnection(Connection):
    """The same under TLS; bytes are counted inside of it."""

    __slots__ = ("_incoming", "_outgoing", "_tls")

    def _is_connected(self) -> None:
        target = self._wire.target
        assert target.tls is not None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = target.tls.wrap_bio(self._incoming, self._outgoing, server_hostname=target.host)
        super()._is_connected()

    def _ready(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
        except OSError as error:
            self._flush()  # tell the other side why
            self.broke(error)
        else:
            self._flush()
            if self.sending is not None:
                super()._ready()

    def is_alive(self) -> bool:
        """Something to read may be a session ticket: only the end says that it is closed."""
        try:
            return bool(self._sock.recv(1, PEEK))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def _send_request(self) -> None:
        assert self.sending is not None
        self._tls.write(self.sending.payload)
        self.sending.sent_bytes = len(self.sending.payload)
        self._flush()

    def _wrote(self, count: int) -> None:
        """Counted before encryption, see above."""

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data:
            self._write(data)

    def _received(self, data: bytes) -> None:
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
        if not self._connected:
            if data:
                self._ready()
            else:
                self.broke(ConnectionClosed("closed during the TLS handshake"))
            return
        while self._reader is not None:
            try:
                plain = self._tls.read(READ_BYTES)
            except ssl.SSLWantReadError:
                break
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                plain = b""
            except OSError as error:
                self.broke(error)
                return
            super()._received(plain)
            if not plain:
                return
        self._flush_tickets()

    def _flush_tickets(self) -> None:
        """What TLS itself has to say, such as a new key."""
        if self._reader is not None and self._outgoing.pending:
            self._flush()
