"""Whether two policies return the same, within a margin: two one-sided tests on paired returns.

Not to find a difference proves nothing; this test has to be passed. Source: Schuirmann (1987), "A comparison
of the two one-sided tests procedure and the power approach". Student's t distribution is computed from the
continued fraction of the incomplete beta function, so that a verifier needs no statistics package.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from drl.errors import InputError
from drl.evaluation.statistics import mean, total

ALPHA = 0.05
"""Error of each of the two tests."""

_TERMS = 10_000
_PRECISION = 1e-16
_TINY = 1e-300


@dataclass(frozen=True)
class Equivalence:
    """The outcome of the two tests.

    Round trip: ``Equivalence.from_json(e.to_json()) == e``, through JSON text too.

    Attributes:
        margin: the mean difference that counts as none, in the unit of an episode's return.
        alpha: error of each test.
        block: consecutive episodes whose differences were averaged first.
        blocks: how many such averages there are.
        estimate: their mean.
        lower: and ``upper``, the interval of ``1 - 2 * alpha``, which lies within the margin exactly when
            both tests are passed.
        p_below: chance of such an estimate if the true difference were the margin below zero.
        p_above: the same for the margin above zero.
        equivalent: whether both are below ``alpha``.
    """

    margin: float
    alpha: float
    block: int
    blocks: int
    estimate: float
    lower: float
    upper: float
    p_below: float
    p_above: float
    equivalent: bool

    def to_json(self) -> dict[str, Any]:
        """A JSON object with the attributes."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Equivalence:
        """Read what :meth:`to_json` wrote."""
        return cls(**value)


def equivalence(
    first: np.ndarray, second: np.ndarray, *, margin: float, block: int, alpha: float = ALPHA
) -> Equivalence:
    """Two one-sided paired t tests of the mean difference ``first - second`` against a margin.

    Episodes of a time series are not independent, so the differences are first averaged over
    ``N // block`` consecutive blocks of (almost) equal length.

    Args:
        first: returns float64 [N].
        second: returns float64 [N] of the same episodes.
        margin: above zero, in the unit of a return.
        block: consecutive episodes that belong together, as in the promotion rule.
        alpha: error of each test.

    Raises:
        InputError: not paired, not finite, fewer than two blocks, or no margin.
    """
    if first.shape != second.shape or first.ndim != 1 or not np.all(np.isfinite(first - second)):
        raise InputError(
            f"returns of shapes {first.shape} and {second.shape}", remedy="give finite returns in pairs"
        )
    blocks = len(first) // block
    if blocks < 2 or not margin > 0:
        raise InputError(
            f"{len(first)} episodes in blocks of {block}, margin {margin}",
            remedy="give at least two blocks and a margin above zero",
        )
    means = np.array([mean(part) for part in np.array_split(first - second, blocks)])
    estimate = float(mean(means))
    error = math.sqrt(float(total((means - estimate) ** 2)) / (blocks - 1) / blocks)
    degrees = blocks - 1
    half = error * student_quantile(1 - alpha, degrees)
    p_below = _tail(estimate + margin, error, degrees)
    p_above = _tail(margin - estimate, error, degrees)
    return Equivalence(
        margin=margin,
        alpha=alpha,
        block=block,
        blocks=blocks,
        estimate=estimate,
        lower=estimate - half,
        upper=estimate + half,
        p_below=p_below,
        p_above=p_above,
        equivalent=max(p_below, p_above) < alpha,
    )


def seed_margin(means: list[float]) -> float | None:
    """The margin for a reproduction: how far the recipe scatters by itself when only the seed changes.

    Args:
        means: mean validation return of each seed's policy.

    Returns:
        the sample standard deviation; None for fewer than two seeds, or seeds that all did the same.
    """
    if len(means) < 2:
        return None
    values = np.array(means, dtype=np.float64)
    spread = math.sqrt(float(total((values - mean(values)) ** 2)) / (len(values) - 1))
    return spread if math.isfinite(spread) and spread > 0 else None


def student_tail(t: float, degrees: int) -> float:
    """Chance that Student's t with ``degrees`` degrees of freedom is above ``t``."""
    half = 0.5 * _incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t), t * t / (degrees + t * t))
    return half if t >= 0 else 1.0 - half


def student_quantile(probability: float, degrees: int) -> float:
    """The value that Student's t stays below with ``probability`` (between one half and one)."""
    low, high = 0.0, 1.0
    while student_tail(high, degrees) > 1 - probability:
        low, high = high, 2 * high
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (middle, high) if student_tail(middle, degrees) > 1 - probability else (low, middle)
    return high


def _tail(distance: float, error: float, degrees: int) -> float:
    if error == 0:
        return 0.0 if distance > 0 else 1.0
    return student_tail(distance / error, degrees)


def _incomplete_beta(a: float, b: float, x: float, rest: float) -> float:
    """The regularised incomplete beta function I_x(a, b); ``rest`` is 1 - x without its rounding."""
    if x <= 0 or rest <= 0:
        return float(rest <= 0)
    logarithm = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(rest)
    front = math.exp(logarithm)
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1.0 - front * _fraction(b, a, rest) / b


def _fraction(a: float, b: float, x: float) -> float:
    """Its continued fraction, by Lentz's method."""
    c, d = 1.0, 1.0 / _away_from_zero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        before = value
        for numerator in (even, odd):
            d = 1.0 / _away_from_zero(1 + numerator * d)
            c = _away_from_zero(1 + numerator / c)
            value *= d * c
        if abs(value - before) <= _PRECISION * abs(value):
            break
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
