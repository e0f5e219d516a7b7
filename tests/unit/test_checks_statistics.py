"""The statistics that checks share, against published numbers and against slower ways to compute the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.checks.base import outcome_against, weighed, worst
from harness.checks.statistics import (
    auc,
    auc_draws,
    block_weights,
    interval_of,
    newcombe,
    weighted_mean,
    weighted_quantile,
    wilson,
)
from harness.model.findings import Outcome

NAN, INF = float("nan"), float("inf")
PASS, FAIL, UNKNOWN = Outcome.PASS, Outcome.FAIL, Outcome.UNKNOWN
QUICK = settings(max_examples=50, deadline=None, derandomize=True)


def test_wilson_as_in_newcombe_1998_table_1() -> None:
    found = wilson(81, 263, 0.95)
    assert (found.low, found.high) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))
    assert wilson(0, 20, 0.95).low == 0
    assert wilson(0, 20, 0.95).high == pytest.approx(0.1611, abs=5e-5)


def test_newcombe_as_in_his_paper_of_1998_method_10() -> None:
    found = newcombe(56, 70, 48, 80, 0.95)
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == (pytest.approx(0.0524, abs=5e-5), pytest.approx(0.3339, abs=5e-5))


def test_shares_of_nothing_may_be_anything() -> None:
    none = wilson(0, 0, 0.95)
    assert np.isnan(none.value)
    assert (none.low, none.high) == (0, 1)
    assert newcombe(0, 0, 5, 5, 0.95).high == 1


@QUICK
@given(
    values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30),
    times=st.lists(st.integers(0, 4), min_size=30, max_size=30),
    q=st.floats(0.01, 0.99),
)
def test_a_weighted_quantile_is_that_of_the_repeated_sample(
    values: list[float], times: list[int], q: float
) -> None:
    weights = np.array([times[: len(values)]], dtype=float)
    found = weighted_quantile(np.array(values), weights, q)[0]
    repeated = np.repeat(values, times[: len(values)])
    if len(repeated) == 0:
        assert np.isnan(found)
    else:
        assert found == np.quantile(repeated, q, method="inverted_cdf")


@QUICK
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=25))
def test_auc_is_the_share_of_pairs_in_the_right_order(cases: list[tuple[int, bool]]) -> None:
    scores, labels = np.array([s for s, _ in cases], dtype=float), np.array([good for _, good in cases])
    pairs = [
        1.0 if up > down else 0.5 if up == down else 0.0 for up in scores[labels] for down in scores[~labels]
    ]
    drawn = auc_draws(scores, labels, np.ones((1, len(scores))))[0]
    if not pairs:
        assert np.isnan(auc(scores, labels))
        assert np.isnan(drawn)
    else:
        assert auc(scores, labels) == pytest.approx(np.mean(pairs))
        assert drawn == pytest.approx(np.mean(pairs))


def test_blocks_are_drawn_whole() -> None:
    blocks = np.array([7, 7, 3, 9, 3])
    weights = block_weights(blocks, 50, np.random.default_rng(1))
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 2] == weights[:, 4]).all()
    assert (weights[:, 0] + weights[:, 2] + weights[:, 3] == 3).all()
    assert np.isnan(weighted_mean(np.ones(5), np.zeros((1, 5)))[0])


@pytest.mark.parametrize(
    ("value", "draws"),
    [(NAN, [1.0, 2.0]), (INF, [1.0, 2.0]), (1.0, []), (1.0, [NAN, NAN]), (1.0, [1.0] * 9 + [NAN])],
)
def test_an_interval_of_what_is_often_undefined_has_no_ends(value: float, draws: list[float]) -> None:
    found = interval_of(value, np.array(draws), 0.95)
    assert (found.low, found.high) == (-INF, INF)


@pytest.mark.parametrize(
    ("low", "high", "limit", "at_most", "outcome"),
    [
        (1, 2, 3, True, PASS),
        (1, 2, 2, True, PASS),
        (1, 2, 1.5, True, UNKNOWN),
        (1, 2, 0.5, True, FAIL),
        (1, 2, 0.5, False, PASS),
        (1, 2, 1.5, False, UNKNOWN),
        (1, 2, 3, False, FAIL),
        (-INF, INF, 1, True, UNKNOWN),
        (-INF, INF, 1, False, UNKNOWN),
        (NAN, NAN, 1, True, UNKNOWN),
        (NAN, NAN, 1, False, UNKNOWN),
        (1, 2, NAN, True, UNKNOWN),
        (1, 2, NAN, False, UNKNOWN),
    ],
)
def test_only_a_whole_interval_on_one_side_decides(
    low: float, high: float, limit: float, at_most: bool, outcome: Outcome
) -> None:
    assert outcome_against(low, high, limit, at_most) is outcome


def test_the_worst_of_nothing_is_unknown() -> None:
    assert worst() is UNKNOWN
    assert worst(PASS, UNKNOWN) is UNKNOWN
    assert worst(UNKNOWN, FAIL, PASS) is FAIL
    assert worst(PASS, PASS) is PASS


@pytest.mark.parametrize(
    ("given_outcome", "noise", "outcome"),
    [(PASS, 0.1, PASS), (PASS, 0.3, UNKNOWN), (PASS, NAN, UNKNOWN), (PASS, INF, UNKNOWN), (FAIL, 0.3, FAIL)],
)
def test_noise_beyond_what_is_allowed_proves_nothing(
    given_outcome: Outcome, noise: float, outcome: Outcome
) -> None:
    assert weighed(given_outcome, noise, 0.2, "")[0] is outcome
