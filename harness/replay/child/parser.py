"""One answer's bytes to status, headers and body, by llhttp (in C, from geventhttpclient).

Takes what a connection gives, piece by piece (`feed`); gives the answer once `complete`. Of a long body it keeps the
beginning, counts all of it and digests all of it. The body is without transfer and content encoding.
"""

from __future__ import annotations

import hashlib
import zlib
from typing import TYPE_CHECKING, Protocol

import brotli  # type: ignore[import-untyped]
from geventhttpclient._parser import HTTPParseError, HTTPResponseParser

if TYPE_CHECKING:
    from hashlib import _Hash

_SWITCHING = 101


class _Decoder(Protocol):
    """Takes a content encoding off, piece by piece. `ended`: its own end has come, so that nothing is missing."""

    def __call__(self, data: bytes, /) -> bytes: ...

    @property
    def ended(self) -> bool: ...


class AnswerParser(HTTPResponseParser):
    """One for each connection; `begin` before each answer. `feed` raises HTTPParseError, zlib.error, brotli.error."""

    __slots__ = (
        "_decode",
        "_digest",
        "_encoded",
        "_field",
        "_is_head",
        "_most",
        "_parts",
        "_value",
        "body_bytes",
        "complete",
        "headers",
        "keep_alive",
        "status",
        "trailing",
    )

    def begin(self, is_head: bool, most: int) -> None:
        """The next answer: to a HEAD request or not, and how much of its body is to be kept."""
        self._is_head = is_head
        self._most = most
        self._field = ""
        self._value: str | None = None
        self._parts: list[bytes] = []
        self._decode: _Decoder | None = None
        self._encoded = False
        self._digest: _Hash | None = None
        self.body_bytes = 0
        self.complete = False
        self.headers: list[tuple[str, str]] = []
        self.keep_alive = False
        self.status = 0
        self.trailing = False

    def body(self) -> bytes:
        """The body, or as much of its beginning as was to be kept."""
        parts = self._parts
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)

    def digest(self, body: bytes) -> bytes:
        """SHA-256 of the whole body; `body` is what `body()` gave."""
        return (hashlib.sha256(body) if self._digest is None else self._digest).digest()

    def _on_message_begin(self) -> None:
        self.trailing = self.complete  # a second answer to one request

    def _on_status(self, text: str) -> None:
        pass

    def _on_header_field(self, text: str) -> None:
        if self._value is None:
            self._field += text  # the first one, or one that came in two pieces
        else:
            self.headers.append((self._field.lower(), self._value))
            self._field = text
            self._value = None

    def _on_header_value(self, text: str) -> None:
        self._value = text if self._value is None else self._value + text

    def _on_headers_complete(self) -> bool:
        if self._field:
            self.headers.append((self._field.lower(), self._value or ""))
            self._field, self._value = "", None
        self.status = self.get_code()
        if self.status < 100:
            raise HTTPParseError(f"{self.status} is no status")
        self.keep_alive = self.should_keep_alive()
        self._decode = None
        for name, value in self.headers:
            if name == "content-encoding":
                self._decode = _decoder(value.strip().lower())
        return self._is_head

    def _on_body(self, data: bytes) -> None:
        if self._decode is not None:
            data = self._decode(data)
            self._encoded = True
        before = self.body_bytes
        self.body_bytes += len(data)
        if self._digest is not None:
            self._digest.update(data)
        elif self.body_bytes <= self._most:
            self._parts.append(data)
        else:
            self._digest = hashlib.sha256(b"".join(self._parts))
            self._digest.update(data)
            self._parts.append(data[: self._most - before])

    def _on_message_complete(self) -> None:
        if 100 <= self.status < 200 and self.status != _SWITCHING:
            self.headers = []  # interim: the answer proper follows
        elif self._encoded and self._decode is not None and not self._decode.ended:
            raise HTTPParseError("the body ends before its content encoding does")
        else:
            self.complete = True


def _decoder(encoding: str) -> _Decoder | None:
    """What takes the content encoding off; None where there is none, or one that nobody here knows."""
    if encoding in ("gzip", "x-gzip"):
        return _Gzip()
    if encoding == "deflate":
        return _Deflate()
    return _Brotli() if encoding == "br" else None


class _Gzip:
    def __init__(self) -> None:
        self._stream = zlib.decompressobj(16 + zlib.MAX_WBITS)

    def __call__(self, data: bytes, /) -> bytes:
        return self._stream.decompress(data)

    @property
    def ended(self) -> bool:
        return self._stream.eof


class _Brotli:
    def __init__(self) -> None:
        self._stream = brotli.Decompressor()

    def __call__(self, data: bytes, /) -> bytes:
        decoded: bytes = self._stream.process(data)
        return decoded

    @property
    def ended(self) -> bool:
        return bool(self._stream.is_finished())


class _Deflate:
    """zlib's format, as the standard has it, or bare deflate, as many servers have it: the first bytes tell."""

    def __init__(self) -> None:
        self._first = b""
        self._stream: zlib._Decompress | None = None

    def __call__(self, data: bytes, /) -> bytes:
        if self._stream is None:
            self._first += data
            if len(self._first) < 2:
                return b""
            data = self._first
            zlib_head = data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0
            self._stream = zlib.decompressobj(zlib.MAX_WBITS if zlib_head else -zlib.MAX_WBITS)
        return self._stream.decompress(data)

    @property
    def ended(self) -> bool:
        return self._stream is not None and self._stream.eof
