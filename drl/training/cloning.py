"""Behaviour cloning: fit the actor to demonstrations before reinforcement learning starts.

The demonstrations are a Parquet table with the columns ``observation`` (list<float32>) and ``action``
(integer, or list<float32> for continuous actions).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from drl.errors import DataError
from drl.spec import BehaviourCloning
from drl.training import export, rllib
from drl.training.watchdog import Watchdog

Demonstrations = tuple[npt.NDArray[np.float32], npt.NDArray[Any]]


def read_demonstrations(path: Path) -> Demonstrations:
    """Observations float32 [N, D] and actions int64 [N] or float32 [N, d].

    Raises:
        DataError: the file is missing or is not such a table.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    remedy = "write columns `observation` (list<float32>) and `action`, every row of the same length"
    try:
        table = pq.read_table(path, columns=["observation", "action"])
        observations = _matrix(table["observation"]).astype(np.float32)
        action = table["action"]
        if pa.types.is_integer(action.type):
            actions: npt.NDArray[Any] = action.to_numpy().astype(np.int64)
        else:
            actions = _matrix(action).astype(np.float32)
    except (OSError, pa.ArrowException, ValueError, AttributeError) as error:
        raise DataError(f"{path}: not readable as demonstrations: {error}", remedy=remedy) from error
    if not len(observations) or not np.isfinite(observations).all() or not np.isfinite(actions).all():
        raise DataError(f"{path}: demonstrations are empty or not finite", remedy=remedy)
    return observations, actions


def _matrix(column: Any) -> npt.NDArray[Any]:
    array = column.combine_chunks()
    flat: npt.NDArray[Any] = array.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(array), -1)


def clone(
    algorithm: Any, demonstrations: Demonstrations, settings: BehaviourCloning, watchdog: Watchdog
) -> tuple[float, float]:
    """Fit the actor, then hand its weights to the environment runners.

    Adam with a learning rate that falls linearly to zero; cross-entropy for discrete actions, squared
    error of the mean for continuous ones. Batches are drawn with torch's global generator, so the caller
    seeds.

    Returns:
        the mean loss of the first and of the last pass.

    Raises:
        DataError: the demonstrations do not fit the environment's spaces.
    """
    import torch

    actor = export.actor_network(rllib.learner_module(algorithm), "PPO")
    observations, actions = (torch.from_numpy(array) for array in demonstrations)
    _check(actor, observations, actions)
    optimizer = torch.optim.Adam(actor.parameters(), lr=settings.learning_rate)
    batches = -(-len(observations) // settings.batch)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=settings.passes * batches)
    losses = []
    for _ in range(settings.passes):
        total = 0.0
        for rows in torch.randperm(len(observations)).split(settings.batch):
            outputs, target = actor(observations[rows]), actions[rows]
            if target.ndim == 1:
                loss = torch.nn.functional.cross_entropy(outputs, target)
            else:
                loss = torch.nn.functional.mse_loss(outputs[:, : target.shape[1]], target)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            decay.step()
            total += loss.item() * len(rows)
            watchdog.beat()
        losses.append(total / len(observations))
    rllib.synchronise(algorithm)
    return losses[0], losses[-1]


def _check(actor: Any, observations: Any, actions: Any) -> None:
    inputs, outputs = actor[0].in_features, actor[-1].out_features
    discrete = actions.ndim == 1
    fits = (
        outputs > int(actions.max()) and int(actions.min()) >= 0
        if discrete
        else outputs == 2 * actions.shape[1]
    )
    if observations.shape[1] != inputs or not fits:
        raise DataError(
            f"demonstrations with observations {tuple(observations.shape)} and actions "
            f"{tuple(actions.shape)} do not fit a policy with {inputs} inputs and {outputs} outputs",
            remedy="make the demonstrations again with the environment's present settings",
        )
