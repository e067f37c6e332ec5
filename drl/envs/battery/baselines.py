"""What the policy is compared with: from standing still to knowing the future."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from drl.data.columns import Columns
from drl.envs.battery.forecasts import FORECASTS, shifted
from drl.envs.battery.market import LOOK_BACK, Market
from drl.envs.battery.planning import hindsight_action_values, hindsight_values, plan_action_values
from drl.envs.battery.simulation import Simulation
from drl.envs.battery.storage import Integers
from drl.errors import InputError
from drl.evaluation.actor import Baseline

_HOURS = 24
_CYCLE_YEAR_HOURS = 8760


class _TableBaseline(Baseline):
    """A baseline that is one table: the action for each hour and charge level, made at reset.

    The table is made for all hours at once because that is fast; how each hour's row is made, and from which
    prices, is what a kind states.
    """

    def __init__(self, fitted: dict[str, Any]) -> None:
        """Keep what was fitted."""
        self._fitted = fitted
        self._environment: Any = None
        self._table: Integers | None = None

    @classmethod
    def fit(cls, train: Columns | None, **settings: Any) -> dict[str, Any]:
        """Nothing is learned."""
        return {}

    def parameters(self) -> dict[str, Any]:
        """What was fitted."""
        return self._fitted

    def table(self, simulation: Simulation) -> Integers:
        """Actions int64 [T - first, L]."""
        raise NotImplementedError

    def reset(self, environment: gym.Env[Any, Any]) -> None:
        """Make the table for the environment's market and battery."""
        simulation = getattr(environment, "simulation", None)
        if not isinstance(simulation, Simulation):
            raise InputError(
                f"a battery baseline was given {type(environment).__name__}",
                remedy="use it with the battery environment",
            )
        self._environment, self._table = environment, self.table(simulation)

    def act(self, observation: np.ndarray) -> int:
        """The table's action for the environment's hour and charge."""
        if self._table is None:
            raise InputError("a battery baseline acted before its reset", remedy="call reset first")
        environment = self._environment
        return int(self._table[environment.row - environment.simulation.first, environment.level])


class Nothing(_TableBaseline):
    """Stands still: earns exactly nothing."""

    def table(self, simulation: Simulation) -> Integers:
        """Standing still, always."""
        shape = (simulation.end - simulation.first, simulation.battery.levels)
        return np.full(shape, simulation.battery.idle, dtype=np.int64)


class Threshold(_TableBaseline):
    """Charges fully at or below a quantile of the last hours' prices, discharges at or above another.

    Args:
        fitted: ``{}``.
        low: quantile to charge at.
        high: quantile to discharge at.
        hours: how many hours back the quantiles look, the current hour included.
    """

    def __init__(
        self, fitted: dict[str, Any], *, low: float = 0.2, high: float = 0.8, hours: int = 24
    ) -> None:
        """Check the settings."""
        super().__init__(fitted)
        if not (0 <= low <= high <= 1 and 1 <= hours <= LOOK_BACK):
            raise InputError(
                f"baseline threshold: low {low}, high {high}, hours {hours}",
                remedy=f"give 0 <= low <= high <= 1 and between 1 and {LOOK_BACK} hours",
            )
        self._low, self._high, self._hours = low, high, hours

    def table(self, simulation: Simulation) -> Integers:
        """By the price of each hour and those before it."""
        market, battery = simulation.market, simulation.battery
        window = np.sort([shifted(market, lag) for lag in range(self._hours)], axis=0)
        price = shifted(market, 0)
        power = np.array(battery.power_levels_mw)
        action = np.full(len(price), battery.idle, dtype=np.int64)
        action[price >= _quantile(window, self._high)] = int(power.argmin())
        action[price <= _quantile(window, self._low)] = int(power.argmax())
        return np.repeat(action[:, None], battery.levels, axis=1)


