"""Makes recordings of recordings: a stretch, a selection, a share of the clients, several in one; and a file of lines.

Takes stored recordings, gives new ones that name their parents by digest and what was done to them; parents are never
changed. Everything streams. What was found of sessions goes with them.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from harness.errors import DefinitionError
from harness.interrupts import interruptible
from harness.model.quantities import Duration
from harness.recording.load import PLAIN
from harness.recording.plain import plain_lines
from harness.recording.selecting import Selection
from harness.recording.sessions.rules import SessionRules, load_rules, write_rules
from harness.recording.sorting import shift
from harness.recording.store import StoredRecording
from harness.recording.store_header import SESSIONS, Clock, Parent
from harness.recording.store_writer import THERE, THERE_FIX, RecordingWriter, Said, stored_name

Watch = Callable[[int], None]
"""Told how many exchanges were looked at so far."""
Mask = npt.NDArray[np.bool_]
Align = Literal["start", "clock"]


@dataclass(frozen=True)
class Out:
    """Where the new recording goes, its name (None: the folder's), and who is told how far it is."""

    folder: Path
    name: str | None = None
    watch: Watch = lambda _: None


def _span(length_ns: int) -> str:
    """As it would be written for --from, to the millisecond."""
    return str(Duration(round(length_ns, -6)))


def cut(parent: StoredRecording, out: Out, from_ns: int, to_ns: int | None) -> StoredRecording:
    """The exchanges of `from_ns <= at_ns < to_ns`, which become the whole length. Raises DefinitionError."""
    to_ns = parent.length_ns if to_ns is None else min(to_ns, parent.length_ns)
    if from_ns >= to_ns:
        what = f"nothing lies between {_span(from_ns)} and {_span(to_ns)}"
        raise DefinitionError.at(
            parent.folder,
            what,
            f"the recording is {_span(parent.length_ns)} long; --from comes before --to",
        )

    def within(batch: pa.RecordBatch, _seq: int) -> Mask:
        at_ns = batch.column("at_ns").to_numpy()
        found: Mask = (at_ns >= from_ns) & (at_ns < to_ns)
        return found

    start_ns, done = parent.header.start_ns + from_ns, f"cut from {Duration(from_ns)} to {Duration(to_ns)}"
    return _selected(parent, out, done, within, start_ns, to_ns - from_ns)


def keep(parent: StoredRecording, out: Out, selection: Selection, drop: bool = False) -> StoredRecording:
    """The exchanges that the selection names, or all others; the time between them stays. Raises DefinitionError."""

    def wanted(batch: pa.RecordBatch, _seq: int) -> Mask:
        chosen: Mask = selection.mask(batch)
        return ~chosen if drop else chosen

    done = f"{'without' if drop else 'only'} {selection}"
    return _selected(parent, out, done, wanted, parent.header.start_ns, parent.length_ns)


def sample(parent: StoredRecording, out: Out, share: float, seed: int) -> StoredRecording:
    """The exchanges of a share of the clients, each with all of its own. Raises DefinitionError.

    A hash of seed and client decides, so that a smaller share is part of a larger one. Exchanges of which the client is
    not known are drawn one by one.
    """

    def drawn(batch: pa.RecordBatch, seq: int) -> Mask:
        encoded = batch.column("client").dictionary_encode()
        clients = np.array(
            [client_in(client, share, seed) for client in encoded.dictionary.to_pylist()], bool
        )
        chosen: Mask = clients[encoded.indices.to_numpy()]
        nobodys = pc.equal(batch.column("client"), "").to_numpy(zero_copy_only=False)
        return np.where(nobodys, _drawn_one_by_one(seq, batch.num_rows, share, seed), chosen)

    done = f"sampled {share * 100:g} % of the clients with seed {seed}"
    return _selected(parent, out, done, drawn, parent.header.start_ns, parent.length_ns)


def client_in(client: str, share: float, seed: int) -> bool:
    """Whether the client is in the sample."""
    drawn = hashlib.sha256(f"{seed} {client}".encode()).digest()
    return int.from_bytes(drawn[:8], "big") < share * 2**64


def _drawn_one_by_one(first_seq: int, count: int, share: float, seed: int) -> Mask:
    """By a mixing of seed and place (splitmix64) that is the same everywhere."""
    start = int.from_bytes(hashlib.sha256(f"{seed}".encode()).digest()[:8], "big")
    with np.errstate(over="ignore"):
        mixed = np.arange(first_seq, first_seq + count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        mixed += np.uint64(start)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    drawn: Mask = mixed.astype(np.float64) < share * 2**64
    return drawn


def _selected(
    parent: StoredRecording,
    out: Out,
    done: str,
    mask: Callable[[pa.RecordBatch, int], Mask],
    start_ns: int,
    length_ns: int,
) -> StoredRecording:
    """A new recording of the rows that the mask keeps."""
    name = stored_name(out.folder, out.name)
    with interruptible(), RecordingWriter(out.folder, parent.header.clock, start_ns) as writer:
        kept = seq = 0
        for batch in parent.batches():
            rows = batch.filter(pa.array(mask(batch, seq)))
            seq, kept = seq + batch.num_rows, kept + rows.num_rows
            if rows.num_rows:
                writer.add_stored(moved(rows, parent.header.start_ns), parent)
            out.watch(seq)
        if not kept:
            fix = "name something that it has: `readiness record show` lists it"
            raise DefinitionError.at(parent.folder, f"no exchange is left ({done})", fix)
        traffic = writer.finish_traffic(length_ns)
        if parent.sessions_path is not None:
            (traffic.folder / SESSIONS).write_bytes(parent.sessions_path.read_bytes())
        said = Said(
            parent.attribution,
            sources=parent.header.sources,
            parents=(Parent(recording=parent.name, digest=parent.digest),),
            done=(done,),
            redaction=parent.header.redaction,
        )
        return writer.finish(name, said)


def merge(
    parents: Sequence[StoredRecording], out: Out, align: Align, apart: bool | None = None
) -> StoredRecording:
    """All exchanges of all parents, in order of time. Raises DefinitionError.

    `align` start: all begin together; clock: each at its own time. `apart`: clients of the same name in two parents are
    two clients; by default where all begin together.
    """
    name = stored_name(out.folder, out.name)
    apart = align == "start" if apart is None else apart
    clock, starts = _aligned(parents, align)
    start_ns = min(starts)
    length_ns = (
        max(start + parent.length_ns for start, parent in zip(starts, parents, strict=True)) - start_ns
    )
    with interruptible(), RecordingWriter(out.folder, clock, start_ns) as writer:
        seen = 0
        for number, (parent, start) in enumerate(zip(parents, starts, strict=True), start=1):
            for batch in parent.batches():
                rows = _renamed(batch, number) if apart and number > 1 else batch
                writer.add_stored(moved(rows, start), parent)
                seen += batch.num_rows
                out.watch(seen)
        traffic = writer.finish_traffic(length_ns)
        rules = [parent.sessions_path for parent in parents if parent.sessions_path is not None]
        if rules:
            write_rules(merged_rules(rules), traffic.folder / SESSIONS)
        said = Said(
            "; ".join(dict.fromkeys(parent.attribution for parent in parents)),
            sources=tuple(source for parent in parents for source in parent.header.sources),
            parents=tuple(Parent(recording=parent.name, digest=parent.digest) for parent in parents),
            done=(f"merged, aligned by {align}{', clients kept apart' if apart else ''}",),
            redaction={"parents": [parent.header.redaction for parent in parents]},
        )
        return writer.finish(name, said)


def _aligned(parents: Sequence[StoredRecording], align: Align) -> tuple[Clock, list[int]]:
    """The clock of the whole, and where each parent starts on it. Raises DefinitionError."""
    if len(parents) < 2:
        raise DefinitionError.at("RECORDING", "one recording is no merge", "name two or more")
    if align == "start":
        return "own", [0] * len(parents)
    clocks = {parent.header.clock for parent in parents}
    if len(clocks) > 1:
        dateless = next(parent for parent in parents if parent.header.clock == "own")
        what = "does not know at which date it was recorded, another one does"
        raise DefinitionError.at(dateless.folder, what, "merge with --align start")
    return clocks.pop(), [parent.header.start_ns for parent in parents]


def merged_rules(files: Sequence[Path]) -> SessionRules:
    """Every rule once; where two differ and have one name, the later gets another. Raises DefinitionError."""
    every = [load_rules(file) for file in files]
    rules = {}
    names: set[str] = set()
    for rule in (rule for item in every for rule in item.rules):
        key = (rule.taken_from, tuple(use.model_copy(update={"support": None}) for use in rule.used_in))
        if key in rules:
            continue
        free = (rule.name if number == 1 else f"{rule.name[:58]}-{number}" for number in itertools.count(1))
        name = next(name for name in free if name not in names)
        names.add(name)
        rules[key] = rule.model_copy(update={"name": name})
    return every[0].model_copy(update={"rules": tuple(rules.values())})


def _renamed(batch: pa.RecordBatch, number: int) -> pa.RecordBatch:
    """Clients and connections that cannot be taken for those of another recording."""
    for name in ("client", "connection"):
        column = batch.column(name)
        other = pc.binary_join_element_wise(str(number), column, "-")
        batch = batch.set_column(
            batch.schema.get_field_index(name), name, pc.if_else(pc.equal(column, ""), column, other)
        )
    return batch


def moved(batch: pa.RecordBatch, by_ns: int) -> pa.RecordBatch:
    """All times later by so much."""
    (whole,) = shift(pa.Table.from_batches([batch]), by_ns).combine_chunks().to_batches()
    return whole


def export(parent: StoredRecording, file: Path, watch: Watch = lambda _: None) -> None:
    """The recording as lines (`NAME.ndjson`, format 2), answers included. Raises DefinitionError, OSError."""
    if not file.name.endswith(PLAIN):
        raise DefinitionError.at(file, "an export is a file of lines", f"call it NAME{PLAIN}")
    if file.exists():
        raise DefinitionError.at(file, THERE, THERE_FIX)
    partial = file.with_name(f".{file.name}.partial-{os.getpid()}")
    try:
        with interruptible(), partial.open("x", encoding="utf-8", newline="\n") as lines:
            for number, line in enumerate(plain_lines(parent)):
                lines.write(line)
                if number % 4096 == 0:
                    watch(number)
            lines.flush()
            partial.rename(file)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
