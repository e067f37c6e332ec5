"""Which observations a policy is used to: those that it meets in its training environment, played here again.

No record holds training observations, so they are made: the released policy acts in the training episodes of
the frozen pipeline (for a pipeline with data, on its training split) for a bounded number of time steps. The
environment's code is that of this installation, and only a class that the trust policy allows is imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from drl.data.columns import Columns, read_columns
from drl.envs.loading import make_environment
from drl.errors import DrlError, Undetermined
from drl.policy.forward import NumpyPolicy
from drl.serving.proof import Expected
from drl.spec import PipelineSpec, parse_pipeline

TRAINING_DATA = "prepare/train.parquet"
_OWN = "drl.envs"
_SEED = 0


def expected_observations(
    resolved: Mapping[str, Any], policy: Path, train: Path | None, allowed: Sequence[str], *, steps: int
) -> tuple[Expected | None, str | None]:
    """What to expect, or why nobody knows; nothing that goes wrong here says anything about the proof.

    Args:
        resolved: the frozen run, as its verified record has it.
        policy: folder of the released policy.
        train: the training split, None for a pipeline without data.
        allowed: packages beside ``drl.envs`` whose environments may be imported.
        steps: most time steps to play; 0 plays none.
    """
    if not steps:
        return None, "switched off: drift_steps is 0"
    try:
        spec = parse_pipeline(resolved["spec"], path=Path("resolved.json"))
        _require_allowed(spec, allowed)
        data = None if train is None else read_columns(train)
        return _summary(_met(spec, NumpyPolicy.load(policy), data, steps)), None
    except DrlError as error:
        return None, error.message
    except Exception as error:  # the environment's own code: whatever it raises, the proof stands
        return None, f"{type(error).__name__} while playing the training environment: {error}"


def _require_allowed(spec: PipelineSpec, allowed: Sequence[str]) -> None:
    module, colon, _ = spec.environment.entry_point.partition(":")
    if colon and not any(module == name or module.startswith(f"{name}.") for name in (_OWN, *allowed)):
        raise Undetermined(
            f"the trust policy does not allow to import {module}",
            remedy=f"add `environments: [{module}]` to it",
        )


def _met(
    spec: PipelineSpec, policy: NumpyPolicy, data: Columns | None, steps: int
) -> npt.NDArray[np.float64]:
    """Observations [N, D] of training episodes, N at most ``steps``."""
    environment: gym.Env[Any, Any] = make_environment(spec.environment, data=data, mode="train")
    try:
        observation, _ = environment.reset(seed=_SEED)
        met = []
        for _ in range(steps):
            met.append(np.array(observation, dtype=np.float64))
            observation, _, terminated, truncated, _ = environment.step(policy.act(observation))
            if terminated or truncated:
                observation, _ = environment.reset()
        return np.array(met)
    finally:
        environment.close()


def _summary(met: npt.NDArray[np.float64]) -> Expected:
    parts = (met.mean(axis=0), met.std(axis=0), met.min(axis=0), met.max(axis=0))
    return Expected(len(met), *(tuple(part.tolist()) for part in parts))
