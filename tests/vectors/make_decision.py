"""Make ``decision.json``: the numbers of docs/record.md, section 8, step by step, for other verifiers.

    python tests/vectors/make_decision.py

The file changes only when the format does.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from drl.evaluation import statistics as s
from drl.evaluation.comparison import compare
from drl.evaluation.promotion import BOOTSTRAP_SEED, spent_alpha
from drl.evaluation.words import Words
from drl.record.ledger import pipeline_id
from drl.record.seeds import derive_seeds
from drl.spec import EvaluationSpec, PromotionSpec

EVALUATION = {
    "episodes": 8,
    "seed": 7,
    "unit": "EUR",
    "upper_bound": "bound",
    "baselines": [
        {"name": "clock", "kind": "clock"},
        {"name": "bound", "kind": "foresight"},
        {"name": "idle", "kind": "nothing"},
    ],
}
RULE = {
    "gate": "clock",
    "margin": 0.5,
    "alpha": 0.05,
    "block": 3,
    "resamples": 100,
    "guard": {"worst_fraction": 0.29, "margin": 2.0},
}
RETURNS = {
    "policy": [3.1, 5.25, 2.0, 7.5, 6.125, 4.4, 9.3, 1.7],
    "clock": [1.0, 4.0, 2.5, 3.25, 5.0, 3.9, 4.1, 1.1],
    "bound": [4.0, 6.0, 3.0, 8.0, 7.0, 5.0, 10.0, 2.0],
    "idle": [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
}


def vectors() -> dict[str, Any]:
    """Everything that the file holds."""
    returns = {name: np.array(values) for name, values in RETURNS.items()}
    difference = returns["policy"] - returns["clock"]
    resampled = s.resampled_means(difference, block=3, resamples=100, seed=BOOTSTRAP_SEED)
    return {
        "words": {
            "seed": BOOTSTRAP_SEED,
            "words": [str(word) for word in Words(BOOTSTRAP_SEED).raw(6).tolist()],
            "indices_below_8": Words(BOOTSTRAP_SEED).indices(8, (6,)).tolist(),
            "uniforms": Words(BOOTSTRAP_SEED).uniforms((3,)).tolist(),
        },
        "bootstrap": {
            "episodes": 8,
            "block": 3,
            "first_two_resamples": s.block_indices(8, 3, 2, Words(BOOTSTRAP_SEED)).tolist(),
            "values": difference.tolist(),
            "first_two_means": resampled[:2].tolist(),
            "interval_of_100_at_alpha_0.05": s.percentile_interval(
                float(s.mean(difference)), resampled, 0.05
            ).to_json(),
        },
        "quantiles": [
            {
                "values": [1.0, 2.0, 4.0, 8.0],
                "probability": p,
                "quantile": s.quantile(np.array([8.0, 1, 4, 2]), p),
            }
            for p in (0.0, 0.025, 0.5, 0.975, 1.0)
        ],
        "worst_counts": [
            {"episodes": n, "fraction": f, "count": s.worst_count(n, f)}
            for n, f in ((52, 0.1), (100, 0.29), (3, 0.1), (10, 0.7), (8, 0.29))
        ],
        "error_budget": [
            {"alpha": 0.05, "look": look, "spent": spent_alpha(0.05, look)} for look in (1, 2, 3, 10)
        ],
        "seeds": {
            "intent": "aa" * 32,
            "block_hash": "0x" + "bb" * 32,
            "first_three": derive_seeds("aa" * 32, "0x" + "bb" * 32, 3),
        },
        "pipeline_id": {"name": "battery_arbitrage", "id": pipeline_id("battery_arbitrage")},
        "comparison": {
            "evaluation": EVALUATION,
            "promotion": RULE,
            "returns": RETURNS,
            "alpha": 0.05,
            "derived": _compare(returns, RULE, 0.05),
            "derived_when_few": _compare({n: v[:5] for n, v in returns.items()}, RULE, 0.05)["decision"],
            "derived_with_a_margin_of_3": _compare(returns, RULE | {"margin": 3.0}, 0.05)["decision"],
            "derived_when_swapped": _compare(
                returns | {"policy": returns["clock"], "clock": returns["policy"]}, RULE, 0.05
            )["decision"],
        },
    }


def _compare(returns: dict[str, np.ndarray], rule: dict[str, Any], alpha: float) -> dict[str, Any]:
    return compare(
        EvaluationSpec.model_validate(EVALUATION),
        PromotionSpec.model_validate(rule),
        returns,
        alpha=alpha,
        identical=False,
    )


if __name__ == "__main__":
    path = Path(__file__).with_name("decision.json")
    path.write_text(json.dumps(vectors(), indent=1) + "\n", encoding="utf-8")
