"""The parts of a crew that need no process: whose exchange it is, how far clocks are apart, sealed messages, blocks."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.model.recording import Exchange, Recording
from harness.replay.answers import BLOCK, MAGIC, RECORD, BlockWriter
from harness.replay.crew.blocks import shifted, whole
from harness.replay.crew.clock import MOST_DRIFT, ClockOffset, Sample
from harness.replay.crew.messages import (
    Assign,
    Finished,
    Hello,
    Seal,
    Stop,
    Unsealed,
    conversation,
    new_nonce,
    new_token,
)
from harness.replay.crew.orders import Part, Rendering
from harness.replay.crew.sharding import share, worker_of
from harness.replay.protocol import Order, Reply

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
CLIENTS = st.lists(st.one_of(st.just(""), st.text(max_size=12)), max_size=200)


def recording_of(clients: list[str]) -> Recording:
    exchanges = [
        Exchange(0, index * 1000, client, "", "GET", "/", "/", (), b"")
        for index, client in enumerate(clients)
    ]
    return Recording.of("test", "made here", exchanges)


@unhurried
@given(CLIENTS, st.integers(1, 9))
def test_every_exchange_is_in_exactly_one_share_and_in_order(clients: list[str], workers: int) -> None:
    of = recording_of(clients)
    shares = [list(share(of.exchanges, worker, workers)) for worker in range(workers)]
    assert sorted(exchange.seq for part in shares for exchange in part) == list(range(len(clients)))
    assert all([e.seq for e in part] == sorted(e.seq for e in part) for part in shares)


@unhurried
@given(CLIENTS, st.integers(1, 9))
def test_a_client_is_never_split(clients: list[str], workers: int) -> None:
    of = recording_of(clients)
    owners: dict[str, set[int]] = defaultdict(set)
    for worker in range(workers):
        for exchange in share(of.exchanges, worker, workers):
            owners[exchange.client].add(worker)
    assert all(len(found) == 1 for client, found in owners.items() if client)


@unhurried
@given(CLIENTS, st.integers(1, 9))
def test_a_client_keeps_its_worker_whatever_else_is_in_the_recording(
    clients: list[str], workers: int
) -> None:
    alone = {client: worker_of(client, 0, workers) for client in clients if client}
    for exchange in recording_of(clients).exchanges:
        if exchange.client:
            assert worker_of(exchange.client, exchange.seq, workers) == alone[exchange.client]


@unhurried
@given(st.integers(2, 8), st.text(max_size=5))
def test_many_clients_are_spread_evenly(workers: int, name: str) -> None:
    """Six standard deviations of a fair deal of 4,000 clients."""
    found = Counter(worker_of(f"{name}{k}", k, workers) for k in range(4000))
    fair = 4000 / workers
    assert all(abs(found[worker] - fair) < 6 * fair**0.5 for worker in range(workers))


@unhurried
@given(st.integers(1, 8), st.integers(0, 100))
def test_unknown_clients_are_dealt_out_one_by_one(workers: int, first: int) -> None:
    found = Counter(worker_of("", seq, workers) for seq in range(first, first + 10 * workers))
    assert set(found.values()) == {10}


def test_the_hash_is_the_same_in_every_release() -> None:
    """Workers of other machines must agree; a change here is a change of `messages.VERSION`."""
    assert [worker_of(f"client-{k}", 0, 3) for k in range(12)] == [0, 1, 2, 2, 1, 1, 1, 0, 1, 2, 0, 0]


def trip(at_ns: int, offset_ns: int, there_ns: int, back_ns: int, thought_ns: int = 5_000) -> Sample:
    """One round trip to a clock that is `offset_ns` ahead."""
    came = at_ns + there_ns
    return Sample(at_ns, came + offset_ns, came + thought_ns + offset_ns, came + thought_ns + back_ns)


DELAYS = st.lists(st.tuples(st.integers(1, 10**8), st.integers(1, 10**8)), min_size=1, max_size=30)


@unhurried
@given(st.integers(-(10**18), 10**18), DELAYS)
def test_the_true_offset_is_within_the_uncertainty(offset_ns: int, delays: list[tuple[int, int]]) -> None:
    clock = ClockOffset()
    for index, (there_ns, back_ns) in enumerate(delays):
        clock.add(trip(index * 10**9, offset_ns, there_ns, back_ns))
    assert clock.now is not None
    assert abs(clock.now.offset_ns - offset_ns) <= clock.now.uncertainty_ns
    assert clock.best_round_trip_ns == min(there + back for there, back in delays)


@unhurried
@given(st.integers(-(10**15), 10**15), st.floats(-MOST_DRIFT * 0.9, MOST_DRIFT * 0.9), DELAYS)
def test_drift_is_followed(offset_ns: int, drift: float, delays: list[tuple[int, int]]) -> None:
    clock = ClockOffset()
    for index, (there_ns, back_ns) in enumerate(delays):
        at_ns = index * 10**9
        clock.add(trip(at_ns, offset_ns + int(drift * at_ns), there_ns, back_ns))
        if index == 0:
            clock.settle()
    assert clock.now is not None
    assert clock.first is not None
    truth_ns = offset_ns + int(drift * (len(delays) - 1) * 10**9)
    assert abs(clock.now.offset_ns - truth_ns) <= clock.now.uncertainty_ns + 100_000
    off_ns = clock.now.uncertainty_ns + clock.first.uncertainty_ns + 100_000
    assert abs(clock.drift_ns - (truth_ns - offset_ns)) <= off_ns


def test_one_quick_round_trip_among_slow_ones_decides() -> None:
    clock = ClockOffset()
    for index in range(20):
        quick = index == 7
        clock.add(
            trip(index * 10**6, 3_000_000_000, *((40_000, 60_000) if quick else (30_000_000, 1_000_000)))
        )
    assert clock.now is not None
    assert clock.now.uncertainty_ns < 60_000
    assert abs(clock.now.offset_ns - 3_000_000_000) < 60_000


def test_a_clock_that_was_set_is_measured_anew() -> None:
    clock = ClockOffset()
    clock.add(trip(0, 0, 50_000, 50_000))
    clock.settle()
    clock.add(trip(10**9, 5 * 10**9, 50_000, 50_000))
    assert clock.now is not None
    assert abs(clock.now.offset_ns - 5 * 10**9) <= 50_000
    assert abs(clock.drift_ns - 5 * 10**9) <= 100_000


def test_a_sample_that_came_before_it_was_sent_says_nothing() -> None:
    clock = ClockOffset()
    clock.add(Sample(1000, 0, 10_000, 1500))
    assert clock.samples == 0
    with pytest.raises(ValueError, match="never measured"):
        clock.settle()


def test_one_machine_is_corrected_by_nothing_unless_measured_otherwise() -> None:
    """Two processes that read one clock: the measurement's own error must not get into the records."""
    same, skewed, other = ClockOffset(same_clock=True), ClockOffset(same_clock=True), ClockOffset()
    same.add(trip(0, 0, 90_000, 40_000))
    skewed.add(trip(0, 10**9, 90_000, 40_000))
    other.add(trip(0, 0, 90_000, 40_000))
    assert same.correction_ns == 0
    assert abs(skewed.correction_ns - 10**9) <= 90_000
    assert other.correction_ns == 25_000


