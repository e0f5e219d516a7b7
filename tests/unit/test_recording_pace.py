"""Laying a recording on time: whatever the pace, order and clients stay whole, and what was asked for is what comes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.checks.replay_shape import Stretch, burstiness
from harness.errors import DefinitionError
from harness.loading import load_change
from harness.model.pace import Pace
from harness.model.quantities import Duration
from harness.model.recording import Exchange, RecordedAnswer, Recording, Traffic
from harness.prepare import Prepared, prepare
from harness.recording.pace import PacedRecording, PaceError, lay
from harness.scaffold import write_skeleton

SECOND = 1_000_000_000
MS = 1_000_000


def exchange(at_ns: int, client: str, key: str = "", connection: str = "") -> Exchange:
    return Exchange(0, at_ns, client, key, "GET", f"/{client}/{at_ns}", "/", (), b"", connection=connection)


def recording(times: Sequence[tuple[int, str]], length_ns: int = 0) -> Recording:
    return Recording.of(
        "r", "ours", [exchange(at, who, f"k{n}") for n, (at, who) in enumerate(times)], length_ns
    )


def everything(traffic: Traffic) -> list[Exchange]:
    return list(traffic.slice(0, traffic.count))


recordings = st.lists(
    st.tuples(st.integers(0, 2_000), st.sampled_from(["", "a", "b", "c", "d"])), min_size=1, max_size=30
).flatmap(lambda times: st.integers(1, 4_000).map(lambda length: recording(times, length)))
paces = st.builds(
    Pace,
    speed=st.sampled_from([0.3, 1.0, 1.7, 8.0]),
    times=st.integers(1, 5),
    loops=st.integers(1, 3),
    seed=st.integers(0, 3),
    **{
        "from": st.sampled_from(["0s", "0s", "1ns", "300ns"]),
        "to": st.sampled_from([None, None, "1us", "9us"]),
    },
)


def laid(original: Recording, pace: Pace) -> Traffic | None:
    try:
        return lay(original, pace)
    except PaceError:
        return None


@given(recordings, paces)
def test_it_is_in_order_numbered_within_its_length_and_says_its_own_times(
    original: Recording, pace: Pace
) -> None:
    paced = laid(original, pace)
    if paced is None:
        return
    found = everything(paced)
    assert [item.seq for item in found] == list(range(paced.count))
    assert (
        [item.at_ns for item in found] == paced.offsets_ns().tolist() == sorted(item.at_ns for item in found)
    )
    assert all(0 <= item.at_ns < paced.length_ns for item in found)


@given(recordings, paces)
def test_every_request_comes_once_per_copy_and_loop(original: Recording, pace: Pace) -> None:
    paced = laid(original, pace)
    if paced is None:
        return
    to_ns = pace.to.ns if pace.to else original.length_ns
    wanted = Counter(item.path for item in original.exchanges if pace.from_.ns <= item.at_ns < to_ns)
    copies = pace.times * pace.loops
    assert Counter(item.path for item in everything(paced)) == Counter(
        {path: copies * count for path, count in wanted.items()}
    )


def doings(found: Sequence[Exchange]) -> dict[str, list[tuple[int, str]]]:
    """When each named client asked for what."""
    done: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for item in found:
        if item.client:
            done[item.client].append((item.at_ns, item.path))
    return done


def rhythm(steps: Sequence[tuple[int, str]]) -> tuple[list[str], list[int]]:
    return [path for _, path in steps], np.diff([at_ns for at_ns, _ in steps]).tolist()


@given(recordings, paces)
def test_each_copy_of_a_client_does_what_the_original_did_in_its_order_and_rhythm(
    original: Recording, pace: Pace
) -> None:
    paced = laid(original, pace.model_copy(update={"speed": 1.0}))
    if paced is None:
        return
    to_ns = pace.to.ns if pace.to else original.length_ns
    did = doings([item for item in original.exchanges if pace.from_.ns <= item.at_ns < to_ns])
    does = doings(everything(paced))
    for name, steps in did.items():
        for loop in range(pace.loops):
            for copy in range(pace.times):
                suffix = f"@{loop}" if loop else ""
                whole = does[f"{name}~{copy}{suffix}" if copy else f"{name}{suffix}"]
                later = does.get(f"{name}~{copy}~{suffix}", []) if copy else []
                assert rhythm(whole) == rhythm(steps[: len(whole)])
                assert rhythm(later) == rhythm(steps[len(whole) :])


@given(recordings, paces, st.integers(0, 60), st.integers(0, 60))
def test_a_slice_is_a_part_of_the_whole(original: Recording, pace: Pace, first: int, stop: int) -> None:
    paced = laid(original, pace.model_copy(update={"ramp": Duration(700)}))
    if paced is not None:
        assert list(paced.slice(first, stop)) == everything(paced)[first:stop]


@pytest.mark.parametrize("pace", [Pace(times=3), Pace(loops=2), Pace(times=2, loops=2, speed=5)])
def test_a_slice_may_begin_among_requests_of_one_moment(pace: Pace) -> None:
    paced = lay(recording([(5, who) for who in "abcdef"], 20), pace)
    whole = everything(paced)
    for first in range(paced.count):
        assert list(paced.slice(first, first + 3)) == whole[first : first + 3]


@given(recordings, paces)
def test_keys_and_request_ids_stay_unique(original: Recording, pace: Pace) -> None:
    paced = laid(original, pace)
    if paced is not None:
        keys = [item.key for item in everything(paced) if item.key]
        assert len(keys) == len(set(keys))


@given(recordings, paces, st.integers(1, 3_000))
def test_from_the_end_of_the_ramp_on_everything_is_there(
    original: Recording, pace: Pace, ramp_ns: int
) -> None:
    without, with_ramp = (
        laid(original, pace.model_copy(update={"ramp": Duration(ns)})) for ns in (0, ramp_ns)
    )
    if without is None or with_ramp is None:
        return
    left, kept = ([replace(item, seq=0) for item in everything(paced)] for paced in (without, with_ramp))
    assert [item for item in kept if item.at_ns >= ramp_ns] == [
        item for item in left if item.at_ns >= ramp_ns
    ]
    joined: set[str] = set()
    for item in left:
        if item.at_ns < ramp_ns and item.client:
            assert (item in kept) or item.client not in joined, "a client that has joined is left out again"
            joined |= {item.client} if item in kept else set()


def test_within_the_ramp_more_and_more_of_the_clients_take_part() -> None:
    """A thousand clients, each sending ten times a second: of those of second k of ten about k tenths take part."""
    times = [(step * SECOND // 10 + who, f"c{who}") for step in range(110) for who in range(1000)]
    ramped = lay(recording(times), Pace(ramp="10s")).offsets_ns()
    for second in range(10):
        share = ((ramped >= second * SECOND) & (ramped < (second + 1) * SECOND)).sum() / 10_000
        assert share == pytest.approx((second + 0.45) / 10, abs=0.04)
    assert (ramped >= 10 * SECOND).sum() == 10_000


@given(recordings, paces)
def test_the_same_recording_and_pace_give_the_same(original: Recording, pace: Pace) -> None:
    one, other = laid(original, pace), laid(original, pace)
    if one is not None and other is not None:
        assert one.digest == other.digest
        assert everything(one) == everything(other)
        changed = laid(original, pace.model_copy(update={"speed": 5.0}))
        assert changed is not None
        assert changed.digest != one.digest


def bursty(seconds: int = 300) -> Recording:
    """Short-lived clients whose arrivals come in bursts, as at a shop's door."""
    random = np.random.default_rng(7)
    times: list[tuple[int, str]] = []
    for burst, begin in enumerate(np.sort(random.random(seconds) * seconds)):
        for who in range(int(random.integers(1, 30))):
            at = begin + random.exponential(0.05)
            times += [
                (int((at + step * random.exponential(0.3)) * SECOND), f"c{burst}-{who}") for step in range(3)
            ]
    return recording([item for item in times if item[0] < seconds * SECOND], seconds * SECOND)


