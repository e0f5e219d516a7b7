"""Lays a recording on time anew: a slice of it, faster, many times over, in loops, with a ramp. Nothing is kept.

Takes a recording (`Traffic`) and a `Pace`, gives another `Traffic` whose exchanges are made while they are read, in
order of time, from slices of the original; the same bytes for the same recording and pace. Its digest is of the two.

* **times**: copy k of a client is a client of its own, `name~k`. All clients of a copy are shifted by the same span, so
  that what came together comes together again, and copies keep away from each other by chance: the rate is N-fold, the
  index of dispersion about the original's. The shift wraps around: what would lie beyond the end lies at the beginning.
  A client stays whole: one that would be cut at the end is moved to the beginning with all of its requests. Where it
  lasts longer than half of the slice there is no room for that: it is cut, and its later half, which now comes first,
  is a client of its own, `name~k~`. A slice whose `to` lies beyond the recording's end makes room.
* **loops**: the clients of loop j (from 1) are new ones, `name@j`.
* **ramp**: each client joins at a moment within the ramp that a hash of its name decides; what it did before is left
  out. From the ramp's end on everything is there.
* A key joins an answer to its label and so is there once: in the original clients of the first loop.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice

import numpy as np
import numpy.typing as npt

from harness.model.pace import Pace
from harness.model.recording import Exchange, Traffic
from harness.recording.store import StoredRecording

Times = npt.NDArray[np.int64]

FORMAT = 1
"""Version of what the digest of a paced recording is over."""


class PaceError(ValueError):
    """The recording cannot be laid so; the text says why."""


@dataclass(frozen=True)
class _Copy:
    """One copy of all clients. What is recorded before `cut_ns` comes `shift_ns` later, the rest `cut_ns` sooner; but
    `moved` clients come as a whole, by the spans given there."""

    number: int
    shift_ns: int
    cut_ns: int
    moved: dict[str, int] = field(default_factory=dict)
    halved: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Place:
    """An exchange and where a loop has it."""

    at_ns: int
    copy: int
    exchange: Exchange
    halved: bool = False


def lay(recording: Traffic, pace: Pace) -> Traffic:
    """The recording itself where the pace changes nothing. Raises PaceError for a slice that is not there."""
    return recording if pace.changes_nothing else PacedRecording(recording, pace)


class PacedRecording:
    """See the module's head. `shifts_ns`: by how much the copies were shifted, before `speed`."""

    def __init__(self, recording: Traffic, pace: Pace) -> None:
        self.recording = recording
        self.pace = pace
        if pace.from_.ns >= recording.length_ns:
            raise PaceError(
                f"the slice begins at {pace.from_}, and the recording is {recording.length_ns / 1e9:g} s long"
            )
        self._from_ns = pace.from_.ns
        self._loop_ns = (pace.to.ns if pace.to is not None else recording.length_ns) - self._from_ns
        offsets_ns = recording.offsets_ns()
        first, stop = np.searchsorted(offsets_ns, [self._from_ns, self._from_ns + self._loop_ns])
        self._first, self._times_ns = int(first), offsets_ns[first:stop] - self._from_ns
        self._copies, self._moved = self._lay_copies()
        self._loop_times_ns = self._times_of_a_loop()
        self._taking_part = self._ramp()

    @property
    def name(self) -> str:
        return self.recording.name

    @property
    def attribution(self) -> str:
        return self.recording.attribution

    @property
    def digest(self) -> str:
        said = self.pace.model_dump_json(by_alias=True)
        text = f"pace {FORMAT}\n{self.recording.digest}\n{said}\n"
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"

    @property
    def length_ns(self) -> int:
        """At least a nanosecond after the last exchange."""
        return self._paced(self._loop_ns * self.pace.loops - 1) + 1

    @property
    def shifts_ns(self) -> tuple[int, ...]:
        return tuple(copy.shift_ns for copy in self._copies)

    @property
    def halved_clients(self) -> int:
        """Copies of clients that had no room to stay whole."""
        return sum(len(copy.halved) for copy in self._copies)

    @property
    def count(self) -> int:
        left_out = len(self._taking_part) - int(self._taking_part.sum())
        return len(self._loop_times_ns) * self.pace.loops - left_out

    def offsets_ns(self) -> Times:
        starts = self._loop_ns * np.arange(self.pace.loops, dtype=np.int64)
        whole = (starts[:, None] + self._loop_times_ns[None, :]).reshape(-1)
        paced = whole if self.pace.speed == 1 else np.floor(whole / self.pace.speed).astype(np.int64)
        head = len(self._taking_part)
        return np.concatenate([paced[:head][self._taking_part], paced[head:]]) if head else paced

    def slice(self, first_seq: int, stop_seq: int) -> Iterator[Exchange]:
        """The exchanges `first_seq <= seq < stop_seq`, numbered by their place in this recording."""
        stop_seq = min(stop_seq, self.count)
        if first_seq >= stop_seq:
            return iter(())
        head = np.flatnonzero(self._taking_part)
        start = (
            int(head[first_seq]) if first_seq < len(head) else first_seq - len(head) + len(self._taking_part)
        )
        there = (
            (loop, place)
            for index, (loop, place) in enumerate(self._places(start), start)
            if index >= len(self._taking_part) or self._taking_part[index]
        )
        wanted = islice(there, stop_seq - first_seq)
        return (self._exchange(seq, loop, place) for seq, (loop, place) in enumerate(wanted, first_seq))

    def _paced(self, at_ns: int) -> int:
        return at_ns if self.pace.speed == 1 else int(at_ns / self.pace.speed)

    def _lay_copies(self) -> tuple[tuple[_Copy, ...], dict[str, list[Exchange]]]:
        """The copies besides the original, and all exchanges of clients that one of them moves as a whole."""
        if self.pace.times == 1 or not len(self._times_ns):
            return (), {}
        spans = self._client_spans()
        copies = tuple(self._lay_copy(number, spans) for number in range(1, self.pace.times))
        moved: dict[str, list[Exchange]] = {name: [] for copy in copies for name in copy.moved}
        if moved:
            for exchange in self._original():
                if exchange.client in moved:
                    moved[exchange.client].append(exchange)
        return copies, moved

    def _original(self, first: int = 0) -> Iterable[Exchange]:
        """Of the slice; `first` counts from its beginning."""
        return self.recording.slice(self._first + first, self._first + len(self._times_ns))

    def _client_spans(self) -> dict[str, tuple[int, int]]:
        """When each named client sent its first and its last request."""
        spans: dict[str, tuple[int, int]] = {}
        for client, at_ns in zip(self._clients(), self._times_ns.tolist(), strict=True):
            if client:
                spans[client] = spans.get(client, (at_ns,))[0], at_ns
        return spans

    def _clients(self) -> Iterator[str]:
        """Whose each exchange of the slice is; of a stored recording read from that column alone."""
        if not isinstance(self.recording, StoredRecording):
            return (exchange.client for exchange in self._original())
        columns = (batch.column("client").to_pylist() for batch in self.recording.batches(("client",)))
        return islice(chain.from_iterable(columns), self._first, self._first + len(self._times_ns))

    def _lay_copy(self, number: int, spans: dict[str, tuple[int, int]]) -> _Copy:
        """Shifts are spread over the slice, each by chance within its part of it."""
        text = f"{self.recording.digest} {self.pace.seed} {number}"
        chance = _hashed(text)
        shift_ns = min(
            max(int(self._loop_ns * (number - 0.5 + chance) / self.pace.times), 1), self._loop_ns - 1
        )
        cut_ns = self._loop_ns - shift_ns
        moved: dict[str, int] = {}
        halved: set[str] = set()
        for name, (first_ns, last_ns) in spans.items():
            if not first_ns < cut_ns <= last_ns:
                continue
            room_ns = self._loop_ns - (last_ns - first_ns)
            if 2 * room_ns < self._loop_ns:
                halved.add(name)
            else:
                moved[name] = (first_ns + shift_ns) % room_ns - first_ns
        return _Copy(number, shift_ns, cut_ns, moved, frozenset(halved))

    def _times_of_a_loop(self) -> Times:
        """When a loop has its exchanges, ascending, before `speed` and `ramp`."""
        if not self._copies:
            return self._times_ns
        owner = np.full(len(self._times_ns), -1, np.int64)
        names = {name: code for code, name in enumerate(self._moved)}
        for name, exchanges in self._moved.items():
            owner[[exchange.seq - self._first for exchange in exchanges]] = names[name]
        laid = [self._times_ns]
        for copy in self._copies:
            times = np.where(
                self._times_ns < copy.cut_ns, self._times_ns + copy.shift_ns, self._times_ns - copy.cut_ns
            )
            by = np.full(len(names) + 1, -self._loop_ns, np.int64)
            for name, span_ns in copy.moved.items():
                by[names[name]] = span_ns
            whole = by[owner] > -self._loop_ns
            times[whole] = (self._times_ns + by[owner])[whole]
            laid.append(times)
        return np.sort(np.concatenate(laid), kind="stable")

    def _ramp(self) -> npt.NDArray[np.bool_]:
        """For the exchanges within the ramp, whether they take part."""
        if not self.pace.ramp.ns or not len(self._loop_times_ns):
            return np.zeros(0, bool)
        within = int(np.searchsorted(self._unfiltered_ns(), self.pace.ramp.ns))
        taking_part = np.zeros(within, bool)
        for index, (loop, place) in enumerate(islice(self._places(0), within)):
            name = self._client(place, loop) or f"exchange {index}"
            joins_ns = _hashed(f"{self.pace.seed} {name}") * self.pace.ramp.ns
            taking_part[index] = self._at_ns(loop, place) >= joins_ns
        return taking_part

    def _unfiltered_ns(self) -> Times:
        self._taking_part = np.zeros(0, bool)
        return self.offsets_ns()

    def _places(self, start: int) -> Iterator[tuple[int, _Place]]:
        """From the exchange of that number on, without the ramp: loop by loop."""
        a_loop = len(self._loop_times_ns)
        for loop in range(start // a_loop, self.pace.loops):
            skipped = start - loop * a_loop if loop == start // a_loop else 0
            yield from ((loop, place) for place in self._places_of_a_loop(skipped))

    def _places_of_a_loop(self, start: int) -> Iterator[_Place]:
        at_ns = int(self._loop_times_ns[start])
        before = int(np.searchsorted(self._loop_times_ns, at_ns))
        streams = [self._stream(0, 0, at_ns, 0, len(self._times_ns), _NOBODY)]
        for copy in self._copies:
            cut = int(np.searchsorted(self._times_ns, copy.cut_ns))
            wrapped = self._stream(copy.number, -copy.cut_ns, at_ns, cut, len(self._times_ns), copy)
            shifted = self._stream(copy.number, copy.shift_ns, at_ns, 0, cut, copy)
            streams.append(chain(wrapped, shifted))
            streams.append(iter(self._moved_places(copy, at_ns)))
        merged = streams[0] if len(streams) == 1 else heapq.merge(*streams, key=_when)
        return islice(merged, start - before, None)

    def _stream(
        self, number: int, by_ns: int, from_ns: int, first: int, stop: int, copy: _Copy
    ) -> Iterator[_Place]:
        """Original exchanges `first` to `stop` moved by `by_ns`, those that then lie at `from_ns` or later."""
        first = max(first, int(np.searchsorted(self._times_ns, from_ns - by_ns)))
        if first >= stop:
            return
        wrapped = by_ns < 0
        for exchange in self.recording.slice(self._first + first, self._first + stop):
            if exchange.client not in copy.moved:
                at_ns = exchange.at_ns - self._from_ns + by_ns
                yield _Place(at_ns, number, exchange, wrapped and exchange.client in copy.halved)

    def _moved_places(self, copy: _Copy, from_ns: int) -> Sequence[_Place]:
        places = [
            _Place(exchange.at_ns - self._from_ns + by_ns, copy.number, exchange)
            for name, by_ns in copy.moved.items()
            for exchange in self._moved[name]
        ]
        return sorted((place for place in places if place.at_ns >= from_ns), key=_when)

    def _at_ns(self, loop: int, place: _Place) -> int:
        return self._paced(loop * self._loop_ns + place.at_ns)

    def _client(self, place: _Place, loop: int) -> str:
        return _renamed(place.exchange.client, place, loop)

    def _exchange(self, seq: int, loop: int, place: _Place) -> Exchange:
        """As recorded, at its new time; the times of its answer keep their distance, at the pace's speed."""
        original = place.exchange
        at_ns = self._at_ns(loop, place)
        answer = original.answer

        def since(then_ns: int) -> int:
            return then_ns if then_ns < 0 else at_ns + self._paced(then_ns - original.at_ns)

        if answer.answered_ns >= 0 or answer.first_byte_ns >= 0:
            answer = replace(
                answer, first_byte_ns=since(answer.first_byte_ns), answered_ns=since(answer.answered_ns)
            )
        return replace(
            original,
            seq=seq,
            at_ns=at_ns,
            client=self._client(place, loop),
            connection=_renamed(original.connection, place, loop),
            key=original.key if loop == 0 and place.copy == 0 else "",
            answer=answer,
        )


_NOBODY = _Copy(0, 0, 0)


def _renamed(name: str, place: _Place, loop: int) -> str:
    """Of a client or a connection; those whose source did not say stay nameless."""
    if not name:
        return name
    copy = f"~{place.copy}{'~' if place.halved else ''}" if place.copy else ""
    return f"{name}{copy}{f'@{loop}' if loop else ''}"


def _when(place: _Place) -> int:
    return place.at_ns


def _hashed(text: str) -> float:
    """Evenly spread over 0 to 1, the same everywhere."""
    digest = hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).digest()
    return int.from_bytes(digest[:7], "big") / 2**56
