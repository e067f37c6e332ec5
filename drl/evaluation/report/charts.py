"""The three charts that every evaluation has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from drl.evaluation.report.curves import LearningCurve
from drl.evaluation.report.svg import (
    WIDTH,
    Scale,
    drawing,
    horizontal_axis,
    line,
    number,
    path,
    tag,
    text,
    vertical_axis,
)
from drl.evaluation.statistics import Interval

_ROW = 34.0


@dataclass(frozen=True)
class Compared:
    """One row of the dot-and-whisker chart."""

    name: str
    role: str
    difference: Interval


def whiskers(rows: list[Compared], *, unit: str, margin: float, focus: list[str], decisive: str) -> str:
    """Mean paired difference to each of ``rows`` as a dot, its interval as a whisker.

    The scale holds the rows named in ``focus``; a row far beyond them is an arrow at the edge, its numbers
    beside it, so that one weak baseline does not press the others together.
    """
    left, right = 200.0, WIDTH - 190.0
    bottom = 14 + _ROW * len(rows)
    x = _focused(rows, focus, margin, left, right)
    parts = horizontal_axis(x, 8, bottom, f"policy minus other, {unit} per episode")
    parts.append(line(x(0), 4, x(0), bottom, "zero"))
    if margin > 0:
        parts.append(line(x(margin), 4, x(margin), bottom, "margin"))
        parts.append(text(x(margin) + 4, 10, "margin", class_="tick"))
    for index, row in enumerate(rows):
        y = 14 + _ROW * (index + 0.5)
        kind = "decisive" if row.name == decisive else "other"
        shapes = [
            tag("title", f"policy minus {row.name}: {_interval(row.difference)} {unit} per episode"),
            text(0, y + 4, row.name, class_=f"name {kind}"),
            text(left - 14, y + 4, row.role, class_="tick", anchor="end"),
            *_whisker(row.difference, x, y, kind),
            text(WIDTH, y + 4, _interval(row.difference), class_=f"value {kind}", anchor="end"),
        ]
        parts.append(tag("g", "".join(shapes)))
    described = "; ".join(f"{row.name} {_interval(row.difference)}" for row in rows)
    return drawing(
        "Policy against each other actor",
        f"Mean paired difference in {unit} per episode with its interval: {described}",
        bottom + 42,
        parts,
    )


def _focused(rows: list[Compared], focus: list[str], margin: float, left: float, right: float) -> Scale:
    """A scale for zero, the margin, the rows in focus, and those within one more extent of them."""

    def ends(row: Compared) -> list[float]:
        return [row.difference.lower, row.difference.upper]

    core = [0.0, margin, *(end for row in rows if row.name in focus for end in ends(row))]
    reach = max(core) - min(core)
    low, high = min(core) - reach, max(core) + reach
    near = [end for row in rows if low <= ends(row)[0] and ends(row)[1] <= high for end in ends(row)]
    return Scale.around([*core, *near], left, right)


def _whisker(difference: Interval, x: Scale, y: float, kind: str) -> list[str]:
    for edge, outside, way in (
        (x.end, difference.upper > x.high, 1.0),
        (x.start, difference.lower < x.low, -1.0),
    ):
        if outside:
            arrow = [(edge - 7 * way, y - 5), (edge, y), (edge - 7 * way, y + 5)]
            return [line(edge - 22 * way, y, edge, y, f"whisker {kind}"), path(arrow, f"arrow {kind}")]
    low, high = x(difference.lower), x(difference.upper)
    return [
        line(low, y, high, y, f"whisker {kind}"),
        line(low, y - 5, low, y + 5, f"whisker {kind}"),
        line(high, y - 5, high, y + 5, f"whisker {kind}"),
        tag("circle", cx=x(difference.estimate), cy=y, r=5.0, class_=f"dot {kind}"),
    ]


def differences(labels: list[str], values: np.ndarray, *, other: str, unit: str, interval: Interval) -> str:
    """Paired difference of each episode as a bar, with the mean and its interval."""
    left, right, top, bottom = 56.0, float(WIDTH), 34.0, 230.0
    y = Scale.around([0.0, *values.tolist()], bottom, top)
    slot = (right - left) / len(values)
    parts = vertical_axis(y, left, right, f"policy minus {other}, {unit}")
    band = sorted((y(interval.lower), y(interval.upper)))
    parts.append(
        tag("rect", x=left, y=band[0], width=right - left, height=max(band[1] - band[0], 0.5), class_="band")
    )
    for index, (label, value) in enumerate(zip(labels, values.tolist(), strict=True)):
        tip = tag("title", f"{label}: {number(value, sign=True)} {unit}")
        height = abs(y(value) - y(0))
        parts.append(
            tag(
                "rect",
                tip,
                x=left + slot * index + slot * 0.14,
                y=min(y(value), y(0)),
                width=slot * 0.72,
                height=height,
                class_="gain" if value >= 0 else "loss",
            )
        )
    parts.append(line(left, y(0), right, y(0), "zero"))
    parts.append(line(left, y(interval.estimate), right, y(interval.estimate), "mean"))
    every = max(1, -(-len(labels) // 7))
    for index in range(0, len(labels), every):
        x = left + slot * (index + 0.5)
        anchor = "end" if x > right - 24 else "middle"
        parts.append(text(x, bottom + 18, labels[index], class_="tick", anchor=anchor))
    won = int((values > 0).sum())
    return drawing(
        "Episode by episode",
        f"Difference to {other} in each of {len(values)} episodes; the policy is ahead in {won} of them. "
        f"Mean {_interval(interval)} {unit}.",
        bottom + 28,
        parts,
    )


def learning(curves: list[LearningCurve], *, released: int, unit: str) -> str:
    """Training return over time steps, a line for each seed, the released one strong."""
    left, right, top, bottom = 56.0, WIDTH - 136.0, 34.0, 250.0
    steps = [float(step) for curve in curves for step in curve.steps]
    returns = [value for curve in curves for value in curve.returns]
    x = Scale(0.0, max(steps), left, right)
    y = Scale.around(returns, bottom, top)
    parts = vertical_axis(y, left, right, f"training return, {unit}")
    for tick in x.ticks():
        parts.append(text(x(tick), bottom + 16, number(tick), class_="tick", anchor="middle"))
    parts.append(text(right, bottom + 34, "environment time steps", class_="label", anchor="end"))
    for curve in sorted(curves, key=lambda c: c.seed == released):
        points = [(x(s), y(r)) for s, r in zip(curve.steps, curve.returns, strict=True)]
        parts.append(path(points, f"curve {'released' if curve.seed == released else 'seed'}"))
    for curve, place in _spread(curves, y, 14.0):
        words = f"seed {curve.seed}" + (", released" if curve.seed == released else "")
        parts.append(text(right + 8, place + 4, words, class_="name" if curve.seed == released else "tick"))
    return drawing(
        "Learning curves",
        "; ".join(f"seed {c.seed} ends at {number(c.returns[-1])}" for c in curves),
        bottom + 44,
        parts,
    )


def _spread(curves: list[LearningCurve], y: Scale, distance: float) -> list[tuple[LearningCurve, float]]:
    """Places for the labels at the curves' ends, moved apart so that none covers another."""
    placed: list[tuple[LearningCurve, float]] = []
    for curve in sorted(curves, key=lambda c: (y(c.returns[-1]), c.seed)):
        wanted = y(curve.returns[-1])
        placed.append((curve, max(wanted, placed[-1][1] + distance) if placed else wanted))
    return placed


def _interval(interval: Interval) -> str:
    return (
        f"{number(interval.estimate, sign=True)} [{number(interval.lower, sign=True)}, "
        f"{number(interval.upper, sign=True)}]"
    )