@pytest.mark.parametrize("width_ns", [100 * MS, SECOND])
@pytest.mark.parametrize("times", [2, 10])
def test_overlaid_load_is_as_bursty_as_the_original_and_squeezed_load_is_not(
    times: int, width_ns: int
) -> None:
    original = bursty()
    overlaid = lay(original, Pace(times=times))
    assert overlaid.count == times * original.count
    assert overlaid.length_ns == original.length_ns
    before, after = (
        burstiness([Stretch.of(traffic.offsets_ns(), traffic.offsets_ns())], width_ns).due
        for traffic in (original, overlaid)
    )
    assert before > 5
    assert after == pytest.approx(before, rel=0.35)
    squeezed = lay(original, Pace(speed=times)).offsets_ns()
    assert burstiness([Stretch.of(squeezed, squeezed)], width_ns).due > max(before, after)


def test_copies_of_short_clients_are_whole_and_no_client_is_halved() -> None:
    paced = lay(bursty(60), Pace(times=4))
    assert isinstance(paced, PacedRecording)
    assert paced.halved_clients == 0
    assert len(set(paced.shifts_ns)) == 3


def test_a_client_without_room_is_halved_unless_the_slice_makes_room() -> None:
    original = recording([(n * SECOND, "Ada") for n in range(10)])
    halved = lay(original, Pace(times=2))
    assert isinstance(halved, PacedRecording)
    assert halved.halved_clients == 1
    assert {item.client for item in everything(halved)} == {"Ada", "Ada~1", "Ada~1~"}
    roomy = lay(original, Pace(times=2, to="20s"))
    assert Counter(item.client for item in everything(roomy)) == {"Ada": 10, "Ada~1": 10}
    assert roomy.length_ns == 20 * SECOND


