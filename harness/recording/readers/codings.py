"""Bodies without their content encoding: gzip, deflate, br and zstd, each undone within a limit.

Takes bytes and what `content-encoding` said, gives the bytes that were meant; a body that unpacks to more than
`RECORD_LIMIT_BYTES`, or is not what it says, is an UnusableError.
"""

from __future__ import annotations

import zlib

import pyarrow as pa

from harness.recording.readers.base import RECORD_LIMIT_BYTES
from harness.recording.readers.rows import UnusableError

_CHUNK_BYTES = 2**20
_MAGIC = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}


def codings_of(header: str) -> list[str]:
    """The encodings in the order in which they were applied; `identity` is none."""
    names = [name.strip().lower().removeprefix("x-") for name in header.split(",")]
    return [name for name in names if name not in ("", "identity")]


def decoded(body: bytes, header: str, whose: str = "the answer's body") -> bytes:
    """The body that was meant. Raises UnusableError."""
    for name in reversed(codings_of(header)):
        if not body:
            return body
        body = _undone(body, name, whose)
    return body


def still_encoded(body: bytes, header: str) -> bool:
    """Whether bytes that come with this `content-encoding` really have it. Of br, which bears no mark: never."""
    names = codings_of(header)
    if not names or not body:
        return False
    if names[-1] == "deflate":
        return body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0
    magic = _MAGIC.get(names[-1])
    return magic is not None and body.startswith(magic)


def _undone(body: bytes, name: str, whose: str) -> bytes:
    try:
        match name:
            case "gzip":
                return _inflated(body, 31, whose)
            case "deflate":
                wrapped = body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0
                return _inflated(body, 15 if wrapped else -15, whose)
            case "br" | "zstd":
                return _streamed(body, "brotli" if name == "br" else "zstd", whose)
    except (zlib.error, OSError):
        raise UnusableError(f"{whose} says {name} and is none, or breaks off") from None
    raise UnusableError(f"{whose} has an encoding other than gzip, deflate, br and zstd")


def _inflated(body: bytes, wbits: int, whose: str) -> bytes:
    parts: list[bytes] = []
    room = RECORD_LIMIT_BYTES
    while body:  # a gzip body may be several members, one after another
        stream = zlib.decompressobj(wbits)
        parts.append(stream.decompress(body, room + 1))
        room -= len(parts[-1])
        if room < 0:
            raise _too_large(whose)
        if not stream.eof:
            raise zlib.error("breaks off")
        body = stream.unused_data if wbits == 31 and stream.unused_data.startswith(_MAGIC["gzip"]) else b""
    return b"".join(parts)


def _streamed(body: bytes, codec: str, whose: str) -> bytes:
    parts: list[bytes] = []
    size = 0
    with pa.CompressedInputStream(pa.BufferReader(body), codec) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            parts.append(chunk)
            size += len(chunk)
            if size > RECORD_LIMIT_BYTES:
                raise _too_large(whose)
    return b"".join(parts)


def _too_large(whose: str) -> UnusableError:
    return UnusableError(f"{whose} unpacks to more than {RECORD_LIMIT_BYTES // 2**20} MiB")
