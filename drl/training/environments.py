"""The training environment as RLlib sees it: vectorised, watched, and refused when it misbehaves."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import VectorEnv, VectorWrapper

from drl.data.columns import Columns
from drl.envs.loading import make_environment, make_vector_environment
from drl.errors import DrlError, InputError, StepError
from drl.spec import PipelineSpec
from drl.training.watchdog import Watchdog

PREFLIGHT_STEPS = 20_000
"""An episode that has not ended after so many random time steps is taken for endless."""

NAME = "drl-training-environment"


class GuardedVectorEnv(VectorWrapper):
    """Beats the watchdog at each step and names the first number that is not finite.

    Raises:
        StepError: the environment raised (with its traceback), or returned NaN or infinity.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], watchdog: Watchdog) -> None:
        super().__init__(env)
        self._watchdog = watchdog
        self._steps = 0

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """As the environment's own, checked."""
        try:
            observations, infos = self.env.reset(seed=seed, options=options)
        except Exception as error:
            raise environment_error("reset", error) from error
        self._watchdog.beat()
        _require_finite("observation", observations, "reset")
        return observations, infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """As the environment's own, checked."""
        try:
            observations, rewards, terminations, truncations, infos = self.env.step(actions)
        except Exception as error:
            raise environment_error("step", error) from error
        self._watchdog.beat()
        self._steps += 1
        _require_finite("observation", observations, f"time step {self._steps}")
        _require_finite("reward", rewards, f"time step {self._steps}")
        return observations, rewards, terminations, truncations, infos


def training_environment(
    spec: PipelineSpec, data: Columns | None, environments: int, watchdog: Watchdog
) -> VectorEnv[Any, Any, Any]:
    """The vector environment of one learner, with the training reward of the spec."""
    vector = make_vector_environment(
        spec.environment, data=data, mode="train", reward=spec.training.reward, num_envs=environments
    )
    return GuardedVectorEnv(vector, watchdog)


def register(spec: PipelineSpec, data: Columns | None, watchdog: Watchdog) -> None:
    """Tell RLlib how to make the environment, under :data:`NAME`."""
    from ray.tune.registry import register_env

    _registered["make"] = lambda count: training_environment(spec, data, count, watchdog)
    register_env(NAME, _create)


_registered: dict[str, Callable[[int], VectorEnv[Any, Any, Any]]] = {}
# RLlib pickles the creator, so it must be a function found by name that holds neither data nor threads.


def _create(context: Mapping[str, Any]) -> VectorEnv[Any, Any, Any]:
    return _registered["make"](int(context["num_envs"]))


def preflight(spec: PipelineSpec, data: Columns | None, watchdog: Watchdog) -> None:
    """Find a broken environment before anything expensive starts.

    Raises:
        InputError: the spaces are none that a policy file can describe or the algorithm can act in.
        StepError: the environment raises, breaks Gymnasium's contract, returns NaN or infinity, or an
            episode does not end.
    """
    environment = make_environment(spec.environment, data=data, mode="train", reward=spec.training.reward)
    try:
        _check_spaces(spec, environment)
        watchdog.beat()
        try:
            check_env(environment.unwrapped, skip_render_check=True)
        except Exception as error:
            raise environment_error("Gymnasium's check_env", error) from error
        watchdog.beat()
        _roll(environment, watchdog)
    finally:
        environment.close()


def _roll(environment: gym.Env[Any, Any], watchdog: Watchdog) -> None:
    """Act at random until an episode ends."""
    environment.action_space.seed(0)
    try:
        observation, _ = environment.reset(seed=0)
        _require_finite("observation", observation, "reset")
        for step in range(1, PREFLIGHT_STEPS + 1):
            observation, reward, terminated, truncated, _ = environment.step(
                environment.action_space.sample()
            )
            watchdog.beat()
            _require_finite("observation", observation, f"time step {step}")
            _require_finite("reward", reward, f"time step {step}")
            if terminated or truncated:
                return
    except DrlError:
        raise
    except Exception as error:
        raise environment_error("step", error) from error
    raise StepError(
        f"the environment's first episode has not ended after {PREFLIGHT_STEPS} random time steps",
        remedy="let episodes terminate, or truncate them in training mode",
    )


def _check_spaces(spec: PipelineSpec, environment: gym.Env[Any, Any]) -> None:
    observation, action = environment.observation_space, environment.action_space
    entry, algorithm = spec.environment.entry_point, spec.training.settings.algorithm
    if not isinstance(observation, gym.spaces.Box) or len(observation.shape) != 1:
        raise InputError(
            f"{entry}: observation space {observation} is not a vector of numbers",
            remedy="let the environment flatten its observations into a Box of one dimension",
        )
    discrete = isinstance(action, gym.spaces.Discrete) and action.start == 0
    box = isinstance(action, gym.spaces.Box) and len(action.shape) == 1 and action.is_bounded()
    if not discrete and not box:
        raise InputError(
            f"{entry}: action space {action} is neither Discrete from 0 nor a bounded Box of one dimension",
            remedy="let the environment encode its actions as one of these",
        )
    if (algorithm == "DQN" and not discrete) or (algorithm == "SAC" and not box):
        raise InputError(
            f"{entry}: {algorithm} cannot act in {action}",
            remedy="take DQN for discrete, SAC for continuous actions, or PPO for either",
        )


def environment_error(where: str, error: Exception) -> StepError:
    """A StepError with the traceback of what the environment raised; deliberate errors pass unchanged."""
    if isinstance(error, StepError):
        return error
    trace = "".join(traceback.format_exception(error))
    return StepError(f"the environment failed in {where}:\n{trace}", remedy="mend the environment")


def _require_finite(what: str, values: Any, where: str) -> None:
    array = np.asarray(values)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise StepError(
            f"the environment returned the {what} {array[index]} at index {list(index)}, {where}",
            remedy="mend the environment, or the data that it reads",
        )
