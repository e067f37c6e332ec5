"""Let an actor play held-out episodes and keep everything that a verifier needs to replay them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from drl.errors import DrlError, StepError
from drl.evaluation.actor import Actor

DEFAULT_MAX_STEPS = 1_000_000


@dataclass(frozen=True)
class Rollout:
    """The outcome of one actor, in the order in which it was played.

    Attributes:
        returns: sum of rewards of each scored episode, float64 [E], added in order of time.
        lengths: time steps of each scored episode, int64 [E].
        labels: what people call the episode: the environment's ``episode_label``, else the reset seed.
        actions: every action given to the environment, [T, ...] with T the sum of ``lengths``.
        observations: what each action answered, [T, ...]; None unless it was asked for.
    """

    returns: np.ndarray
    lengths: np.ndarray
    labels: list[str]
    actions: np.ndarray
    observations: np.ndarray | None = None


def rollout(
    actor: Actor,
    environment: gym.Env[Any, Any],
    *,
    episodes: int,
    seed: int,
    max_steps: int | None = None,
    keep_observations: bool = False,
) -> Rollout:
    """Play ``episodes`` rollouts with the reset seeds ``seed``, ``seed + 1``, ...

    The same seeds for every actor are the common random numbers of a paired comparison. A rollout whose
    steps carry ``info["episode_label"]`` is cut into one scored episode for each label; without labels a
    rollout is one scored episode, labelled by its reset seed. With labels and several rollouts the reset
    seed is put before the label.

    Args:
        actor: chooses the actions.
        environment: a single environment in evaluate mode; not closed here.
        episodes: number of rollouts.
        seed: first reset seed.
        max_steps: bound on the time steps of one rollout; default is the environment's registered
            ``max_episode_steps``, else one million.
        keep_observations: also return the observations.

    Raises:
        StepError: the environment raised, returned a NaN or infinity, or did not end within the bound.
    """
    bound = max_steps or (environment.spec and environment.spec.max_episode_steps) or DEFAULT_MAX_STEPS
    totals: dict[str, float] = {}
    lengths: dict[str, int] = {}
    actions: list[Any] = []
    observations: list[Any] = []
    for reset_seed in range(seed, seed + episodes):
        where = f"rollout with reset seed {reset_seed}"
        try:
            observation, _ = environment.reset(seed=reset_seed)
            _require_finite(observation, "an observation", f"{where}, after reset")
            actor.reset(environment.unwrapped)
            for step in range(bound):
                action = actor.act(observation)
                if keep_observations:
                    observations.append(np.array(observation))
                observation, reward, terminated, truncated, info = environment.step(action)
                _require_finite(observation, "an observation", f"{where}, time step {step}")
                _require_finite(reward, "a reward", f"{where}, time step {step}")
                actions.append(action)
                label = _label(info.get("episode_label"), reset_seed, several=episodes > 1)
                totals[label] = totals.get(label, 0.0) + float(reward)
                lengths[label] = lengths.get(label, 0) + 1
                if terminated or truncated:
                    break
            else:
                raise StepError(
                    f"{where}: the episode did not end within {bound} time steps",
                    remedy="let the environment terminate or truncate, or register it with max_episode_steps",
                )
        except DrlError:
            raise
        except Exception as error:  # somebody else's code: whatever it raises ends the step
            raise StepError(
                f"{where}: {type(environment.unwrapped).__name__} or {type(actor).__name__} raised "
                f"{type(error).__name__}: {error}",
                remedy="mend the error shown in the traceback above",
            ) from error
    return Rollout(
        returns=np.array(list(totals.values()), dtype=np.float64),
        lengths=np.array(list(lengths.values()), dtype=np.int64),
        labels=list(totals),
        actions=np.asarray(actions),
        observations=np.asarray(observations) if keep_observations else None,
    )


def _label(given: str | None, reset_seed: int, *, several: bool) -> str:
    if given is None:
        return str(reset_seed)
    return f"{reset_seed} {given}" if several else given


def _require_finite(value: Any, what: str, where: str) -> None:
    if not np.all(np.isfinite(value)):
        raise StepError(
            f"{where}: the environment returned {what} that is NaN or infinite: {value!r}",
            remedy="mend the environment; a held-out rollout must be finite",
        )
