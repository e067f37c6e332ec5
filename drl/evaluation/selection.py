"""Which seed is released: decided on the validation split, before anyone looks at the test split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from drl.digest import canonical_json
from drl.evaluation.rollout import rollout
from drl.evaluation.statistics import mean
from drl.policy.forward import NumpyPolicy
from drl.spec import EvaluationSpec, PipelineSpec

RULE = "highest mean return per validation episode; ties go to the lowest seed index"


def validation_seed(spec: EvaluationSpec) -> int:
    """First reset seed of validation: right behind the held-out ones, so that the two never meet."""
    return spec.seed + spec.episodes


def select_seed(
    spec: PipelineSpec, *, policies: list[Path], environment: gym.Env[Any, Any], out: Path
) -> dict[str, Any]:
    """Play the validation episodes with every seed's policy, choose by :data:`RULE`, keep the numbers.

    Args:
        spec: the pipeline.
        policies: one policy folder for each seed, in order of the seed index.
        environment: in evaluate mode on the validation split.
        out: folder that gets ``selection.json``.

    Returns:
        what ``selection.json`` holds: ``rule``, ``episodes``, ``seed`` (first reset seed), ``means`` (one for
        each seed, in the unit of an episode's return) and ``released`` (seed index).
    """
    first, episodes = validation_seed(spec.evaluation), spec.evaluation.episodes
    played = [
        rollout(NumpyPolicy.load(folder), environment, episodes=episodes, seed=first) for folder in policies
    ]
    means = [float(mean(outcome.returns)) for outcome in played]
    selection = {
        "format": "drl.selection/1",
        "rule": RULE,
        "seed": first,
        "episodes": len(played[0].returns),
        "means": means,
        "released": int(np.argmax(means)),
    }
    (out / "selection.json").write_bytes(canonical_json(selection))
    return selection
