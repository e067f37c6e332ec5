"""Hourly prices with their local time: the checked form of one split's columns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np

from drl.data.columns import CONTEXT, Columns, checked
from drl.envs.battery.storage import Floats, Integers
from drl.errors import DataError

TIME, PRICE = "timestamp", "price"
LOOK_BACK = 672
"""Rows (hours) before an acted row that its observation reads: four weeks."""

_HOUR_S = 3600
_LOCAL = ZoneInfo("Europe/Amsterdam")
_HALF_WEEK = 84


@dataclass(frozen=True)
class Market:
    """Prices of consecutive hours.

    Attributes:
        time: start of each hour, int64 [T], seconds since the epoch (UTC).
        price: float64 [T], EUR/MWh.
        hour: local hour of the day (Europe/Amsterdam), 0 to 23, int64 [T].
        weekday: local day of the week, Monday 0, int64 [T].
        year_angle: position in the local year, float64 [T], radians in [0, 2π).
        week: local ISO calendar week of each row, as ``2024-W05``.
        first: first row that is acted in; the rows before are only looked back on.
    """

    time: Integers
    price: Floats
    hour: Integers
    weekday: Integers
    year_angle: Floats
    week: list[str]
    first: int

    @classmethod
    def of(cls, data: Columns, mode: Literal["train", "evaluate"]) -> Market:
        """Check the columns ``timestamp``, ``price`` and ``context`` of a split and add local time.

        The first row acted in is the first that is not context. In training, where no score is at stake,
        it is row 672 if fewer rows are context; in evaluation that is an error.

        Raises:
            DataError: a column is missing, a price is not finite, hours are not consecutive, context is not
                leading, or the context is too short.
        """
        missing = [name for name in (TIME, PRICE, CONTEXT) if name not in data]
        if missing:
            raise DataError(
                f"the battery environment found no column {', '.join(missing)}; columns: {', '.join(data)}",
                remedy=f"rename columns to {TIME} and {PRICE} by a cleaning rule; prepare adds {CONTEXT}",
            )
        checked(data)
        time, price = data[TIME].astype(np.int64), data[PRICE].astype(np.float64)
        _require_finite(time, price)
        _require_hourly(time)
        first = _first_acted(data[CONTEXT].astype(bool), mode)
        local = [datetime.fromtimestamp(second, _LOCAL) for second in time.tolist()]
        return cls(
            time=time,
            price=price,
            hour=np.array([moment.hour for moment in local], dtype=np.int64),
            weekday=np.array([moment.weekday() for moment in local], dtype=np.int64),
            year_angle=np.array([_year_angle(moment) for moment in local], dtype=np.float64),
            week=[_iso_week(moment) for moment in local],
            first=first,
        )

    def __len__(self) -> int:
        """Number of rows, look-back included."""
        return len(self.price)

    def scored_weeks(self) -> list[str]:
        """The scored episode of every row: its local ISO week.

        A week at either edge of the acted rows with less than half of its hours inside (under 84) is counted
        to the week next to it. So the year 2024 has 52 scored weeks, W52 with the last two days of December.
        """
        labels = list(self.week)
        acted = labels[self.first :]
        names = list(dict.fromkeys(acted))
        if len(names) > 1 and acted.count(names[0]) < _HALF_WEEK:
            labels = [names[1] if label == names[0] else label for label in labels]
            names = names[1:]
        if len(names) > 1 and acted.count(names[-1]) < _HALF_WEEK:
            labels = [names[-2] if label == names[-1] else label for label in labels]
        return labels


def _require_finite(time: Integers, price: Floats) -> None:
    bad = np.flatnonzero(~np.isfinite(price))
    if len(bad):
        raise DataError(
            f"column {PRICE}: row {bad[0]} ({_utc(time[bad[0]])}) is {price[bad[0]]}; {len(bad)} such rows",
            remedy="fill or drop missing prices by a declared cleaning rule",
        )


def _require_hourly(time: Integers) -> None:
    bad = np.flatnonzero(np.diff(time) != _HOUR_S)
    if len(bad):
        raise DataError(
            f"column {TIME}: {_utc(time[bad[0]])} is followed by {_utc(time[bad[0] + 1])}; "
            f"{len(bad)} such places",
            remedy="make the rows hourly with the cleaning rules drop_duplicates and fill_missing_steps",
        )


def _first_acted(context: np.ndarray, mode: Literal["train", "evaluate"]) -> int:
    leading = int(np.argmin(context)) if not context.all() else len(context)
    if context[leading:].any():
        raise DataError(
            f"column {CONTEXT}: row {leading + int(np.argmax(context[leading:]))} is context after rows that "
            "are not",
            remedy="keep context rows before all others",
        )
    if mode == "evaluate" and leading < LOOK_BACK:
        raise DataError(
            f"{leading} context rows, but an observation looks back on {LOOK_BACK} hours",
            remedy=f"set data.splits.context_rows to {LOOK_BACK}, and begin the first split that much later",
        )
    first = max(leading, LOOK_BACK)
    if first >= len(context):
        raise DataError(
            f"{len(context)} rows, of which {first} can only be looked back on: nothing is left to act in",
            remedy="choose a longer span",
        )
    return first


def _year_angle(moment: datetime) -> float:
    return 2 * math.pi * (moment.timetuple().tm_yday - 1) / 366


def _iso_week(moment: datetime) -> str:
    year, week, _ = moment.isocalendar()
    return f"{year}-W{week:02d}"


def _utc(second: np.int64) -> str:
    return datetime.fromtimestamp(int(second), UTC).strftime("%Y-%m-%d %H:%M UTC")
