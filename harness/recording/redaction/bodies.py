"""Bodies of any form: JSON, NDJSON, forms, multipart, text, compressed, binary. What a body is follows from its bytes alone.

Takes bytes, gives bytes. Nothing passes unseen: what is no JSON, form or multipart that can be taken apart is text of
unknown form; bytes that are no UTF-8 are read as Latin-1 and searched all the same; a compressed body is opened, changed
and compressed again, and one that cannot be opened is left out.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable

import pyarrow as pa

from harness.recording.redaction.core import Core, Look, Place
from harness.recording.redaction.encodings import PACKED, wide_charset
from harness.recording.redaction.free_text import FreeText
from harness.recording.redaction.json_text import JsonText
from harness.recording.redaction.multipart import redact_multipart
from harness.recording.redaction.rules import Side
from harness.recording.redaction.targets import Targets

UNPACKED_LIMIT_BYTES = 64 * 2**20
ENTROPY_TEXT_CHARS = 4096
"""In a longer text of unknown form random-looking runs are no findings, unless it began as JSON: scripts are full of them."""
MOST_NESTING = 4

_FORM = re.compile(rb"[^\s=&<>{}\"']{1,256}=[^\s&<>]*(?:&[^\s=&<>]{0,256}=?[^\s&<>]*)*\s*\Z")
_BEFORE_JSON = re.compile(r"\ufeff|\)\]\}',?[ \t]*\r?\n|(?:for ?\(;;\)|while ?\((?:1|true)\));")
"""A byte order mark, or what keeps a JSON text from being run as a script."""
OWN_FILES = (
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"GIF8",
    b"RIFF",
    b"%PDF",
    b"PK\x03\x04",
    b"wOF",
    b"OTTO",
    b"\x00\x01\x00\x00",
    b"\x00asm",
)
CODINGS = {"gzip": "gzip", "x-gzip": "gzip", "zstd": "zstd", "br": "brotli", "deflate": "deflate"}


class Bodies:
    """Looks at bodies."""

    def __init__(self, core: Core, texts: FreeText, targets: Targets) -> None:
        self._core = core
        self._texts = texts
        self._targets = targets
        self._json = JsonText(core, texts)

    def redact(self, body: bytes, side: Side, coding: str = "", depth: int = 0) -> bytes:
        """`coding`: what the headers say the body is compressed with."""
        inner, _, coding = coding.rpartition(",")  # of several, one in another, the last was put on last
        coding = CODINGS.get(coding.strip().lower(), "") or next(
            (name for magic, name in PACKED.items() if body.startswith(magic)), ""
        )
        if coding and body:
            return self._compressed(body, side, coding, depth, inner)
        return self._plain(body, side, depth)

    def _plain(self, body: bytes, side: Side, depth: int) -> bytes:
        wide = wide_charset(body)
        if wide:
            body = self._wide(body, side, wide)
        try:
            text = body.decode()
        except UnicodeDecodeError:
            return self._binary(body, side, depth)
        if body.startswith(b"--"):
            parts = redact_multipart(body, side, self._core, lambda part, at: self._part(part, at, depth))
            if parts is not None:
                return parts
        return self.text(text, side).encode("utf-8", "surrogatepass")

    def text(self, text: str, side: Side) -> str:
        """A body that is text."""
        start = _BEFORE_JSON.match(text)
        if start is not None:
            return start.group() + self.text(text[start.end() :], side)
        first = text.lstrip()[:1]
        if first in ("{", "["):
            new = self._json.redact(text, side)
            if new is None and "\n" in text.strip():
                new = self._lines(text, side)
            if new is not None:
                return new
        elif "=" in text[:257] and _FORM.match(text.encode("utf-8", "surrogatepass")):
            stripped = text.rstrip()
            return self._targets.pairs(stripped, side, "form") + text[len(stripped) :]
        entropy = first in ("{", "[") or (len(text) <= ENTROPY_TEXT_CHARS and "<" not in text)
        return self._texts.redact(text, Place(side, "body"), entropy=entropy)

    def _lines(self, text: str, side: Side) -> str | None:
        """NDJSON: a document a line."""
        lines = text.split("\n")
        if not all(line.strip()[:1] in ("{", "[", "") for line in lines):
            return None
        changed = [self._json.redact(line, side) if line.strip() else line for line in lines]
        if changed[0] is None:
            return None
        return "\n".join(
            self._texts.redact(line, Place(side, "body")) if new is None else new
            for line, new in zip(lines, changed, strict=True)
        )

    def _wide(self, body: bytes, side: Side, charset: str) -> bytes:
        """Two bytes to a character, or so its beginning says; half of one stays behind it."""
        end = len(body) // 2 * 2
        text = body[:end].decode(charset, "surrogatepass")
        new = self._unseen(lambda: self.text(text, side).encode("utf-8", "surrogatepass")).decode(
            "utf-8", "surrogatepass"
        )
        return body if new == text else new.encode(charset, "surrogatepass") + body[end:]

    def _unseen(self, redact: Callable[[], bytes]) -> bytes:
        """What no hint and no search for known secrets has seen in the body as it is: all is looked for, and those too."""
        before, self._core.look = self._core.look, Look()
        new = redact()
        self._core.look = before
        return self._core.known.replaced(new)

    def _part(self, part: bytes, side: Side, depth: int) -> bytes:
        if depth < MOST_NESTING:
            return self.redact(part, side, depth=depth + 1) if part else part
        return self._binary(part, side, depth)

    def _binary(self, body: bytes, side: Side, depth: int) -> bytes:
        """Pictures, archives, broken text: searched like a text, but nothing in it is called random."""
        if body.startswith(b"--") and depth < MOST_NESTING:
            parts = redact_multipart(body, side, self._core, lambda part, at: self._part(part, at, depth))
            if parts is not None:
                return parts
        text = body.decode("latin-1")
        new = self._texts.redact(text, Place(side, "body"), entropy=False)
        return body if new == text else new.encode("latin-1", "replace")

    def _compressed(self, body: bytes, side: Side, coding: str, depth: int, inner: str = "") -> bytes:
        unpacked = unpack(body, coding) if depth < MOST_NESTING else None
        if unpacked is None:
            if not _looks_packed(body):  # the header lies: readers take a coding off and leave the header
                return self._plain(body, side, depth)
            self._core.tally.unreadable_bodies += 1
            return b""
        new = self._unseen(lambda: self.redact(unpacked, side, inner, depth=depth + 1))
        return body if new == unpacked else pack(new, coding)


def _looks_packed(body: bytes) -> bool:
    """Neither text nor a file of a kind that begins in its own way."""
    if body.startswith(OWN_FILES):
        return False
    try:
        body.decode()
    except UnicodeDecodeError:
        return True
    return False


def unpack(body: bytes, coding: str) -> bytes | None:
    """The content; None: it cannot be opened, is cut off, or is larger than `UNPACKED_LIMIT_BYTES`."""
    try:
        if coding in ("gzip", "deflate"):
            return _inflated(body, coding)
        with pa.CompressedInputStream(pa.BufferReader(body), coding) as stream:
            data: bytes = stream.read(UNPACKED_LIMIT_BYTES + 1)
    except (OSError, ValueError, zlib.error, pa.ArrowException):
        return None
    return data if len(data) <= UNPACKED_LIMIT_BYTES else None


def _inflated(body: bytes, coding: str) -> bytes | None:
    for bits in (31,) if coding == "gzip" else (15, -15):
        inflate = zlib.decompressobj(bits)
        try:
            data = inflate.decompress(body, UNPACKED_LIMIT_BYTES + 1)
        except zlib.error:
            continue
        if inflate.eof and len(data) <= UNPACKED_LIMIT_BYTES and not inflate.unused_data:
            return data
    return None


def pack(data: bytes, coding: str) -> bytes:
    """Compressed again, the same for the same content."""
    if coding == "gzip":
        return gzip.compress(data, mtime=0)
    if coding == "deflate":
        return zlib.compress(data)
    return bytes(pa.Codec(coding).compress(data, asbytes=True))
