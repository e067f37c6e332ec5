"""Price forecasts made of past prices only.

Every function gives float64 [H, N]: for the acted row ``t = first + n``, row ``h`` is the forecast of the
price at ``t + h``, made of prices up to and including ``t``. Sums are added in a fixed order over a fixed
window, so that a forecast depends on nothing but its window, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from drl.envs.battery.market import Market
from drl.envs.battery.storage import Floats

HORIZON = 24
"""Hours that a plan looks ahead. A two-hour battery decides the same with 36, 48 or 72."""

_DECAY_PER_HOUR = 0.97


def shifted(market: Market, lag: int) -> Floats:
    """The price ``lag`` hours before each acted row, float64 [N]; a view."""
    return market.price[market.first - lag : len(market) - lag]


def mean_in_order(rows: Iterable[npt.NDArray[Any]]) -> Floats:
    """Mean of equally long rows, added one after the other.

    ``np.sum`` may add in another order when there is only one column, or in another version.
    """
    total: Floats = np.zeros(())
    count = 0
    for row in rows:
        total, count = total + row, count + 1
    return np.asarray(total / count, dtype=np.float64)


def same_hour(market: Market, hours: int) -> Floats:
    """Mean of the last seven known prices at the same hour of the day, for 0 to ``hours`` - 1 hours ahead."""
    return _mean_of_lags(market, hours, period=24, count=7)


def same_hour_of_week(market: Market, hours: int) -> Floats:
    """Mean of the last four known prices at the same hour of the week."""
    return _mean_of_lags(market, hours, period=168, count=4)


def mean7(market: Market) -> Floats:
    """:func:`same_hour` for the whole horizon, the current hour included.

    The current price itself is not mixed in: beside a forecast of another level it would make every hour look
    dear or cheap.
    """
    return same_hour(market, HORIZON)


def mix(market: Market) -> Floats:
    """The mean of :func:`same_hour` and :func:`same_hour_of_week`, moved to the level of the current price.

    The error at the current hour is added to each hour ahead, times 0.97 for each hour, so that the current
    hour has its true price.
    """
    forecast = (same_hour(market, HORIZON) + same_hour_of_week(market, HORIZON)) / 2
    error = shifted(market, 0) - forecast[0]
    for ahead in range(HORIZON):
        forecast[ahead] += error
        error = error * _DECAY_PER_HOUR
    return forecast


FORECASTS: MappingProxyType[str, Callable[[Market], Floats]] = MappingProxyType({"mean7": mean7, "mix": mix})
"""Forecasts that a plan can be made of, by name."""


def _mean_of_lags(market: Market, hours: int, *, period: int, count: int) -> Floats:
    forecast = []
    for ahead in range(hours):
        newest = max(1, -(-ahead // period))  # periods back to the last known price; never the current hour's
        known = (shifted(market, back * period - ahead) for back in range(newest, newest + count))
        forecast.append(mean_in_order(known))
    return np.stack(forecast)