def talk(token: str = "", other: str = "") -> tuple[Seal, Seal]:
    token = token or new_token()
    return conversation(token, "w1", at_master=True), conversation(other or token, "w1", at_master=False)


HELLO = Hello(1, "worker-1", 7, "here", "clock", "", "nonce")


def test_messages_come_out_as_they_went_in() -> None:
    master, worker = talk()
    assert master.open(worker.close(HELLO)) == (HELLO, b"")
    nonce = new_nonce()
    master.join(HELLO.nonce, nonce)
    worker.join(HELLO.nonce, nonce)
    finished = Finished(3, Reply(3, "done", resources={"cpu_ms": 1.5}), "sha256:1")
    assert master.open(worker.close(finished, b"\x00block")) == (finished, b"\x00block")
    order = Order(3, "", "", "http://127.0.0.1:1", 5, 6, 7, ("a.b",))
    rendering = Rendering(7, "sha256:2", 0, "target", False)
    assign = Assign(0, 2, order, rendering, Part("sha256:2", 0, 9, '{"speed": 2}'))
    assert worker.open(master.close(assign)) == (assign, b"")


def test_a_stranger_can_neither_order_nor_record() -> None:
    master, worker = talk()
    stranger, _ = talk()
    for data in (stranger.close(Stop(1)), {"count": 1}, None, [], {**worker.close(HELLO), "count": "1"}):
        with pytest.raises(Unsealed):
            master.open(data)
    data = worker.close(HELLO)
    for changed in (
        {**data, "body": data["body"] + b" "},
        {**data, "count": 9},
        {**data, "blocks": b"more"},
        {**data, "mac": b""},
    ):
        with pytest.raises(Unsealed):
            master.open(changed)


