"""Battery arbitrage on hourly day-ahead prices; physics, money and observations are in docs/battery.md."""

from drl.envs.battery.environment import BatteryArbitrage
from drl.envs.battery.vector import BatteryArbitrageVector

__all__ = ["BatteryArbitrage", "BatteryArbitrageVector"]
