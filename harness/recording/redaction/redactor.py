"""Redaction of record batches: the one way in which captured traffic gets from a reader to anything that writes.

Takes batches of `CAPTURED`, gives batches with the same rows in which nothing private stands, and a report. Works on the
distinct values of each column: a quick look finds those that can hold anything private (`hints.py`), Python changes them,
a bounded memory keeps what was changed for later batches. Secrets that were learnt from a batch's headers, parameters and
fields are then searched in all texts of that batch and of every later one (`known.py`).

Where a secret shows in a text *before* any header or field says that it is one, only a detector can find it. Whoever can
read the source twice calls `learn` with all batches first; then there is no before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa

from harness.recording.redaction import hints
from harness.recording.redaction.bodies import Bodies
from harness.recording.redaction.clients import Clients
from harness.recording.redaction.columns import Column, Memory, is_packed
from harness.recording.redaction.core import Core, Look, Place
from harness.recording.redaction.free_text import FreeText
from harness.recording.redaction.headers import Headers
from harness.recording.redaction.hints import Hints
from harness.recording.redaction.known import spliced
from harness.recording.redaction.report import RedactionReport, Tally
from harness.recording.redaction.rules import RedactionRules, Side
from harness.recording.redaction.targets import Targets

SEARCHED = ("key", "path", "route", "error", "headers", "body", "answer_headers", "answer_body")
"""Columns in which known secrets are looked for."""

_CODING = r"(?im)^content-encoding:[^\n]*(?:br|deflate|,)[^\n]*$"
_CODING_OF = re.compile(r"^content-encoding:[ \t]*(\S[^\n]*)$", re.IGNORECASE | re.MULTILINE)

Change = Callable[[str], str]


class Redactor:
    """One import's redaction. Batches in the order of the source; not for several threads at once."""

    def __init__(self, rules: RedactionRules, key: bytes) -> None:
        self._rules = rules
        self._core = Core(rules, key)
        texts = FreeText(self._core)
        self._texts = texts
        self._names = Clients(self._core)
        self._targets = Targets(self._core, texts)
        self._headers = Headers(self._core, texts, self._targets)
        self._bodies = Bodies(self._core, texts, self._targets)
        self._header_hints = hints.header_hints(self._core.decisions)
        self._target_hints = hints.target_hints(self._core.decisions)
        self._body_hints = hints.body_hints(self._core.decisions)
        self._learning = False
        self._memories: dict[str, Memory[str]] = {}
        self._bodies_memory: dict[Side, Memory[bytes]] = {"request": Memory(), "answer": Memory()}
        self._lines: dict[Side, Memory[str]] = {"request": Memory(), "answer": Memory()}

    def redact(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The same rows without anything private. What no rule names and looks like a secret is in `report()`."""
        columns = {name: Column(batch.column(name)) for name in batch.schema.names}
        self._walk(columns)
        for name in SEARCHED:
            self._search(columns[name])
        self._core.settle()
        self._core.tally.records += batch.num_rows
        arrays = [columns[field.name].array(field.type) for field in batch.schema]
        return pa.RecordBatch.from_arrays(arrays, schema=batch.schema)

    def learn(self, batch: pa.RecordBatch) -> None:
        """Only find out which values are secret; nothing is counted or reported."""
        tally, self._core.tally = self._core.tally, Tally()
        self._learning = True
        self._walk({name: Column(batch.column(name)) for name in batch.schema.names})
        self._learning = False
        self._core.tally = tally
        self._forget()

    def _walk(self, columns: dict[str, Column]) -> None:
        """Change what names, places and formats give away."""
        self._clients(columns)
        self._key(columns["key"])
        self._change(columns["headers"], "headers", self._header_hints, self._header_cell("request"))
        self._change(
            columns["answer_headers"], "answer headers", self._header_hints, self._header_cell("answer")
        )
        for name in ("path", "route"):
            self._change(columns[name], "target", self._target_hints, self._targets.redact)
        self._change(columns["error"], "error", self._target_hints, self._error)
        self._change_bodies(columns["body"], columns["headers"], "request")
        self._change_bodies(columns["answer_body"], columns["answer_headers"], "answer")

    def _forget(self) -> None:
        """What texts became: findings are told when a text is looked at, not when it is remembered."""
        self._core.dull.clear()
        self._core.dull_names.clear()
        self._targets.dull.clear()
        for texts in (*self._memories.values(), *self._lines.values()):
            texts.clear()
        for bodies in self._bodies_memory.values():
            bodies.clear()

    def collect_originals(self) -> Mapping[str, None]:
        """From now on: the values that are replaced, in clear, for an audit alone. The mapping grows as batches come."""
        self._core.originals = {}
        return self._core.originals

    @property
    def refuses(self) -> bool:
        """Whether something was found so far that must not be written."""
        return bool(self._core.tally.found)

    def report(self) -> RedactionReport:
        """The sum over all batches so far."""
        return self._core.tally.report(self._rules.redaction, self._core.known.dropped)

    def _clients(self, columns: dict[str, Column]) -> None:
        """First of all: their addresses are then known in every text."""
        if not self._core.decisions.defaults:
            return
        if self._learning:
            self._names.learn(columns["client"].texts())
        else:
            self._names.clients(columns["client"])
            self._names.connections(columns["connection"])

    def _key(self, column: Column) -> None:
        """What joins an exchange to its label: replaced where a rule says so by its name, `key`."""
        named = "key" in self._core.decisions.own_names
        decision = self._core.decisions.of("json", "request", "key") if named else None
        place = Place("request", "key")
        texts = column.texts()
        column.replace_all(
            texts,
            [
                self._core.apply(text, place, decision) or "" if decision else self._texts.redact(text, place)
                for text in texts
            ],
        )

    def _error(self, text: str) -> str:
        return self._texts.redact(text, Place("answer", "error"), entropy=False)

    def _header_cell(self, side: Side) -> Change:
        memory = self._lines[side]

        def change(lines: str) -> str:
            changed: list[str] = []
            for line in lines.split("\n"):
                new = memory.get(line)
                if new is None:
                    new = self._headers.line(line, side) if line else line
                    new = "\0" if new is None else new  # left out
                    memory.put(line, new)
                if new != "\0":
                    changed.append(new)
            return "\n".join(changed)

        return change

    def _change(self, column: Column, memory_name: str, look_for: Hints, change: Change) -> None:
        """Every distinct text that can hold anything private, changed."""
        places = column.places(look_for, learning=self._learning)
        if not len(places):
            return
        chosen = column.distinct.take(pa.array(places))
        looks = look_for.looks(chosen, self._learning)
        memory = self._memories.setdefault(memory_name, Memory())
        changed = {}
        begun = self._core.tally.records + 1
        for place, row, text, look in zip(
            places.tolist(), column.first_rows(places), chosen.to_pylist(), looks, strict=True
        ):
            new = memory.get(text)
            if new is None:
                self._core.record = begun + row
                self._core.look = look
                new = change(text)
                memory.put(text, new)
            if new != text:
                changed[place] = new
        self._core.look = Look()
        column.replace(changed)

    def _change_bodies(self, column: Column, headers: Column, side: Side) -> None:
        """Compressed ones last, when all secrets of the batch are known."""
        coded = self._codings(headers)
        if coded:
            column.make_distinct(sorted(coded))
        codings = {column.code(row): coding for row, coding in coded.items()}
        places = column.places(self._body_hints, codings, self._learning)
        if not len(places):
            return
        chosen = column.distinct.take(pa.array(places))
        looks = self._body_hints.looks(chosen, self._learning)
        todo = sorted(
            zip(places.tolist(), column.first_rows(places), chosen.to_pylist(), looks, strict=True),
            key=lambda item: (item[0] in codings or is_packed(item[2]), item[0]),
        )
        memory = self._bodies_memory[side]
        changed = {}
        begun = self._core.tally.records + 1
        for place, row, body, look in todo:
            coding = codings.get(place, "")
            packed = bool(coding) or is_packed(body)
            new = None if packed else memory.get(body)
            if new is None:
                self._core.record = begun + row
                self._core.look = look
                new = self._bodies.redact(body, side, coding)
                if not packed:
                    memory.put(body, new)
            if new != body:
                changed[place] = new
        self._core.look = Look()
        column.replace(changed)

    def _codings(self, headers: Column) -> dict[int, str]:
        """Row -> content coding, of those that a body's first bytes do not give away."""
        flagged = hints.matching(headers.distinct, _CODING).to_numpy(zero_copy_only=False)
        if not flagged.any():
            return {}
        found = {}
        for row in np.flatnonzero(flagged[headers.codes]).tolist():
            match = _CODING_OF.search(headers.distinct[int(headers.codes[row])].as_py())
            if match:
                found[row] = match.group(1)
        return found

    def _search(self, column: Column) -> None:
        """Known secrets, wherever they stand."""
        data, edges = column.bytes()
        if not len(self._core.known) or not data:
            return
        spans = self._core.known.spans(data, edges)
        if not spans:
            return
        by_place: dict[int, list[tuple[int, int, bytes]]] = {}
        starts = np.asarray(edges)
        for start, stop, new in spans:
            place = int(np.searchsorted(starts, start, side="right")) - 1
            by_place.setdefault(place, []).append((start - edges[place], stop - edges[place], new))
        changed = {}
        for place, found in by_place.items():
            old = data[edges[place] : edges[place + 1]]
            new = spliced(old, found)
            changed[place] = new if column.binary else new.decode("utf-8", "replace")
        column.replace(changed)
