"""Reads HAR 1.2, the export of browsers, proxies and API clients, with the ways in which each of them bends it.

Takes one file (also compressed), gives batches of `CAPTURED`, one entry in memory at a time. `har_entry.py` makes an
exchange of an entry, `json_stream.py` finds the entries. A file that breaks off names the last whole record; with
--skip-bad the whole ones are kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from harness.recording.readers.base import RECORD_LIMIT_BYTES, Rejects, Source
from harness.recording.readers.files import CUT_FIX, EMPTY, EMPTY_FIX, TOO_LONG, Opened, opened
from harness.recording.readers.har_entry import Exporter
from harness.recording.readers.json_stream import (
    CutOffError,
    JsonStream,
    NoJsonError,
    NotUtf8Error,
    TooLongError,
)
from harness.recording.readers.lines import first_bytes
from harness.recording.readers.options import options_of
from harness.recording.readers.rows import LEAVE_OUT, LeftOutError, Rows, UnusableError

NO_HAR = "JSON that is no HAR: there is no log.entries"
NO_HAR_FIX = "export it as HAR again, or name its format with --format"
NO_JSON = "no JSON"
NO_END = "no JSON, so that nobody can tell where it ends: it and all after it are lost"
NOT_UTF_8 = "not UTF-8"

_LOOKS = re.compile(rb'\s*\{\s*"[^"]{1,100}"\s*:')
_MEMBERS = re.compile(rb'"log"\s*:\s*\{')


class HarReader:
    """HTTP Archive files."""

    name = "har"
    is_log = False
    summary = "HAR 1.2 (HTTP Archive) of browsers, proxies and API clients"
    unknown = "clients (all of it is one), the bytes of texts that were no UTF-8, and times and bodies that the exporter left out"

    def recognises(self, path: Path, head: bytes) -> bool:
        text = first_bytes(head)
        return _LOOKS.match(text) is not None and (
            _MEMBERS.search(text) is not None or path.name.lower().endswith((".har", ".har.gz"))
        )

    def read(self, source: Source, rejects: Rejects) -> Iterator[pa.RecordBatch]:
        if options_of(source, rejects, {}) is None:
            return
        rows = Rows()
        with opened(source.path) as file:
            archive = _Archive(file, rejects)
            for number, entry in archive.entries():
                try:
                    rows.add(archive.exporter.row(entry))
                except UnusableError as error:
                    rejects.bad(number, error.what, error.fix)
                except LeftOutError as error:
                    rejects.left_out(error.reason)
                if rows.full:
                    yield from rows.batch()
        yield from rows.batch()


class _Archive:
    """The entries of one file, with their numbers; what is no entry goes to `rejects`."""

    def __init__(self, file: Opened, rejects: Rejects) -> None:
        self.exporter = Exporter("")
        self._file = file
        self._stream = JsonStream(file, RECORD_LIMIT_BYTES)
        self._rejects = rejects

    def entries(self) -> Iterator[tuple[int, Any]]:
        first = self._stream.peek()
        if not first and not self._file.broke_off:
            self._rejects.broken(EMPTY, EMPTY_FIX)
        elif first in ("\udcff", "\udcfe"):
            self._rejects.broken("UTF-16 text", "save the file as UTF-8")
        elif first not in ("{", "[", ""):
            self._rejects.broken(NO_JSON, NO_HAR_FIX)
        else:
            try:
                found = self._go_to_entries()
            except CutOffError:
                self._rejects.broken(
                    "the file was cut off before its first record", "export or copy it again"
                )
            except (NoJsonError, NotUtf8Error, TooLongError):
                self._rejects.broken(NO_JSON, NO_HAR_FIX)
            else:
                if found:
                    yield from self._listed()
                else:
                    self._rejects.broken(NO_HAR, NO_HAR_FIX)

    def _go_to_entries(self) -> bool:
        """Whether the stream now stands at the first bracket of log.entries."""
        stream = self._stream
        if stream.peek() == "[":
            return False
        for key in stream.members():
            if key != "log" or stream.peek() != "{":
                stream.skip()
                continue
            for inner in stream.members():
                if inner == "entries":
                    return stream.peek() == "["
                if inner == "creator":
                    self.exporter = Exporter.of(stream.value())
                else:
                    stream.skip()
        return False

    def _listed(self) -> Iterator[tuple[int, Any]]:
        stream, whole = self._stream, 0
        stream.take("[")
        try:
            while stream.peek() != "]":
                try:
                    entry = stream.value()
                except (NoJsonError, TooLongError) as error:
                    what = NO_JSON if isinstance(error, NoJsonError) else TOO_LONG
                    if not self._past(whole + 1, what):
                        return
                    whole += 1
                except NotUtf8Error:
                    whole += 1
                    self._rejects.bad(whole, NOT_UTF_8, f"save the file as UTF-8, or {LEAVE_OUT}")
                else:
                    whole += 1
                    yield whole, entry
                if stream.take(",]") == "]":
                    return
        except CutOffError:
            last = f"record {whole} is the last whole one" if whole else "there is no whole one"
            self._rejects.bad(whole + 1, f"the file was cut off, {last}", CUT_FIX)
        except NoJsonError:
            self._rejects.broken(f"{NO_JSON} after record {whole}", NO_HAR_FIX)

    def _past(self, number: int, what: str) -> bool:
        try:
            self._stream.skip()
        except CutOffError:
            self._rejects.bad(number, NO_END, CUT_FIX)
            return False
        self._rejects.bad(number, what, LEAVE_OUT)
        return True
