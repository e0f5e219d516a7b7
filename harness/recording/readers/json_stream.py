"""One long JSON document, read member by member: memory holds one value at most, however long the document is.

Takes a stream of bytes, gives values one after another. The parser is the standard library's own `raw_decode`, which
tells where in a longer text a value ends: measured against ijson (yajl2_c) and against finding each value's end for
orjson and msgspec, it was the fastest of them here (230-550 MB/s of HAR, ijson 120-470), and it reads what `json` reads.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, Protocol

CHUNK_BYTES = 2**20

_SPACE = re.compile(r"[ \t\r\n]*")
_MARK = re.compile(r'["{}\[\]]')
_IN_STRING = re.compile(r'["\\]')
_END_OF_SCALAR = re.compile(r"[ \t\r\n,\]}]")
_NO_CHARACTER = re.compile("[\udc80-\udcff]")
"""What stands for a byte that is no UTF-8; a text of JSON can hold it only as an escape."""
_CUT_WORD_CHARS = 16
"""An error this close to the end of what was read may be a word, number or escape that goes on."""


class Bytes(Protocol):
    """Where the document comes from."""

    def read(self, count: int, /) -> bytes: ...


class NoJsonError(ValueError):
    """What was read is no JSON, wherever it may end."""


class CutOffError(ValueError):
    """The document ends within a value."""


class TooLongError(ValueError):
    """A value longer than it may be."""


class NotUtf8Error(ValueError):
    """A value with bytes that are no UTF-8; the stream stands behind it."""


class JsonStream:
    """A cursor in the document."""

    def __init__(self, stream: Bytes, longest: int) -> None:
        self._stream = stream
        self._longest = longest
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        self._json = json.JSONDecoder(strict=False)
        self._text = ""
        self._at = 0
        self._ended = False
        self._not_utf_8 = False

    def peek(self) -> str:
        """The next character that is no space; "" at the end of the document."""
        while True:
            found = _SPACE.match(self._text, self._at)
            self._at = found.end() if found is not None else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, characters: str) -> str:
        """One of these. Raises NoJsonError, CutOffError."""
        found = self.peek()
        if not found:
            raise CutOffError
        if found not in characters:
            raise NoJsonError
        self._at += 1
        return found

    def members(self) -> Iterator[str]:
        """The keys of the object that begins here; whoever takes a key has to read or skip its value."""
        self.take("{")
        if self.peek() == "}":
            self.take("}")
            return
        while True:
            if self.peek() not in ('"', ""):
                raise NoJsonError
            key = self.value()
            self.take(":")
            yield str(key)
            if self.take(",}") == "}":
                return

    def value(self) -> Any:
        """The value that begins here.

        Raises NoJsonError, CutOffError and TooLongError, and then stays before it, or NotUtf8Error.
        """
        if not self.peek():
            raise CutOffError
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                unfinished = error.pos >= len(self._text) - _CUT_WORD_CHARS
                if not unfinished and not error.msg.startswith("Unterminated string"):
                    raise NoJsonError from None
            except (ValueError, RecursionError):  # a number of thousands of digits; nested too deeply
                raise NoJsonError from None
            else:
                begin, self._at = self._at, end
                if self._not_utf_8 and _NO_CHARACTER.search(self._text, begin, end):
                    raise NotUtf8Error
                return value
            if len(self._text) - self._at > self._longest:
                raise TooLongError
            if not self._more():
                raise CutOffError

    def skip(self) -> None:
        """Pass over the value that begins here, holding none of it, by its brackets and quotes. Raises CutOffError."""
        first = self.peek()
        if first not in ('"', "{", "["):
            self._to(_END_OF_SCALAR)
            return
        depth = 0
        while True:
            mark = self._to(_MARK)
            self._at += 1
            if mark == '"':
                self._skip_string()
            elif mark in "{[":
                depth += 1
            else:
                depth -= 1
            if depth <= 0:
                return

    def _skip_string(self) -> None:
        while True:
            mark = self._to(_IN_STRING)
            self._at += 1
            if mark == '"':
                return
            while self._at >= len(self._text):
                if not self._more():
                    raise CutOffError
            self._at += 1

    def _to(self, sign: re.Pattern[str]) -> str:
        """Go to the next such character, and say which it is."""
        while True:
            found = sign.search(self._text, self._at)
            if found is not None:
                self._at = found.start()
                return found[0]
            self._at = len(self._text)
            if not self._more():
                raise CutOffError

    def _more(self) -> bool:
        """Read on, twice as much as is held already, so that a long value is not parsed again and again."""
        if self._ended:
            return False
        held = self._text[self._at :]
        chunk = self._stream.read(max(CHUNK_BYTES, len(held)))
        self._ended = not chunk
        text = self._decoder.decode(chunk, self._ended)
        if not text.isascii() and _NO_CHARACTER.search(text):
            self._not_utf_8 = True
        self._text, self._at = held + text, 0
        return True
