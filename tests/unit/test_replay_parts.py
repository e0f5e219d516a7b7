"""Parts of the load generator that need no process: frames, blocks of answers, and the order in which requests are due."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.recording.sessions.steps import Slot, Take
from harness.replay.answer_table import Answers, AnswersReader
from harness.replay.answers import BlockWriter
from harness.replay.child.sessions import Memory, Schedule
from harness.replay.frames import FrameReader, Request, RequestSteps, pack, pack_end

MS = 1_000_000
START_NS = 10**12
LENGTH_NS = 1000 * MS

template = st.lists(
    st.binary(max_size=20)
    | st.builds(Slot, st.integers(0, 2**40), st.sampled_from(["raw", "url", "json"]), st.none() | st.text()),
    max_size=4,
).map(tuple)
steps = st.builds(
    RequestSteps,
    template,
    template,
    st.lists(st.builds(Take, st.integers(0, 99), st.just("json"), st.text()), max_size=2).map(tuple),
    st.integers(-1, 2**50),
    st.integers(0, 2**50),
)
requests = st.builds(
    Request,
    st.integers(0, 2**60),
    st.integers(0, 2**60),
    st.sampled_from(["GET", "POST", "PROPFIND"]),
    st.binary(max_size=40),
    st.binary(max_size=40),
    st.binary(max_size=40),
    st.binary(max_size=400),
    st.booleans(),
    st.none() | steps,
)


@given(st.lists(requests, max_size=20), st.integers(1, 300), st.text())
def test_frames_come_out_as_they_went_in_however_they_are_cut(
    sent: list[Request], piece: int, reason: str
) -> None:
    data = b"".join([*map(pack, sent), pack_end(reason)])
    reader = FrameReader()
    got: list[Request] = []
    for at in range(0, len(data), piece):
        assert not reader.ended
        reader.feed(data[at : at + piece])
        got += reader.take(3)
    while not reader.ended:
        got += reader.take(3)
    assert got == sent
    assert reader.failure == reason.encode("utf-8", errors="replace").decode()
    assert reader.pending == 0


def test_bytes_that_are_no_frame_are_refused() -> None:
    reader = FrameReader()
    reader.feed(b"GET / HTTP/1.1\r\n\r\n" * 10)
    with pytest.raises(ValueError, match="a frame of"):
        list(reader.take(1))


def test_a_block_that_is_cut_off_is_left_for_later(tmp_path: Path) -> None:
    writer = BlockWriter()
    path = tmp_path / "answers"
    writer.add(7, 10, 11, over=False)
    writer.add(8, 10, 11, 12, 13, 14, 100, 200, 200, "", "grüße".encode(), 7, b"\x01" * 32)
    first = writer.block()
    writer.add(7, 10, 11, error="timeout")
    second = writer.block()
    assert writer.block() == b""
    path.write_bytes(first + second[:-1])
    reader = AnswersReader(path)
    assert reader.more().column("seq").to_pylist() == [7, 8]
    assert reader.more().num_rows == 0
    path.write_bytes(first + second)
    rows = Answers(reader.more())
    assert (len(rows), rows[0].seq, rows[0].error, rows[-1].body) == (1, 7, "timeout", "")
    whole = Answers(AnswersReader(path).more())
    assert whole[1].body == "grüße"
    assert whole[1].body_digest == "01" * 32
    assert [answer.seq for answer in whole] == [7, 8, 7]
    path.write_bytes(b"not a block at all")
    with pytest.raises(ValueError, match="begins no block"):
        AnswersReader(path).more()


# -- the schedule, against a network that answers when it likes


@dataclass
class Given:
    """Requests that are all there."""

    waiting: deque[Request]

    @property
    def head(self) -> Request | None:
        return self.waiting[0] if self.waiting else None

    @property
    def ended(self) -> bool:
        return not self.waiting

    def advance(self) -> None:
        self.waiting.popleft()


@dataclass
class Done:
    """A request that is over."""

    request: Request
    status_code: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b'{"token": "t"}'


@dataclass(frozen=True)
class Planned:
    """A request as drawn: who, when, how long the answer takes, and how many of its client's requests back it waits."""

    client: int
    at_ms: int
    takes_ms: int
    back: int
    think_ms: int


