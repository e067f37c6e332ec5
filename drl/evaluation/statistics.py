"""Estimates and intervals from episode returns, float64, the same bits on every machine.

Sums run strictly from the first to the last element (numpy's own sum pairs elements in an order that it
does not promise), and resampling draws from :mod:`drl.evaluation.words`. So a verifier who computes these
again, in whatever language, gets equal numbers and not only close ones.

Sources: Agarwal et al., "Deep RL at the Edge of the Statistical Precipice" (NeurIPS 2021), for the
interquartile mean, the stratified bootstrap, the probability of improvement and performance profiles; Politis
and Romano (1992) for the circular block bootstrap.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from drl.errors import InputError
from drl.evaluation.words import Words

_CHUNK = 1 << 22


@dataclass(frozen=True)
class Interval:
    """An estimate with a two-sided percentile interval.

    Round trip: ``Interval.from_json(i.to_json()) == i``, through JSON text too.
    """

    estimate: float
    lower: float
    upper: float

    def to_json(self) -> dict[str, float]:
        """A JSON object with the three numbers."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Interval:
        """Read what :meth:`to_json` wrote."""
        return cls(float(value["estimate"]), float(value["lower"]), float(value["upper"]))


def total(values: np.ndarray) -> Any:
    """Sum over the last axis, strictly from first to last: [..., N] to [...], a scalar for one dimension."""
    return np.cumsum(values, axis=-1)[..., -1]


def mean(values: np.ndarray) -> Any:
    """Arithmetic mean over the last axis."""
    return total(values) / values.shape[-1]


def quantile(values: np.ndarray, probability: float) -> float:
    """Quantile of type 7 (Hyndman and Fan 1996).

    Linear between the two order statistics around position ``(N - 1) * probability``, counted from 0.
    """
    ordered = np.sort(values)
    position = (len(ordered) - 1) * probability
    below = min(int(position), len(ordered) - 1)
    above = min(below + 1, len(ordered) - 1)
    return float(ordered[below] + (position - below) * (ordered[above] - ordered[below]))


def trimmed_mean(values: np.ndarray, fraction: float) -> Any:
    """Mean over the last axis without the lowest and the highest ``int(fraction * N)`` values."""
    cut = int(fraction * values.shape[-1])
    return mean(np.sort(values, axis=-1)[..., cut : values.shape[-1] - cut])


def interquartile_mean(values: np.ndarray) -> Any:
    """Mean of the middle half over the last axis: ``trimmed_mean`` of a quarter."""
    return trimmed_mean(values, 0.25)


def worst_count(episodes: int, fraction: float) -> int:
    """How many episodes are the worst ``fraction``: rounded up, the fraction read as the decimal it shows."""
    return math.ceil(Fraction(repr(fraction)) * episodes)


def worst_mean(values: np.ndarray, fraction: float) -> float:
    """Mean of the lowest :func:`worst_count` values, a conditional value at risk."""
    return float(mean(np.sort(values)[: worst_count(len(values), fraction)]))


def percentile_interval(estimate: float, resampled: np.ndarray, alpha: float) -> Interval:
    """The interval between the quantiles ``alpha / 2`` and ``1 - alpha / 2`` of resampled estimates."""
    return Interval(float(estimate), quantile(resampled, alpha / 2), quantile(resampled, 1 - alpha / 2))


