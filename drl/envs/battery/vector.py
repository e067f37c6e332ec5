"""Many batteries stepped together in numpy, with the same results as single ones."""

from __future__ import annotations

from typing import Any, Literal

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from drl.data.columns import Columns
from drl.envs.battery.simulation import require_actions, shared_simulation
from drl.errors import InputError

Observations = npt.NDArray[np.float32]
Arrays = npt.NDArray[Any]
Stepped = tuple[Observations, Arrays, Arrays, Arrays, dict[str, Any]]


class BatteryArbitrageVector(VectorEnv[Observations, npt.NDArray[np.int64], Arrays]):
    """``num_envs`` times :class:`drl.envs.battery.BatteryArbitrage`; environment ``i`` has seed ``seed + i``.

    An episode's last step is followed by a step that ignores the action and resets
    (``AutoresetMode.NEXT_STEP``). Infos are empty: they would cost more than the step.

    Args:
        num_envs: how many.
        data: see :class:`drl.envs.battery.BatteryArbitrage`, also for ``mode``, ``reward`` and ``settings``.
        mode: as there.
        reward: as there.
        staggered: in training, let the first episodes end at evenly spread ages instead of all at once, so
            that resets do not come in waves; all later episodes have full length.
        settings: as there.
    """

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012 (gymnasium's type)

    def __init__(
        self,
        num_envs: int,
        data: Columns,
        mode: Literal["train", "evaluate"],
        reward: str | None = None,
        *,
        staggered: bool = True,
        **settings: Any,
    ) -> None:
        if num_envs < 1:
            raise InputError(f"num_envs = {num_envs}", remedy="give one or more")
        self.num_envs = num_envs
        self.simulation = shared_simulation(data, mode, reward, settings)
        self.single_observation_space = self.simulation.observation_space
        self.single_action_space = self.simulation.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._training, self._staggered = mode == "train", staggered and mode == "train"
        self._generators: list[np.random.Generator] | None = None
        self._rows, self._levels, self._stops = (np.zeros(num_envs, dtype=np.int64) for _ in range(3))
        self._over = np.zeros(num_envs, dtype=np.bool_)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Begin an episode in each environment; without ``seed`` the random streams run on."""
        if seed is not None or self._generators is None:
            self._generators = [gym.utils.seeding.np_random(one)[0] for one in self._seeds(seed)]
        for index in range(self.num_envs):
            self._begin(index)
        self._over = np.zeros(self.num_envs, dtype=np.bool_)
        if self._staggered:
            hours = self.simulation.episode_hours
            self._stops -= np.arange(self.num_envs) * hours // self.num_envs
        return self.simulation.observe(self._rows, self._levels), {}

    def step(self, actions: npt.NDArray[np.int64]) -> Stepped:
        """Act for an hour in each environment; those whose episode is over reset instead, with reward zero.

        Raises:
            InputError: an action is no index of a power level, or there are not ``num_envs`` of them.
        """
        actions = require_actions(actions, self.simulation.battery)
        if actions.shape != (self.num_envs,):
            raise InputError(
                f"battery actions of shape {actions.shape}", remedy=f"give {self.num_envs} actions"
            )
        beginning = self._over
        # Finished environments act in their last hour once more, without effect: they begin anew below.
        rows = self._rows - beginning
        after, _, rewards = self.simulation.advance(rows, self._levels, actions)
        self._levels, self._rows = after, rows + 1
        if beginning.any():
            rewards = np.where(beginning, 0.0, rewards)
            for index in np.flatnonzero(beginning).tolist():
                self._begin(index)
        self._over = (self._rows == self._stops) & ~beginning
        never = np.zeros(self.num_envs, dtype=np.bool_)
        terminated, truncated = (never, self._over) if self._training else (self._over, never)
        return self.simulation.observe(self._rows, self._levels), rewards, terminated, truncated, {}

    def _seeds(self, seed: int | list[int | None] | None) -> list[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, int):
            return [seed + index for index in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise InputError(f"{len(seed)} reset seeds", remedy=f"give one, or {self.num_envs}")
        return list(seed)

    def _begin(self, index: int) -> None:
        generators = self._generators
        if generators is None:
            raise InputError("a vector environment was stepped before its reset", remedy="call reset first")
        row, level = self.simulation.start(generators[index])
        self._rows[index], self._levels[index] = row, level
        self._stops[index] = row + self.simulation.episode_hours if self._training else self.simulation.end