def rendered(planned: list[Planned]) -> list[Request]:
    earlier: dict[int, list[int]] = {}
    made = []
    for seq, each in enumerate(planned):
        mine = earlier.setdefault(each.client, [])
        waits_for = mine[-each.back] if 0 < each.back <= len(mine) else -1
        needs = tuple(mine[-1:]) if waits_for >= 0 and mine[-1] != waits_for else ()
        mine.append(seq)
        plain = each.client == 0  # one client without any session
        steps = None if plain else RequestSteps(waits_for=waits_for, think_ns=each.think_ms * MS, needs=needs)
        name = b"" if plain else b"client-%d" % each.client
        made.append(Request(seq, each.at_ms * MS, "GET", name, b"", b"/", b"x", False, steps))
    return made


plans = st.lists(
    st.builds(
        Planned,
        st.integers(0, 3),
        st.integers(0, 900),
        st.integers(0, 300),
        st.integers(0, 3),
        st.integers(0, 100),
    ),
    max_size=40,
).map(lambda drawn: sorted(drawn, key=lambda each: each.at_ms))


@settings(max_examples=300)
@given(plans, st.integers(0, 500))
def test_every_request_is_due_once_in_its_clients_order_and_not_before_its_time(
    planned: list[Planned], allowed_ms: int
) -> None:
    all_requests = rendered(planned)
    schedule = Schedule(
        Given(deque(all_requests)), START_NS, START_NS + LENGTH_NS + allowed_ms * MS, Memory()
    )
    popped: list[tuple[Request, int, int]] = []
    under_way: dict[int, int] = {}
    over_ns: dict[int, int] = {}
    now_ns = START_NS
    while under_way or not schedule.finished:
        due_ns = schedule.next_due_ns()
        seq, answer_ns = min(under_way.items(), key=lambda item: item[1], default=(-1, 0))
        assert due_ns or answer_ns  # else nothing would ever happen again
        if answer_ns and (not due_ns or answer_ns <= due_ns):
            now_ns = max(now_ns, answer_ns)
            del under_way[seq]
            over_ns[seq] = now_ns
            schedule.over(Done(all_requests[seq]), now_ns)
            continue
        now_ns = max(now_ns, due_ns)
        if (found := schedule.pop()) is not None:
            request, was_due_ns = found
            popped.append((request, was_due_ns, now_ns))
            under_way[request.seq] = now_ns + planned[request.seq].takes_ms * MS
    assert sorted(request.seq for request, _, _ in popped) == list(range(len(planned)))
    for name in {request.client for request in all_requests}:
        mine = [request.seq for request, _, _ in popped if request.client == name]
        assert mine == sorted(mine)
    for request, was_due_ns, sent_ns in popped:
        assert START_NS + request.offset_ns <= was_due_ns
        assert was_due_ns <= sent_ns or schedule.too_late(was_due_ns)
        if request.steps is None:
            assert was_due_ns == START_NS + request.offset_ns
        elif request.steps.waits_for >= 0:
            assert was_due_ns >= over_ns[request.steps.waits_for] + request.steps.think_ns
            assert all(was_due_ns >= over_ns[seq] for seq in request.steps.needs)


def test_steps_travel_as_plain_text() -> None:
    """They hold bytes of any kind, and text of any kind."""
    steps = RequestSteps(
        (bytes(range(256)), Slot(3, "json", "ü")), (b"",), (Take(1, "text", "a(.)\u2028"),), 4, 5, (6, 7)
    )
    reader = FrameReader()
    reader.feed(pack(Request(1, 2, "GET", b"", b"", b"", b"", False, steps)))
    [request] = reader.take(5)
    assert request.steps == steps
