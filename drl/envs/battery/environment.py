"""Battery arbitrage on hourly prices, as a Gymnasium environment."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from drl.data.columns import Columns
from drl.envs.battery.baselines import BASELINES
from drl.envs.battery.planning import hindsight_action_values, hindsight_values
from drl.envs.battery.simulation import REWARDS, Simulation, require_actions, shared_simulation
from drl.envs.battery.vector import BatteryArbitrageVector
from drl.evaluation.actor import Baseline

Observation = npt.NDArray[np.float32]
_EMPTY_SHARE, _FULL_SHARE = 0.15, 0.15


class BatteryArbitrage(gym.Env[Observation, np.int64]):
    """Buy cheap hours, sell dear ones, seeing prices up to the current hour only.

    A stylised benchmark: the price of the hour acted in is known and no later one, the battery is too small
    to move prices, and every hour can be traded.

    In mode ``evaluate`` one continuous rollout goes over all rows that are not context. It begins with an
    empty battery, charge left at the end is worth nothing, and it ends as terminated.
    ``info["episode_label"]`` is the local ISO week that the step is scored in. In mode ``train`` an episode
    begins at a random hour with a random charge and is truncated after ``episode_hours``.

    ``info["profit"]`` is the hour's profit in EUR, whatever the reward is.

    Args:
        data: columns ``timestamp`` (int64 seconds, UTC, hourly), ``price`` (EUR/MWh) and ``context``, with
            672 leading context rows.
        mode: ``train`` or ``evaluate``.
        reward: None for profit in EUR; ``regret`` for the training reward of :meth:`Simulation.advance`.
        settings: ``episode_hours`` (336) and those of :class:`drl.envs.battery.storage.Battery`.

    Attributes:
        simulation: market, battery and observations.
        row: data row of the hour to act in.
        level: charge level.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 (gymnasium's type)
    rewards: ClassVar[tuple[str, ...]] = REWARDS
    baselines: ClassVar[dict[str, type[Baseline]]] = BASELINES
    vector_class: ClassVar[type[BatteryArbitrageVector]] = BatteryArbitrageVector

    def __init__(
        self, data: Columns, mode: Literal["train", "evaluate"], reward: str | None = None, **settings: Any
    ) -> None:
        self.simulation = shared_simulation(data, mode, reward, settings)
        self.observation_space = self.simulation.observation_space
        self.action_space = self.simulation.action_space
        self.row, self.level, self._stop = self.simulation.first, 0, self.simulation.end
        self._labels = self.simulation.market.scored_weeks()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode; ``options`` are not used."""
        super().reset(seed=seed)
        self.row, self.level = self.simulation.start(self.np_random)
        training = self.simulation.mode == "train"
        self._stop = self.row + self.simulation.episode_hours if training else self.simulation.end
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Act for an hour.

        Raises:
            InputError: the action is no index of a power level.
        """
        actions = require_actions([action], self.simulation.battery)
        levels, profit, reward = self.simulation.advance(
            np.array([self.row]), np.array([self.level]), actions
        )
        info: dict[str, Any] = {"profit": float(profit[0])}
        if self.simulation.mode == "evaluate":
            info["episode_label"] = self._labels[self.row]
        self.row, self.level = self.row + 1, int(levels[0])
        over = self.row == self._stop
        training = self.simulation.mode == "train"
        return self._observation(), float(reward[0]), over and not training, over and training, info

    def _observation(self) -> Observation:
        observation: Observation = self.simulation.observe(np.array([self.row]), np.array([self.level]))[0]
        return observation

    @classmethod
    def demonstrations(
        cls, data: Columns, rng: np.random.Generator, **settings: Any
    ) -> tuple[Observation, npt.NDArray[np.int64]]:
        """What perfect foresight does in every training hour, from a random charge.

        15 % of the hours begin empty, 15 % full, the others at a uniformly drawn level.

        Returns:
            observations float32 [N, D] and actions int64 [N], in order of time.
        """
        simulation = Simulation(data, "train", **settings)
        battery, price = simulation.battery, simulation.market.price[simulation.first :]
        values = hindsight_values(battery, price)
        best = battery.best_action(hindsight_action_values(battery, price, values))
        draw, levels = rng.random(len(price)), rng.integers(battery.levels, size=len(price))
        levels = np.where(draw < _EMPTY_SHARE, 0, levels)
        levels = np.where(draw >= 1 - _FULL_SHARE, battery.levels - 1, levels)
        hours = np.arange(len(price))
        return simulation.observe(simulation.first + hours, levels), best[hours, levels]

    @classmethod
    def trace_columns(cls, data: Columns, actions: np.ndarray, **settings: Any) -> dict[str, np.ndarray]:
        """Price, charge and power for each of ``actions`` of an evaluation rollout, for drawing."""
        environment = cls(data, "evaluate", **settings)
        battery, first = environment.simulation.battery, environment.simulation.first
        levels = [0]
        for action in require_actions(actions, battery).tolist():
            levels.append(int(battery.next_level[levels[-1], action]))
        hours = slice(first, first + len(actions))
        charge = np.array(levels) * battery.lattice_mwh
        return {
            "time": environment.simulation.market.time[hours],
            "price [EUR/MWh]": environment.simulation.market.price[hours],
            "power [MW], above zero charging": np.diff(charge),
            "charge [MWh]": charge[1:],
        }