def test_speed_keeps_the_proportions_of_answers_too() -> None:
    answer = RecordedAnswer(status=200, first_byte_ns=4 * SECOND, answered_ns=6 * SECOND)
    original = Recording.of("r", "ours", [replace(exchange(2 * SECOND, "a", connection="c"), answer=answer)])
    (fast,) = everything(lay(original, Pace(speed=2, loops=1)))
    assert (fast.at_ns, fast.answer.first_byte_ns, fast.answer.answered_ns) == (
        SECOND,
        2 * SECOND,
        3 * SECOND,
    )
    second = everything(lay(original, Pace(loops=2)))[1]
    assert (second.client, second.connection, second.key) == ("a@1", "c@1", "")
    assert second.answer.answered_ns - second.at_ns == 4 * SECOND


def test_nothing_changed_is_the_recording_itself() -> None:
    original = recording([(0, "a")])
    assert lay(original, Pace(seed=4)) is original


def test_what_cannot_be_laid_is_said() -> None:
    original = recording([(0, "a"), (SECOND, "b")])
    with pytest.raises(PaceError, match=r"the slice begins at 5s, and the recording is 1 s long"):
        lay(original, Pace(**{"from": "5s"}))
    with pytest.raises(ValidationError, match="ends at 1s, before it begins at 2s"):
        Pace(**{"from": "2s", "to": "1s"})


def scenario_with(folder: Path, pace: str) -> Prepared:
    """The skeleton's scenario at another pace, prepared as for a run."""
    write_skeleton(folder)
    path = folder / "scenarios/shop.scenario.yaml"
    text = path.read_text("utf-8")
    path.write_text(text.replace("\ntimeline:", f"\npace: {pace}\ntimeline:", 1), "utf-8")
    change = load_change(folder / "scenarios/changes/first.change.yaml")
    return prepare(change, path, None, 1, lambda _line: None)


def test_a_scenario_sends_its_recording_at_its_pace(tmp_path: Path) -> None:
    plain, doubled = (
        scenario_with(tmp_path / name, pace) for name, pace in (("one", "{}"), ("two", "{times: 2}"))
    )
    assert doubled.plan.recording_digest != plain.plan.recording_digest
    assert doubled.recording.count == 2 * plain.recording.count
    requests = [sum(unit.exchanges for unit in prepared.plan.units) for prepared in (plain, doubled)]
    assert requests[1] == pytest.approx(2 * requests[0], rel=0.1)


def test_a_slice_that_is_not_there_is_said_at_its_line(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"shop.scenario.yaml:\d+:\d+: error: the slice begins at 9h"):
        scenario_with(tmp_path, "{from: 9h}")