class Clock(_TableBaseline):
    """A fixed daily schedule: the best daily cycle for the mean price of each local hour.

    The profile is the mean over the last 365 days of the training split. The schedule repeats every day,
    whatever prices do; it is the cycle of highest profit on the profile that ends a day with the charge that
    it began with.
    """

    @classmethod
    def fit(cls, train: Columns | None, **settings: Any) -> dict[str, Any]:
        """Mean price of each local hour over the last 365 days of training, EUR/MWh: ``{"profile": [24]}``.

        Raises:
            InputError: there are no training data.
        """
        if train is None:
            raise InputError(
                "baseline clock learns from the training split, and there is none",
                remedy="declare data in the pipeline, or leave the baseline out",
            )
        market = Market.of(train, "train")
        last = slice(max(market.first, len(market) - _CYCLE_YEAR_HOURS), None)
        price, hour = market.price[last], market.hour[last]
        missing = sorted(set(range(_HOURS)) - set(hour.tolist()))
        if missing:
            raise InputError(
                f"baseline clock: the training split has no prices at the local hours {missing}",
                remedy="train on at least one whole day",
            )
        return {"profile": [float(price[hour == h].sum() / (hour == h).sum()) for h in range(_HOURS)]}

    def __init__(self, fitted: dict[str, Any]) -> None:
        """Check the profile."""
        super().__init__(fitted)
        profile = fitted.get("profile", [])
        if len(profile) != _HOURS or not np.isfinite(profile).all():
            raise InputError(
                f"baseline clock: fitted parameters {fitted}", remedy="give what Clock.fit returned"
            )
        self._profile = np.array(profile, dtype=np.float64)

    def schedule(self, simulation: Simulation) -> Integers:
        """The action of each local hour, int64 [24]."""
        battery = simulation.battery
        profit = battery.profit(self._profile)
        best, chosen = -np.inf, np.zeros(_HOURS, dtype=np.int64)
        for start in range(battery.levels):
            values = np.full(battery.levels, -np.inf)
            values[start] = 0.0
            choices = np.zeros((_HOURS, battery.levels), dtype=np.int64)
            for hour in reversed(range(_HOURS)):
                worth = profit[hour] + values[battery.next_level]
                choices[hour] = battery.best_action(worth)
                values = worth.max(axis=1)
            if values[start] > best:
                best, level = values[start], start
                for hour in range(_HOURS):
                    chosen[hour] = choices[hour, level]
                    level = int(battery.next_level[level, chosen[hour]])
        return chosen

    def table(self, simulation: Simulation) -> Integers:
        """By the local hour."""
        hour = simulation.market.hour[simulation.first :]
        return np.repeat(self.schedule(simulation)[hour][:, None], simulation.battery.levels, axis=1)


class ModelPredictiveControl(_TableBaseline):
    """Plans the next 24 hours on a forecast by dynamic programming, acts one hour, plans again.

    Args:
        fitted: ``{}``.
        forecast: ``mean7``, the last seven days' mean at the same hour, or ``mix``, its mean with the last
            four weeks' at the same hour of the week, moved to the level of the current price.
    """

    def __init__(self, fitted: dict[str, Any], *, forecast: str = "mean7") -> None:
        """Check the forecast's name."""
        super().__init__(fitted)
        if forecast not in FORECASTS:
            raise InputError(
                f"baseline mpc: forecast {forecast!r}", remedy=f"give one of {', '.join(FORECASTS)}"
            )
        self._forecast = FORECASTS[forecast]

    def table(self, simulation: Simulation) -> Integers:
        """The best first action of the plan that is made in each hour."""
        values = plan_action_values(simulation.battery, self._forecast(simulation.market))
        return simulation.battery.best_action(values.transpose(2, 0, 1))


class Foresight(_TableBaseline):
    """Knows all prices to the end: the exact optimum, which nothing that must live forwards can beat."""

    def table(self, simulation: Simulation) -> Integers:
        """By backward induction over all remaining prices."""
        battery, price = simulation.battery, simulation.market.price[simulation.first :]
        values = hindsight_values(battery, price)
        return battery.best_action(hindsight_action_values(battery, price, values))


BASELINES: dict[str, type[Baseline]] = {
    "nothing": Nothing,
    "threshold": Threshold,
    "clock": Clock,
    "mpc": ModelPredictiveControl,
    "foresight": Foresight,
}
"""Kinds that the battery environment offers."""


def _quantile(ordered: np.ndarray, share: float) -> np.ndarray:
    """Quantile by linear interpolation of values sorted along the first axis (numpy's default)."""
    position = share * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    value: np.ndarray = ordered[below] + (position - below) * (ordered[above] - ordered[below])
    return value
