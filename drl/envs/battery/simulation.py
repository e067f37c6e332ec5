"""One hour of many batteries: the code that the single and the vector environment share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from drl.data.columns import Columns, content_digest
from drl.envs.battery.market import Market
from drl.envs.battery.observation import Observations
from drl.envs.battery.planning import hindsight_values
from drl.envs.battery.storage import POWER_LEVELS_MW, Battery, Floats, Integers
from drl.errors import InputError

REWARDS = ("regret",)


class Simulation:
    """The battery in its market, stateless: states go in as data rows and charge levels.

    Args:
        data: columns ``timestamp``, ``price`` and ``context`` of one split.
        mode: ``train`` or ``evaluate``.
        reward: None for profit in EUR, or ``regret`` (training only), see :meth:`advance`.
        episode_hours: length of a training episode.
        capacity_mwh: and the settings after it, see :class:`Battery`.

    Raises:
        DataError: data do not fit, see :class:`Market`.
        InputError: a setting, the mode or the reward cannot be used.
    """

    def __init__(
        self,
        data: Columns,
        mode: Literal["train", "evaluate"],
        reward: str | None = None,
        *,
        episode_hours: int = 336,
        capacity_mwh: float = 2.0,
        power_levels_mw: Sequence[float] = POWER_LEVELS_MW,
        lattice_mwh: float = 0.5,
        efficiency: float = 0.95,
        wear_eur_per_mwh: float = 4.0,
    ) -> None:
        _check(mode, reward)
        self.mode = mode
        self.battery = Battery(
            capacity_mwh=capacity_mwh,
            power_levels_mw=power_levels_mw,
            lattice_mwh=lattice_mwh,
            efficiency=efficiency,
            wear_eur_per_mwh=wear_eur_per_mwh,
        )
        self.market = Market.of(data, mode)
        self.observations = Observations(self.market, self.battery)
        self.first, self.end = self.market.first, len(self.market)
        self.episode_hours = _episode_hours(episode_hours, self.end - self.first, mode)
        self._potential: Floats | None = None
        if reward == "regret":
            self._potential = hindsight_values(self.battery, self.market.price[self.first :])

    @property
    def observation_space(self) -> gym.spaces.Box:
        """Bounds of every value."""
        values = self.observations.values
        low, high = ([getattr(value, side) for value in values] for side in ("low", "high"))
        return gym.spaces.Box(np.array(low, np.float32), np.array(high, np.float32), dtype=np.float32)

    @property
    def action_space(self) -> gym.spaces.Discrete[np.int64]:
        """An index of the battery's power levels."""
        return gym.spaces.Discrete(self.battery.actions)

    def start(self, generator: np.random.Generator) -> tuple[int, int]:
        """Data row and charge level of a new episode: random in training, else the first row and empty."""
        if self.mode == "evaluate":
            return self.first, 0
        row = int(generator.integers(self.first, self.end - self.episode_hours))
        return row, int(generator.integers(self.battery.levels))

    def observe(self, rows: Integers, levels: Integers) -> npt.NDArray[np.float32]:
        """Observations [N, D]; after the last row its own prices are shown again, for there are no later."""
        return self.observations.at(np.minimum(rows, self.end - 1), levels)

    def advance(self, rows: Integers, levels: Integers, actions: Integers) -> tuple[Integers, Floats, Floats]:
        """Act for an hour.

        Args:
            rows: data rows int64 [N].
            levels: charge levels int64 [N].
            actions: indices of power levels int64 [N].

        Returns:
            the charge levels after the hour, the profit in EUR, and the reward, each [N]. The reward is the
            profit, or with ``regret`` ``[profit + V(t+1, s') - V(t, s)] / scale``: V is the value of perfect
            foresight, the scale the standard deviation that observations are scaled with. It is never above
            zero. Because prices do not react to actions, its undiscounted sum in EUR is the profit minus what
            foresight could have earned: potential-based shaping (Ng, Harada and Russell 1999) with a
            potential known in hindsight. Observations never show it.
        """
        after = self.battery.next_level[levels, actions]
        sold, wear = self.battery.sold_mwh[levels, actions], self.battery.wear_eur[levels, actions]
        profit = self.market.price[rows] * sold - wear
        if self._potential is None:
            return after, profit, profit
        index = rows - self.first
        gained = self._potential[index + 1, after] - self._potential[index, levels]
        return after, profit, (profit + gained) / self.observations.scale[index]


_KEPT = 2
_recent: dict[tuple[str, str, str | None, str], Simulation] = {}


def shared_simulation(
    data: Columns, mode: Literal["train", "evaluate"], reward: str | None, settings: dict[str, Any]
) -> Simulation:
    """The simulation of these arguments, made anew or one of the last two made in this process.

    It holds no state, so environments can share it: training with several seeds, or evaluating many actors,
    computes the observations once. Arguments and errors as :class:`Simulation`.
    """
    key = (content_digest(data), mode, reward, repr(sorted(settings.items())))
    simulation = _recent.pop(key, None) or Simulation(data, mode, reward, **settings)
    _recent[key] = simulation
    while len(_recent) > _KEPT:
        del _recent[next(iter(_recent))]
    return simulation


def require_actions(actions: Any, battery: Battery) -> Integers:
    """``actions`` as int64 indices; anything else is an InputError."""
    array = np.asarray(actions)
    if array.dtype.kind not in "iu" or (array < 0).any() or (array >= battery.actions).any():
        raise InputError(
            f"battery action {actions!r} of type {array.dtype}",
            remedy=f"give integers from 0 to {battery.actions - 1}",
        )
    return array.astype(np.int64)


def _check(mode: str, reward: str | None) -> None:
    if mode not in ("train", "evaluate"):
        raise InputError(f"battery environment: mode {mode!r}", remedy="give train or evaluate")
    if reward is not None and reward not in REWARDS:
        raise InputError(
            f"battery environment: reward {reward!r}",
            remedy=f"leave it out for profit in EUR, or give one of {', '.join(REWARDS)}",
        )
    if reward is not None and mode == "evaluate":
        raise InputError(
            f"battery environment: reward {reward!r} knows the future and is for training only",
            remedy="evaluate without a reward setting",
        )


def _episode_hours(hours: int, rows: int, mode: str) -> int:
    if mode == "train" and not (isinstance(hours, int) and 1 <= hours < rows):
        raise InputError(
            f"battery setting episode_hours = {hours} with {rows} hours of data to act in",
            remedy=f"give a whole number between 1 and {rows - 1}",
        )
    return hours
