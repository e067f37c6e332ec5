"""The documented recipe, written again in plain integers, must agree with the library."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drl.errors import InputError
from drl.evaluation.words import Words


def plain_words(seed, count):
    digest = hashlib.sha256(seed.encode()).digest()
    state, increment = int.from_bytes(digest[:16], "big"), int.from_bytes(digest[16:], "big") | 1
    words = []
    for _ in range(count):
        state = (state * 0x2360ED051FC65DA44385DF649FCCF645 + increment) % 2**128
        mixed, turn = (state >> 64) ^ (state % 2**64), state >> 122
        words.append(((mixed >> turn) | (mixed << (64 - turn))) % 2**64)
    return words


@given(st.text(max_size=20))
def test_words_follow_the_documented_recipe(seed):
    assert Words(seed).raw(5).tolist() == plain_words(seed, 5)


@given(st.text(max_size=5), st.integers(1, 1 << 20))
def test_indices_follow_the_documented_recipe_and_stay_in_range(seed, below):
    indices = Words(seed).indices(below, (2, 3))
    assert indices.reshape(-1).tolist() == [((w >> 32) * below) >> 32 for w in plain_words(seed, 6)]
    assert indices.min() >= 0
    assert indices.max() < below


@pytest.mark.parametrize("below", [1, 2, 7, 52, 1000])
def test_indices_are_close_to_uniform(below):
    count = 200 * below
    seen = np.bincount(Words(f"uniform {below}").indices(below, (count,)), minlength=below)
    chi_squared = ((seen - 200) ** 2 / 200).sum()
    assert len(seen) == below
    assert abs(chi_squared - (below - 1)) <= 5 * np.sqrt(2 * below)


def test_uniforms_are_in_the_unit_interval_with_the_right_mean():
    drawn = Words("uniforms").uniforms((100, 100))
    assert drawn.shape == (100, 100)
    assert 0 <= drawn.min() < 0.001
    assert 0.999 < drawn.max() < 1
    assert drawn.mean() == pytest.approx(0.5, abs=0.01)


def test_draws_go_on_where_the_last_one_ended():
    once, twice = Words("a").raw(6), Words("a")
    assert np.array_equal(once, np.concatenate([twice.raw(2), twice.raw(4)]))


@pytest.mark.parametrize("below", [0, -1, (1 << 20) + 1])
def test_a_range_that_the_mapping_does_not_cover_is_refused(below):
    with pytest.raises(InputError, match=str(below)):
        Words("a").indices(below, (1,))
