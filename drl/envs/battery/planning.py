"""Dynamic programming over charge levels: exact plans for known and for forecast prices.

Prices do not react to the battery and its states are few, so the optimum is found by backward induction
(Bellman 1957), without the linear program's fault of charging and discharging at once when prices are
negative.
"""

from __future__ import annotations

import numpy as np

from drl.envs.battery.storage import Battery, Floats

_CHUNK = 8192


def hindsight_values(battery: Battery, price: Floats) -> Floats:
    """The highest profit from each hour on when all prices are known.

    Args:
        battery: whose levels are planned for.
        price: float64 [T], EUR/MWh.

    Returns:
        float64 [T + 1, L] in EUR; row ``t`` is before acting in hour ``t``. Charge left at the end is worth
        nothing: the last row is zero.
    """
    profit = battery.profit(price)
    values = np.zeros((len(price) + 1, battery.levels))
    following = battery.next_level
    for t in range(len(price) - 1, -1, -1):
        np.maximum.reduce(profit[t] + values[t + 1][following], axis=1, out=values[t])
    return values


def hindsight_action_values(battery: Battery, price: Floats, values: Floats) -> Floats:
    """What each action is worth when all prices are known, float64 [T, L, A] in EUR.

    Args:
        battery: whose levels are planned for.
        price: float64 [T], EUR/MWh.
        values: of :func:`hindsight_values`.
    """
    return battery.profit(price) + values[1:][:, battery.next_level]


def plan_action_values(battery: Battery, forecast: Floats) -> Floats:
    """What each action of the first hour is worth in the best plan for each of many forecasts.

    Args:
        battery: whose levels are planned for.
        forecast: float64 [H, N] in EUR/MWh; column ``n`` is the forecast made at one time, its row 0 the
            price that the first hour is planned with.

    Returns:
        float64 [L, A, N] in EUR. Charge left at the horizon is worth nothing.
    """
    result = np.empty((battery.levels, battery.actions, forecast.shape[1]))
    for start in range(0, forecast.shape[1], _CHUNK):  # stays in the processor's cache
        part = slice(start, start + _CHUNK)
        result[:, :, part] = _plan(battery, forecast[:, part])
    return result


def _plan(battery: Battery, forecast: Floats) -> Floats:
    values = np.zeros((battery.levels, forecast.shape[1]))
    for price in forecast[:0:-1]:
        earned = _by_move(battery, price)
        values = np.stack(
            [
                np.maximum.reduce([earned[move] + values[level + move] for move in moves])
                for level, moves in enumerate(_moves(battery))
            ]
        )
    earned = _by_move(battery, forecast[0])
    return np.stack(
        [
            np.stack([earned[int(to) - level] + values[to] for to in battery.next_level[level]])
            for level in range(battery.levels)
        ]
    )


def _moves(battery: Battery) -> list[list[int]]:
    """The different moves from each level, in lattice steps."""
    return [sorted({int(to) - level for to in row}) for level, row in enumerate(battery.next_level)]


def _by_move(battery: Battery, price: Floats) -> dict[int, Floats]:
    """Profit of each move at each of many prices [N]."""
    earned = {}
    for level, row in enumerate(battery.next_level):
        for action, to in enumerate(row):
            move = int(to) - level
            if move not in earned:
                sold, wear = battery.sold_mwh[level, action], battery.wear_eur[level, action]
                earned[move] = price * sold - wear
    return earned
