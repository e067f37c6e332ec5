"""Every branch of the promotion rule, and that nobody can move a verdict without moving a number."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from drl.errors import InputError
from drl.evaluation.promotion import Decision, Gap, decide, gap_to_strongest, spent_alpha
from drl.evaluation.words import Words
from drl.spec import Guard, PromotionSpec

NOISE = Words("promotion tests").uniforms((52,)) - 0.5
OTHER = 100.0 + 20.0 * (Words("other").uniforms((52,)) - 0.5)


def rule(margin=0.0, block=1, guard_margin=0.0, worst_fraction=0.1, resamples=500):
    guard = Guard(worst_fraction=worst_fraction, margin=guard_margin)
    return PromotionSpec(gate="clock", margin=margin, block=block, resamples=resamples, guard=guard)


def verdict(policy, other=OTHER, alpha=0.05, identical=False, **settings):
    return decide(
        rule(**settings),
        policy=policy,
        other=other,
        other_name="clock",
        alpha=alpha,
        identical=identical,
        unit="EUR",
    )


def worst_broken():
    """Much better on average, but with one disaster."""
    policy = OTHER + 50.0
    policy[7] = -300.0
    return policy


@pytest.mark.parametrize(
    ("policy", "settings", "expected", "says"),
    [
        (OTHER + 10 + NOISE, {}, "PROMOTE", "EUR more than clock"),
        (OTHER + 10 + NOISE, {"margin": 5.0}, "PROMOTE", "above the margin of 5"),
        (OTHER + 10 + NOISE, {"margin": 10.5}, "HOLD", "not above the margin of 10.5"),
        (OTHER + NOISE, {"guard_margin": 5.0}, "HOLD", "not shown to be better"),
        (OTHER + 0.0, {}, "HOLD", "exactly as much as clock"),
        (OTHER - 10 + NOISE, {"guard_margin": 50.0}, "REJECT", "below zero"),
        (OTHER - 10 + NOISE, {}, "REJECT", "guard is broken"),
        (worst_broken(), {}, "REJECT", "guard is broken"),
        (worst_broken(), {"guard_margin": 100.0}, "PROMOTE", "above the margin"),
        (OTHER + 10, {"block": 27}, "HOLD", "than two blocks of 27"),
        (OTHER + 10, {"block": 26}, "PROMOTE", "10 EUR more"),
    ],
)
def test_verdicts(policy, settings, expected, says):
    decision = verdict(policy, **settings)
    assert decision.verdict == expected
    assert says in decision.reason


def test_equal_model_roots_are_held_whatever_the_returns_say():
    decision = verdict(OTHER + 10, identical=True)
    assert (decision.verdict, decision.estimate) == ("HOLD", None)
    assert "same model as clock" in decision.reason


def test_the_reason_carries_numbers_unit_and_interval():
    decision = verdict(OTHER + 10)
    assert decision.reason == (
        "Per episode the policy returns 10 EUR more than clock, with a 95 % interval of the difference from "
        "10 to 10. All of it lies above the margin of 0."
    )


def test_the_guard_compares_each_ones_own_worst_episodes():
    decision = verdict(OTHER[::-1] + 1.0, worst_fraction=0.25)
    assert decision.guard.episodes == 13
    assert decision.guard.policy == pytest.approx(decision.guard.other + 1.0)
    assert not decision.guard.broken


def test_less_error_to_spend_widens_the_interval():
    policy = OTHER + 0.8 + 8 * (NOISE - NOISE.mean())
    wide, narrow = (verdict(policy, alpha=alpha, guard_margin=9.0) for alpha in (spent_alpha(0.05, 4), 0.05))
    assert wide.estimate.lower < narrow.estimate.lower
    assert wide.estimate.upper > narrow.estimate.upper
    assert (wide.verdict, narrow.verdict) == ("HOLD", "PROMOTE")


ORDER = {"REJECT": 0, "HOLD": 1, "PROMOTE": 2}
returns = hnp.arrays(np.float64, 8, elements=st.floats(-100, 100, allow_subnormal=False))


@given(returns, returns, st.lists(st.floats(0, 50), min_size=2, max_size=2))
@settings(max_examples=50)
def test_a_larger_margin_never_helps(policy, other, margins):
    low, high = sorted(margins)
    at = [verdict(policy, other, margin=m, guard_margin=1e3, resamples=50).verdict for m in (low, high)]
    assert ORDER[at[0]] >= ORDER[at[1]]


@given(returns, returns, st.floats(0, 50))
@settings(max_examples=50)
def test_a_better_policy_never_gets_a_worse_verdict(policy, other, bonus):
    before, after = (verdict(p, other, resamples=50).verdict for p in (policy, policy + bonus))
    assert ORDER[after] >= ORDER[before]


@given(returns, returns)
@settings(max_examples=50)
def test_decisions_are_deterministic_and_survive_json_exactly(policy, other):
    decision = verdict(policy, other, resamples=50)
    assert decision == verdict(policy.copy(), other.copy(), resamples=50)
    assert Decision.from_json(json.loads(json.dumps(decision.to_json()))) == decision


def test_the_error_budget_adds_up_to_alpha():
    spent = [spent_alpha(0.05, look) for look in range(1, 20_001)]
    assert sum(spent) < 0.05
    assert math.isclose(sum(spent), 0.05, rel_tol=1e-4)
    assert spent == sorted(spent, reverse=True)


def test_looks_are_counted_from_one():
    with pytest.raises(InputError, match="look 0"):
        spent_alpha(0.05, 0)


def test_the_gap_names_the_strongest_baseline_and_its_sign():
    baselines = {"weak": OTHER - 5, "strong": OTHER + 5, "as_strong": OTHER + 5}
    gap = gap_to_strongest(rule(), policy=OTHER + 2, baselines=baselines, alpha=0.05)
    assert gap.baseline == "as_strong"
    assert gap.estimate.estimate == pytest.approx(-3)
    assert Gap.from_json(json.loads(json.dumps(gap.to_json()))) == gap


@pytest.mark.parametrize(
    ("policy", "other", "says"),
    [
        (np.ones(3), np.ones(4), r"\(3,\) for the policy and \(4,\)"),
        (np.ones(0), np.ones(0), r"shape \(0,\)"),
        (np.array([1.0, np.nan]), np.ones(2), "the policy: a return is NaN"),
        (np.ones(2), np.array([1.0, np.inf]), "clock: a return is NaN"),
    ],
)
def test_returns_that_are_no_pairs_are_refused(policy, other, says):
    with pytest.raises(InputError, match=says):
        verdict(policy, other)


def test_deriving_a_verdict_needs_nothing_heavy():
    code = "import sys, drl.evaluation.comparison; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "numpy" in loaded.split()
    assert not {"gymnasium", "torch", "ray", "pandas", "pyarrow", "onnxruntime"} & set(loaded.split())
