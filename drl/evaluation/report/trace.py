"""One scored episode, drawn: what the policy saw, what it did, and what came of it.

An environment class may offer ``trace_columns(data, actions, **settings) -> dict[str, np.ndarray]``: equally
long 1-D columns, one row for each action. ``time`` (int64 seconds since the epoch, UTC) is the horizontal
axis; every other column is a panel, titled by its name with its unit, say ``price [EUR/MWh]``. A column whose
name begins with ``power`` or ``action`` is drawn as bars from zero, and marks the other panels where it is
not zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from drl.errors import InputError
from drl.evaluation.report.svg import WIDTH, Scale, drawing, line, number, path, tag, text, vertical_axis

_ROWS = 192
_USUAL = 0.9
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LEFT, _RIGHT = 56.0, float(WIDTH)
_PANEL, _GAP, _TOP = 110.0, 40.0, 34.0


@dataclass(frozen=True)
class Excerpt:
    """Rows of one scored episode.

    Attributes:
        label: of the episode.
        time: seconds since the epoch, int64 [R].
        columns: panel title to values float64 [R].
    """

    label: str
    time: np.ndarray
    columns: dict[str, np.ndarray]


def median_episode(
    trace: dict[str, np.ndarray], *, labels: list[str], returns: np.ndarray, lengths: np.ndarray
) -> Excerpt:
    """The episode with the (lower) median return among those of usual length, at most 192 rows of it.

    An episode of at least nine tenths of the median length counts as usual.

    Raises:
        InputError: the columns do not have one row for each action.
    """
    rows = {name: len(values) for name, values in trace.items()}
    if "time" not in trace or set(rows.values()) != {int(lengths.sum())}:
        raise InputError(
            f"trace_columns gave rows {rows} for {int(lengths.sum())} actions",
            remedy="return `time` and other columns, each with one row for each action",
        )
    full = np.flatnonzero(lengths >= _USUAL * np.median(lengths))
    ordered = full[np.argsort(returns[full], kind="stable")]
    chosen = int(ordered[(len(ordered) - 1) // 2])
    first = int(lengths[:chosen].sum())
    span = slice(first, first + min(int(lengths[chosen]), _ROWS))
    columns = {name: np.asarray(v[span], dtype=np.float64) for name, v in trace.items() if name != "time"}
    return Excerpt(labels[chosen], trace["time"][span].astype(np.int64), columns)


def acting_column(excerpt: Excerpt) -> str | None:
    """Name of the first column that says what was done."""
    return next((name for name in excerpt.columns if _acts(name)), None)


def trace_chart(excerpt: Excerpt) -> str:
    """Stacked panels over the same time axis."""
    time = excerpt.time.tolist()
    step = time[1] - time[0] if len(time) > 1 else 3600
    x = Scale(float(time[0]), float(time[-1] + step), _LEFT, _RIGHT)
    acting = acting_column(excerpt)
    doing = None if acting is None else excerpt.columns[acting]
    bottom = _TOP + (_PANEL + _GAP) * len(excerpt.columns) - _GAP
    parts = _days(time, step, x, bottom)
    for index, (name, values) in enumerate(excerpt.columns.items()):
        top = _TOP + (_PANEL + _GAP) * index
        y = Scale.around([*values.tolist(), *([0.0] if _acts(name) else [])], top + _PANEL, top)
        if _acts(name):
            parts += [*vertical_axis(y, _LEFT, _RIGHT, name, count=3), *_bars(time, step, values, x, y)]
            continue
        if doing is not None:
            parts += _marks(time, step, doing, x, top)
        parts += vertical_axis(y, _LEFT, _RIGHT, name, count=4)
        stairs = [
            (x(t + after), y(v)) for t, v in zip(time, values.tolist(), strict=True) for after in (0, step)
        ]
        parts.append(path(stairs, "trace"))
    return drawing(
        "One episode in detail",
        "; ".join(f"{n} from {number(v.min())} to {number(v.max())}" for n, v in excerpt.columns.items()),
        bottom + 26,
        parts,
    )


def _acts(name: str) -> bool:
    return name.startswith(("power", "action"))


def _days(time: list[int], step: int, x: Scale, bottom: float) -> list[str]:
    parts = []
    for moment in range(-(-time[0] // 86400) * 86400, time[-1] + step, 86400):
        day = datetime.fromtimestamp(moment, UTC)
        parts.append(line(x(moment), _TOP, x(moment), bottom, "grid"))
        if x(moment + 43200) < _RIGHT:
            words = f"{_DAYS[day.weekday()]} {day.day} {_MONTHS[day.month - 1]}"
            parts.append(text(x(moment + 43200), bottom + 18, words, class_="tick", anchor="middle"))
    return parts


def _marks(time: list[int], step: int, doing: np.ndarray, x: Scale, top: float) -> list[str]:
    """Runs of equal direction as bands."""
    signs = np.sign(doing).astype(int).tolist()
    parts, first = [], 0
    for index in range(1, len(signs) + 1):
        if index == len(signs) or signs[index] != signs[first]:
            if signs[first]:
                start, end = x(time[first]), x(time[index - 1] + step)
                kind = "plus" if signs[first] > 0 else "minus"
                parts.append(
                    tag("rect", x=start, y=top, width=end - start, height=_PANEL, class_=f"mark {kind}")
                )
            first = index
    return parts


def _bars(time: list[int], step: int, values: np.ndarray, x: Scale, y: Scale) -> list[str]:
    parts = [line(_LEFT, y(0), _RIGHT, y(0), "zero")]
    for moment, value in zip(time, values.tolist(), strict=True):
        if value:
            start, end = x(moment), x(moment + step)
            parts.append(
                tag(
                    "rect",
                    x=start,
                    y=min(y(value), y(0)),
                    width=end - start,
                    height=abs(y(value) - y(0)),
                    class_="plus" if value > 0 else "minus",
                )
            )
    return parts
