"""What the agent sees: 172 values of price, time and charge, and two plans' opinion of each action.

Everything that does not depend on the charge is computed once for a data set, as one matrix; an observation
is then a few table look-ups. At hour ``t`` nothing later than the price of hour ``t`` is read, and nothing
earlier than 672 hours before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from drl.envs.battery.forecasts import mean7, mean_in_order, mix, same_hour, same_hour_of_week, shifted
from drl.envs.battery.market import Market
from drl.envs.battery.planning import plan_action_values
from drl.envs.battery.storage import Battery, Floats, Integers

LIMIT = 6.0
"""Standardised values are cut to ±6."""

_LAGS, _AHEAD, _WEEK = 48, 25, 168
_SCALE_FLOOR, _TYPICAL_SCALE = 5.0, 20.0  # EUR/MWh


@dataclass(frozen=True)
class Value:
    """One entry of an observation: what it is, its unit and its bounds."""

    name: str
    unit: str
    low: float = -LIMIT
    high: float = LIMIT


class Observations:
    """All observations of a data set.

    Prices are standardised with the mean of the last 168 hours and their standard deviation plus 5 EUR/MWh.

    Args:
        market: the prices.
        battery: whose plans and charge are seen.

    Attributes:
        values: names, units and bounds, in order.
        scale: standard deviation of the last 168 hours + 5, float64 [T - first], EUR/MWh.
    """

    def __init__(self, market: Market, battery: Battery) -> None:
        self._first = market.first
        mean, self.scale = _level_and_scale(market)
        self.values = _price_values() + _time_values() + _charge_values() + _plan_values(battery)
        self._hourly = np.concatenate([_prices(market, mean, self.scale), _time(market)]).T.astype(
            np.float32, order="C"
        )
        self._charge = _charge(battery)
        self._plans = _plans(market, battery, self.scale)

    def at(self, rows: Integers, levels: Integers) -> npt.NDArray[np.float32]:
        """Observations float32 [N, D] at data rows [N] (from ``first`` on) and charge levels [N]."""
        index = rows - self._first
        hourly, charge = self._hourly.shape[1], self._charge.shape[1]
        result = np.empty((len(rows), len(self.values)), dtype=np.float32)
        result[:, :hourly] = self._hourly[index]
        result[:, hourly : hourly + charge] = self._charge[levels]
        result[:, hourly + charge :] = self._plans[index, levels]
        return result


def _level_and_scale(market: Market) -> tuple[Floats, Floats]:
    """Mean of the last 168 hours, and their standard deviation plus 5; summed in a fixed order."""
    mean = mean_in_order(shifted(market, lag) for lag in range(_WEEK))
    variance = mean_in_order((shifted(market, lag) - mean) ** 2 for lag in range(_WEEK))
    return mean, np.sqrt(variance) + _SCALE_FLOOR


def _prices(market: Market, mean: Floats, scale: Floats) -> Floats:
    """Standardised prices and forecasts, float64 [134, N]."""
    price = [shifted(market, lag) for lag in range(_WEEK)]
    days = [price[24 * day : 24 * day + 24] for day in range(7)]
    daily = [mean_in_order(day) for day in days]
    week_ago = [shifted(market, _WEEK - ahead) for ahead in range(_AHEAD)]
    levels = np.stack(
        [*price[:_LAGS], *same_hour(market, _AHEAD), *same_hour_of_week(market, _AHEAD), *week_ago, *daily]
    )
    rest = [
        mean_in_order(earlier < price[0] for earlier in days[0]),
        np.sqrt(mean_in_order((earlier - daily[0]) ** 2 for earlier in days[0])) / scale,
        np.log(scale / _TYPICAL_SCALE),
        mean / scale,
    ]
    standardised: Floats = np.clip(np.concatenate([(levels - mean) / scale, rest]), -LIMIT, LIMIT)
    return standardised


def _price_values() -> list[Value]:
    unit = "weekly standard deviations"
    return [
        *[Value(f"price {lag} h ago", unit) for lag in range(_LAGS)],
        *[Value(f"mean of 7 days at the hour {ahead} h ahead", unit) for ahead in range(_AHEAD)],
        *[Value(f"mean of 4 weeks at the hour of the week {ahead} h ahead", unit) for ahead in range(_AHEAD)],
        *[Value(f"price a week before the hour {ahead} h ahead", unit) for ahead in range(_AHEAD)],
        *[Value(f"mean price {24 * day} to {24 * day + 23} h ago", unit) for day in range(7)],
        Value("share of the last 24 prices below the current one", "1", 0.0, 1.0),
        Value("standard deviation of the last 24 h", unit),
        Value("logarithm of the weekly standard deviation over 20 EUR/MWh", "1"),
        Value("mean of the week", unit),
    ]


def _time(market: Market) -> Floats:
    """Local hour and weekday one-hot, and the position in the year, float64 [33, N]."""
    acted = slice(market.first, None)
    hour = market.hour[acted] == np.arange(24)[:, None]
    weekday = market.weekday[acted] == np.arange(7)[:, None]
    angle = market.year_angle[acted]
    return np.concatenate([hour, weekday, np.stack([np.sin(angle), np.cos(angle)])])


def _time_values() -> list[Value]:
    days = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    return [
        *[Value(f"local hour is {hour}", "0 or 1", 0.0, 1.0) for hour in range(24)],
        *[Value(f"local day is {day}", "0 or 1", 0.0, 1.0) for day in days],
        Value("sine of the position in the year", "1", -1.0, 1.0),
        Value("cosine of the position in the year", "1", -1.0, 1.0),
    ]


def _charge(battery: Battery) -> npt.NDArray[np.float32]:
    """What each charge level looks like, float32 [L, 5]."""
    level = np.arange(battery.levels)
    full = battery.levels - 1
    steps = battery.next_level - level[:, None]
    most = [max(1, int(abs(extreme))) for extreme in (steps.max(), steps.min())]
    table = [
        level / full,
        level == 0,
        level == full,
        steps.max(axis=1) / most[0],
        -steps.min(axis=1) / most[1],
    ]
    return np.stack(table, axis=1).astype(np.float32)


def _charge_values() -> list[Value]:
    return [
        Value("charge", "capacity", 0.0, 1.0),
        Value("empty", "0 or 1", 0.0, 1.0),
        Value("full", "0 or 1", 0.0, 1.0),
        Value("energy that an hour can charge", "the most in any state", 0.0, 1.0),
        Value("energy that an hour can discharge", "the most in any state", 0.0, 1.0),
    ]


def _plans(market: Market, battery: Battery, scale: Floats) -> npt.NDArray[np.float32]:
    """Advantage of each action over standing still by both plans, float32 [N, L, 2 A]."""
    tables = []
    for forecast in (mean7(market), mix(market)):
        values = plan_action_values(battery, forecast)
        tables.append((values - values[:, [battery.idle]]) / (scale * _unit_mwh(battery)))
    return (
        np.clip(np.concatenate(tables, axis=1), -LIMIT, LIMIT)
        .transpose(2, 0, 1)
        .astype(np.float32, order="C")
    )


def _plan_values(battery: Battery) -> list[Value]:
    unit = "weekly standard deviations times the most energy of an hour"
    return [
        Value(f"advantage of {power:+g} MW over standing still, planned on {forecast}", unit)
        for forecast in ("mean7", "mix")
        for power in battery.power_levels_mw
    ]


def _unit_mwh(battery: Battery) -> float:
    return max(abs(power) for power in battery.power_levels_mw)
