"""The promotion rule: one estimand, one interval, one guard, one plain sentence.

Pure functions of the kept returns, so that whoever holds the record derives the verdict again.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from drl.errors import InputError
from drl.evaluation.statistics import Interval, mean, mean_interval, worst_count, worst_mean
from drl.spec import PromotionSpec

BOOTSTRAP_SEED = "drl.bootstrap/1"
"""Seed text of every bootstrap of an evaluation: fixed, so that nobody can shop for a lucky resampling."""

Verdict = Literal["PROMOTE", "HOLD", "REJECT"]


@dataclass(frozen=True)
class GuardResult:
    """The mean of each one's own worst episodes.

    Attributes:
        episodes: how many episodes the worst fraction is.
        policy: mean of the policy's worst episodes.
        other: mean of the other's worst episodes.
        margin: how far ``policy`` may lie below ``other``.
        broken: ``policy < other - margin``.
    """

    episodes: int
    policy: float
    other: float
    margin: float
    broken: bool


@dataclass(frozen=True)
class Decision:
    """What the rule says, with every number it looked at.

    Round trip: ``Decision.from_json(d.to_json()) == d``, through JSON text too.

    Attributes:
        verdict: PROMOTE, HOLD or REJECT.
        reason: one plain sentence with numbers and unit.
        other: name of what the policy was compared with.
        estimate: mean paired difference of an episode's return, policy minus other; None when the two are
            the same model or there are fewer than two blocks.
        guard: the worst episodes; None with ``estimate``.
        alpha: two-sided error of the interval, after the error budget.
        episodes: paired episodes.
    """

    verdict: Verdict
    reason: str
    other: str
    estimate: Interval | None
    guard: GuardResult | None
    alpha: float
    episodes: int

    def to_json(self) -> dict[str, Any]:
        """A JSON object with the attributes."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Decision:
        """Read what :meth:`to_json` wrote."""
        estimate, guard = value["estimate"], value["guard"]
        return cls(
            verdict=value["verdict"],
            reason=value["reason"],
            other=value["other"],
            estimate=None if estimate is None else Interval.from_json(estimate),
            guard=None if guard is None else GuardResult(**guard),
            alpha=float(value["alpha"]),
            episodes=int(value["episodes"]),
        )