def block_indices(episodes: int, block: int, resamples: int, words: Words) -> np.ndarray:
    """Indices of a circular block bootstrap, int64 [resamples, episodes].

    Each resample is made of ``ceil(episodes / block)`` blocks whose first indices are drawn uniformly; a
    block is ``block`` consecutive episodes, the first following the last; the last block is cut to fit. A
    block of 1 is the ordinary bootstrap.
    """
    blocks = -(-episodes // block)
    starts = words.indices(episodes, (resamples, blocks))
    offsets = np.arange(block, dtype=np.int64)
    return ((starts[:, :, None] + offsets) % episodes).reshape(resamples, -1)[:, :episodes]


def resampled_means(values: np.ndarray, *, block: int, resamples: int, seed: str) -> np.ndarray:
    """Means of circular block bootstrap resamples of ``values`` [N], float64 [resamples].

    The same ``seed``, N, block and resamples draw the same indices whatever the values, so that the
    resamples of two series belong together.
    """
    _require_series(values, block)
    words, means = Words(seed), []
    rows = max(1, _CHUNK // len(values))
    for first in range(0, resamples, rows):
        chosen = block_indices(len(values), block, min(rows, resamples - first), words)
        means.append(mean(values[chosen]))
    return np.concatenate(means)


def mean_interval(values: np.ndarray, *, alpha: float, block: int, resamples: int, seed: str) -> Interval:
    """Mean of ``values`` [N] with its circular block bootstrap interval."""
    resampled = resampled_means(values, block=block, resamples=resamples, seed=seed)
    return percentile_interval(mean(values), resampled, alpha)


def ratio_interval(
    numerator: np.ndarray, denominator: np.ndarray, *, alpha: float, block: int, resamples: int, seed: str
) -> Interval | None:
    """Ratio of two paired means with its interval; None unless every resampled denominator is positive."""
    above = resampled_means(numerator, block=block, resamples=resamples, seed=seed)
    below = resampled_means(denominator, block=block, resamples=resamples, seed=seed)
    if mean(denominator) <= 0 or below.min() <= 0:
        return None
    return percentile_interval(mean(numerator) / mean(denominator), above / below, alpha)


def stratified_indices(runs: int, tasks: int, resamples: int, words: Words) -> np.ndarray:
    """Indices of a bootstrap that draws runs anew within each task, int64 [resamples, runs, tasks]."""
    return words.indices(runs, (resamples, runs, tasks))


def resampled_iqm(scores: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Interquartile means float64 [B] of ``scores`` [runs, tasks] drawn by ``indices`` [B, runs, tasks]."""
    drawn = scores[indices, np.arange(scores.shape[1])]
    return np.asarray(interquartile_mean(drawn.reshape(len(indices), -1)))


def stratified_iqm_interval(scores: np.ndarray, *, alpha: float, resamples: int, seed: str) -> Interval:
    """Interquartile mean over all runs and tasks with its stratified bootstrap interval.

    Args:
        scores: [runs, tasks]; whole training runs (seeds) are what is resampled.
        alpha: two-sided error.
        resamples: number of bootstrap resamples.
        seed: seed text of the stream.
    """
    words, values = Words(seed), []
    runs, tasks = scores.shape
    rows = max(1, _CHUNK // scores.size)
    for first in range(0, resamples, rows):
        indices = stratified_indices(runs, tasks, min(rows, resamples - first), words)
        values.append(resampled_iqm(scores, indices))
    return percentile_interval(interquartile_mean(scores.reshape(-1)), np.concatenate(values), alpha)


def probability_of_improvement(x: np.ndarray, y: np.ndarray) -> float:
    """Chance that a run of X beats a run of Y on a task, ties counting half, averaged over tasks.

    Args:
        x: scores [runs of X, tasks], or [runs of X] for one task.
        y: scores [runs of Y, tasks], or [runs of Y].
    """
    x, y = x.reshape(len(x), -1), y.reshape(len(y), -1)
    shares = []
    for left, right in zip(x.T, np.sort(y, axis=0).T, strict=True):
        beaten = np.searchsorted(right, left, side="left")
        not_lost = np.searchsorted(right, left, side="right")
        shares.append((int(beaten.sum()) + int(not_lost.sum())) / (2 * len(left) * len(right)))
    return float(mean(np.array(shares)))


def performance_profile(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Share of scores strictly above each threshold, float64 [thresholds]."""
    ordered = np.sort(scores, axis=None)
    return 1.0 - np.searchsorted(ordered, thresholds, side="right") / scores.size


def _require_series(values: np.ndarray, block: int) -> None:
    if values.ndim != 1 or len(values) == 0 or not np.all(np.isfinite(values)):
        raise InputError(
            f"a series of shape {values.shape} with {int(np.isfinite(values).sum())} finite values",
            remedy="give at least one episode, each with one finite return",
        )
    if not 1 <= block <= len(values):
        raise InputError(
            f"promotion.block: {block} for {len(values)} episodes",
            remedy="choose a block between 1 and the number of scored episodes",
        )
