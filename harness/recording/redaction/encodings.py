"""Percent-encoding, taken off a value before its pseudonym is made and put on again the way it was.

Takes a raw text from a target, a form or a cookie, gives the value it stands for and a function back. Bytes that are no
UTF-8 are read as Latin-1, so that nothing is unreadable.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote_from_bytes, unquote_to_bytes

PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
"""How a compressed body begins, and what it is compressed with."""
WIDE = (
    (rb"\xff\xfe", "utf-16-le"),
    (rb"\xfe\xff", "utf-16-be"),
    (rb"[\t\n\r -~]\x00[\t\n\r -~]\x00[\t\n\r -~]\x00", "utf-16-le"),
    (rb"\x00[\t\n\r -~]\x00[\t\n\r -~]\x00[\t\n\r -~]", "utf-16-be"),
)
"""How a text begins that has two bytes to a character, and its encoding."""
_WIDE = tuple((re.compile(pattern), charset) for pattern, charset in WIDE)
_PERCENT = re.compile(r"%[0-9a-fA-F]{2}")
_MARKS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


def wide_charset(body: bytes) -> str:
    """Which UTF-16 a body is; "" for every other."""
    if b"\0" not in body[:6] and body[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        return ""
    return next((charset for pattern, charset in _WIDE if pattern.match(body)), "")


def decoded(raw: str, plus: bool = False) -> tuple[str, Callable[[str], str]]:
    """The value, and how another one is written in its place. `plus`: a plus sign is a space (forms, queries)."""
    if "%" not in raw and not (plus and "+" in raw):
        if raw.isascii() and raw.isalnum():
            return raw, _plain
        return raw, lambda new: _quoted(new, raw, "utf-8", plus)
    data = unquote_to_bytes(raw.replace("+", " ") if plus else raw)
    try:
        return data.decode(), lambda new: _quoted(new, raw, "utf-8", plus)
    except UnicodeDecodeError:
        return data.decode("latin-1"), lambda new: _quoted(new, raw, "latin-1", plus)


def _plain(new: str) -> str:
    return new if new.isalnum() and new.isascii() else _quoted(new, "", "utf-8", False)


def _quoted(new: str, raw: str, charset: str, plus: bool) -> str:
    """`new` with those characters encoded that `raw` encoded, or could not hold."""
    bare = _PERCENT.sub("", raw)
    safe = "".join(char for char in _MARKS if char in bare and char != "%" and not (plus and char == "+"))
    foreign = not bare.isascii()  # written without encoding, as a header may
    spaces = " " in bare
    try:
        data = new.encode(charset)
    except UnicodeEncodeError:
        data = new.encode("utf-8", "surrogatepass")
    if foreign:
        text = "".join(
            char if not char.isascii() else quote_from_bytes(char.encode(), safe + " ") for char in new
        )
    else:
        text = quote_from_bytes(data, safe + (" " if spaces else ""))
    if plus and not spaces:
        text = text.replace("%20", "+") if "+" in bare or "%20" not in raw else text
    if re.search(r"%[0-9a-f]*[a-f]", raw):
        text = _PERCENT.sub(lambda match: match.group().lower(), text)
    return text
