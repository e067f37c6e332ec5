"""Sampling for PPO in whole arrays instead of step by step and episode by episode.

RLlib's environment runner appends to one Python object for each environment and sends every time step
through two pipelines of connectors. With 128 environments that takes most of the sampling time. This runner
steps the vector environment, keeps each step's arrays, and cuts the episodes out of them once at the end.
It draws the same random numbers and hands over the same episodes in the same order, so policies come out
bit for bit as with RLlib's own runner; a test compares the two.

The module is this one and no environment runner of another kind: feed-forward policies, one agent, no
callbacks, no connectors of one's own.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.env.single_agent_episode import SingleAgentEpisode

Array = npt.NDArray[Any]


class FragmentRunner(SingleAgentEnvRunner):
    """Samples fragments of all environments at once; everything else is RLlib's runner."""

    _needs_initial_reset: bool
    _observations: Array
    _over: npt.NDArray[np.bool_]

    def _sample(
        self,
        *,
        num_timesteps: int | None = None,
        num_episodes: int | None = None,
        explore: bool,
        random_actions: bool = False,
        force_reset: bool = False,
    ) -> list[SingleAgentEpisode]:
        if num_timesteps is None or random_actions or not explore:
            episodes: list[SingleAgentEpisode] = super()._sample(
                num_timesteps=num_timesteps,
                num_episodes=num_episodes,
                explore=explore,
                random_actions=random_actions,
                force_reset=force_reset,
            )
            return episodes
        if force_reset or self._needs_initial_reset:
            self._reset()
        fragment = self._step_until(num_timesteps)
        episodes, ended = fragment.episodes(self.env.single_observation_space, self.env.single_action_space)
        time_steps = int(fragment.stepped.sum())
        self._log_env_steps(metric=self._metrics_num_env_steps_sampled, num_steps=time_steps)
        self._increase_sampled_metrics(time_steps, ended)
        return episodes

    def _reset(self) -> None:
        seed = self._seed if self._needs_initial_reset else None
        observations, _ = self._vector.reset(seed=seed)
        self._observations = _in_rows(observations)
        self._needs_initial_reset = False
        self._over = np.zeros(self.num_envs, dtype=np.bool_)
        self._returns = np.zeros(self.num_envs)
        self._lengths = np.zeros(self.num_envs, dtype=np.int64)

    @property
    def _vector(self) -> gym.vector.VectorEnv[Any, Any, Any]:
        # RLlib's outer wrapper makes a list of dictionaries of the infos, which nobody reads here.
        return self.env.env

    def _step_until(self, time_steps: int) -> _Fragment:
        fragment = _Fragment(self._observations, self._weights_seq_no)
        distribution_class = self.module.get_exploration_action_dist_cls()
        space, done = self.env.single_action_space, 0
        while done < time_steps:
            with torch.no_grad():
                batch = {"obs": torch.from_numpy(self._observations)}
                inputs = self.module.forward_exploration(batch)["action_dist_inputs"]
                distribution = distribution_class.from_logits(inputs)
                sampled = distribution.sample()
                log_probability = distribution.logp(sampled).numpy()
            actions = sampled.numpy()
            chosen = np.clip(actions, space.low, space.high) if isinstance(space, gym.spaces.Box) else actions
            observations, rewards, terminated, truncated, _ = self._vector.step(chosen)
            self._observations = _in_rows(observations)
            stepped = ~self._over
            fragment.append(
                self._observations,
                stepped,
                actions=actions,
                rewards=np.asarray(rewards),
                terminated=terminated & stepped,
                truncated=truncated & stepped,
                action_logp=log_probability,
                action_dist_inputs=inputs.numpy(),
            )
            self._over = (terminated | truncated) & stepped
            self._count(rewards, stepped)
            done += int(stepped.sum())
        return fragment

    def _count(self, rewards: Array, stepped: npt.NDArray[np.bool_]) -> None:
        self._returns += np.where(stepped, rewards, 0.0)
        self._lengths += stepped
        for index in np.flatnonzero(self._over).tolist():
            self._log_episode_metrics(int(self._lengths[index]), float(self._returns[index]), 0.0)
        self._returns[self._over] = 0.0
        self._lengths[self._over] = 0


class _Fragment:
    """The arrays of some consecutive steps of all environments."""

    def __init__(self, observations: Array, weights_number: int) -> None:
        self._observations = [observations]
        self._weights_number = weights_number
        self._stepped: list[npt.NDArray[np.bool_]] = []
        self._columns: dict[str, list[Array]] = {}

    def append(self, observations: Array, stepped: npt.NDArray[np.bool_], **columns: Array) -> None:
        """One step: next observations, which environments stepped rather than reset, and what they did."""
        self._observations.append(observations)
        self._stepped.append(stepped)
        for name, values in columns.items():
            self._columns.setdefault(name, []).append(values)

    @property
    def stepped(self) -> npt.NDArray[np.bool_]:
        """Whether environment i made a time step in step t, [T, N]; if not, it was reset."""
        return np.stack(self._stepped)

    def episodes(self, observation: Any, action: Any) -> tuple[list[SingleAgentEpisode], int]:
        """Cut out the episodes: first those that ended, in order of time, then the open ones.

        Returns:
            the episodes, and how many of them ended.
        """
        # [N, T, ...], so that a piece of one environment is contiguous.
        columns = {name: np.stack(values, axis=1) for name, values in self._columns.items()}
        observations = np.stack(self._observations, axis=1)
        stepped = self.stepped.T
        environments, steps = stepped.shape
        ends: list[tuple[int, int, SingleAgentEpisode]] = []
        for index in range(environments):
            resets = np.flatnonzero(~stepped[index]).tolist()
            for first, last in zip([0, *(r + 1 for r in resets)], [*resets, steps], strict=True):
                if first == last:
                    continue
                piece = {name: values[index, first:last] for name, values in columns.items()}
                over = bool(piece["terminated"][-1] or piece["truncated"][-1])
                episode = SingleAgentEpisode(
                    observation_space=observation,
                    action_space=action,
                    observations=_copy(observations[index, first : last + 1]),
                    infos=[{}] * (last - first + 1),
                    actions=_copy(piece["actions"]),
                    rewards=_copy(piece["rewards"]),
                    terminated=bool(piece["terminated"][-1]),
                    truncated=bool(piece["truncated"][-1]),
                    extra_model_outputs={
                        "action_dist_inputs": _copy(piece["action_dist_inputs"]),
                        "action_logp": _copy(piece["action_logp"]),
                        "weights_seq_no": np.full(last - first, self._weights_number),
                    },
                    len_lookback_buffer=0,
                )
                ends.append((last if over else steps + 1, index, episode.to_numpy()))
        ends.sort(key=lambda end: end[:2])
        return [episode for _, _, episode in ends], sum(last <= steps for last, _, _ in ends)


def _in_rows(observations: Array) -> Array:
    # A transposed array has the same values and, through another matrix product, another last bit.
    return np.array(observations, dtype=np.float32, order="C")


def _copy(values: Array) -> Array:
    # RLlib extends the arrays of an episode in place.
    return values.copy()
