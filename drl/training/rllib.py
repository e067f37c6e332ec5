"""The places where this room reaches into RLlib, all in one file, watched by a contract test.

RLlib 2.60 is pinned exactly. What is used beyond its public interface: the local learner and its module,
the private attributes of the environment runner that the fence sets, and the name `ray` in the module of
the runner group.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

MODULE = "default_policy"


@contextmanager
def in_this_process() -> Iterator[None]:
    """Let algorithms without remote runners and learners work without a Ray cluster.

    RLlib uses the cluster for one thing then: it puts the configuration, and after each update the weights,
    into the object store for remote runners, of which there are none. Handing the values through instead
    saves starting and stopping five processes (4 to 17 s), their half gigabyte, and their temporary files.
    The learner's weights reach the local runner directly, as they always do.
    """
    from ray.rllib.env import env_runner_group

    for name in ("ray.rllib", "ray.tune", "ray._common.deprecation"):
        # Migration advice and the absence of GPU monitoring concern nobody here.
        logging.getLogger(name).setLevel(logging.ERROR)
    original = env_runner_group.ray
    env_runner_group.ray = _RayWithoutObjectStore(original)
    try:
        yield
    finally:
        env_runner_group.ray = original


class _RayWithoutObjectStore:
    def __init__(self, ray: Any) -> None:
        self._ray = ray

    def put(self, value: Any) -> Any:
        return value

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ray, name)


def learner_module(algorithm: Any) -> Any:
    """The RLModule that is trained, with value networks and targets."""
    return algorithm.learner_group._learner.module[MODULE]


def learner_weights(algorithm: Any) -> dict[str, npt.NDArray[Any]]:
    """Every tensor of the learner's module, as numpy arrays."""
    return {name: np.asarray(value) for name, value in learner_module(algorithm).get_state().items()}


def synchronise(algorithm: Any) -> None:
    """Copy the learner's weights to the environment runners and wait until it is done."""
    algorithm.env_runner_group.sync_weights(
        from_worker_or_learner_group=algorithm.learner_group, timeout_seconds=60.0, inference_only=True
    )


def uncheckpointed(algorithm: Any) -> dict[str, float | None]:
    """What RLlib leaves out of its checkpoints although the outcome depends on it.

    SAC's logarithm of the temperature, and the time step of the last copy to the target network of DQN and
    SAC; None where the algorithm has none.
    """
    learner = algorithm.learner_group._learner
    log_alpha = getattr(learner, "curr_log_alpha", None)
    updates = getattr(learner, "last_update_ts_by_mid", None)
    return {
        "log_alpha": None if log_alpha is None else float(log_alpha[MODULE].detach().item()),
        "last_target_update": None if updates is None else int(updates[MODULE]),
    }


def set_uncheckpointed(algorithm: Any, values: dict[str, float | None], time_steps: int) -> None:
    """Put back what :func:`uncheckpointed` gave, and bring PPO's entropy schedule to ``time_steps``."""
    learner = algorithm.learner_group._learner
    if values["log_alpha"] is not None:
        learner.curr_log_alpha[MODULE].data.fill_(values["log_alpha"])
    if values["last_target_update"] is not None:
        learner.last_update_ts_by_mid[MODULE] = int(values["last_target_update"])
    schedulers = getattr(learner, "entropy_coeff_schedulers_per_module", None)
    if schedulers is not None:
        schedulers[MODULE].update(timestep=time_steps)
