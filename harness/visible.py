"""Text that others wrote, made fit for a terminal: what a terminal would obey instead of show is spelled out.

Takes any text (a file's name in a report, a sentence, a container's log line), gives the same text with `\\x1b` and the like
in place of the character. Control characters move the cursor, colour what follows or rename the window; format characters
turn the direction of reading. With either, a report could make itself look verified.
"""

from __future__ import annotations

import json
from unicodedata import category

_OBEYED = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode's categories of control and format characters, surrogates, and line and paragraph separators."""


def visible(text: str, keep: str = "") -> str:
    """One line of text; with `keep="\\n"` a text of several."""
    if text.isprintable():
        return text
    return "".join(
        char if category(char) not in _OBEYED or char in keep else char.encode("unicode_escape").decode()
        for char in text
    )


def visible_json(document: str) -> str:
    """A JSON document with the same value: JSON's own escapes stand for those characters in its strings."""
    if document.isascii() and "\x7f" not in document:
        return document  # `json.dumps` has escaped the rest of them
    return "".join(
        char if category(char) not in _OBEYED or char == "\n" else json.dumps(char)[1:-1] for char in document
    )