@dataclass(frozen=True)
class Gap:
    """The policy against the strongest baseline, always shown and never part of the verdict."""

    baseline: str
    estimate: Interval

    def to_json(self) -> dict[str, Any]:
        """A JSON object with the two attributes."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Gap:
        """Read what :meth:`to_json` wrote."""
        return cls(value["baseline"], Interval.from_json(value["estimate"]))


def spent_alpha(alpha: float, look: int) -> float:
    """The error that the ``look``-th opening of a fixed test set may spend: 6 alpha / (pi^2 look^2).

    Over all looks, however many, the errors add up to at most ``alpha``.

    Args:
        alpha: the rule's two-sided error.
        look: 1 for the first opening.
    """
    if look < 1:
        raise InputError(f"look {look} at a test set", remedy="count openings from 1")
    return 6 * alpha / (math.pi**2 * look**2)


def decide(
    rule: PromotionSpec,
    *,
    policy: np.ndarray,
    other: np.ndarray,
    other_name: str,
    alpha: float,
    identical: bool,
    unit: str = "return",
) -> Decision:
    """Apply the rule to paired returns.

    PROMOTE when the interval of the mean paired difference lies above the margin; REJECT when it lies below
    zero or the guard is broken; else HOLD. The same model as the champion is HOLD.

    Args:
        rule: margin, block, resamples and guard.
        policy: returns float64 [E] of the released policy.
        other: returns float64 [E] of the champion, or of the gate baseline when there is none.
        other_name: what people call it.
        alpha: two-sided error of the interval, after the error budget.
        identical: whether policy and champion have the same model root.
        unit: of an episode's return, for the sentence.

    Raises:
        InputError: the returns are not paired, not finite, or none.
    """
    _require_paired(policy, other, other_name)
    episodes = len(policy)
    called = "the champion" if other_name == "champion" else other_name

    def verdict(
        name: Verdict,
        sentence: str,
        estimate: Interval | None = None,
        guard: GuardResult | None = None,
    ) -> Decision:
        return Decision(name, sentence, other_name, estimate, guard, alpha, episodes)

    if identical:
        return verdict("HOLD", f"The policy is the same model as {called}: there is nothing to promote.")
    if episodes < 2 * rule.block:
        return verdict(
            "HOLD",
            f"Fewer episodes ({episodes}) than two blocks of {rule.block}, too few for an interval: "
            f"nothing is known about the difference to {called}.",
        )
    estimate = paired_interval(rule, policy=policy, other=other, alpha=alpha)
    guard = _guard(rule, policy, other)
    measured = _measured(estimate, called, alpha, unit)
    margin = _number(rule.margin)
    if guard.broken:
        shortfall = _number(guard.other - guard.policy)
        return verdict(
            "REJECT",
            f"The guard is broken: the mean of the policy's worst {guard.episodes} episodes lies {shortfall} "
            f"{unit} below that of {called}, more than the {_number(guard.margin)} allowed. {measured}",
            estimate,
            guard,
        )
    if estimate.upper < 0:
        return verdict("REJECT", f"{measured} All of it lies below zero.", estimate, guard)
    if estimate.lower > rule.margin:
        return verdict("PROMOTE", f"{measured} All of it lies above the margin of {margin}.", estimate, guard)
    return verdict(
        "HOLD",
        f"{measured} Its lower end is not above the margin of {margin}: not shown to be better.",
        estimate,
        guard,
    )


def paired_interval(rule: PromotionSpec, *, policy: np.ndarray, other: np.ndarray, alpha: float) -> Interval:
    """Mean paired difference of an episode's return, policy minus other, with the rule's bootstrap."""
    return mean_interval(
        policy - other,
        alpha=alpha,
        block=min(rule.block, len(policy)),
        resamples=rule.resamples,
        seed=BOOTSTRAP_SEED,
    )


def gap_to_strongest(
    rule: PromotionSpec, *, policy: np.ndarray, baselines: dict[str, np.ndarray], alpha: float
) -> Gap:
    """The policy against the baseline with the highest mean return; ties go to the first by name.

    Args:
        rule: block and resamples.
        policy: returns float64 [E].
        baselines: returns float64 [E] by name, without the upper bound.
        alpha: two-sided error of the interval.
    """
    strongest = max(sorted(baselines), key=lambda name: float(mean(baselines[name])))
    _require_paired(policy, baselines[strongest], strongest)
    return Gap(strongest, paired_interval(rule, policy=policy, other=baselines[strongest], alpha=alpha))


def _guard(rule: PromotionSpec, policy: np.ndarray, other: np.ndarray) -> GuardResult:
    fraction, margin = rule.guard.worst_fraction, rule.guard.margin
    own, others = worst_mean(policy, fraction), worst_mean(other, fraction)
    return GuardResult(worst_count(len(policy), fraction), own, others, margin, own < others - margin)


def _measured(estimate: Interval, called: str, alpha: float, unit: str) -> str:
    if estimate.estimate == 0:
        amount = f"exactly as much as {called}"
    else:
        more = "more" if estimate.estimate > 0 else "less"
        amount = f"{_number(abs(estimate.estimate))} {unit} {more} than {called}"
    return (
        f"Per episode the policy returns {amount}, with a {_number(100 * (1 - alpha))} % interval of the "
        f"difference from {_number(estimate.lower)} to {_number(estimate.upper)}."
    )


def _number(value: float) -> str:
    """Four significant digits, without an exponent in the usual range."""
    text = f"{value:.4g}"
    return f"{value:,.0f}" if "e+" in text else text.replace("-", "\N{MINUS SIGN}")


def _require_paired(policy: np.ndarray, other: np.ndarray, other_name: str) -> None:
    if policy.shape != other.shape or policy.ndim != 1 or len(policy) == 0:
        raise InputError(
            f"returns of shape {policy.shape} for the policy and {other.shape} for {other_name}",
            remedy="play the same episodes with both, at least one",
        )
    for name, values in (("the policy", policy), (other_name, other)):
        if not np.all(np.isfinite(values)):
            raise InputError(
                f"{name}: a return is NaN or infinite", remedy="evaluate again; returns must be finite"
            )
