"""Own statistics against golden values of rliable and scipy, and the laws they must obey."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from drl.errors import InputError
from drl.evaluation import statistics as s
from drl.evaluation.words import Words

GOLDEN = json.loads((Path(__file__).parent / "golden" / "statistics.json").read_text())
X, Y, SERIES = (np.array(GOLDEN[name]) for name in ("x", "y", "series"))
EXACT = {"rel": 1e-14, "abs": 1e-14}

finite = st.floats(-1e6, 1e6, allow_subnormal=False)
series = hnp.arrays(np.float64, st.integers(2, 30), elements=finite)


def test_interquartile_mean_equals_rliable():
    assert s.interquartile_mean(X.reshape(-1)) == pytest.approx(GOLDEN["iqm_x"], **EXACT)
    assert s.interquartile_mean(Y.reshape(-1)) == pytest.approx(GOLDEN["iqm_y"], **EXACT)


def test_resampled_iqm_equals_rliable_for_its_own_indices():
    ours = s.resampled_iqm(X, np.array(GOLDEN["bootstrap_indices"]))
    assert ours == pytest.approx(GOLDEN["bootstrap_iqm"], **EXACT)


def test_stratified_interval_agrees_with_rliable_within_monte_carlo_error():
    interval = s.stratified_iqm_interval(X, alpha=0.05, resamples=20_000, seed="golden")
    assert interval.estimate == pytest.approx(GOLDEN["iqm_x"], **EXACT)
    assert [interval.lower, interval.upper] == pytest.approx(GOLDEN["iqm_interval"], abs=0.004)


def test_probability_of_improvement_equals_rliable_with_ties():
    expected = GOLDEN["probability_of_improvement"]
    assert s.probability_of_improvement(X, Y) == pytest.approx(expected, **EXACT)
    assert s.probability_of_improvement(Y, X) == pytest.approx(1 - expected, **EXACT)


def test_performance_profile_equals_rliable():
    profile = s.performance_profile(X, np.array(GOLDEN["thresholds"]))
    assert profile == pytest.approx(GOLDEN["profile_x"], **EXACT)


@pytest.mark.parametrize("fraction", sorted(GOLDEN["trim_mean"]))
def test_trimmed_mean_equals_scipy(fraction):
    assert s.trimmed_mean(SERIES, float(fraction)) == pytest.approx(GOLDEN["trim_mean"][fraction], **EXACT)


@pytest.mark.parametrize("probability", sorted(GOLDEN["quantiles"]))
def test_quantile_equals_numpy(probability):
    assert s.quantile(SERIES, float(probability)) == pytest.approx(GOLDEN["quantiles"][probability], **EXACT)


def test_block_of_one_agrees_with_scipy_within_monte_carlo_error():
    interval = s.mean_interval(SERIES, alpha=0.05, block=1, resamples=20_000, seed="golden")
    assert interval.estimate == pytest.approx(SERIES.mean(), **EXACT)
    assert [interval.lower, interval.upper] == pytest.approx(GOLDEN["scipy_mean_interval"], abs=0.4)


def test_blocks_are_consecutive_circular_and_cut_to_fit():
    indices = s.block_indices(10, 4, 500, Words("blocks"))
    assert indices.shape == (500, 10)
    for first in (0, 4, 8):
        block = indices[:, first : first + 4]
        assert np.array_equal(block, (block[:, :1] + np.arange(block.shape[1])) % 10)
    assert set(indices[:, 0].tolist()) == set(range(10))


def test_blocks_widen_the_interval_of_a_correlated_series():
    slow = np.repeat(Words("slow").uniforms((13,)), 4)
    narrow, wide = (
        s.mean_interval(slow, alpha=0.05, block=block, resamples=2_000, seed="w") for block in (1, 4)
    )
    assert wide.upper - wide.lower > 1.3 * (narrow.upper - narrow.lower)


def test_interval_of_a_known_normal_mean_covers_it_about_as_often_as_it_says():
    draws = Words("coverage").uniforms((300, 60, 12)).sum(axis=2) - 6.0
    intervals = [s.mean_interval(d, alpha=0.1, block=1, resamples=400, seed="c") for d in draws]
    covered = np.mean([i.lower <= 0 <= i.upper for i in intervals])
    assert 0.84 <= covered <= 0.95


def test_pieces_of_the_resampling_join_without_a_seam(monkeypatch):
    whole = s.resampled_means(SERIES, block=4, resamples=50, seed="seam")
    iqm = s.stratified_iqm_interval(X, alpha=0.1, resamples=50, seed="seam")
    monkeypatch.setattr(s, "_CHUNK", 7 * len(SERIES))
    assert np.array_equal(whole, s.resampled_means(SERIES, block=4, resamples=50, seed="seam"))
    assert iqm == s.stratified_iqm_interval(X, alpha=0.1, resamples=50, seed="seam")


@given(series, st.integers(-1000, 1000), st.sampled_from([0.25, 0.5, 2.0, 1024.0]))
@settings(max_examples=30)
def test_intervals_move_and_stretch_with_the_values(values, shift, scale):
    def interval(of):
        return s.mean_interval(of, alpha=0.1, block=2, resamples=50, seed="law")

    plain, moved = interval(values), interval(values * scale + shift)
    tolerance = 1e-9 * (1 + np.abs(values).max() * scale + abs(shift))
    for name in ("estimate", "lower", "upper"):
        assert getattr(moved, name) == pytest.approx(getattr(plain, name) * scale + shift, abs=tolerance)


@given(series, st.sampled_from([0.0, 0.1, 0.25, 0.4]))
def test_trimmed_means_stay_between_the_extremes_and_ignore_order(values, fraction):
    trimmed = s.trimmed_mean(values, fraction)
    slack = 1e-9 * (1 + np.abs(values).max())
    assert values.min() - slack <= trimmed <= values.max() + slack
    assert trimmed == s.trimmed_mean(values[::-1], fraction)


@given(series, st.sampled_from([0.05, 0.1, 0.5]))
def test_the_worst_mean_is_at_most_the_mean(values, fraction):
    assert s.worst_mean(values, fraction) <= s.mean(values) + 1e-9 * (1 + np.abs(values).max())


@pytest.mark.parametrize(
    ("episodes", "fraction", "count"),
    [(52, 0.1, 6), (30, 0.1, 3), (100, 0.29, 29), (3, 0.1, 1), (10, 0.7, 7)],
)
def test_the_worst_fraction_is_rounded_up_without_binary_surprises(episodes, fraction, count):
    assert s.worst_count(episodes, fraction) == count


def test_the_worst_mean_by_hand():
    assert s.worst_mean(np.array([5.0, -1.0, 3.0, 0.0, 9.0]), 0.4) == -0.5


def test_ratio_interval_of_a_constant_share_is_that_share():
    bound = np.array([1.0, 2.0, 4.0, 8.0])
    interval = s.ratio_interval(bound / 2, bound, alpha=0.1, block=2, resamples=100, seed="r")
    assert interval == s.Interval(0.5, 0.5, 0.5)


def test_there_is_no_share_of_a_bound_that_is_not_positive():
    bound = np.array([1.0, -2.0, 4.0])
    assert s.ratio_interval(bound, bound, alpha=0.1, block=1, resamples=100, seed="r") is None


@given(finite, finite, finite)
def test_intervals_survive_json_exactly(estimate, lower, upper):
    interval = s.Interval(estimate, lower, upper)
    assert s.Interval.from_json(json.loads(json.dumps(interval.to_json()))) == interval


@pytest.mark.parametrize("block", [0, 6])
def test_a_block_that_does_not_fit_is_refused(block):
    with pytest.raises(InputError, match=f"block: {block} for 5"):
        s.resampled_means(np.ones(5), block=block, resamples=10, seed="b")


@pytest.mark.parametrize("values", [np.array([]), np.array([1.0, np.nan]), np.ones((2, 2))])
def test_a_series_that_is_none_is_refused(values):
    with pytest.raises(InputError, match="series of shape"):
        s.resampled_means(values, block=1, resamples=10, seed="b")
