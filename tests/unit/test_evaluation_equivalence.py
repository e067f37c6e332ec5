"""The two one-sided tests against scipy's numbers, and the laws they must obey."""

import json
from pathlib import Path

import numpy as np
import pytest

from drl.errors import InputError
from drl.evaluation.equivalence import (
    Equivalence,
    equivalence,
    seed_margin,
    student_quantile,
    student_tail,
)

GOLDEN = json.loads((Path(__file__).parent / "golden" / "equivalence.json").read_text())
EXACT = {"rel": 1e-11, "abs": 1e-300}


@pytest.mark.parametrize(("t", "degrees", "expected"), GOLDEN["tail"])
def test_tail_equals_scipy(t, degrees, expected):
    assert student_tail(t, degrees) == pytest.approx(expected, **EXACT)


@pytest.mark.parametrize(("probability", "degrees", "expected"), GOLDEN["quantile"])
def test_quantile_equals_scipy(probability, degrees, expected):
    assert student_quantile(probability, degrees) == pytest.approx(expected, **EXACT)


@pytest.mark.parametrize("case", GOLDEN["paired"])
def test_both_tests_equal_scipy(case):
    first, second = np.array(case["first"]), np.array(case["second"])
    found = equivalence(first, second, margin=case["margin"], block=1)
    assert [found.p_below, found.p_above] == pytest.approx([case["p_below"], case["p_above"]], rel=1e-10)
    assert [found.lower, found.upper] == pytest.approx(case["interval"], rel=1e-10)
    assert found.equivalent == (max(case["p_below"], case["p_above"]) < 0.05)
    within = -case["margin"] < found.lower and found.upper < case["margin"]
    assert found.equivalent == within


def test_the_cases_show_both_answers():
    answers = {
        equivalence(np.array(c["first"]), np.array(c["second"]), margin=c["margin"], block=1).equivalent
        for c in GOLDEN["paired"]
    }
    assert answers == {True, False}


def test_blocks_are_averaged_first():
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=11), rng.normal(size=11)
    found = equivalence(first, second, margin=5.0, block=4)
    assert found.blocks == 2
    difference = first - second
    means = np.array([difference[:6].mean(), difference[6:].mean()])
    assert found.estimate == pytest.approx(means.mean())
    half = student_quantile(0.95, 1) * means.std(ddof=1) / np.sqrt(2)
    assert (found.lower, found.upper) == pytest.approx((means.mean() - half, means.mean() + half))


def test_a_constant_difference_is_certain():
    ones = np.ones(10)
    assert equivalence(ones, ones, margin=1e-9, block=1).equivalent
    shifted = equivalence(ones + 2, ones, margin=1.5, block=1)
    assert (shifted.equivalent, shifted.p_below, shifted.p_above) == (False, 0.0, 1.0)
    assert Equivalence.from_json(json.loads(json.dumps(shifted.to_json()))) == shifted


def test_it_is_refused_without_pairs_blocks_or_margin():
    ones = np.ones(10)
    for first, second, margin, block in (
        (ones, ones[:5], 1.0, 1),
        (ones * np.nan, ones, 1.0, 1),
        (ones, ones, 0.0, 1),
        (ones, ones, float("nan"), 1),
        (ones, ones, 1.0, 6),
    ):
        with pytest.raises(InputError):
            equivalence(first, second, margin=margin, block=block)


def test_the_margin_is_the_spread_of_seeds():
    assert seed_margin([1.0, 2.0, 4.0]) == pytest.approx(np.std([1.0, 2.0, 4.0], ddof=1))
    assert seed_margin([5.0]) is None
    assert seed_margin([5.0, 5.0]) is None
    assert seed_margin([]) is None


def test_tails_close_to_one_half_are_exact():
    """Where scipy 1.17 is wrong in the eleventh digit; one degree of freedom is the Cauchy distribution."""
    assert student_tail(1e-6, 1) == pytest.approx(0.5 - np.arctan(1e-6) / np.pi, rel=1e-15)
