"""Multipart bodies: every part by its field's name and by what it is, boundaries and headers kept.

Takes the bytes of a body, gives other bytes, or None where they are no multipart that can be taken apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from harness.recording.redaction.core import Core, Place
from harness.recording.redaction.rules import Side

MOST_PARTS = 1000
_BOUNDARY = re.compile(rb"--([^\r\n]{1,200}?)[ \t]*\r?\n")
_NAME = re.compile(rb"""(?:^|[;\s])name=(?:"([^"\r\n]*)"|([^\s;"]+))""", re.IGNORECASE)


def redact_multipart(
    body: bytes, side: Side, core: Core, inner: Callable[[bytes, Side], bytes]
) -> bytes | None:
    """`inner` changes the content of a part that no rule names."""
    opening = _BOUNDARY.match(body)
    if opening is None:
        return None
    delimiter = b"--" + opening.group(1)
    pieces = re.split(rb"((?:\A|\r?\n)" + re.escape(delimiter) + rb"(?:--)?[ \t]*(?:\r?\n|\Z))", body)
    if not 5 <= len(pieces) <= 2 * MOST_PARTS or not pieces[-2].rstrip().endswith(b"--"):
        return None
    changed: list[bytes] = [pieces[0]]
    for mark, part in zip(pieces[1:-2:2], pieces[2:-1:2], strict=True):
        new = _part(part, side, core, inner)
        if new is not None:
            changed += [mark, new]
    if len(changed) > 1:
        changed[1] = changed[1].lstrip(b"\r\n")  # the first part may be another one now
    return b"".join([*changed, pieces[-2], inner(pieces[-1], side) if pieces[-1] else b""])


def _part(part: bytes, side: Side, core: Core, inner: Callable[[bytes, Side], bytes]) -> bytes | None:
    """Head and content; None: the part is left out."""
    found = re.search(rb"\r?\n\r?\n", part)
    if found is None:
        return inner(part, side)
    head, gap, content = part[: found.start()], found.group(), part[found.end() :]
    name_found = _NAME.search(head)
    name = (
        (name_found.group(1) or name_found.group(2) or b"").decode("utf-8", "replace") if name_found else ""
    )
    decision = core.decisions.of("form", side, name) if name else None
    head = inner(head, side)
    if decision is None:
        return head + gap + inner(content, side)
    if decision.action == "keep" or (not content and decision.action != "remove"):
        return part
    try:
        text, charset = content.decode(), "utf-8"
    except UnicodeDecodeError:
        text, charset = content.decode("latin-1"), "latin-1"
    new = core.apply(text, Place(side, "form", name), decision)
    return None if new is None else head + gap + new.encode(charset, "replace")
