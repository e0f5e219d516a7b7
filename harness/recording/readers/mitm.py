"""Reads mitmproxy's flow files, with mitmproxy itself (`harness/recording/mitmdump.py`).

Takes one file, gives batches of `CAPTURED`. What is no HTTP (TCP, UDP, DNS, WebSockets) is left out and counted. A flow
of a newer mitmproxy than the one that is installed is said so; a file that breaks off names the last whole record.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from harness.recording.mitmdump import INSTALL, Frame, Mitmdump, NoMitmdumpError
from harness.recording.readers.base import HEAD_BYTES, Rejects, Source
from harness.recording.readers.files import CUT_FIX, EMPTY, EMPTY_FIX, TOO_LONG
from harness.recording.readers.mitm_flow import Clients, row_of
from harness.recording.readers.options import options_of
from harness.recording.readers.rows import LEAVE_OUT, LeftOutError, Rows, UnusableError

NOT_HERE = "reading it needs mitmproxy, which is not installed"
NO_FLOWS = "no flow file of mitmproxy"
NO_FLOWS_FIX = "name its format with --format"
STALLED_S = 120.0
"""A flow, of 64 MiB at most, takes no longer than this."""

_LOOKS = re.compile(rb"[1-9][0-9]{0,11}:[0-9]+:")


class MitmReader:
    """mitmproxy's `-w FILE`, and "save" in its window."""

    name = "mitm"
    is_log = False
    summary = "mitmproxy flow files (needs mitmproxy: the extra [mitm])"
    unknown = "bodies that were streamed, and bytes on the wire of HTTP/2 and HTTP/3"

    def recognises(self, path: Path, head: bytes) -> bool:  # noqa: ARG002 - part of what a reader is
        return _LOOKS.match(head) is not None and (b":version;" in head or b":version," in head)

    def read(self, source: Source, rejects: Rejects) -> Iterator[pa.RecordBatch]:
        if options_of(source, rejects, {}) is None:
            return
        with source.path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        if not head:
            rejects.broken(EMPTY, EMPTY_FIX)
        elif not _LOOKS.match(head):
            rejects.broken(NO_FLOWS, NO_FLOWS_FIX)
        else:
            try:
                yield from _read(source.path, rejects)
            except NoMitmdumpError:
                rejects.broken(NOT_HERE, INSTALL)


def _read(path: Path, rejects: Rejects) -> Iterator[pa.RecordBatch]:
    rows, clients, told_end = Rows(), Clients(), False
    with Mitmdump({"readiness_file": str(path.resolve())}, ["--no-server"]) as program:
        while (frames := program.poll(STALLED_S)) is not None:
            if not frames:
                program.kill()
            for frame in frames:
                told_end = told_end or frame.kind == "end"
                _take(frame, rows, clients, rejects)
            if rows.full:
                yield from rows.batch()
        program.exit_code()
        if not told_end:
            rejects.broken(
                f"mitmproxy failed to read it: {program.last_words() or 'it said nothing'}", CUT_FIX
            )
    yield from rows.batch()


def _take(frame: Frame, rows: Rows, clients: Clients, rejects: Rejects) -> None:
    number = frame.head.get("number", 0)
    match frame.kind:
        case "exchange":
            try:
                rows.add(row_of(frame, clients))
            except UnusableError as error:
                rejects.bad(number, error.what, error.fix)
            except LeftOutError as error:
                rejects.left_out(error.reason)
        case "other":
            rejects.left_out(f"no HTTP ({frame.head['type']})")
        case "too long":
            rejects.bad(number, TOO_LONG, LEAVE_OUT)
        case "damaged":
            rejects.bad(number, "damaged, or no flow", LEAVE_OUT)
        case "failed":
            _failed(number, frame, rejects)


def _failed(number: int, frame: Frame, rejects: Rejects) -> None:
    match frame.head["why"]:
        case "newer":
            what = f"written by a newer mitmproxy than {frame.head['version']}, which is installed here"
            rejects.broken(
                f"record {number}: {what}", "install a newer mitmproxy, or save the flows as HAR there"
            )
        case "unreadable":
            rejects.broken(
                f"cannot be read: {frame.head['said']}", "give the path of a file that you may read"
            )
        case "cut off":
            last = f"record {number - 1} is the last whole one" if number > 1 else "there is no whole one"
            rejects.bad(number, f"the file was cut off, {last}", CUT_FIX)
        case _:
            what = "no flow, so that nobody can tell where it ends: it and all after it are lost"
            rejects.bad(number, what, CUT_FIX)
