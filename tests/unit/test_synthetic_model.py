"""The statistics: marginals that tell no single value, correlations that come back, evidence that notices copies."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import norm

from harness.model.dataset import PrivacyLimits
from synthetic.copula import JointModel, latent_correlation
from synthetic.marginals import fit_marginal
from synthetic.privacy import privacy_evidence

Floats = npt.NDArray[np.float64]

FEWEST = 5


# Marginals


@given(arrays(np.float64, st.integers(1, 200), elements=st.integers(-20, 20).map(float)))
@settings(max_examples=200, deadline=None)
def test_whatever_comes_out_as_a_category_was_shared_by_enough_rows(values: Floats) -> None:
    fitted = fit_marginal(values, FEWEST, atoms_only=True)
    counts = dict(zip(*np.unique(values, return_counts=True), strict=True))
    shared = {value for value, count in counts.items() if count >= FEWEST}
    if fitted is None:
        assert not shared
        return
    grid = fitted[0].quantiles(norm.ppf(np.linspace(0.0005, 0.9995, 1000)))
    assert set(grid) <= shared
    assert fitted[0].probability.sum() == pytest.approx(1)


@given(
    arrays(
        np.float64,
        st.integers(30, 300),
        elements=st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: round(x, 1)),
    )
)
@settings(max_examples=200, deadline=None)
def test_a_number_is_drawn_from_stretches_of_enough_rows_in_rising_order(values: Floats) -> None:
    fitted = fit_marginal(values, FEWEST, atoms_only=False)
    assert fitted is not None
    marginal, scores = fitted
    assert np.all(marginal.low <= marginal.high)
    assert np.all(marginal.high[:-1] <= marginal.low[1:] + 1e-6)
    known = ~np.isnan(scores)
    order = np.argsort(values[known], kind="stable")
    assert np.all(np.diff(scores[known][order]) >= -1e-12)


def test_the_extremes_of_a_sample_are_not_told() -> None:
    rng = np.random.default_rng(0)
    values = np.append(rng.normal(100, 10, 1000), [1e6, -1e6])
    fitted = fit_marginal(values, FEWEST, atoms_only=False)
    assert fitted is not None
    marginal = fitted[0]
    assert 1e6 not in (*marginal.low, *marginal.high)
    assert -1e6 not in (*marginal.low, *marginal.high)
    middle = marginal.quantiles(norm.ppf(np.linspace(0.01, 0.99, 99)))
    assert np.median(middle) == pytest.approx(100, abs=1)


def test_a_value_that_many_share_keeps_its_share() -> None:
    values = np.concatenate([np.zeros(600), np.random.default_rng(1).uniform(1, 2, 400)])
    fitted = fit_marginal(values, FEWEST, atoms_only=False)
    assert fitted is not None
    drawn = fitted[0].quantiles(np.random.default_rng(2).standard_normal(20_000))
    assert np.mean(drawn == 0) == pytest.approx(0.6, abs=0.02)


# Copula


@pytest.mark.parametrize("rho", [-0.7, 0.0, 0.5, 0.9])
@pytest.mark.parametrize(
    "cut", [lambda x: x, lambda x: (x > 1).astype(float), lambda x: np.clip(np.round(x), -1, 2)]
)
def test_the_latent_correlation_is_recovered_whatever_the_variables_are(rho: float, cut: object) -> None:
    """A number with a number, a rare yes or no, and a few steps: the same latent correlation for each."""
    rng = np.random.default_rng(4)
    latent = rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], size=20_000)
    columns = [latent[:, 0], cut(latent[:, 1])]  # type: ignore[operator]
    fitted = [
        fit_marginal(column, FEWEST, atoms_only=k == 1 and len(set(column)) < 9)
        for k, column in enumerate(columns)
    ]
    marginals, scores = zip(*(item for item in fitted if item is not None), strict=True)
    found = latent_correlation(marginals, np.column_stack(scores))
    assert found[0, 1] == pytest.approx(rho, abs=0.04)


def test_variables_drawn_later_depend_on_those_drawn_before() -> None:
    rng = np.random.default_rng(5)
    fitted = fit_marginal(rng.standard_normal(2000), FEWEST, atoms_only=False)
    assert fitted is not None
    correlation = np.array([[1, 0.8, 0.3], [0.8, 1, 0.5], [0.3, 0.5, 1]])
    joint = JointModel(("a", "b", "c"), (fitted[0],) * 3, correlation)
    first = joint.draw(rng, 40_000, ("a",), (), np.empty((40_000, 0)))
    rest = joint.draw(rng, 40_000, ("b", "c"), ("a",), first)
    found = np.corrcoef(np.column_stack([first, rest]).T)
    np.testing.assert_allclose(found, correlation, atol=0.02)


def test_nothing_follows_from_another_variable_for_certain() -> None:
    values = np.random.default_rng(6).standard_normal(1000)
    fitted = fit_marginal(values, FEWEST, atoms_only=False)
    assert fitted is not None
    marginal, scores = fitted
    found = latent_correlation((marginal, marginal), np.column_stack([scores, scores]))
    assert 0.95 < found[0, 1] <= 0.981


# Privacy evidence


def people(rng: np.random.Generator, rows: int) -> Floats:
    mixing = np.random.default_rng(7).normal(size=(8, 8))
    return np.asarray(rng.standard_normal((rows, 8)) @ mixing)


def evidence_for(rows: Floats, source: Floats, fitted: npt.NDArray[np.bool_]) -> tuple[bool, bool, bool]:
    evidence = privacy_evidence(source, fitted, rows, (0,) * 8, PrivacyLimits(), seed=1)
    assert all(control.as_it_must for control in evidence.controls), "the controls must show power"
    kept = evidence.controls[0]
    assert abs(kept.copied_share.value) < 0.12, "kept rows must not count as their own neighbours"
    assert abs(kept.membership_auc.value - 0.5) < 0.06
    return evidence.exact_matches.within, evidence.copied_share.within, evidence.membership_auc.within


@pytest.mark.parametrize("seed", range(5))
def test_new_people_of_the_same_kind_pass(seed: int) -> None:
    rng = np.random.default_rng(seed)
    source = people(rng, 3000)
    fitted = rng.permutation(3000) < 1500
    assert evidence_for(people(rng, 1500), source, fitted) == (True, True, True)


@pytest.mark.parametrize("moved", [0.0, 1e-3])
def test_a_fifth_of_copies_fails_also_when_they_are_moved_a_little(moved: float) -> None:
    rng = np.random.default_rng(8)
    source = people(rng, 1200)
    fitted = rng.permutation(1200) < 600
    copies = source[fitted][rng.integers(0, 600, 300)]
    rows = np.concatenate([people(rng, 1200), copies + moved])
    exact, copied, _ = evidence_for(rows, source, fitted)
    assert exact is (moved > 0)
    assert not copied


def test_one_verbatim_copy_is_an_exact_match() -> None:
    rng = np.random.default_rng(9)
    source = people(rng, 1200)
    fitted = rng.permutation(1200) < 600
    rows = np.concatenate([people(rng, 1499), source[~fitted][:1]])
    assert evidence_for(rows, source, fitted)[0] is False


def test_the_copied_share_is_the_share_of_copies() -> None:
    rng = np.random.default_rng(10)
    source = people(rng, 2000)
    fitted = rng.permutation(2000) < 1000
    for share in (0.0, 0.3, 0.6):
        count = round(2000 * share)
        rows = np.concatenate([people(rng, 2000 - count), source[fitted][rng.integers(0, 1000, count)]])
        evidence = privacy_evidence(source, fitted, rows, (0,) * 8, PrivacyLimits(), seed=1)
        assert evidence.copied_share.low < share < evidence.copied_share.high
        assert evidence.copied_share.value == pytest.approx(share, abs=0.06)


def test_rows_of_which_nothing_can_be_told_are_not_called_private() -> None:
    """Two coin flips a person: copies cannot be told from chance, so a control fails and the evidence says so."""
    rng = np.random.default_rng(11)
    source = rng.integers(0, 2, (400, 2)).astype(float)
    fitted = rng.permutation(400) < 200
    rows = rng.integers(0, 2, (400, 2)).astype(float)
    evidence = privacy_evidence(source, fitted, rows, (0, 0), PrivacyLimits(most_exact_matches=1), seed=1)
    assert any(not control.as_it_must for control in evidence.controls)


def test_categories_and_missing_values_have_distances_too() -> None:
    rng = np.random.default_rng(12)
    source = people(rng, 1200)
    source[:, 0] = rng.integers(0, 3, 1200)
    source[rng.random(1200) < 0.1, 1] = np.nan
    fitted = rng.permutation(1200) < 600
    levels = (3, *(0,) * 7)
    copies = source[fitted][rng.integers(0, 600, 600)]
    evidence = privacy_evidence(source, fitted, copies, levels, PrivacyLimits(), seed=1)
    assert evidence.exact_matches.value == 1
    assert evidence.copied_share.value == pytest.approx(1, abs=0.05)
