"""The battery: energy on an exact lattice, and what moving it earns.

Power is measured at the battery's terminals, so stored energy moves by whole lattice steps and the state is
an integer without rounding error; what crosses the grid meter follows from the efficiency. Charging *x* MWh
buys *x / efficiency* from the grid, discharging *x* MWh sells *x · efficiency*; either wears the battery by
*wear · x*. One time step is one hour.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from drl.errors import InputError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

POWER_LEVELS_MW = (-1.0, -0.5, 0.0, 0.5, 1.0)


class Battery:
    """Physics and money of one battery.

    An action is the index of a power level, positive for charging; what does not fit is cut to the part that
    does, so every action is allowed in every state.

    Args:
        capacity_mwh: usable energy, a multiple of ``lattice_mwh``.
        power_levels_mw: power at the terminals for each action, multiples of ``lattice_mwh`` per hour; zero
            (stand still) must be one of them.
        lattice_mwh: distance of two charge levels.
        efficiency: one way, in (0, 1].
        wear_eur_per_mwh: cost of each MWh moved through the terminals, in either direction.

    Attributes:
        levels: number of charge levels L; level ``l`` holds ``l * lattice_mwh``.
        actions: number of actions A.
        idle: the action that stands still.
        next_level: int64 [L, A], the charge level after an hour of each action.
        sold_mwh: float64 [L, A], energy sold to the grid; negative when bought.
        wear_eur: float64 [L, A].

    Raises:
        InputError: a setting is out of range or off the lattice.
    """

    def __init__(
        self,
        *,
        capacity_mwh: float = 2.0,
        power_levels_mw: Sequence[float] = POWER_LEVELS_MW,
        lattice_mwh: float = 0.5,
        efficiency: float = 0.95,
        wear_eur_per_mwh: float = 4.0,
    ) -> None:
        numbers = {
            "capacity_mwh": capacity_mwh,
            "lattice_mwh": lattice_mwh,
            "efficiency": efficiency,
            "wear_eur_per_mwh": wear_eur_per_mwh,
        }
        for name, value in numbers.items():
            _require(_is_number(value), name, value, "a finite number")
        _require(
            isinstance(power_levels_mw, Sequence) and all(map(_is_number, power_levels_mw)),
            "power_levels_mw",
            power_levels_mw,
            "a list of finite numbers",
        )
        _require(lattice_mwh > 0, "lattice_mwh", lattice_mwh, "above zero")
        _require(0 < efficiency <= 1, "efficiency", efficiency, "above 0 and at most 1")
        _require(wear_eur_per_mwh >= 0, "wear_eur_per_mwh", wear_eur_per_mwh, "zero or more")
        steps = [_steps("power_levels_mw", power, lattice_mwh) for power in power_levels_mw]
        full = _steps("capacity_mwh", capacity_mwh, lattice_mwh)
        _require(full >= 1, "capacity_mwh", capacity_mwh, "at least one lattice step")
        _require(
            len(set(steps)) == len(steps) >= 2 and 0 in steps,
            "power_levels_mw",
            list(power_levels_mw),
            "a list of two or more different levels with 0 among them",
        )
        self.capacity_mwh = float(capacity_mwh)
        self.lattice_mwh = float(lattice_mwh)
        self.power_levels_mw = tuple(float(power) for power in power_levels_mw)
        self.levels = full + 1
        self.actions = len(steps)
        self.idle = steps.index(0)
        level = np.arange(self.levels)[:, None]
        self.next_level: Integers = np.clip(level + np.array(steps), 0, full).astype(np.int64)
        moved = (self.next_level - level) * self.lattice_mwh
        self.sold_mwh: Floats = np.where(moved > 0, -moved / efficiency, -moved * efficiency)
        self.wear_eur: Floats = np.abs(moved) * wear_eur_per_mwh
        self._gentle_first = np.array(sorted(range(self.actions), key=lambda a: (abs(steps[a]), a)))

    def profit(self, price: Floats) -> Floats:
        """EUR earned in an hour at ``price`` [...] in EUR/MWh, for each level and action: [..., L, A]."""
        return price[..., None, None] * self.sold_mwh - self.wear_eur

    def best_action(self, values: Floats) -> Integers:
        """The action with the highest of ``values`` [..., A]; among equals the one with the least power."""
        best: Integers = self._gentle_first[np.argmax(values[..., self._gentle_first], axis=-1)]
        return best


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _steps(name: str, value: float, lattice_mwh: float) -> int:
    steps = value / lattice_mwh
    _require(
        abs(steps - round(steps)) < 1e-9,
        name,
        value,
        f"a multiple of lattice_mwh = {lattice_mwh}",
    )
    return round(steps)


def _require(holds: bool, name: str, value: object, wanted: str) -> None:
    if not holds:
        raise InputError(f"battery setting {name} = {value!r}", remedy=f"give {name} {wanted}")