def test_a_message_is_taken_once_and_by_the_other_side_only() -> None:
    master, worker = talk()
    data = worker.close(HELLO)
    master.open(data)
    with pytest.raises(Unsealed, match="came before"):
        master.open(data)
    with pytest.raises(Unsealed):
        worker.open(data)


def test_a_message_of_an_earlier_conversation_is_not_taken() -> None:
    """Same token, same worker's name: the numbers used once differ."""
    token = new_token()
    (old_master, _), (_, new_worker) = talk(token), talk(token)
    old_master.join("n1", "n2")
    new_worker.join("n1", "n3")
    with pytest.raises(Unsealed):
        new_worker.open(old_master.close(Stop(1)))


def block(*rows: tuple[int, int, int], text: str = "") -> bytes:
    writer = BlockWriter()
    for seq, sent_ns, answered_ns in rows:
        writer.add(seq, 5_000, sent_ns, answered_ns=answered_ns, error=text, body=b"body", body_bytes=4)
    return writer.block()


def test_only_whole_blocks_are_handed_on() -> None:
    first, second = block((1, 10, 20), text="timeout"), block((2, 30, -1), (3, -1, -1))
    for cut in range(len(second)):
        assert whole(first + second[:cut]) == len(first)
    assert whole(first + second) == len(first + second)
    assert whole(b"") == 0
    with pytest.raises(ValueError, match="begins no block"):
        whole(b"x" * 100)


@unhurried
@given(st.integers(-(10**18), 10**18))
def test_times_are_moved_and_nothing_else(by_ns: int) -> None:
    first, second = block((1, 10**9, 2 * 10**9), text="timeout"), block((2, 3 * 10**9, -1), (3, -1, -1))
    moved = shifted(first + second, by_ns)
    times = lambda sent, answered: tuple(t if t == -1 else t - by_ns for t in (sent, answered))  # noqa: E731
    writer = BlockWriter()
    writer.add(
        1,
        5_000 - by_ns,
        times(10**9, 0)[0],
        answered_ns=times(0, 2 * 10**9)[1],
        error="timeout",
        body=b"body",
        body_bytes=4,
    )
    assert moved == writer.block() + block_of_two(by_ns)
    assert len(moved) == len(first + second)


def block_of_two(by_ns: int) -> bytes:
    writer = BlockWriter()
    writer.add(2, 5_000 - by_ns, 3 * 10**9 - by_ns, body=b"body", body_bytes=4)
    writer.add(3, 5_000 - by_ns, -1, body=b"body", body_bytes=4)
    return writer.block()


def test_the_layout_of_a_block_is_the_one_that_times_are_moved_in() -> None:
    data = block((7, 11, 13))
    magic, records, text = BLOCK.unpack_from(data)
    assert (magic, records, text) == (MAGIC, 1, 4)
    fields = RECORD.unpack_from(shifted(data, 1), BLOCK.size)
    assert fields[:6] == (7, 4_999, 10, -1, -1, 12)
