"""Everything that follows from the kept returns alone, so that a verifier derives it again."""

from __future__ import annotations

from typing import Any

import numpy as np

from drl.errors import InputError
from drl.evaluation.promotion import BOOTSTRAP_SEED, decide, gap_to_strongest, paired_interval
from drl.evaluation.statistics import (
    interquartile_mean,
    mean_interval,
    probability_of_improvement,
    ratio_interval,
    total,
    worst_mean,
)
from drl.spec import EvaluationSpec, PromotionSpec


def compare(
    evaluation: EvaluationSpec,
    rule: PromotionSpec,
    returns: dict[str, np.ndarray],
    *,
    alpha: float,
    identical: bool,
) -> dict[str, Any]:
    """Estimates, intervals and the verdict, as JSON.

    Args:
        evaluation: unit, baselines and upper bound.
        rule: the promotion rule.
        returns: paired returns float64 [E] of ``policy``, perhaps ``champion``, and every baseline.
        alpha: two-sided error of every interval, after the error budget.
        identical: whether policy and champion have the same model root.

    Returns:
        ``actors`` (name to mean, interquartile mean, worst mean, total, and score: the share of the upper
        bound's total with its interval, null without a positive bound), ``comparisons`` (name to the mean
        paired difference policy minus name with its interval, and the probability of improvement),
        ``decision`` and ``gap``.

    Raises:
        InputError: an actor is missing, or the returns are not paired and finite.
    """
    _require_actors(evaluation, returns)
    block = min(rule.block, len(returns["policy"]))
    bootstrap: dict[str, Any] = {
        "alpha": alpha,
        "block": block,
        "resamples": rule.resamples,
        "seed": BOOTSTRAP_SEED,
    }
    bound = returns.get(evaluation.upper_bound) if evaluation.upper_bound else None
    actors: dict[str, Any] = {}
    for name, values in returns.items():
        share = None if bound is None else ratio_interval(values, bound, **bootstrap)
        actors[name] = {
            "mean": mean_interval(values, **bootstrap).to_json(),
            "interquartile_mean": float(interquartile_mean(values)),
            "worst_mean": worst_mean(values, rule.guard.worst_fraction),
            "total": float(total(values)),
            "score": None if share is None else share.to_json(),
        }
    policy = returns["policy"]
    comparisons = {
        name: {
            "difference": paired_interval(rule, policy=policy, other=values, alpha=alpha).to_json(),
            "probability_of_improvement": probability_of_improvement(policy, values),
        }
        for name, values in returns.items()
        if name != "policy"
    }
    other = "champion" if "champion" in returns else rule.gate
    decision = decide(
        rule,
        policy=policy,
        other=returns[other],
        other_name=other,
        alpha=alpha,
        identical=identical,
        unit=evaluation.unit,
    )
    baselines = {b.name: returns[b.name] for b in evaluation.baselines if b.name != evaluation.upper_bound}
    gap = gap_to_strongest(rule, policy=policy, baselines=baselines, alpha=alpha)
    return {
        "actors": actors,
        "comparisons": comparisons,
        "decision": decision.to_json(),
        "gap": gap.to_json(),
    }


def _require_actors(evaluation: EvaluationSpec, returns: dict[str, np.ndarray]) -> None:
    declared = {"policy", *(b.name for b in evaluation.baselines)}
    if set(returns) - {"champion"} != declared:
        raise InputError(
            f"returns of {sorted(returns)}, the pipeline declares {sorted(declared)} and perhaps a champion",
            remedy="evaluate with the pipeline that the returns are compared by",
        )
